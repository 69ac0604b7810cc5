//! Keys that are published elsewhere: fetched when they are needed, and kept.

mod fetch;
mod file;
mod freshness;
mod key_fetcher;
mod location;
mod reach;
mod ring;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::clock::{Clock, Timestamp};
use crate::error::Error;
use crate::jose::jwk_set::{self, AcceptedAlgorithms};
use crate::jose::{Algorithm, CryptoProvider, KeyRing, VerifyingKey};
use crate::validate::issuers::KeyFetch;
use crate::validate::{NotAccepted, TokenFault};

use self::freshness::Freshness;

pub(crate) use self::fetch::HttpFetcher;
pub use self::key_fetcher::{JwkSet, KeyFetcher};
pub(crate) use self::location::{KeyLocation, without_secrets};
pub(crate) use self::reach::{KeyPlace, KeySource, Reach};

/// How soon keys that have never come are asked for again: doubled with each failure, up to the
/// cooldown.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The lower part of an epoch of keys that may end: how many have. No ring has as many keys.
const ENDED_BITS: u32 = 16;
const ENDED_MASK: u64 = (1 << ENDED_BITS) - 1;

/// The longest of the durations that a host may set: what is added to an instant stays in range.
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What of an issuer's keys is the host's to decide.
#[derive(Clone, Debug)]
pub(crate) struct RemotePolicy {
    pub(crate) algorithms: AcceptedAlgorithms,
    /// Whether a token may leave out which key it is signed with.
    pub(crate) accepts_missing_kid: bool,
    pub(crate) cooldown: Duration,
    pub(crate) fetch_timeout: Duration,
    pub(crate) default_max_age: Duration,
    pub(crate) max_staleness: Duration,
    pub(crate) max_set_bytes: usize,
    pub(crate) allows_http: bool,
    pub(crate) reach: Reach,
}

impl Default for RemotePolicy {
    fn default() -> Self {
        Self {
            algorithms: AcceptedAlgorithms::stated(Algorithm::asymmetric()),
            accepts_missing_kid: false,
            cooldown: Duration::from_secs(30),
            fetch_timeout: Duration::from_secs(5),
            default_max_age: Duration::from_secs(600),
            max_staleness: Duration::from_secs(86_400),
            max_set_bytes: 64 * 1024,
            allows_http: false,
            reach: Reach::default(),
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
    source: KeySource,
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
    /// Why the last one has failed, until one succeeds.
    last_failure: Option<Arc<Error>>,
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
        source: KeySource,
        provider: Arc<dyn CryptoProvider>,
        policy: RemotePolicy,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let ring = match &source {
            KeySource::Ring(ring) => ring.clone(),
            KeySource::Fetched(_) => KeyRing::empty(),
        };
        let attempts =
            Attempts { cooldown: None, under_way: None, failures: 0, last_failure: None };
        Self {
            source,
            provider,
            policy,
            clock,
            ring,
            attempts: Mutex::new(attempts),
            freshness: Freshness::default(),
        }
    }

    /// The key of that `kid`, or what there is to wait for.
    fn find(
        self: &Arc<Self>,
        kid: Option<&str>,
        algorithm: Algorithm,
        now: Timestamp,
    ) -> RemoteKey {
        let find = || match kid {
            Some(kid) => self.ring.find(kid, algorithm, now),
            None => self.ring.find_only(algorithm, now),
        };
        if self.are_good(now) {
            self.refresh_ahead(now);
            if let Some(found) = find() {
                return RemoteKey::Known(found.key);
            }
        }
        let fetch = self.fetch(now);
        // One may have ended just now.
        if let Some(found) = find().filter(|_| self.are_good(now)) {
            return RemoteKey::Known(found.key);
        }
        match fetch {
            Some(fetch) => RemoteKey::UnderWay(fetch),
            None if self.are_complete(now) => RemoteKey::Unknown,
            None => RemoteKey::OutOfReach,
        }
    }

    /// The key of that `kid`, where a token can be checked with it now.
    pub(crate) fn find_for_token(
        self: &Arc<Self>,
        kid: Option<&str>,
        algorithm: Algorithm,
        now: Timestamp,
    ) -> Result<VerifyingKey, NotAccepted> {
        if kid.is_none() && !self.policy.accepts_missing_kid {
            return Err(TokenFault::UnknownKey.into());
        }
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
        match &self.source {
            KeySource::Ring(ring) => !ring.are_awaited(),
            KeySource::Fetched(_) => self.freshness.are_good(now),
        }
    }

    /// Returns whether a key that is not among them is unknown to their issuer, too.
    fn are_complete(&self, now: Timestamp) -> bool {
        match &self.source {
            KeySource::Ring(ring) => !ring.are_awaited() && !ring.may_lack_keys(),
            KeySource::Fetched(_) => self.freshness.are_complete(now),
        }
    }

    /// Returns whether its keys may be for that.
    pub(crate) fn allows(&self, algorithm: Algorithm) -> bool {
        self.policy.algorithms.all.contains(&algorithm)
    }

    /// Another number with every change of the keys.
    pub(crate) fn epoch(&self) -> u64 {
        match &self.source {
            // The host may have set an end to one of them, which changes nothing in the ring.
            KeySource::Ring(ring) => {
                let ended = ring.count_ended(self.clock.now());
                (ring.epoch() << ENDED_BITS) | (ended & ENDED_MASK)
            }
            KeySource::Fetched(_) => self.ring.epoch(),
        }
    }

    /// The key of an [identity](VerifyingKey::identity), where it is one of them.
    pub(crate) fn find_same(&self, identity: u64, now: Timestamp) -> Option<VerifyingKey> {
        self.ring.find_same(identity, now)
    }

    /// Returns why the keys could not be fetched the last time.
    pub(crate) fn last_failure(&self) -> Option<Arc<Error>> {
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.last_failure.clone()
    }

    /// Has the keys fetched while those that are known are good, where it is time.
    pub(crate) fn refresh_ahead(self: &Arc<Self>, now: Timestamp) {
        if matches!(self.source, KeySource::Fetched(_)) && self.freshness.are_due(now) {
            let _nobody_waits = self.fetch(now);
        }
    }

    /// The fetch that is under way, or one that begins now. None within the cooldown.
    pub(crate) fn fetch(self: &Arc<Self>, now: Timestamp) -> Option<FetchInProgress> {
        let KeySource::Fetched(fetcher) = &self.source else { return None };
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        // One whose runtime has ended has ended, too.
        if let Some(fetch) = attempts.under_way.as_ref().filter(|fetch| !fetch.has_ended()) {
            return Some(fetch.clone());
        }
        if attempts.cooldown.as_ref().is_some_and(|cooldown| cooldown.contains(&now)) {
            return None;
        }
        let Ok(runtime) = Handle::try_current() else {
            tracing::warn!(source = %fetcher.name(), "jwks: no tokio runtime, keys cannot be fetched; call the validator within one");
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
        let (keys, fetcher) = (Arc::clone(self), Arc::clone(fetcher));
        runtime.spawn(async move {
            keys.fetch_now(&*fetcher).await;
            drop(under_way);
        });
        Some(fetch)
    }

    async fn fetch_now(&self, fetcher: &dyn KeyFetcher) {
        let fetching = tokio::time::timeout(self.policy.fetch_timeout, fetcher.fetch());
        let outcome = match fetching.await {
            Ok(Ok(set)) if set.text.len() > self.policy.max_set_bytes => {
                Err(fetch::failed("the JWK Set is too long"))
            }
            Ok(Ok(set)) => {
                let keys = jwk_set::read(&set.text, &self.policy.algorithms, &*self.provider);
                keys.map(|keys| (keys, set.max_age))
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(fetch::failed(fetch::TIMED_OUT)),
        };
        self.record(outcome);
    }

    fn record(&self, outcome: Result<(Vec<VerifyingKey>, Option<Duration>), Error>) {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        match outcome {
            Ok((keys, max_age)) => {
                let has_changed = self.ring.replace_verifying(&keys);
                let max_age = max_age.unwrap_or(self.policy.default_max_age).min(LONGEST);
                self.freshness.succeeded(now, max_age, &self.policy);
                attempts.failures = 0;
                attempts.last_failure = None;
                let count = keys.len();
                tracing::info!(source = %self.source.name(), keys = count, has_changed, "jwks: keys fetched");
            }
            Err(error) => {
                self.freshness.failed(now, &self.policy);
                tracing::warn!(
                    source = %self.source.name(),
                    error = ?error,
                    known = self.freshness.have_come(),
                    "jwks: fetch failed, cached keys are used until `max_staleness`; trying again after the cooldown"
                );
                attempts.last_failure = Some(Arc::new(error));
            }
        }
        attempts.under_way = None;
    }
}

/// How long to wait after so many failures: twice as long after each.
fn first_pauses(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX))
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeys")
            .field("source", &format_args!("{}", self.source.name()))
            .field("keys", &self.ring)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
