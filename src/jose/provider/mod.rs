//! Who does the arithmetic.

#[cfg(feature = "aws-lc-rs")]
pub(super) mod aws_lc;
#[cfg(feature = "rust-crypto")]
pub(super) mod rust_crypto;

use std::fmt;

use crate::error::Error;
use crate::jose::{Algorithm, PrivateKey, VerificationKey};

/// A cryptographic library, behind what this crate needs of it.
///
/// Providers are passed where keys are made and never installed for the process, so two of them,
/// and two versions of one, get along. Implement it for a library that this crate
/// has none for.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no crypto provider",
    label = "has to be a `CryptoProvider`",
    note = "the features `aws-lc-rs` and `rust-crypto` bring one each; without an argument of that kind, the default one is taken"
)]
pub trait CryptoProvider: fmt::Debug + Send + Sync {
    /// Makes a key. RSA keys have 2048 bits, HMAC keys 32 bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) where there are no random bytes.
    fn generate(&self, algorithm: Algorithm) -> Result<PrivateKey, Error>;

    /// What verifies the signatures of `key`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`](crate::ErrorKind::InvalidKey) where it is no key.
    fn verification_key(&self, key: &PrivateKey) -> Result<VerificationKey, Error>;

    /// Prepares a key for signing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`](crate::ErrorKind::InvalidKey) where it is no key.
    fn signer(&self, key: &PrivateKey) -> Result<Box<dyn Signer>, Error>;

    /// Prepares a key for verifying.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`](crate::ErrorKind::InvalidKey) where it is no key.
    fn verifier(&self, key: &VerificationKey) -> Result<Box<dyn Verifier>, Error>;
}

/// A key prepared for signing.
pub trait Signer: Send + Sync {
    /// The signature of `message` in the form of RFC 7518 §3 (for ES256: r and s, 64 bytes).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) where it cannot be made.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error>;
}

/// A key prepared for verifying.
pub trait Verifier: Send + Sync {
    /// Returns whether `signature`, in the form of RFC 7518 §3 and no other, is that of `message`.
    #[must_use]
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool;
}
