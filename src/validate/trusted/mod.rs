//! Keys that are fetched, and trusted issuers, whose tokens are accepted beside the validator's own: what
//! their claims mean.

mod claims;
mod issuer;
mod jwks_url;
mod prepared;
mod remote;
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod with_default_provider;

use std::sync::Arc;

use crate::validate::ValidatorBuilder;

pub use self::claims::{ForeignClaims, MappedClaims};
pub use self::issuer::TrustedIssuer;

impl ValidatorBuilder {
    /// Accepts the tokens of a trusted issuer as well. Call it once for each issuer.
    pub fn trusted_issuer(mut self, issuer: TrustedIssuer) -> Self {
        self.trusted_issuers.push(Arc::new(issuer));
        self
    }
}
