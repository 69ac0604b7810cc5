//! Reading the environment.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use countersign::jose::{DefaultProvider, PrivateKey, SigningKey};
use countersign::{Algorithm, SealingKey};

use crate::Problem;

pub(crate) fn setting(name: &str) -> Result<Option<String>, Problem> {
    match env::var(name) {
        Ok(value) if value.trim().is_empty() => Err(format!("{name} is empty").into()),
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(format!("{name} is not UTF-8").into()),
    }
}

pub(crate) fn address(name: &str) -> Result<Option<SocketAddr>, Problem> {
    let Some(text) = setting(name)? else { return Ok(None) };
    let address = text.parse().map_err(|_| format!("{name} must be an address and a port"))?;
    Ok(Some(address))
}

/// Returns a whole number that is not zero.
pub(crate) fn count(name: &str, default: usize) -> Result<usize, Problem> {
    let Some(text) = setting(name)? else { return Ok(default) };
    let count = text.parse().ok().filter(|count| *count > 0);
    Ok(count.ok_or_else(|| format!("{name} must be a whole number, and not zero"))?)
}

pub(crate) fn seconds(name: &str, default: usize) -> Result<Duration, Problem> {
    Ok(Duration::from_secs(count(name, default)? as u64))
}

/// Returns whether proxies write `Forwarded` (RFC 7239) instead of `X-Forwarded-For`.
pub(crate) fn reads_forwarded() -> Result<bool, Problem> {
    let Some(name) = setting("COUNTERSIGN_PROXY_HEADER")? else { return Ok(false) };
    match name.to_ascii_lowercase().as_str() {
        "forwarded" => Ok(true),
        "x-forwarded-for" => Ok(false),
        _ => Err("COUNTERSIGN_PROXY_HEADER must be X-Forwarded-For or Forwarded".into()),
    }
}

/// Others check tokens by the published keys, and a shared secret is not published.
pub(crate) fn signing_algorithm() -> Result<Option<Algorithm>, Problem> {
    let Some(name) = setting("COUNTERSIGN_SIGNING_ALGORITHM")? else { return Ok(None) };
    let algorithm = name.parse().ok().filter(|algorithm| *algorithm != Algorithm::HS256);
    Ok(Some(algorithm.ok_or("COUNTERSIGN_SIGNING_ALGORITHM must be EdDSA, ES256 or RS256")?))
}

/// A private JWK, or a private key in PEM: its algorithm follows from its kind.
pub(crate) fn signing_key() -> Result<Option<SigningKey>, Problem> {
    let Some(path) = setting("COUNTERSIGN_SIGNING_KEY")? else { return Ok(None) };
    let problem = |error: &dyn std::fmt::Display| format!("COUNTERSIGN_SIGNING_KEY: {error}");
    let bytes = fs::read(path).map_err(|error| problem(&error))?;
    if bytes.trim_ascii_start().starts_with(b"{") {
        return Ok(Some(SigningKey::from_jwk(&bytes).map_err(|error| problem(&error))?));
    }
    let key = PrivateKey::from_pem(&bytes).map_err(|error| problem(&error))?;
    Ok(Some(SigningKey::new(&key, &DefaultProvider).map_err(|error| problem(&error))?))
}

/// Returns the keys that secrets are sealed with: the first one seals, the others open what they have sealed before.
pub(crate) fn sealing_keys() -> Result<Vec<SealingKey>, Problem> {
    let keys = setting("COUNTERSIGN_SEALING_KEY")?;
    let keys = keys.iter().flat_map(|keys| keys.split(',')).map(|key| {
        SealingKey::from_base64(key.trim())
            .map_err(|error| format!("COUNTERSIGN_SEALING_KEY: {error}").into())
    });
    keys.collect()
}
