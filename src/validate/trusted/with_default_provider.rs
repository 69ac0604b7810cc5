use crate::jose::DefaultProvider;
use crate::validate::trusted::TrustedIssuer;

impl TrustedIssuer {
    /// [`with_provider`](Self::with_provider) the [`DefaultProvider`].
    pub fn new(issuer: impl Into<String>) -> Self {
        Self::with_provider(issuer, DefaultProvider)
    }
}
