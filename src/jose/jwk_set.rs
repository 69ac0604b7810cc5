//! Reading a JWK Set (RFC 7517 §5) as issuers publish it: each key by itself, and none in doubt.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind};
use crate::jose::provider::CryptoProvider;
use crate::jose::{Algorithm, VerifyingKey, jwk};

/// More keys than any issuer publishes. Those behind them are ignored.
const MAX_KEYS: usize = 64;

/// The algorithms of keys that are used.
#[derive(Clone, Debug)]
pub(crate) struct AcceptedAlgorithms {
    pub(crate) all: Vec<Algorithm>,
    /// Those of an RSA key without `alg`.
    pub(crate) rsa_by_default: Vec<Algorithm>,
}

impl AcceptedAlgorithms {
    /// Those that a key states, or else the first one of its kind.
    pub(crate) fn stated(all: impl IntoIterator<Item = Algorithm>) -> Self {
        Self { all: all.into_iter().collect(), rsa_by_default: vec![Algorithm::RS256] }
    }
}

#[derive(Deserialize)]
struct Set<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// Reads the keys of a set that can be used. The others are left out: with a warning if they cannot be read and are not
/// for encryption, or if two of them have the same `kid` and algorithm.
///
/// # Errors
///
/// [`ErrorKind::InvalidKey`] if it is no JWK Set, or has no key of use.
pub(crate) fn read(
    set: &[u8],
    accepted: &AcceptedAlgorithms,
    provider: &dyn CryptoProvider,
) -> Result<Vec<VerifyingKey>, Error> {
    let set = set.strip_prefix(b"\xef\xbb\xbf").unwrap_or(set);
    let set: Set<'_> = serde_json::from_slice(set).map_err(|error| {
        Error::new(ErrorKind::InvalidKey, "the JWK Set is not well-formed").with_source(error)
    })?;
    let mut keys: Vec<VerifyingKey> = Vec::new();
    for jwk in set.keys.iter().take(MAX_KEYS) {
        for key in read_key(jwk.get().as_bytes(), accepted, provider) {
            // Some list a key twice.
            if !keys.iter().any(|known| known.identity() == key.identity()) {
                keys.push(key);
            }
        }
    }
    let keys = without_ambiguous(keys);
    if keys.is_empty() {
        return Err(Error::new(ErrorKind::InvalidKey, "the JWK Set has no key of use"));
    }
    Ok(keys)
}

fn read_key(
    jwk: &[u8],
    accepted: &AcceptedAlgorithms,
    provider: &dyn CryptoProvider,
) -> Vec<VerifyingKey> {
    let read = jwk::read_public(jwk, &accepted.rsa_by_default).and_then(|read| {
        let keys = read.into_iter().map(|read| VerifyingKey::new(read.key, read.kid, provider));
        keys.collect::<Result<Vec<_>, _>>()
    });
    match read {
        Ok(mut keys) => {
            keys.retain(|key| accepted.all.contains(&key.algorithm()));
            keys
        }
        Err(error) => {
            let (kid, is_for_encryption) = jwk::stated_kid_and_use(jwk);
            if is_for_encryption {
                tracing::debug!(?kid, "jwks: a key for encryption is ignored");
            } else {
                tracing::warn!(?kid, %error, "jwks: a key is ignored");
            }
            Vec::new()
        }
    }
}

/// Drops keys of one `kid` and algorithm: no token says which of them it means.
fn without_ambiguous(mut keys: Vec<VerifyingKey>) -> Vec<VerifyingKey> {
    let name = |key: &VerifyingKey| (key.kid().to_owned(), key.algorithm());
    let mut seen = HashSet::new();
    let ambiguous: HashSet<_> =
        keys.iter().map(name).filter(|name| !seen.insert(name.clone())).collect();
    for (kid, algorithm) in &ambiguous {
        tracing::warn!(?kid, %algorithm, "jwks: different keys have one kid, all of them are ignored");
    }
    keys.retain(|key| !ambiguous.contains(&name(key)));
    keys
}
