//! The secrets of machines, read, reset and presented in whatever order, next to a model of them; over
//! each kind of store.

use std::sync::Arc;
use std::time::Duration;

use countersign::{Actor, Entity, Error, ErrorKind, RequestContext, Secret};
use proptest::prelude::*;
use proptest::sample::select;

use crate::support::Fixture;
use crate::support::models::driver::{Driven, Model, SECRET_GRACE, SECRET_OVERLAP};

const DAY: u64 = 86_400;
const LIFETIME_DAYS: u64 = 180;

#[derive(Clone, Debug, Default)]
pub struct Secrets {
    seconds: u64,
    /// Each secret that there ever was, by the order in which they were made.
    expiries: Vec<u64>,
    is_disabled: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Transition {
    Read,
    Reset {
        days: Option<u64>,
    },
    /// The newest one, or one so many before it.
    Present {
        before: usize,
    },
    Guess,
    Disable,
    Enable,
    Wait {
        seconds: u64,
    },
}

/// What came of a step: which of the secrets was answered, if one was.
type Outcome = Result<Option<usize>, ErrorKind>;

impl Secrets {
    fn make(&mut self, days: Option<u64>) -> Outcome {
        let days = match days {
            Some(0) => return Err(ErrorKind::InvalidFields),
            days => days.unwrap_or(LIFETIME_DAYS).min(LIFETIME_DAYS),
        };
        if self.is_disabled {
            return Err(ErrorKind::InvalidEntity);
        }
        // The one before lives on for as long as the overlap, and none but that one.
        let now = self.seconds;
        let newest = self.expiries.len();
        for (at, expiry) in self.expiries.iter_mut().enumerate() {
            let is_previous = at + 1 == newest;
            *expiry = (*expiry).min(if is_previous { now + SECRET_OVERLAP.as_secs() } else { now });
        }
        self.expiries.push(now + days * DAY);
        Ok(Some(newest))
    }
}

impl Model for Secrets {
    type Transition = Transition;
    type Outcome = Outcome;

    fn transitions(&self) -> BoxedStrategy<Transition> {
        let days = select(vec![None, Some(0), Some(1), Some(30), Some(u64::MAX)]);
        let wait = select(vec![1, 3_600, DAY, 2 * DAY, 5 * DAY - 1, 30 * DAY])
            .prop_map(|seconds| Transition::Wait { seconds });
        prop_oneof![
            2 => Just(Transition::Read),
            3 => days.prop_map(|days| Transition::Reset { days }),
            6 => (0..4_usize).prop_map(|before| Transition::Present { before }),
            1 => Just(Transition::Guess),
            1 => Just(Transition::Disable),
            2 => Just(Transition::Enable),
            4 => wait,
        ]
        .boxed()
    }

    fn allows(&self, transition: Transition) -> bool {
        !matches!(transition, Transition::Present { .. }) || !self.expiries.is_empty()
    }

    fn step(&mut self, transition: Transition) -> Outcome {
        match transition {
            Transition::Read if self.is_disabled => Err(ErrorKind::InvalidEntity),
            Transition::Read => match self.expiries.len() {
                0 => self.make(None),
                count => Ok(Some(count - 1)),
            },
            Transition::Reset { days } => self.make(days),
            Transition::Present { before } => {
                let newest = self.expiries.len() - 1;
                let at = newest.saturating_sub(before);
                // Late by the grace period at most, and the newest one alone.
                let grace = if at == newest { SECRET_GRACE.as_secs() } else { 0 };
                if self.seconds < self.expiries[at] + grace && !self.is_disabled {
                    Ok(None)
                } else {
                    Err(ErrorKind::InvalidCredentials)
                }
            }
            Transition::Guess => Err(ErrorKind::InvalidCredentials),
            Transition::Disable => {
                self.is_disabled = true;
                // What is good for an overlap alone is not good again.
                let newest = self.expiries.len();
                for expiry in self.expiries.iter_mut().take(newest.saturating_sub(1)) {
                    *expiry = (*expiry).min(self.seconds);
                }
                Ok(None)
            }
            Transition::Enable => {
                self.is_disabled = false;
                Ok(None)
            }
            Transition::Wait { seconds } => {
                self.seconds += seconds;
                Ok(None)
            }
        }
    }
}

/// A machine, whose secret the host manages.
pub struct Machine {
    secrets: Vec<Secret>,
}

const ID: &str = "aa-1";

impl Driven for Machine {
    type Model = Secrets;

    async fn new(Fixture { tokens, .. }: &Fixture) -> Self {
        tokens.catch_up().await.unwrap();
        tokens.register(Entity::machine(ID).unwrap()).await.unwrap();
        Self { secrets: Vec::new() }
    }

    async fn step(&mut self, fixture: &Fixture, transition: Transition) -> Outcome {
        let secrets = &mut self.secrets;
        let tokens = &fixture.tokens;
        let (context, kind) = (RequestContext::without_address(), |error: Error| error.kind());
        let id = Entity::machine(ID).unwrap().id().clone();
        let answered = match transition {
            Transition::Read => tokens.read_secret(Actor::Host, &id, None, &context).await,
            Transition::Reset { days } => {
                tokens.reset_secret(Actor::Host, &id, days, &context).await
            }
            Transition::Present { .. } | Transition::Guess => {
                let guess = Secret::dangerous_from_text("a guess of 32 characters or more");
                let secret = match transition {
                    Transition::Present { before } => {
                        &secrets[(secrets.len() - 1).saturating_sub(before)]
                    }
                    _ => &guess.unwrap(),
                };
                let issued = tokens.issue_machine_token(ID, secret, &context).await;
                return issued.map(|_| None).map_err(kind);
            }
            Transition::Disable => {
                return tokens.disable_entity(&id).await.map(|()| None).map_err(kind);
            }
            Transition::Enable => {
                return tokens.enable_entity(&id).await.map(|()| None).map_err(kind);
            }
            Transition::Wait { seconds } => {
                fixture.clock.advance(Duration::from_secs(seconds));
                return Ok(None);
            }
        };
        let secret = answered.map_err(kind)?.secret;
        let known = secrets.iter().position(|known| known.expose() == secret.expose());
        Ok(Some(known.unwrap_or_else(|| {
            secrets.push(secret);
            secrets.len() - 1
        })))
    }
}
