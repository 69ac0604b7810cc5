//! Keys that are prepared for use: what is costly about them has been done at load.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, LazyLock, OnceLock};

use serde_json::{Value, json};

use crate::error::{Error, ErrorKind};
use crate::jose::material::base64url;
use crate::jose::provider::{CryptoProvider, Signer, Verifier};
use crate::jose::{Algorithm, PrivateKey, VerificationKey, jwk};

/// A private key with its public half, prepared for signing. Cheap to clone.
#[derive(Clone)]
pub struct SigningKey {
    prepared: Arc<Prepared>,
    verifying: VerifyingKey,
}

struct Prepared {
    signer: Box<dyn Signer>,
    /// The first segment of every token that it signs, dot included.
    header: String,
}

impl SigningKey {
    /// Prepares a private key with a provider.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] where the key is too weak, or the provider rejects it.
    pub fn new(key: &PrivateKey, provider: &dyn CryptoProvider) -> Result<Self, Error> {
        let verifying = VerifyingKey::new(provider.verification_key(key)?, None, provider)?;
        let signer = provider.signer(key)?;
        let header = format!("{}.", base64url(header(&verifying).as_bytes()));
        Ok(Self { prepared: Arc::new(Prepared { signer, header }), verifying })
    }

    /// Generates a key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] where there are no random bytes to be had.
    pub fn generate_with(
        algorithm: Algorithm,
        provider: &dyn CryptoProvider,
    ) -> Result<Self, Error> {
        Self::new(&provider.generate(algorithm)?, provider)
    }

    /// Reads a private key in PEM and prepares it; see [`PrivateKey::from_pem`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] where it is malformed, too weak, or not for `algorithm`.
    pub fn from_pem_with(
        algorithm: Algorithm,
        pem: &[u8],
        provider: &dyn CryptoProvider,
    ) -> Result<Self, Error> {
        let key = PrivateKey::from_pem(pem)?;
        if key.algorithm() != algorithm {
            return Err(Error::new(
                ErrorKind::InvalidKey,
                format!("the key is for {}, not for {algorithm}", key.algorithm()),
            ));
        }
        Self::new(&key, provider)
    }

    /// Reads a private JWK (RFC 7517), `oct` among them, and prepares it. Its algorithm follows
    /// from its `kty`; its `kid` is its thumbprint, whatever the JWK says.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] where it is malformed, too weak, or its public members are not
    /// those of its private ones.
    pub fn from_jwk_with(jwk: &[u8], provider: &dyn CryptoProvider) -> Result<Self, Error> {
        let key = Self::new(&jwk::read_private(jwk)?.key, provider)?;
        match jwk::stated_public(jwk)? {
            Some(stated) if stated != key.verifying.prepared.key => Err(Error::new(
                ErrorKind::InvalidKey,
                "the JWK's public members do not belong to its private ones",
            )),
            _ => Ok(key),
        }
    }

    /// What verifies its signatures.
    #[must_use]
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying
    }

    /// Its RFC 7638 thumbprint.
    #[must_use]
    pub fn kid(&self) -> &str {
        self.verifying.kid()
    }

    /// The algorithm that it signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.verifying.algorithm()
    }

    /// Signs `payload` and returns the compact JWS (RFC 7515 §7.1), with the header of an access
    /// token (RFC 9068 §2.1).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] where the provider fails.
    pub fn sign_compact(&self, payload: &[u8]) -> Result<String, Error> {
        use base64::Engine;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;

        const SIGNATURE_LEN: usize = 88;
        let header = &self.prepared.header;
        let mut token = String::with_capacity(header.len() + payload.len() * 4 / 3 + SIGNATURE_LEN);
        token.push_str(header);
        URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        let signature = self.sign_bytes(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// The signature of any bytes.
    pub(crate) fn sign_bytes(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        self.prepared.signer.sign(bytes)
    }
}

/// RFC 9068 §2.1.
fn header(key: &VerifyingKey) -> String {
    json!({"typ": "at+jwt", "alg": key.algorithm().as_str(), "kid": key.kid()}).to_string()
}

/// A public key, or a shared secret, prepared for verifying. Cheap to clone.
#[derive(Clone)]
pub struct VerifyingKey {
    prepared: Arc<PreparedVerifying>,
}

/// What keys are told apart by; each process draws its own.
static IDENTITIES: LazyLock<RandomState> = LazyLock::new(RandomState::new);

struct PreparedVerifying {
    kid: Box<str>,
    identity: u64,
    key: VerificationKey,
    verifier: Box<dyn Verifier>,
    /// The header of the first token that it verified: the next one's will be the same, and need not
    /// be read again.
    known_header: OnceLock<Box<str>>,
}

impl VerifyingKey {
    /// Prepares a key with a provider. Its `kid` is the one that its tokens name; by default its
    /// RFC 7638 thumbprint.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] where the key is too weak, or the provider rejects it, as for a point
    /// that is not on the curve.
    pub fn new(
        key: VerificationKey,
        kid: Option<String>,
        provider: &dyn CryptoProvider,
    ) -> Result<Self, Error> {
        let key = key.judged()?;
        let thumbprint = jwk::thumbprint(&key);
        let kid: Box<str> = kid.unwrap_or_else(|| thumbprint.clone()).into();
        let verifier = provider.verifier(&key)?;
        let identity = IDENTITIES.hash_one((&kid, thumbprint, key.algorithm()));
        let known_header = OnceLock::new();
        let prepared = PreparedVerifying { kid, identity, key, verifier, known_header };
        Ok(Self { prepared: Arc::new(prepared) })
    }

    /// Reads a public key in PEM and prepares it; see [`VerificationKey::from_pem`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] where it is malformed or too weak.
    pub fn from_pem_with(pem: &[u8], provider: &dyn CryptoProvider) -> Result<Self, Error> {
        Self::new(VerificationKey::from_pem(pem)?, None, provider)
    }

    /// Reads a public JWK (RFC 7517) and prepares it, under its own `kid` if it has one. An RSA key without `alg` is for
    /// RS256.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] if it is malformed, too weak, no public key, or not for verifying.
    pub fn from_jwk_with(jwk: &[u8], provider: &dyn CryptoProvider) -> Result<Self, Error> {
        let read = jwk::read_public(jwk, &[Algorithm::RS256])?.into_iter().next();
        let none = || Error::new(ErrorKind::InvalidKey, "the JWK has no key");
        let read = read.ok_or_else(none)?;
        Self::new(read.key, read.kid, provider)
    }

    /// The name that tokens call it by.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.prepared.kid
    }

    /// The one algorithm that it verifies.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.prepared.key.algorithm()
    }

    /// The public JWK; `None` for a shared secret.
    #[must_use]
    pub fn to_jwk(&self) -> Option<Value> {
        jwk::to_public_jwk(&self.prepared.key, self.kid())
    }

    /// A number that the same key under the same name has, however it was loaded, and in this process
    /// no other. It tells nothing of the key.
    pub(crate) fn identity(&self) -> u64 {
        self.prepared.identity
    }

    /// Returns whether a token with this header, a segment of base64url, was good before.
    pub(crate) fn knows_header(&self, header: &str) -> bool {
        self.prepared.known_header.get().is_some_and(|known| **known == *header)
    }

    /// Notes the header of a token that it has verified.
    pub(crate) fn remember_header(&self, header: &str) {
        self.prepared.known_header.get_or_init(|| header.into());
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.prepared.verifier.verify(message, signature)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, {})", self.algorithm(), self.kid())
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({}, {})", self.algorithm(), self.kid())
    }
}
