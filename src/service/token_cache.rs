//! Tokens that were checked, so that each is checked once and not with every request.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, Weighter};

use crate::domain::claims::Validated;
use crate::service::validate::TokenFault;

/// About what a token takes beside its text and its claims, in bytes: lists and allocations.
const OVERHEAD: usize = 1_024;
/// The end of a signature, which nobody can choose: enough to find a token by.
const HASHED: usize = 32;
/// Checks that are under way are kept in several maps, so that they seldom wait for one another.
const FLIGHTS: usize = 16;

type Outcome = Result<Arc<Validated>, TokenFault>;
type Flights = HashMap<Token, Arc<OnceLock<Outcome>>, RandomState>;

/// Tokens that passed, by their whole text. Only they get in, so whoever sends garbage pushes
/// nothing out. What may have changed since is for the caller to check.
pub(crate) struct TokenCache {
    tokens: Cache<Token, Arc<Validated>, Weights, RandomState>,
    /// Many requests may bring the same new token at once: one of them checks it.
    flights: [Mutex<Flights>; FLIGHTS],
    /// Each process draws its own.
    hasher: RandomState,
}

impl TokenCache {
    /// One that takes about so many bytes at most.
    pub(crate) fn new(bytes: usize) -> Self {
        let hasher = RandomState::new();
        Self {
            tokens: Cache::with(
                bytes / (2 * OVERHEAD),
                bytes as u64,
                Weights,
                hasher.clone(),
                DefaultLifecycle::default(),
            ),
            flights: std::array::from_fn(|_| Mutex::new(HashMap::with_hasher(hasher.clone()))),
            hasher,
        }
    }

    pub(crate) fn get(&self, token: &[u8]) -> Option<Arc<Validated>> {
        self.tokens.get(&TokenRef(token))
    }

    pub(crate) fn remove(&self, token: &[u8]) {
        self.tokens.remove(&TokenRef(token));
    }

    /// Checks a token, or waits for who is checking it, and keeps it if it is good.
    pub(crate) fn check(&self, token: &[u8], check: impl FnOnce() -> Outcome) -> Outcome {
        let [number, ..] = self.hasher.hash_one(TokenRef(token)).to_ne_bytes();
        let flights = &self.flights[usize::from(number) % FLIGHTS];
        let key = Token(token.into());
        let mut under_way = flights.lock().unwrap_or_else(PoisonError::into_inner);
        let flight = Arc::clone(under_way.entry(key.clone()).or_default());
        drop(under_way);
        let outcome = flight.get_or_init(check).clone();
        let mut under_way = flights.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever is the first to know removes it; a later one may be of another flight.
        if under_way.get(&key).is_some_and(|known| Arc::ptr_eq(known, &flight)) {
            under_way.remove(&key);
            drop(under_way);
            if let Ok(validated) = &outcome {
                self.tokens.insert(key, Arc::clone(validated));
            }
        }
        outcome
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").field("tokens", &self.tokens.len()).finish_non_exhaustive()
    }
}

/// The whole text is compared; its end is hashed.
#[derive(Clone, PartialEq, Eq)]
struct Token(Box<[u8]>);

struct TokenRef<'a>(&'a [u8]);

impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        TokenRef(&self.0).hash(state);
    }
}

impl Hash for TokenRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let end = self.0.len().saturating_sub(HASHED);
        state.write(self.0.get(end..).unwrap_or_default());
    }
}

impl Equivalent<Token> for TokenRef<'_> {
    fn equivalent(&self, token: &Token) -> bool {
        *self.0 == *token.0
    }
}

#[derive(Clone)]
struct Weights;

impl Weighter<Token, Arc<Validated>> for Weights {
    fn weight(&self, token: &Token, _: &Arc<Validated>) -> u64 {
        (2 * token.0.len() + OVERHEAD) as u64
    }
}
