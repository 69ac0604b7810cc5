//! JSON Web Keys (RFC 7517) and their thumbprints (RFC 7638).

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind};
use crate::jose::material::{base64url, from_base64url, strip_zeros};
use crate::jose::{Algorithm, PrivateKey, VerificationKey};
use crate::json;

fn invalid(problem: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidKey, problem)
}

/// A JWK that was read, with what it says of itself.
pub(super) struct ReadJwk<K> {
    pub(super) key: K,
    pub(super) kid: Option<String>,
}

/// Reads a private JWK, or an `oct` one.
pub(super) fn read_private(jwk: &[u8]) -> Result<ReadJwk<PrivateKey>, Error> {
    let members = read_members(jwk)?;
    let key = match text(&members, "kty")? {
        "OKP" => {
            check_curve(&members, "Ed25519")?;
            let seed = from_base64url(text(&members, "d")?)?;
            let seed = seed.as_slice().try_into();
            PrivateKey::Ed25519(
                seed.map(zeroize::Zeroizing::new)
                    .map_err(|_| invalid("an Ed25519 key must be 32 bytes long"))?,
            )
        }
        "EC" => {
            check_curve(&members, "P-256")?;
            let scalar = from_base64url(text(&members, "d")?)?;
            let scalar = scalar.as_slice().try_into();
            PrivateKey::P256(
                scalar
                    .map(zeroize::Zeroizing::new)
                    .map_err(|_| invalid("a P-256 key must be 32 bytes long"))?,
            )
        }
        "RSA" => {
            let mut parts = Vec::with_capacity(8);
            for name in ["n", "e", "d", "p", "q", "dp", "dq", "qi"] {
                parts.push(from_base64url(text(&members, name)?)?);
            }
            let slices: Vec<&[u8]> = parts.iter().map(|part| part.as_slice()).collect();
            let components = <[&[u8]; 8]>::try_from(slices);
            PrivateKey::from_rsa_components(
                components.map_err(|_| invalid("an RSA key is short"))?,
            )?
        }
        "oct" => PrivateKey::from_hmac_secret(&from_base64url(text(&members, "k")?)?)?,
        _ => return Err(invalid("the JWK's kty is not OKP, EC, RSA or oct")),
    };
    let Purpose { kid, algorithm } = purpose(&members)?;
    if algorithm.is_some_and(|algorithm| algorithm != key.algorithm()) {
        return Err(invalid("the JWK's alg is not of its kty"));
    }
    Ok(ReadJwk { key, kid })
}

/// The public key that a private JWK states beside its private one, where it states one.
pub(super) fn stated_public(jwk: &[u8]) -> Result<Option<VerificationKey>, Error> {
    let members = read_members(jwk)?;
    if !members.contains_key("x") && !members.contains_key("n") {
        return Ok(None);
    }
    for name in ["x", "y", "n", "e"].into_iter().filter(|name| members.contains_key(*name)) {
        let number = from_base64url(text(&members, name)?)?;
        if members.get("kty").and_then(Value::as_str) == Some("EC") && number.len() != 32 {
            return Err(invalid("a P-256 coordinate must be 32 bytes long"));
        }
    }
    PublicMaterial::read(&members)?.key(Algorithm::RS256).map(Some)
}

/// Reads a public JWK; an `oct` one is rejected. An RSA key without `alg` is one for each of `rsa`.
///
/// It is read leniently where it has one meaning: members that are `null`, base64 with padding or of the other alphabet,
/// and numbers with a zero octet more or less than RFC 7518 says.
pub(super) fn read_public(
    jwk: &[u8],
    rsa: &[Algorithm],
) -> Result<Vec<ReadJwk<VerificationKey>>, Error> {
    let mut members = read_members(jwk)?;
    members.retain(|_, value| !value.is_null());
    let material = PublicMaterial::read(&members)?;
    let Purpose { kid, algorithm } = purpose(&members)?;
    let algorithms = match (algorithm, &material) {
        (Some(algorithm), _) => vec![algorithm],
        (None, PublicMaterial::Rsa { .. }) => rsa.to_vec(),
        (None, material) => vec![material.key(Algorithm::RS256)?.algorithm()],
    };
    let mut keys = Vec::new();
    for algorithm in algorithms {
        let key = material.key(algorithm)?;
        if key.algorithm() != algorithm {
            return Err(invalid("the JWK's alg is not of its kty and crv"));
        }
        keys.push(ReadJwk { key, kid: kid.clone() });
    }
    Ok(keys)
}

/// Returns the `kid` of a JWK that cannot be used, and whether it says that it is for encryption (RFC 7517 §4.2).
pub(super) fn stated_kid_and_use(jwk: &[u8]) -> (String, bool) {
    let members = read_members(jwk).unwrap_or_default();
    let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default();
    (text("kid").to_owned(), text("use") == "enc")
}

fn read_members(jwk: &[u8]) -> Result<Map<String, Value>, Error> {
    json::parse_object(jwk).map_err(|error| invalid(format!("the JWK {error}")))
}

/// What a public JWK is made of, whatever it is for.
enum PublicMaterial {
    /// Of a curve with one algorithm.
    Curve(VerificationKey),
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
}

impl PublicMaterial {
    fn read(members: &Map<String, Value>) -> Result<Self, Error> {
        let number = |name| decode(text(members, name)?);
        let curve = match text(members, "kty")? {
            "RSA" => return Ok(Self::Rsa { modulus: number("n")?, exponent: number("e")? }),
            "OKP" | "EC" => text(members, "crv")?,
            _ => return Err(invalid("the JWK's kty is not OKP, EC or RSA")),
        };
        let point = |len| {
            Ok::<_, Error>(
                [
                    &[4],
                    coordinate(&number("x")?, len)?.as_slice(),
                    coordinate(&number("y")?, len)?.as_slice(),
                ]
                .concat(),
            )
        };
        let key = match (text(members, "kty")?, curve) {
            ("OKP", "Ed25519") => VerificationKey::ed25519(&number("x")?),
            ("EC", "P-256") => VerificationKey::p256(&point(32)?),
            ("EC", "P-384") => VerificationKey::p384(&point(48)?),
            ("EC", "P-521") => VerificationKey::p521(&point(66)?),
            _ => Err(invalid("the JWK's crv is not Ed25519, P-256, P-384 or P-521")),
        };
        key.map(Self::Curve)
    }

    fn key(&self, algorithm: Algorithm) -> Result<VerificationKey, Error> {
        match self {
            Self::Curve(key) => Ok(key.clone()),
            Self::Rsa { modulus, exponent } => {
                VerificationKey::rsa(modulus, exponent)?.with_algorithm(algorithm)
            }
        }
    }
}

/// Writes a coordinate in as many octets as its curve's take (RFC 7518 §6.2.1.2): some leave leading zeros out, or write
/// one too many.
fn coordinate(number: &[u8], len: usize) -> Result<Vec<u8>, Error> {
    let number = strip_zeros(number);
    let zeros = len.checked_sub(number.len());
    let zeros =
        zeros.ok_or_else(|| invalid("a coordinate of the JWK is longer than its curve's"))?;
    Ok([vec![0; zeros].as_slice(), number].concat())
}

/// Decodes base64url (RFC 7515 §2), or the base64 of RFC 4648 §4, with or without padding.
fn decode(text: &str) -> Result<Vec<u8>, Error> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
    let engine = if text.contains(['+', '/']) { STANDARD } else { URL_SAFE };
    engine.decode(text).map_err(|_| invalid("a member of the JWK is not in base64"))
}

fn text<'a>(members: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, Error> {
    members
        .get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| invalid(format!("the JWK's {name} is missing or no string")))
}

fn check_curve(members: &Map<String, Value>, expected: &'static str) -> Result<(), Error> {
    if text(members, "crv")? == expected {
        Ok(())
    } else {
        Err(invalid("the JWK's crv is not Ed25519 or P-256"))
    }
}

/// What a JWK says that it is for.
struct Purpose {
    kid: Option<String>,
    algorithm: Option<Algorithm>,
}

/// Reads `use`, `key_ops`, `alg` and `kid` (RFC 7517 §4).
fn purpose(members: &Map<String, Value>) -> Result<Purpose, Error> {
    let stated = |name: &'static str| match members.get(name) {
        None => Ok(None),
        Some(_) => text(members, name).map(Some),
    };
    if stated("use")?.is_some_and(|purpose| purpose != "sig") {
        return Err(invalid("the JWK's use is not sig"));
    }
    if !members.contains_key("d") && !members.contains_key("k") {
        check_operations(members.get("key_ops"))?;
    }
    let algorithm = stated("alg")?.map(str::parse::<Algorithm>).transpose()?;
    Ok(Purpose { kid: stated("kid")?.map(str::to_owned), algorithm })
}

/// A public key whose operations leave `verify` out is not for that. Some write one operation as a string.
fn check_operations(operations: Option<&Value>) -> Result<(), Error> {
    let verifies = |operation: &Value| operation.as_str() == Some("verify");
    let is_for_verifying = match operations {
        None => true,
        Some(Value::Array(operations)) => operations.iter().any(verifies),
        Some(operation) => verifies(operation),
    };
    if is_for_verifying { Ok(()) } else { Err(invalid("the JWK's key_ops do not include verify")) }
}

/// The RFC 7638 thumbprint with SHA-256, base64url.
pub(super) fn thumbprint(key: &VerificationKey) -> String {
    // §3.3: the required members alone, in lexicographic order, without white space. None of the
    // values needs escaping.
    let canonical = match key {
        VerificationKey::Ed25519(x) => {
            format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, base64url(x))
        }
        VerificationKey::P256(point) => {
            let (x, y) = (base64url(&point[1..33]), base64url(&point[33..]));
            format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
        }
        VerificationKey::P384(point) => {
            let (x, y) = (base64url(&point[1..49]), base64url(&point[49..]));
            format!(r#"{{"crv":"P-384","kty":"EC","x":"{x}","y":"{y}"}}"#)
        }
        VerificationKey::P521(point) => {
            let (x, y) = (base64url(&point[1..67]), base64url(&point[67..]));
            format!(r#"{{"crv":"P-521","kty":"EC","x":"{x}","y":"{y}"}}"#)
        }
        VerificationKey::Rsa { modulus, exponent, .. } => {
            let (n, e) = (base64url(modulus), base64url(exponent));
            format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#)
        }
        VerificationKey::Hmac(secret) => {
            let k = zeroize::Zeroizing::new(base64url(secret));
            format!(r#"{{"k":"{}","kty":"oct"}}"#, *k)
        }
    };
    let canonical = zeroize::Zeroizing::new(canonical);
    base64url(&Sha256::digest(canonical.as_bytes()))
}

/// The public JWK to publish; `None` for a shared secret, which is not.
pub(super) fn to_public_jwk(key: &VerificationKey, kid: &str) -> Option<Value> {
    let ec = |curve: &str, point: &[u8]| {
        let (x, y) = point[1..].split_at(point.len() / 2);
        json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)})
    };
    let mut jwk = match key {
        VerificationKey::Ed25519(x) => {
            json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(x)})
        }
        VerificationKey::P256(point) => ec("P-256", point),
        VerificationKey::P384(point) => ec("P-384", point),
        VerificationKey::P521(point) => ec("P-521", point),
        VerificationKey::Rsa { modulus, exponent, .. } => {
            json!({"kty": "RSA", "n": base64url(modulus), "e": base64url(exponent)})
        }
        VerificationKey::Hmac(_) => return None,
    };
    for (name, value) in [("use", "sig"), ("alg", key.algorithm().as_str()), ("kid", kid)] {
        jwk[name] = value.into();
    }
    Some(jwk)
}

/// A JWK Set of these keys.
pub(super) fn write_set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}
