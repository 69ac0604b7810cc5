//! JSON Web Signatures and Keys (RFC 7515, 7517, 7518, 7638, 8037), as strictly as they go.
//!
//! Knows nothing of claims, sessions or HTTP: bytes in, bytes out. The arithmetic is done by a
//! [`CryptoProvider`]; with the features `aws-lc-rs` and `rust-crypto` there are two of them, and
//! where both are on, the first is `DefaultProvider`.
//!
//! A [`KeyRing`] is made of [`SigningKey`]s and [`VerifyingKey`]s. A provider of the host's own is given their key
//! material, a [`PrivateKey`] or a [`VerificationKey`], and makes a [`Signer`] or a [`Verifier`] of it.

pub(crate) mod algorithm;
mod compact;
mod jwk;
pub(crate) mod jwk_set;
mod key;
pub(crate) mod key_ring;
pub(crate) mod material;
mod pem;
mod provider;

#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod with_default_provider;

pub(crate) use self::algorithm::Algorithm;
pub use self::key::{SigningKey, VerifyingKey};
pub(crate) use self::key_ring::{ExpiringKey, KeyRing};
pub use self::material::{PrivateKey, VerificationKey};
pub use self::provider::{CryptoProvider, Signer, Verifier};

#[cfg(feature = "aws-lc-rs")]
pub use self::provider::aws_lc::AwsLcRs;
#[cfg(feature = "rust-crypto")]
pub use self::provider::rust_crypto::RustCrypto;

#[cfg(feature = "aws-lc-rs")]
pub use self::provider::aws_lc::AwsLcRs as DefaultProvider;
#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
pub use self::provider::rust_crypto::RustCrypto as DefaultProvider;

#[cfg(feature = "remote-jwks")]
pub(crate) use self::compact::is_media_type;
pub(crate) use self::compact::{CompactJws, JoseHeader, JwsFault};
