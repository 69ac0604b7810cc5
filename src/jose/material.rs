//! Keys as bytes, before a provider prepares them: read from PEM, DER or JWK, checked, normalised.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pkcs1::DecodeRsaPrivateKey as _;
use pkcs8::der::{Decode as _, Encode as _};
use pkcs8::{ObjectIdentifier, PrivateKeyInfoRef, SubjectPublicKeyInfoRef};
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};
use crate::jose::{Algorithm, pem};

/// RFC 8410 §3.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// RFC 5480 §2.1.1.
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
/// RFC 8017 §A.1.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// RFC 7518 §3.2: a key as long as the hash, at least.
const MIN_HMAC_LEN: usize = 32;
/// RFC 7518 §3.3; and above 8192 a verification becomes a way to keep a server busy.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A private key, normalised and not yet prepared for use.
#[derive(Clone)]
#[non_exhaustive]
pub enum PrivateKey {
    /// Ed25519: the 32-byte seed (RFC 8032 §5.1.5).
    Ed25519(Zeroizing<[u8; 32]>),
    /// P-256: the 32-byte scalar, big-endian.
    P256(Zeroizing<[u8; 32]>),
    /// RSA: `RSAPrivateKey` in DER (RFC 8017 §A.1.2).
    Rsa(Zeroizing<Vec<u8>>),
    /// HMAC: the shared secret.
    Hmac(Zeroizing<Vec<u8>>),
}

/// What verifies a signature: a public key, or the shared secret.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerificationKey {
    /// Ed25519: the 32-byte public key, canonical and not of small order.
    Ed25519([u8; 32]),
    /// P-256: the uncompressed point, 65 bytes (SEC 1 §2.3.3).
    P256([u8; 65]),
    /// P-384: the uncompressed point, 97 bytes.
    P384([u8; 97]),
    /// P-521: the uncompressed point, 133 bytes.
    P521([u8; 133]),
    /// RSA: modulus and exponent, big-endian, without leading zeros.
    Rsa {
        /// The one algorithm that the key is for, of those that begin with RS or PS.
        algorithm: Algorithm,
        /// The modulus, 2048 to 8192 bits.
        modulus: Vec<u8>,
        /// The exponent, odd and at least 3.
        exponent: Vec<u8>,
    },
    /// HMAC: the shared secret.
    Hmac(Zeroizing<Vec<u8>>),
}

fn invalid(problem: &'static str) -> Error {
    Error::new(ErrorKind::InvalidKey, problem)
}

/// Makes an error of what a parser says, which quotes no key.
fn malformed<E>(problem: &'static str) -> impl Fn(E) -> Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |error| invalid(problem).with_source(error)
}

impl PrivateKey {
    /// Reads a private key in PEM: PKCS#8 (`PRIVATE KEY`), PKCS#1 (`RSA PRIVATE KEY`) or SEC 1 (`EC PRIVATE KEY`).
    ///
    /// The text may have what files, environment variables and YAML add to it: a byte order mark, indentation, blanks at
    /// the ends of lines, lines of any length, `\n` for a line break, `EC PARAMETERS` or a certificate beside the key, or
    /// all of it once more in base64.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] if it is none of these, encrypted, in the form of OpenSSH, or not of a kind or strength
    /// that is accepted. The message says which; its source is the parser's error.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        let pem::Block { label, der } = pem::read(pem, pem::Wanted::PrivateKey)?;
        match label {
            pem::PKCS8 => Self::from_pkcs8(&der),
            pem::PKCS1_PRIVATE => Self::from_pkcs1(&der),
            _ => Self::from_sec1(&der, None),
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, Error> {
        let info = PrivateKeyInfoRef::try_from(der)
            .map_err(malformed("the key is not well-formed PKCS#8"))?;
        let key = info.private_key.as_bytes();
        match info.algorithm.oid {
            ED25519 => {
                // RFC 8410 §7: an OCTET STRING of its own within the outer one.
                let seed = match key {
                    [0x04, 0x20, seed @ ..] => seed.try_into().ok(),
                    _ => None,
                };
                seed.map(|seed| Self::Ed25519(Zeroizing::new(seed)))
                    .ok_or_else(|| invalid("the Ed25519 key is not 32 bytes long"))
            }
            EC => Self::from_sec1(key, info.algorithm.parameters_oid().ok()),
            RSA => Self::from_pkcs1(key),
            _ => Err(invalid("the key is not an Ed25519, P-256 or RSA key")),
        }
    }

    fn from_sec1(der: &[u8], outer_curve: Option<ObjectIdentifier>) -> Result<Self, Error> {
        let key = sec1::EcPrivateKey::from_der(der)
            .map_err(malformed("the EC key is not well-formed"))?;
        let inner_curve = key.parameters.and_then(|parameters| parameters.named_curve());
        if outer_curve.or(inner_curve) != Some(P256) {
            return Err(invalid(
                "the EC key is not on P-256, the one curve that tokens are signed with",
            ));
        }
        let scalar: [u8; 32] =
            key.private_key.try_into().map_err(|_| invalid("the EC key is not 32 bytes long"))?;
        Ok(Self::P256(Zeroizing::new(scalar)))
    }

    pub(crate) fn from_pkcs1(der: &[u8]) -> Result<Self, Error> {
        let key = pkcs1::RsaPrivateKeyOwned::from_pkcs1_der(der)
            .map_err(malformed("the RSA key is not well-formed"))?;
        check_rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes())?;
        Ok(Self::Rsa(Zeroizing::new(der.to_vec())))
    }

    /// RSA from the members of a JWK (RFC 7518 §6.3), big-endian: n, e, d, p, q, dp, dq, qi.
    pub(super) fn from_rsa_components(components: [&[u8]; 8]) -> Result<Self, Error> {
        let malformed = |_| invalid("the RSA key is not well-formed");
        let [n, e, d, p, q, dp, dq, qi] =
            components.map(|bytes| pkcs1::UintRef::new(strip_zeros(bytes)));
        let key = pkcs1::RsaPrivateKeyRef {
            modulus: n.map_err(malformed)?,
            public_exponent: e.map_err(malformed)?,
            private_exponent: d.map_err(malformed)?,
            prime1: p.map_err(malformed)?,
            prime2: q.map_err(malformed)?,
            exponent1: dp.map_err(malformed)?,
            exponent2: dq.map_err(malformed)?,
            coefficient: qi.map_err(malformed)?,
            other_prime_infos: None,
        };
        let der = Zeroizing::new(key.to_der().map_err(malformed)?);
        Self::from_pkcs1(&der)
    }

    /// A shared secret for [`Algorithm::HS256`]. Take random bytes, not a phrase.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] below 32 bytes (RFC 7518 §3.2), and for a public key in PEM, DER
    /// or JWK form: what is public keys no HMAC.
    pub fn from_hmac_secret(secret: &[u8]) -> Result<Self, Error> {
        if secret.len() < MIN_HMAC_LEN {
            return Err(invalid("an HMAC key must be at least 32 bytes long"));
        }
        let looks_like_pem = secret.windows(11).any(|window| window == b"-----BEGIN ");
        let looks_like_jwk = secret.windows(5).any(|window| window == b"\"kty\"");
        let looks_like_der = SubjectPublicKeyInfoRef::try_from(secret).is_ok()
            || pkcs1::RsaPublicKeyRef::try_from(secret).is_ok();
        if looks_like_pem || looks_like_jwk || looks_like_der {
            return Err(invalid("a public key or a JWK is no HMAC key"));
        }
        Ok(Self::Hmac(Zeroizing::new(secret.to_vec())))
    }

    /// The one algorithm that it is good for.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed25519(_) => Algorithm::EdDSA,
            Self::P256(_) => Algorithm::ES256,
            Self::Rsa(_) => Algorithm::RS256,
            Self::Hmac(_) => Algorithm::HS256,
        }
    }
}

impl VerificationKey {
    /// Reads a public key in PEM: SPKI (`PUBLIC KEY`) or PKCS#1 (`RSA PUBLIC KEY`), as leniently as
    /// [`PrivateKey::from_pem`]. An RSA key is for RS256; see [`with_algorithm`](Self::with_algorithm).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] if it is neither, or not of a kind or strength that is accepted. The message says which;
    /// its source is the parser's error.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        let pem::Block { label, der } = pem::read(pem, pem::Wanted::PublicKey)?;
        match label {
            pem::SPKI => Self::from_spki(&der),
            _ => Self::from_pkcs1(&der),
        }
    }

    fn from_spki(der: &[u8]) -> Result<Self, Error> {
        let problem = "the public key is not well-formed";
        let info = SubjectPublicKeyInfoRef::try_from(der).map_err(malformed(problem))?;
        let key = info.subject_public_key.as_bytes().ok_or_else(|| invalid(problem))?;
        match (info.algorithm.oid, info.algorithm.parameters_oid().ok()) {
            (ED25519, _) => Self::ed25519(key),
            (EC, Some(P256)) => Self::p256(key),
            (EC, Some(P384)) => Self::p384(key),
            (EC, Some(P521)) => Self::p521(key),
            (RSA, _) => Self::from_pkcs1(key),
            _ => Err(invalid("the key is not an Ed25519, P-256, P-384, P-521 or RSA key")),
        }
    }

    pub(crate) fn from_pkcs1(der: &[u8]) -> Result<Self, Error> {
        let key = pkcs1::RsaPublicKeyRef::try_from(der)
            .map_err(malformed("the RSA key is not well-formed"))?;
        Self::rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes())
    }

    /// An Ed25519 public key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] where it is not 32 bytes, not canonical, or of small order: such
    /// a "key" verifies signatures that nobody made.
    pub fn ed25519(key: &[u8]) -> Result<Self, Error> {
        let key: [u8; 32] =
            key.try_into().map_err(|_| invalid("an Ed25519 key must be 32 bytes long"))?;
        if !is_canonical_and_not_of_small_order(&key) {
            return Err(invalid("the Ed25519 key is of small order or not canonical"));
        }
        Ok(Self::Ed25519(key))
    }

    /// Makes a P-256 public key of an uncompressed point (SEC 1 §2.3.3). The provider checks that it is on the curve.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] if it is not 65 bytes beginning with 4.
    pub fn p256(point: &[u8]) -> Result<Self, Error> {
        let problem = "a P-256 key must be an uncompressed point of 65 bytes";
        uncompressed(point).map(Self::P256).ok_or_else(|| invalid(problem))
    }

    /// Makes a P-384 public key of an uncompressed point, like [`p256`](Self::p256).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] if it is not 97 bytes beginning with 4.
    pub fn p384(point: &[u8]) -> Result<Self, Error> {
        let problem = "a P-384 key must be an uncompressed point of 97 bytes";
        uncompressed(point).map(Self::P384).ok_or_else(|| invalid(problem))
    }

    /// Makes a P-521 public key of an uncompressed point, like [`p256`](Self::p256).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] if it is not 133 bytes beginning with 4.
    pub fn p521(point: &[u8]) -> Result<Self, Error> {
        let problem = "a P-521 key must be an uncompressed point of 133 bytes";
        uncompressed(point).map(Self::P521).ok_or_else(|| invalid(problem))
    }

    /// Makes an RSA public key of modulus and exponent, big-endian. It is for RS256.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] if the modulus is not of 2048 to 8192 bits, or the exponent is even, 1, or longer than 33
    /// bits.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, Error> {
        check_rsa(modulus, exponent)?;
        let (modulus, exponent) = (strip_zeros(modulus).into(), strip_zeros(exponent).into());
        Ok(Self::Rsa { algorithm: Algorithm::RS256, modulus, exponent })
    }

    /// Returns the same key for another algorithm: an RSA key may be for each that begins with RS or PS.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] if keys of its kind are not for that algorithm.
    pub fn with_algorithm(self, algorithm: Algorithm) -> Result<Self, Error> {
        match self {
            Self::Rsa { modulus, exponent, .. } if algorithm.is_rsa() => {
                Ok(Self::Rsa { algorithm, modulus, exponent })
            }
            key if key.algorithm() == algorithm => Ok(key),
            _ => Err(invalid("keys of that kind are not for that algorithm")),
        }
    }

    /// Itself, where it may be used: one that was put together from its parts has not been looked at.
    pub(super) fn judged(self) -> Result<Self, Error> {
        match &self {
            Self::Ed25519(key) => Self::ed25519(key),
            Self::P256(point) => Self::p256(point),
            Self::P384(point) => Self::p384(point),
            Self::P521(point) => Self::p521(point),
            Self::Rsa { algorithm, modulus, exponent } => {
                Self::rsa(modulus, exponent)?.with_algorithm(*algorithm)
            }
            Self::Hmac(secret) => PrivateKey::from_hmac_secret(secret).map(|_| self),
        }
    }

    /// The one algorithm that it is good for.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed25519(_) => Algorithm::EdDSA,
            Self::P256(_) => Algorithm::ES256,
            Self::P384(_) => Algorithm::ES384,
            Self::P521(_) => Algorithm::ES512,
            Self::Rsa { algorithm, .. } => *algorithm,
            Self::Hmac(_) => Algorithm::HS256,
        }
    }
}

fn uncompressed<const LEN: usize>(point: &[u8]) -> Option<[u8; LEN]> {
    point.try_into().ok().filter(|point: &[u8; LEN]| point[0] == 4)
}

pub(super) fn strip_zeros(mut bytes: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

fn check_rsa(modulus: &[u8], exponent: &[u8]) -> Result<(), Error> {
    let (modulus, exponent) = (strip_zeros(modulus), strip_zeros(exponent));
    let leading = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    if !RSA_BITS.contains(&(modulus.len() * 8 - leading)) {
        return Err(invalid("an RSA modulus must have 2048 to 8192 bits"));
    }
    let odd = exponent.last().is_some_and(|byte| byte % 2 == 1);
    let in_range = match exponent {
        [] | [0..=2] => false,
        [high, _, _, _, _] => *high <= 1,
        other => other.len() < 5,
    };
    if odd && in_range { Ok(()) } else { Err(invalid("an RSA exponent must be odd, 3 to 2^33")) }
}

/// Returns whether y is below the field's prime (RFC 8032 §5.1.3) and the point not one of the
/// eight of small order, which have five different y.
fn is_canonical_and_not_of_small_order(key: &[u8; 32]) -> bool {
    /// y of the points of order 8, little-endian.
    const ORDER_EIGHT: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef,
            0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88,
            0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10,
            0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77,
            0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    let mut y = *key;
    y[31] &= 0x7f;
    let middle_is_ones = y[1..31].iter().all(|byte| *byte == 0xff) && y[31] == 0x7f;
    // p = 2^255 - 19 is ed ff … ff 7f; p - 1 is the y of the point of order 2.
    if middle_is_ones && y[0] >= 0xec {
        return false;
    }
    let is_zero_or_one = y[1..].iter().all(|byte| *byte == 0) && y[0] <= 1;
    !is_zero_or_one && !ORDER_EIGHT.contains(&y)
}

/// base64url without padding, as JWKs and thumbprints have it.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn from_base64url(text: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map(Zeroizing::new)
        .map_err(|_| invalid("a member of the JWK is not base64url without padding"))
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({}, [redacted])", self.algorithm())
    }
}

/// A public key is public, but a shared secret is not: neither is printed.
impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerificationKey({}, ..)", self.algorithm())
    }
}
