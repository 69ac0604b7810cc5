use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// A signature algorithm (RFC 7518 §3.1, RFC 8037 §3.1).
///
/// Tokens are signed with the first four. The others verify the tokens of issuers that use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// Ed25519: small keys and signatures, fast signing. The recommended one.
    EdDSA,
    /// ECDSA over P-256 with SHA-256, for clients that do not support Ed25519.
    ES256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, for clients that support nothing else. Slow to sign.
    RS256,
    /// HMAC with SHA-256, for one process that both issues and validates: a process that can check such a token can also
    /// make one.
    HS256,
    /// ECDSA over P-384 with SHA-384. Verification only.
    ES384,
    /// ECDSA over P-521 with SHA-512. Verification only.
    ES512,
    /// RSASSA-PKCS1-v1_5 with SHA-384. Verification only.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512. Verification only.
    RS512,
    /// RSASSA-PSS with SHA-256 and a salt of 32 bytes. Verification only.
    PS256,
    /// RSASSA-PSS with SHA-384 and a salt of 48 bytes. Verification only.
    PS384,
    /// RSASSA-PSS with SHA-512 and a salt of 64 bytes. Verification only.
    PS512,
}

impl Algorithm {
    const ALL: [Self; 11] = [
        Self::EdDSA,
        Self::ES256,
        Self::RS256,
        Self::HS256,
        Self::ES384,
        Self::ES512,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
    ];

    /// Returns the name in a header's `alg`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdDSA => "EdDSA",
            Self::ES256 => "ES256",
            Self::RS256 => "RS256",
            Self::HS256 => "HS256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
        }
    }

    /// Returns whether an RSA key may be for it.
    pub(crate) fn is_rsa(self) -> bool {
        matches!(
            self,
            Self::RS256 | Self::RS384 | Self::RS512 | Self::PS256 | Self::PS384 | Self::PS512
        )
    }

    /// Returns all whose keys can be published: a shared secret cannot.
    pub(crate) fn asymmetric() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|algorithm| *algorithm != Self::HS256)
    }

    /// The error of a provider that is asked for a key to sign with.
    #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
    pub(crate) fn not_for_signing(self) -> Error {
        let problem = format!("{self} is for verification only: tokens are not signed with it");
        Error::new(ErrorKind::InvalidKey, problem)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = Error;

    /// Reads a name exactly as it is registered; `Ed25519` (RFC 9864 §2.2) is `EdDSA`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] for any other name, `none` in all its spellings among them.
    fn from_str(name: &str) -> Result<Self, Error> {
        let name = if name == "Ed25519" { "EdDSA" } else { name };
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidKey,
                "the algorithm is not EdDSA, HS256, or ES, RS or PS with 256, 384 or 512",
            )
        })
    }
}
