//! Authentication tokens, and the keys that their sessions are stored under.

use std::fmt;
use std::fmt::Write;

use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind};
use crate::jose::material::base64url;
use crate::service::model::redacted::{FromSecretText, deserialize_secret, secret_text};
use crate::service::model::sealing::random_bytes;

secret_text! {
    /// An authentication token: an opaque bearer credential, stored only as a digest. Handlers deserialize it from a
    /// field of the request, like a [`Password`](crate::Password).
    AuthenticationToken
}

impl AuthenticationToken {
    /// The maximum length of a presented token, in bytes.
    pub const MAX_LEN: usize = 512;

    /// Generates a token with 256 bits from the operating system, as base64url.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if the operating system provides no random bytes.
    pub fn generate() -> Result<Self, Error> {
        Ok(Self::of_bits(&*random_bytes::<32>()?))
    }

    /// Creates a token of 256 bits that only the service can derive.
    pub(crate) fn of_bits(bits: &[u8; 32]) -> Self {
        Self(base64url(bits).into())
    }

    /// Creates a token from a text that a caller presents, or from a fixed text for demos and tests. The token is
    /// valid only if a session exists for it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if the text is empty, longer than 512 bytes, or contains anything but visible ASCII:
    /// no session can have such a token.
    pub fn from_text(text: impl Into<String>) -> Result<Self, Error> {
        let token = Self(text.into().into());
        let text = token.expose();
        let fits = (1..=Self::MAX_LEN).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits {
            Ok(token)
        } else {
            Err(Error::new(ErrorKind::NotFound, "there is no such authentication token"))
        }
    }

    /// Returns the key that the token's session is stored under.
    #[must_use]
    pub fn key(&self) -> SessionKey {
        let mut hasher = Sha256::new();
        hasher.update(b"countersign authentication token\0");
        hasher.update(self.expose().as_bytes());
        SessionKey(hasher.finalize().into())
    }
}

impl FromSecretText for AuthenticationToken {
    const RULE: &'static str =
        "an authentication token must be a text of 1 to 512 visible ASCII characters";

    fn from_secret_text(text: String) -> Result<Self, Error> {
        Self::from_text(text)
    }
}

impl<'de> Deserialize<'de> for AuthenticationToken {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        deserialize_secret(from)
    }
}

/// The key that a session is stored under: the SHA-256 digest of its authentication token, from which the token
/// cannot be recovered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey([u8; 32]);

impl SessionKey {
    /// Returns the bytes of the digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Creates a key from the bytes that [`as_bytes`](Self::as_bytes) returned.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hex = String::with_capacity(8);
        for byte in self.0.iter().take(4) {
            let _ = write!(hex, "{byte:02x}");
        }
        write!(f, "SessionKey({hex}…)")
    }
}
