//! Keys that are fetched, and trusted issuers, whose tokens are accepted beside the validator's own: what
//! their claims mean.

mod claims;
mod grants;
mod issuer;
mod issuer_name;
mod jwks_url;
mod prepared;
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod profiles;
mod reach;
mod registered;
mod remote;
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod with_default_provider;

use std::sync::Arc;

use crate::validate::{Validator, ValidatorBuilder};

pub use self::claims::{ForeignClaims, MappedClaims};
pub use self::issuer::TrustedIssuer;
pub use self::remote::{JwkSet, KeyFetcher};

impl Validator {
    /// Returns the builder of a validator that accepts the tokens of trusted issuers alone: for a service that has no
    /// issuer, audience and keys of its own. Settings for own tokens (`audience`, `algorithms`, `max_token_lifetime`)
    /// do not apply; those of each issuer are on its [`TrustedIssuer`].
    ///
    /// The realm of its challenges, and its [`issuer`](Self::issuer), are the first issuer's name.
    ///
    /// ```
    /// # #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))] {
    /// use countersign::{TrustedIssuer, ValidateLayer, Validator};
    ///
    /// let provider =
    ///     TrustedIssuer::new("https://login.example.com").audience("https://api.example.com");
    /// let validator = Validator::for_issuers([provider]).build()?;
    /// let layer = ValidateLayer::new(validator);
    /// # }
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn for_issuers(issuers: impl IntoIterator<Item = TrustedIssuer>) -> ValidatorBuilder {
        issuers.into_iter().fold(ValidatorBuilder::of_others(), ValidatorBuilder::trusted_issuer)
    }
}

impl ValidatorBuilder {
    /// Accepts the tokens of a trusted issuer as well. Call it once for each issuer.
    pub fn trusted_issuer(mut self, issuer: TrustedIssuer) -> Self {
        self.trusted_issuers.push(Arc::new(issuer));
        self
    }
}
