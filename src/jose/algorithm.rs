use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// A signature algorithm (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// Ed25519: small keys and signatures, fast signing. The one to take.
    EdDSA,
    /// ECDSA over P-256 with SHA-256, for clients that know no Ed25519.
    ES256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, for clients that know nothing else. Slow to sign.
    RS256,
    /// HMAC with SHA-256, for one process that both issues and validates: whoever can check such
    /// a token can also make one.
    HS256,
}

impl Algorithm {
    pub(crate) const ALL: [Self; 4] = [Self::EdDSA, Self::ES256, Self::RS256, Self::HS256];

    /// Its name in a header's `alg`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdDSA => "EdDSA",
            Self::ES256 => "ES256",
            Self::RS256 => "RS256",
            Self::HS256 => "HS256",
        }
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
            Error::new(ErrorKind::InvalidKey, "the algorithm is not EdDSA, ES256, RS256 or HS256")
        })
    }
}
