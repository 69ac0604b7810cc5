//! Keys that are fetched: those of the validator's own issuer, and of trusted issuers, whose tokens are
//! accepted beside its own.
//!
//! This file knows neither how keys are fetched nor what the claims of others mean: the module
//! `trusted` does, with the feature `remote-jwks`. Without it there are none.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::clock::{Clock, Timestamp};
use crate::error::Error;
use crate::jose::{Algorithm, KeyRing, VerifyingKey};
use crate::json;
use crate::token::claims::{Claims, Validated};
use crate::validate::{NotAccepted, TokenFault};

/// A fetch of keys that is in progress. It completes when the fetch has ended, with or without
/// keys.
pub(crate) type KeyFetch = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where the keys of the validator's own issuer are fetched from.
pub(crate) trait FetchSettings: fmt::Debug + Send + Sync {
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) where they cannot be fetched from
    /// there.
    fn prepare(
        &self,
        clock: &Arc<dyn Clock>,
        allows_http: bool,
    ) -> Result<Box<dyn FetchedKeys>, Error>;
}

/// The keys of the validator's own issuer, where these are fetched.
pub(crate) trait FetchedKeys: fmt::Debug + Send + Sync {
    /// Returns the ring that has them once they have come.
    fn ring(&self) -> &KeyRing;

    /// Returns whether keys of that algorithm are fetched.
    fn allows(&self, algorithm: Algorithm) -> bool;

    /// Returns the key of that `kid`.
    ///
    /// # Errors
    ///
    /// [`TokenFault::UnknownKey`], and [`TokenFault::KeysUnavailable`] with what there is to wait for.
    fn find(
        &self,
        kid: &str,
        algorithm: Algorithm,
        now: Timestamp,
    ) -> Result<VerifyingKey, NotAccepted>;

    /// Returns whether they are known and may be relied on. Starts a fetch that is due.
    fn are_usable(&self, now: Timestamp) -> bool;

    /// Returns the fetch in progress, or starts one where the cooldown allows it.
    fn fetch(&self, now: Timestamp) -> Option<KeyFetch>;

    /// Returns why they could not be fetched the last time.
    fn last_failure(&self) -> Option<Arc<Error>>;
}

/// The settings of one issuer.
pub(crate) trait IssuerSettings: fmt::Debug + Send + Sync {
    fn issuer(&self) -> &str;

    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) where the settings contradict
    /// each other.
    fn prepare(
        &self,
        clock: &Arc<dyn Clock>,
        organization_required: bool,
    ) -> Result<Box<dyn IssuerVerifier>, Error>;
}

/// One issuer, ready to check its tokens.
pub(crate) trait IssuerVerifier: fmt::Debug + Send + Sync {
    /// Returns whether a token with this `iss` is one of the issuer's, accepted or not.
    fn recognizes(&self, iss: &str) -> bool;

    /// Returns the token with the key that its header names. Its signature is still to be checked.
    fn find_key(
        &self,
        header: &str,
        claims: Map<String, Value>,
        now: Timestamp,
    ) -> Result<Box<dyn ForeignToken>, NotAccepted>;

    /// Returns whether the keys are those of that epoch, and usable. Starts a fetch that is due.
    fn keys_are_unchanged(&self, epoch: u64, now: Timestamp) -> bool;

    /// Checks whether a token that some validator has checked would be accepted, but for its times
    /// and list.
    fn recheck(&self, validated: &Validated, now: Timestamp) -> Result<(), TokenFault>;

    /// Returns whether the keys are known and may be relied on.
    fn has_usable_keys(&self, now: Timestamp) -> bool;

    /// Returns the fetch in progress, or starts one where the cooldown allows it.
    fn fetch_keys(&self, now: Timestamp) -> Option<KeyFetch>;

    /// Returns why the keys could not be fetched the last time.
    fn last_failure(&self) -> Option<Arc<Error>>;

    /// Returns what the issuer's tokens need to have, where that says why one is rejected.
    fn explain(&self, fault: TokenFault, claims: &Map<String, Value>) -> Option<String>;
}

/// A token of another issuer.
pub(crate) trait ForeignToken {
    fn key(&self) -> &VerifyingKey;

    /// The epoch of the issuer's keys in which the key was found.
    fn key_epoch(&self) -> u64;

    /// Returns the name of the claim that is compared with the audiences.
    fn audience_claim(&self) -> Arc<str>;

    /// Returns the claims, once the signature of the token's `text` is known to be good.
    fn claims(&self, text: &str) -> Result<Claims, TokenFault>;
}

/// A token of another issuer, with the index of that issuer.
pub(crate) type Recognized = (usize, Box<dyn ForeignToken>);

/// All trusted issuers.
#[derive(Debug)]
pub(crate) struct TrustedIssuers {
    issuers: Vec<(String, Box<dyn IssuerVerifier>)>,
}

impl TrustedIssuers {
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) where one contradicts itself,
    /// or two have the same name.
    pub(crate) fn new(
        settings: &[Arc<dyn IssuerSettings>],
        own: Option<&str>,
        clock: &Arc<dyn Clock>,
        organization_required: bool,
    ) -> Result<Self, Error> {
        let mut issuers: Vec<(String, Box<dyn IssuerVerifier>)> = Vec::new();
        for settings in settings {
            let name = settings.issuer();
            if own == Some(name) || issuers.iter().any(|(known, _)| known == name) {
                let problem = "a trusted issuer is given twice, or is the service itself";
                return Err(Error::configuration(problem));
            }
            issuers.push((name.to_owned(), settings.prepare(clock, organization_required)?));
        }
        let names = own.into_iter().chain(issuers.iter().map(|(name, _)| name.as_str()));
        for name in names {
            let of_another = |(other, issuer): &&(String, Box<dyn IssuerVerifier>)| {
                other != name && issuer.recognizes(name)
            };
            if let Some((template, _)) = issuers.iter().find(of_another) {
                return Err(Error::configuration(format!(
                    "the trusted issuer {template} could be {name}, which is accepted itself"
                )));
            }
        }
        Ok(Self { issuers })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// Returns the token and the index of its issuer, by a header and claims that are not verified
    /// yet; `None` where its `iss` names none of the issuers.
    pub(crate) fn recognize(
        &self,
        header: &str,
        payload: &[u8],
        now: Timestamp,
    ) -> Result<Option<Recognized>, NotAccepted> {
        let Some((index, claims)) = self.find(payload) else { return Ok(None) };
        let Some(issuer) = self.get(index) else { return Ok(None) };
        Ok(Some((index, issuer.find_key(header, claims, now)?)))
    }

    fn find(&self, payload: &[u8]) -> Option<(usize, Map<String, Value>)> {
        if self.issuers.is_empty() {
            return None;
        }
        let claims = json::parse_object(payload).ok()?;
        let name = claims.get("iss")?.as_str()?;
        let index = self.issuers.iter().position(|(_, issuer)| issuer.recognizes(name))?;
        Some((index, claims))
    }

    pub(crate) fn get(&self, index: usize) -> Option<&dyn IssuerVerifier> {
        self.issuers.get(index).map(|(_, issuer)| &**issuer)
    }

    /// Returns the issuer of that `iss`.
    pub(crate) fn by_name(&self, name: &str) -> Option<&dyn IssuerVerifier> {
        self.issuers.iter().map(|(_, issuer)| &**issuer).find(|issuer| issuer.recognizes(name))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.issuers.iter().map(|(name, _)| name.as_str())
    }

    /// Returns the names of the issuers whose keys are not usable, with the issuers.
    pub(crate) fn without_keys(
        &self,
        now: Timestamp,
    ) -> impl Iterator<Item = (&str, &dyn IssuerVerifier)> {
        let all = self.issuers.iter().map(|(name, issuer)| (name.as_str(), &**issuer));
        all.filter(move |(_, issuer)| !issuer.has_usable_keys(now))
    }
}
