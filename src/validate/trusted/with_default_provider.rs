use crate::jose::DefaultProvider;
use crate::validate::stages::NeedsKeys;
use crate::validate::trusted::TrustedIssuer;
use crate::validate::{Validator, ValidatorBuilder};

impl TrustedIssuer {
    /// Creates a trusted issuer whose keys the [`DefaultProvider`] prepares; see
    /// [`with_provider`](Self::with_provider).
    pub fn new(issuer: impl Into<String>) -> Self {
        Self::with_provider(issuer, DefaultProvider)
    }
}

impl NeedsKeys<Validator> {
    /// Sets the URL of the issuer's JWK Set, with the [`DefaultProvider`]; see
    /// [`jwks_url_with`](Self::jwks_url_with).
    pub fn jwks_url(self, url: impl Into<String>) -> ValidatorBuilder {
        self.jwks_url_with(url, DefaultProvider)
    }
}
