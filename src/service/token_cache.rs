//! Tokens that were checked, so that each is checked once and not with every request.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, Weighter};
use zeroize::Zeroizing;

use crate::domain::claims::Validated;
use crate::service::validate::TokenFault;

/// About what a token takes beside its text and its claims, in bytes.
const OVERHEAD: usize = 512;
/// The end of a signature, which nobody can choose: enough to find a token by.
const HASHED: usize = 32;
/// Checks that are under way are kept in several maps, so that they seldom wait for one another.
const FLIGHTS: usize = 16;

type Outcome = Result<Arc<Validated>, TokenFault>;
type Flights = HashMap<Text, Arc<OnceLock<Outcome>>, RandomState>;

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
                bytes / (4 * OVERHEAD),
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
    ///
    /// Whoever waited came later than what is known was found out: what may have changed since is
    /// looked at again, and a refusal is not taken over.
    pub(crate) fn check(
        &self,
        token: &[u8],
        is_still_good: impl Fn(&Validated) -> bool,
        check: impl Fn() -> Outcome,
    ) -> Outcome {
        let text = Text(Zeroizing::new(token.into()));
        let flight = Flight::join(self.flights_of(token), text.clone());
        let mut is_first = false;
        let outcome = flight.outcome.get_or_init(|| {
            is_first = true;
            // It may have landed since it was looked for.
            if let Some(known) = self.get(token).filter(|known| is_still_good(known)) {
                return Ok(known);
            }
            let outcome = check();
            if let Ok(validated) = &outcome {
                self.tokens.insert(Token(text), Arc::clone(validated));
            }
            outcome
        });
        match outcome {
            outcome if is_first => outcome.clone(),
            Ok(validated) if is_still_good(validated) => Ok(Arc::clone(validated)),
            _ => check(),
        }
    }

    fn flights_of(&self, token: &[u8]) -> &Mutex<Flights> {
        let [number, ..] = self.hasher.hash_one(token).to_ne_bytes();
        &self.flights[usize::from(number) % FLIGHTS]
    }
}

/// A check that is under way. It is over when whoever is the first to be done leaves, also by a
/// panic.
struct Flight<'a> {
    flights: &'a Mutex<Flights>,
    text: Text,
    outcome: Arc<OnceLock<Outcome>>,
}

impl<'a> Flight<'a> {
    fn join(flights: &'a Mutex<Flights>, text: Text) -> Self {
        let key = text.clone();
        let mut under_way = flights.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = Arc::clone(under_way.entry(key).or_default());
        Self { flights, text, outcome }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut under_way = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        // A later one may be of another flight.
        let is_this = |known: &Arc<OnceLock<Outcome>>| Arc::ptr_eq(known, &self.outcome);
        let landed = if under_way.get(&self.text).is_some_and(is_this) {
            under_way.remove_entry(&self.text)
        } else {
            None
        };
        drop(under_way);
        drop(landed);
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").field("tokens", &self.tokens.len()).finish_non_exhaustive()
    }
}

/// A token as it came. It is wiped when it goes.
#[derive(Clone, PartialEq, Eq)]
struct Text(Zeroizing<Box<[u8]>>);

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self.0).hash(state);
    }
}

/// The whole text is compared; its end is hashed.
#[derive(Clone, PartialEq, Eq)]
struct Token(Text);

struct TokenRef<'a>(&'a [u8]);

impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        TokenRef(&self.0.0).hash(state);
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
        *self.0 == **token.0.0
    }
}

#[derive(Clone)]
struct Weights;

impl Weighter<Token, Arc<Validated>> for Weights {
    fn weight(&self, token: &Token, validated: &Arc<Validated>) -> u64 {
        (token.0.0.len() + validated.size() + OVERHEAD) as u64
    }
}
