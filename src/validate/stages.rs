//! The stages of the builders. Each stage takes one required setting: issuer, audience, keys. The last one
//! returns the builder with the optional settings and `build`, so code that omits a required setting does not
//! compile.
//!
//! ```
//! # #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))] {
//! use countersign::{Algorithm, KeyRing, Validator};
//!
//! let validator = Validator::builder()
//!     .issuer("https://auth.example.com")
//!     .audience("https://api.example.com")
//!     .keys(KeyRing::generate(Algorithm::EdDSA)?)
//!     .trailing_wildcards(true) // optional settings come here
//!     .build()?;
//! # }
//! # Ok::<(), countersign::Error>(())
//! ```

use std::marker::PhantomData;

/// The first stage of a builder of a `T`: it has no issuer yet.
#[derive(Debug)]
#[must_use]
pub struct NeedsIssuer<T> {
    built: PhantomData<fn() -> T>,
}

impl<T> NeedsIssuer<T> {
    pub(crate) fn new() -> Self {
        Self { built: PhantomData }
    }

    /// Sets the issuer, by convention an `https` URL (RFC 9068 §2.2, RFC 8414 §2). A token's `iss` must equal it
    /// exactly.
    pub fn issuer(self, issuer: impl Into<String>) -> NeedsAudience<T> {
        NeedsAudience { issuer: issuer.into(), built: self.built }
    }
}

/// The second stage of a builder of a `T`: it has no audience yet.
#[derive(Debug)]
#[must_use]
pub struct NeedsAudience<T> {
    issuer: String,
    built: PhantomData<fn() -> T>,
}

impl<T> NeedsAudience<T> {
    /// Sets the audience: the API that the tokens are for. A token's `aud` must contain it exactly. The builder
    /// takes further audiences.
    pub fn audience(self, audience: impl Into<String>) -> NeedsKeys<T> {
        NeedsKeys { issuer: self.issuer, audience: audience.into(), built: self.built }
    }
}

/// The third stage of a builder of a `T`: it has no keys yet.
#[derive(Debug)]
#[must_use]
pub struct NeedsKeys<T> {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    built: PhantomData<fn() -> T>,
}
