//! Keys that are published elsewhere: fetched when they are needed, and kept.

mod fetch;
mod freshness;
mod ring;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::clock::{Clock, Timestamp};
use crate::error::Error;
use crate::jose::{Algorithm, CryptoProvider, KeyRing, VerifyingKey, jwk};
use crate::validate::issuers::KeyFetch;
use crate::validate::{NotAccepted, TokenFault};

use self::freshness::Freshness;

pub(crate) use self::fetch::{Fetcher, KeyLocation, without_secrets};

/// How soon keys that have never come are asked for again: doubled with each failure, up to the
/// cooldown.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// More keys than anybody publishes. What is behind them is not looked at.
const MAX_KEYS: usize = 64;

/// The longest of the durations that a host may set: what is added to an instant stays in range.
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What of an issuer's keys is the host's to decide.
#[derive(Clone, Debug)]
pub(crate) struct RemotePolicy {
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) cooldown: Duration,
    pub(crate) fetch_timeout: Duration,
    pub(crate) default_max_age: Duration,
    pub(crate) max_staleness: Duration,
    pub(crate) max_set_bytes: usize,
    pub(crate) allows_http: bool,
}

impl Default for RemotePolicy {
    fn default() -> Self {
        Self {
            algorithms: vec![Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256],
            cooldown: Duration::from_secs(30),
            fetch_timeout: Duration::from_secs(5),
            default_max_age: Duration::from_secs(600),
            max_staleness: Duration::from_secs(86_400),
            max_set_bytes: 64 * 1024,
            allows_http: false,
        }
    }
}

/// The keys of an issuer.
///
/// They are fetched when somebody needs them: at first, for a `kid` that is unknown, ahead of their
/// end, and before those are used that nobody has asked for since. Of any number who need them at
/// once one has them fetched, and none within the cooldown of the last time, which begins before
/// the fetch does.
pub(crate) struct RemoteKeys {
    fetcher: Fetcher,
    provider: Arc<dyn CryptoProvider>,
    policy: RemotePolicy,
    clock: Arc<dyn Clock>,
    ring: KeyRing,
    attempts: Mutex<Attempts>,
    freshness: Freshness,
}

struct Attempts {
    /// When nobody may fetch them. Before it began, a clock was set back.
    cooldown: Option<Range<Timestamp>>,
    under_way: Option<FetchInProgress>,
    /// How many have failed while there were no keys.
    failures: u32,
}

/// A fetch that is under way.
///
/// It is no [`SingleFlight`](crate::sync::SingleFlight): it is begun by a check, which does not wait,
/// and goes on whoever hangs up, in a task of its own. So nobody takes it over, and one that has ended
/// is begun again only after the cooldown.
#[derive(Clone, Debug)]
pub(crate) struct FetchInProgress(watch::Receiver<()>);

impl FetchInProgress {
    /// Completes when the fetch has ended, with or without keys.
    pub(super) fn completed(mut self) -> KeyFetch {
        // Nothing is sent: the sender is dropped when the fetch has ended.
        Box::pin(async move { while self.0.changed().await.is_ok() {} })
    }

    fn has_ended(&self) -> bool {
        self.0.has_changed().is_err()
    }
}

/// What can be said of the key of a token.
enum RemoteKey {
    Known(VerifyingKey),
    /// No key has that name, and they are as new as they may be.
    Unknown,
    /// They are out of reach, and what is known of them does not say.
    OutOfReach,
    /// They are being fetched.
    UnderWay(FetchInProgress),
}

impl RemoteKeys {
    pub(crate) fn new(
        fetcher: Fetcher,
        provider: Arc<dyn CryptoProvider>,
        policy: RemotePolicy,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            fetcher,
            provider,
            policy,
            clock,
            ring: KeyRing::empty(),
            attempts: Mutex::new(Attempts { cooldown: None, under_way: None, failures: 0 }),
            freshness: Freshness::default(),
        }
    }

    /// The key of that `kid`, or what there is to wait for.
    fn find(self: &Arc<Self>, kid: &str, algorithm: Algorithm, now: Timestamp) -> RemoteKey {
        if self.are_good(now) {
            self.refresh_ahead(now);
            if let Some(found) = self.ring.find(kid, algorithm, now) {
                return RemoteKey::Known(found.key);
            }
        }
        let fetch = self.fetch(now);
        // One may have ended just now.
        if let Some(found) = self.ring.find(kid, algorithm, now).filter(|_| self.are_good(now)) {
            return RemoteKey::Known(found.key);
        }
        match fetch {
            Some(fetch) => RemoteKey::UnderWay(fetch),
            None if self.freshness.are_complete(now) => RemoteKey::Unknown,
            None => RemoteKey::OutOfReach,
        }
    }

    /// The key of that `kid`, where a token can be checked with it now.
    pub(crate) fn find_for_token(
        self: &Arc<Self>,
        kid: &str,
        algorithm: Algorithm,
        now: Timestamp,
    ) -> Result<VerifyingKey, NotAccepted> {
        match self.find(kid, algorithm, now) {
            RemoteKey::Known(key) => Ok(key),
            RemoteKey::UnderWay(fetch) => {
                let fault = TokenFault::KeysUnavailable;
                Err(NotAccepted { fault, fetch: Some(fetch.completed()) })
            }
            RemoteKey::Unknown => Err(TokenFault::UnknownKey.into()),
            RemoteKey::OutOfReach => Err(TokenFault::KeysUnavailable.into()),
        }
    }

    /// Returns the ring that the keys are in.
    pub(crate) fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// Returns whether the known keys may be relied on.
    pub(crate) fn are_good(&self, now: Timestamp) -> bool {
        self.freshness.are_good(now)
    }

    /// Returns whether its keys may be for that.
    pub(crate) fn allows(&self, algorithm: Algorithm) -> bool {
        self.policy.algorithms.contains(&algorithm)
    }

    /// Another number with every change of the keys.
    pub(crate) fn epoch(&self) -> u64 {
        self.ring.epoch()
    }

    /// The key of an [identity](VerifyingKey::identity), where it is one of them.
    pub(crate) fn find_same(&self, identity: u64, now: Timestamp) -> Option<VerifyingKey> {
        self.ring.find_same(identity, now)
    }

    /// Has the keys fetched while those that are known are good, where it is time.
    pub(crate) fn refresh_ahead(self: &Arc<Self>, now: Timestamp) {
        if self.freshness.are_due(now) {
            let _nobody_waits = self.fetch(now);
        }
    }

    /// The fetch that is under way, or one that begins now. None within the cooldown.
    pub(crate) fn fetch(self: &Arc<Self>, now: Timestamp) -> Option<FetchInProgress> {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        // One whose runtime has ended has ended, too.
        if let Some(fetch) = attempts.under_way.as_ref().filter(|fetch| !fetch.has_ended()) {
            return Some(fetch.clone());
        }
        if attempts.cooldown.as_ref().is_some_and(|cooldown| cooldown.contains(&now)) {
            return None;
        }
        let Ok(runtime) = Handle::try_current() else {
            tracing::warn!(source = %self.fetcher, "jwks: no tokio runtime, keys cannot be fetched; call the validator within one");
            return None;
        };
        let have_come = self.freshness.have_come();
        let cooldown = if have_come {
            self.policy.cooldown
        } else {
            attempts.failures += 1;
            first_pauses(attempts.failures - 1).min(self.policy.cooldown)
        };
        let until = now + cooldown;
        attempts.cooldown = Some(now..until);
        self.freshness.begun(until);
        let (under_way, ended) = watch::channel(());
        let fetch = FetchInProgress(ended);
        attempts.under_way = Some(fetch.clone());
        let keys = Arc::clone(self);
        runtime.spawn(async move {
            keys.fetch_now().await;
            drop(under_way);
        });
        Some(fetch)
    }

    async fn fetch_now(&self) {
        let fetching = tokio::time::timeout(self.policy.fetch_timeout, self.fetcher.fetch());
        let outcome = match fetching.await {
            Ok(Ok(fetched)) => self.read(&fetched.set).map(|keys| (keys, fetched.max_age)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(fetch::failed("it took too long")),
        };
        self.record(outcome);
    }

    fn record(&self, outcome: Result<(Vec<VerifyingKey>, Option<Duration>), Error>) {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        match outcome {
            Ok((keys, max_age)) => {
                let has_changed = self.ring.replace_verifying(&keys);
                let max_age = max_age.unwrap_or(self.policy.default_max_age);
                self.freshness.succeeded(now, max_age, &self.policy);
                attempts.failures = 0;
                let count = keys.len();
                tracing::info!(source = %self.fetcher, keys = count, has_changed, "jwks: keys fetched");
            }
            Err(error) => {
                self.freshness.failed(now, &self.policy);
                tracing::warn!(
                    source = %self.fetcher,
                    error = ?error,
                    known = self.freshness.have_come(),
                    "jwks: fetch failed, cached keys are used until `max_staleness`; trying again after the cooldown"
                );
            }
        }
        attempts.under_way = None;
    }

    /// The keys of a set that can be used. One that cannot is left out, and two of one name both are:
    /// nobody can tell which of them is meant.
    fn read(&self, set: &[u8]) -> Result<Vec<VerifyingKey>, Error> {
        let mut keys: Vec<VerifyingKey> = Vec::new();
        for jwk in jwk::split_set(set)?.iter().take(MAX_KEYS) {
            match VerifyingKey::from_jwk_with(jwk, &*self.provider) {
                Ok(key) if self.policy.algorithms.contains(&key.algorithm()) => keys.push(key),
                Ok(key) => {
                    tracing::debug!(kid = key.kid(), "a key of another algorithm is left out");
                }
                Err(error) => tracing::debug!(%error, "a key that cannot be used is left out"),
            }
        }
        let names: Vec<_> = keys.iter().map(|key| key.kid().to_owned()).collect();
        let is_single = |kid: &str| names.iter().filter(|name| *name == kid).count() == 1;
        keys.retain(|key| is_single(key.kid()));
        if keys.is_empty() {
            return Err(fetch::failed("the set has no key of use"));
        }
        Ok(keys)
    }
}

/// How long to wait after so many failures: twice as long after each.
fn first_pauses(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX))
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeys")
            .field("source", &format_args!("{}", self.fetcher))
            .field("keys", &self.ring)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
