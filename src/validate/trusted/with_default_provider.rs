use crate::jose::DefaultProvider;
use crate::validate::stages::NeedsKeys;
use crate::validate::trusted::TrustedIssuer;
use crate::validate::{Validator, ValidatorBuilder};

impl TrustedIssuer {
    /// [`with_provider`](Self::with_provider) the [`DefaultProvider`].
    pub fn new(issuer: impl Into<String>) -> Self {
        Self::with_provider(issuer, DefaultProvider)
    }
}

impl NeedsKeys<Validator> {
    /// [`jwks_url_with`](Self::jwks_url_with) the [`DefaultProvider`].
    pub fn jwks_url(self, url: impl Into<String>) -> ValidatorBuilder {
        self.jwks_url_with(url, DefaultProvider)
    }
}
