//! Issuers elsewhere whose tokens are accepted beside one's own. Without the feature `remote-jwks`
//! there are none.

#[cfg(feature = "remote-jwks")]
mod claims;
#[cfg(feature = "remote-jwks")]
mod issuer;
#[cfg(feature = "remote-jwks")]
mod issuer_set;
#[cfg(all(feature = "remote-jwks", feature = "service"))]
mod token_service;
#[cfg(all(feature = "remote-jwks", any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod with_default_provider;

#[cfg(not(feature = "remote-jwks"))]
#[path = "no_issuers.rs"]
mod issuer_set;

#[cfg(feature = "remote-jwks")]
pub use self::claims::{ForeignClaims, MappedClaims};
#[cfg(feature = "remote-jwks")]
pub use self::issuer::TrustedIssuer;
#[cfg(not(feature = "remote-jwks"))]
pub(crate) use self::issuer_set::TrustedIssuer;
pub(crate) use self::issuer_set::{ForeignToken, TrustedIssuers};
