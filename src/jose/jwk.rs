//! JSON Web Keys (RFC 7517) and their thumbprints (RFC 7638).

use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, EllipticCurveKeyParameters,
    EllipticCurveKeyType, Jwk, KeyAlgorithm, OctetKeyPairParameters, OctetKeyPairType,
    PublicKeyUse, RSAKeyParameters, RSAKeyType,
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind};
use crate::jose::material::{base64url, from_base64url};
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
    let kid = check_purpose(&members, key.algorithm())?;
    Ok(ReadJwk { key, kid })
}

/// The public key that a private JWK states beside its private one, where it states one.
pub(super) fn stated_public(jwk: &[u8]) -> Result<Option<VerificationKey>, Error> {
    let mut members = read_members(jwk)?;
    if !members.contains_key("x") && !members.contains_key("n") {
        return Ok(None);
    }
    members.retain(|name, _| ["kty", "crv", "x", "y", "n", "e"].contains(&name.as_str()));
    read_public_members(&members).map(Some)
}

/// Reads a public JWK; an `oct` one is rejected.
pub(super) fn read_public(jwk: &[u8]) -> Result<ReadJwk<VerificationKey>, Error> {
    let members = read_members(jwk)?;
    let key = read_public_members(&members)?;
    let kid = check_purpose(&members, key.algorithm())?;
    Ok(ReadJwk { key, kid })
}

fn read_members(jwk: &[u8]) -> Result<Map<String, Value>, Error> {
    json::parse_object(jwk).map_err(|error| invalid(format!("the JWK {error}")))
}

fn read_public_members(members: &Map<String, Value>) -> Result<VerificationKey, Error> {
    let jwk: Jwk = serde_json::from_value(Value::Object(members.clone()))
        .map_err(|_| invalid("the JWK is not well-formed"))?;
    match jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            VerificationKey::ed25519(&from_base64url(&key.x)?)
        }
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            let (x, y) = (from_base64url(&key.x)?, from_base64url(&key.y)?);
            if x.len() != 32 || y.len() != 32 {
                return Err(invalid("a P-256 coordinate must be 32 bytes long"));
            }
            VerificationKey::p256(&[&[4], x.as_slice(), y.as_slice()].concat())
        }
        AlgorithmParameters::RSA(key) => {
            VerificationKey::rsa(&from_base64url(&key.n)?, &from_base64url(&key.e)?)
        }
        _ => Err(invalid("the JWK is no public key of Ed25519, P-256 or RSA")),
    }
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

/// `use`, `alg` and `kid` (RFC 7517 §4): what is said must fit.
fn check_purpose(
    members: &Map<String, Value>,
    algorithm: Algorithm,
) -> Result<Option<String>, Error> {
    let stated = |name: &'static str| match members.get(name) {
        None => Ok(None),
        Some(_) => text(members, name).map(Some),
    };
    if stated("use")?.is_some_and(|purpose| purpose != "sig") {
        return Err(invalid("the JWK's use is not sig"));
    }
    if let Some(name) = stated("alg")?
        && name.parse::<Algorithm>().ok() != Some(algorithm)
    {
        return Err(invalid("the JWK's alg is not of its kty"));
    }
    Ok(stated("kid")?.map(str::to_owned))
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
        VerificationKey::Rsa { modulus, exponent } => {
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
    let (algorithm, key_algorithm) = match key {
        VerificationKey::Ed25519(x) => (
            AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
                key_type: OctetKeyPairType::OctetKeyPair,
                curve: EllipticCurve::Ed25519,
                x: base64url(x),
            }),
            KeyAlgorithm::EdDSA,
        ),
        VerificationKey::P256(point) => (
            AlgorithmParameters::EllipticCurve(EllipticCurveKeyParameters {
                key_type: EllipticCurveKeyType::EC,
                curve: EllipticCurve::P256,
                x: base64url(&point[1..33]),
                y: base64url(&point[33..]),
            }),
            KeyAlgorithm::ES256,
        ),
        VerificationKey::Rsa { modulus, exponent } => (
            AlgorithmParameters::RSA(RSAKeyParameters {
                key_type: RSAKeyType::RSA,
                n: base64url(modulus),
                e: base64url(exponent),
            }),
            KeyAlgorithm::RS256,
        ),
        VerificationKey::Hmac(_) => return None,
    };
    let common = CommonParameters {
        public_key_use: Some(PublicKeyUse::Signature),
        key_algorithm: Some(key_algorithm),
        key_id: Some(kid.to_owned()),
        ..CommonParameters::default()
    };
    serde_json::to_value(Jwk { common, algorithm }).ok()
}

/// Splits a JWK Set into its keys, each still to be read (RFC 7517 §5).
pub(crate) fn split_set(set: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let members =
        json::parse_object(set).map_err(|error| invalid(format!("the JWK Set {error}")))?;
    let keys = members.get("keys").and_then(Value::as_array);
    let keys = keys.ok_or_else(|| invalid("the JWK Set has no array of keys"))?;
    Ok(keys.iter().map(|key| key.to_string().into_bytes()).collect())
}

/// A JWK Set of these keys.
pub(super) fn write_set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}
