//! Tokens that were checked, so that each is checked once and not with every request.

use std::fmt;
use std::hash::{Hash, Hasher, RandomState};
use std::sync::{Arc, OnceLock};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, Weighter};
use zeroize::Zeroizing;

use crate::sync::{FlightResult, SingleFlight};
use crate::validate::TokenFault;
use crate::validate::checked::Checked;

/// What a token with a short list counts as: so many of these fit, as the cache is told to expect.
const TYPICAL_SIZE: usize = 2 * 1024;
/// The end of a signature: enough to find a token by. Nobody can choose that of a token that passed, and
/// of others no more are looked for at once than threads check them.
const HASHED_SUFFIX_LEN: usize = 32;

type CheckResult = Result<Arc<Checked>, TokenFault>;

/// Tokens that passed, by their whole text. Only they get in, so whoever sends garbage pushes
/// nothing out. What may have changed since is for the caller to check.
pub(crate) struct TokenCache {
    tokens: Cache<CacheKey, Arc<Checked>, Weights, RandomState>,
    /// Many requests may bring the same new token at once: one of them checks it.
    flights: SingleFlight<CacheKey, OnceLock<CheckResult>>,
}

impl TokenCache {
    /// One that takes about so many bytes at most.
    pub(crate) fn new(bytes: usize) -> Self {
        let hasher = RandomState::new();
        Self {
            tokens: Cache::with(
                bytes / TYPICAL_SIZE,
                bytes as u64,
                Weights,
                hasher.clone(),
                DefaultLifecycle::default(),
            ),
            flights: SingleFlight::new(hasher),
        }
    }

    pub(crate) fn get(&self, token: &[u8]) -> Option<Arc<Checked>> {
        self.tokens.get(&CacheKeyRef(token))
    }

    pub(crate) fn remove(&self, token: &[u8]) {
        self.tokens.remove(&CacheKeyRef(token));
    }

    /// Checks a token, or waits for who is checking it, and keeps it if it is good.
    ///
    /// Whoever waited came later than what is known was found out: what may have changed since is
    /// looked at again, and a rejection is not taken over.
    pub(crate) fn check(
        &self,
        token: &[u8],
        is_still_good: impl Fn(&Checked) -> bool,
        check: impl Fn() -> CheckResult,
    ) -> CheckResult {
        let key = CacheKey(Zeroizing::new(token.into()));
        let result = self.flights.join_blocking(key.clone(), || {
            // It may have been checked since it was looked for.
            if let Some(known) = self.get(token).filter(|known| is_still_good(known)) {
                return Ok(known);
            }
            let outcome = check();
            if let Ok(checked) = &outcome {
                self.tokens.insert(key, Arc::clone(checked));
            }
            outcome
        });
        match result {
            FlightResult::Own(outcome) => outcome,
            FlightResult::Shared(Ok(checked)) if is_still_good(&checked) => Ok(checked),
            FlightResult::Shared(_) => check(),
        }
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").field("tokens", &self.tokens.len()).finish_non_exhaustive()
    }
}

/// A token as it came, whose end alone is hashed; all of it is compared. It is wiped when it goes.
#[derive(Clone, PartialEq, Eq)]
struct CacheKey(Zeroizing<Box<[u8]>>);

struct CacheKeyRef<'a>(&'a [u8]);

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        CacheKeyRef(&self.0).hash(state);
    }
}

impl Hash for CacheKeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let end = self.0.len().saturating_sub(HASHED_SUFFIX_LEN);
        state.write(self.0.get(end..).unwrap_or_default());
    }
}

impl Equivalent<CacheKey> for CacheKeyRef<'_> {
    fn equivalent(&self, token: &CacheKey) -> bool {
        *self.0 == **token.0
    }
}

#[derive(Clone)]
struct Weights;

impl Weighter<CacheKey, Arc<Checked>> for Weights {
    fn weight(&self, _: &CacheKey, checked: &Arc<Checked>) -> u64 {
        checked.size as u64
    }
}
