//! Tokens that were checked, so that each is checked once and not with every request.

use std::fmt;
use std::hash::{Hash, Hasher, RandomState};
use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, Weighter};
use zeroize::Zeroizing;

use crate::domain::claims::Validated;
use crate::service::validate::TokenFault;
use crate::sync::{Flights, Landed};

/// About what a token takes beside its text and its claims, in bytes.
const OVERHEAD: usize = 512;
/// The end of a signature, which nobody can choose: enough to find a token by.
const HASHED: usize = 32;

type Outcome = Result<Arc<Validated>, TokenFault>;

/// Tokens that passed, by their whole text. Only they get in, so whoever sends garbage pushes
/// nothing out. What may have changed since is for the caller to check.
pub(crate) struct TokenCache {
    tokens: Cache<Token, Arc<Validated>, Weights, RandomState>,
    /// Many requests may bring the same new token at once: one of them checks it.
    flights: Flights<Text, Outcome>,
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
            flights: Flights::new(hasher),
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
        let landed = self.flights.join(text.clone(), || {
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
        match landed {
            Landed::Own(outcome) => outcome,
            Landed::Others(Ok(validated)) if is_still_good(&validated) => Ok(validated),
            Landed::Others(_) => check(),
        }
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
