//! The short forms, for hosts that leave the choice of the provider to the features.

use crate::error::Error;
use crate::jose::{Algorithm, DefaultProvider, KeyRing, SigningKey, VerifyingKey};

impl SigningKey {
    /// [`generate_with`](Self::generate_with) the [`DefaultProvider`].
    ///
    /// # Errors
    ///
    /// Those of [`generate_with`](Self::generate_with).
    pub fn generate(algorithm: Algorithm) -> Result<Self, Error> {
        Self::generate_with(algorithm, &DefaultProvider)
    }

    /// [`from_pem_with`](Self::from_pem_with) the [`DefaultProvider`].
    ///
    /// # Errors
    ///
    /// Those of [`from_pem_with`](Self::from_pem_with).
    pub fn from_pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, Error> {
        Self::from_pem_with(algorithm, pem, &DefaultProvider)
    }

    /// [`from_jwk_with`](Self::from_jwk_with) the [`DefaultProvider`].
    ///
    /// # Errors
    ///
    /// Those of [`from_jwk_with`](Self::from_jwk_with).
    pub fn from_jwk(jwk: &[u8]) -> Result<Self, Error> {
        Self::from_jwk_with(jwk, &DefaultProvider)
    }
}

impl VerifyingKey {
    /// [`from_pem_with`](Self::from_pem_with) the [`DefaultProvider`].
    ///
    /// # Errors
    ///
    /// Those of [`from_pem_with`](Self::from_pem_with).
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        Self::from_pem_with(pem, &DefaultProvider)
    }

    /// [`from_jwk_with`](Self::from_jwk_with) the [`DefaultProvider`].
    ///
    /// # Errors
    ///
    /// Those of [`from_jwk_with`](Self::from_jwk_with).
    pub fn from_jwk(jwk: &[u8]) -> Result<Self, Error> {
        Self::from_jwk_with(jwk, &DefaultProvider)
    }
}

impl KeyRing {
    /// A ring with one new key, for a first try: what it signed is worth nothing after a restart.
    ///
    /// # Errors
    ///
    /// Those of [`SigningKey::generate_with`].
    pub fn generate(algorithm: Algorithm) -> Result<Self, Error> {
        SigningKey::generate(algorithm).map(Self::new)
    }

    /// A ring with one private key in PEM.
    ///
    /// # Errors
    ///
    /// Those of [`SigningKey::from_pem_with`].
    pub fn from_pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, Error> {
        SigningKey::from_pem(algorithm, pem).map(Self::new)
    }

    /// A ring with one private JWK.
    ///
    /// # Errors
    ///
    /// Those of [`SigningKey::from_jwk_with`].
    pub fn from_jwk(jwk: &[u8]) -> Result<Self, Error> {
        SigningKey::from_jwk(jwk).map(Self::new)
    }

    /// [`from_jwks_with`](Self::from_jwks_with) the [`DefaultProvider`].
    ///
    /// # Errors
    ///
    /// Those of [`from_jwks_with`](Self::from_jwks_with).
    pub fn from_jwks(set: &[u8]) -> Result<Self, Error> {
        Self::from_jwks_with(set, &DefaultProvider)
    }
}
