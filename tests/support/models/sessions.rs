//! The life of customers' sessions, whatever is done to them and in whatever order, next to a model of
//! it; over each kind of store.

use std::time::Duration;

use countersign::sessions::SessionState;
use countersign::{AuthenticationToken, Error, ErrorKind, ExchangeRequest, RequestContext};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use crate::support::models::driver::{Driven, Model, SESSION_IDLE};
use crate::support::{Fixture, acl_of};

/// As the policy has them unless told.
const SESSION_SECONDS: u64 = 86_400;
const LEEWAY: u64 = 60;
const TOKEN_SECONDS: u64 = 3_600;
/// What is noted of tokens that leave the session alive.
const LONGEST_TOKEN_SECONDS: u64 = 86_400;
const CODE_SECONDS: u64 = 600;
const COOLDOWN_SECONDS: u64 = 60;
const TRIES: u32 = 5;
const RESENDS: u32 = 3;

#[derive(Clone, Debug, Default)]
pub struct Sessions {
    seconds: u64,
    sessions: Vec<Session>,
}

#[derive(Clone, Debug)]
pub struct Session {
    /// When it ends unless it is used, and when it does all the same.
    expires: u64,
    latest: u64,
    is_ended: bool,
    /// Until when tokens of it may be accepted, so that its holder can log out although it has ended.
    tokens_until: u64,
    guard: Option<Guard>,
}

#[derive(Clone, Debug)]
pub struct Guard {
    /// Until when the code that was sent last is good, unless it was used.
    code_until: Option<u64>,
    tries_left: u32,
    resends_left: u32,
    sent: u64,
    /// Whether a right code was spent.
    is_proven: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Transition {
    Start {
        guarded: bool,
    },
    Exchange {
        session: usize,
        presented: Presented,
        keeps: bool,
        asks_too_much: bool,
    },
    /// Confirms a code for a fresh session, which is the last one from then on.
    Confirm {
        session: usize,
        presented: Presented,
    },
    SendAgain {
        session: usize,
    },
    Look {
        session: usize,
    },
    LogOut {
        session: usize,
    },
    Wait {
        seconds: u64,
    },
}

#[derive(Clone, Copy, Debug)]
pub enum Presented {
    Nothing,
    TheLastCode,
    Another,
}

type Outcome = Result<(), ErrorKind>;

impl Sessions {
    fn live(&mut self, session: usize) -> Result<&mut Session, ErrorKind> {
        let seconds = self.seconds;
        let session = &mut self.sessions[session];
        if session.is_ended || session.expires <= seconds {
            return Err(ErrorKind::NotFound);
        }
        Ok(session)
    }
}

impl Model for Sessions {
    type Transition = Transition;
    type Outcome = Outcome;

    fn transitions(&self) -> BoxedStrategy<Transition> {
        let start = any::<bool>().prop_map(|guarded| Transition::Start { guarded });
        if self.sessions.is_empty() {
            return start.boxed();
        }
        let session = 0..self.sessions.len();
        let presented = select(vec![
            Presented::TheLastCode,
            Presented::TheLastCode,
            Presented::Another,
            Presented::Another,
            Presented::Nothing,
        ]);
        let exchange = (session.clone(), presented, any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(session, presented, keeps, asks_too_much)| Transition::Exchange {
                session,
                presented,
                keeps,
                asks_too_much,
            });
        let code = select(vec![Presented::TheLastCode, Presented::Another]);
        let confirm = (session.clone(), code)
            .prop_map(|(session, presented)| Transition::Confirm { session, presented });
        // To the second at which something ends, and past it.
        let wait = select(vec![1, 59, 60, 299, 600, 43_200])
            .prop_map(|seconds| Transition::Wait { seconds });
        prop_oneof![
            2 => start,
            6 => exchange,
            2 => confirm,
            2 => session.clone().prop_map(|session| Transition::SendAgain { session }),
            1 => session.clone().prop_map(|session| Transition::Look { session }),
            1 => session.prop_map(|session| Transition::LogOut { session }),
            2 => wait,
        ]
        .boxed()
    }

    fn allows(&self, transition: Transition) -> bool {
        match transition {
            Transition::Exchange { session, .. }
            | Transition::Confirm { session, .. }
            | Transition::SendAgain { session }
            | Transition::Look { session }
            | Transition::LogOut { session } => session < self.sessions.len(),
            Transition::Start { .. } | Transition::Wait { .. } => true,
        }
    }

    fn step(&mut self, transition: Transition) -> Outcome {
        let now = self.seconds;
        match transition {
            Transition::Start { guarded } => {
                let guard = guarded.then_some(Guard {
                    code_until: Some(now + CODE_SECONDS),
                    tries_left: TRIES,
                    resends_left: RESENDS,
                    sent: now,
                    is_proven: false,
                });
                let latest = now + SESSION_SECONDS;
                let expires = now + SESSION_IDLE.as_secs();
                let session = Session { expires, latest, is_ended: false, tokens_until: 0, guard };
                self.sessions.push(session);
                Ok(())
            }
            Transition::Exchange { session, presented, keeps, asks_too_much } => {
                let session = self.live(session)?;
                session.present(presented, now)?;
                if asks_too_much {
                    return Err(ErrorKind::AclExceedsGrant);
                }
                session.is_ended = !keeps;
                let token_until = now + TOKEN_SECONDS + LEEWAY;
                let is_written = session.guard.is_some() || session.tokens_until < token_until;
                session.use_at(now, is_written);
                if session.tokens_until < token_until {
                    let longest = if keeps { LONGEST_TOKEN_SECONDS } else { TOKEN_SECONDS };
                    session.tokens_until = now + longest + LEEWAY;
                }
                if let Some(guard) = &mut session.guard {
                    guard.code_until = None;
                    guard.is_proven = true;
                }
                Ok(())
            }
            Transition::Confirm { session, presented } => {
                let session = self.live(session)?;
                if session.guard.is_none() || session.tokens_until > 0 {
                    return Err(ErrorKind::Conflict);
                }
                session.present(presented, now)?;
                session.is_ended = true;
                let mut fresh =
                    Session { is_ended: false, tokens_until: 0, guard: None, ..session.clone() };
                fresh.use_at(now, true);
                self.sessions.push(fresh);
                Ok(())
            }
            Transition::SendAgain { session } => {
                let guard = self.live(session)?.guard.as_mut().ok_or(ErrorKind::Conflict)?;
                if guard.resends_left == 0 || now < guard.sent + COOLDOWN_SECONDS {
                    return Err(ErrorKind::Throttled);
                }
                guard.resends_left -= 1;
                guard.sent = now;
                guard.code_until = Some(now + CODE_SECONDS);
                Ok(())
            }
            Transition::Look { session } => match &self.live(session)?.guard {
                Some(guard) if !guard.is_proven => Err(ErrorKind::OneTimePasswordRequired),
                _ => Ok(()),
            },
            Transition::LogOut { session } => {
                let session = &mut self.sessions[session];
                let is_live = !session.is_ended && session.expires > now;
                if !is_live && session.tokens_until <= now {
                    return Err(ErrorKind::NotFound);
                }
                session.is_ended = true;
                session.tokens_until = 0;
                Ok(())
            }
            Transition::Wait { seconds } => {
                self.seconds += seconds;
                Ok(())
            }
        }
    }
}

impl Session {
    /// Moves its end, where that is a minute or up to the last, or it is written in any case.
    fn use_at(&mut self, now: u64, is_written: bool) {
        let end = self.latest.min(now + SESSION_IDLE.as_secs());
        if is_written || end >= self.expires + 60 || end == self.latest {
            self.expires = end;
        }
    }

    fn present(&mut self, presented: Presented, now: u64) -> Outcome {
        let Some(guard) = &mut self.guard else { return Ok(()) };
        let is_right = match presented {
            Presented::Nothing => return Err(ErrorKind::OneTimePasswordRequired),
            Presented::TheLastCode => guard.code_until.is_some_and(|until| now < until),
            Presented::Another => false,
        };
        if is_right {
            return Ok(());
        }
        guard.tries_left -= 1;
        if guard.tries_left == 0 {
            self.is_ended = true;
            self.tokens_until = 0;
        }
        Err(ErrorKind::OneTimePasswordInvalid)
    }
}

/// Those who have started the sessions, in that order.
pub struct Customers(Vec<Customer>);

struct Customer {
    token: AuthenticationToken,
    code: Option<String>,
}

impl Driven for Customers {
    type Model = Sessions;

    async fn new(_: &Fixture) -> Self {
        Self(Vec::new())
    }

    async fn step(&mut self, fixture: &Fixture, transition: Transition) -> Outcome {
        let Self(customers) = self;
        let kind = |error: Error| error.kind();
        match transition {
            Transition::Start { guarded } => {
                let acl = json!([{"scope": {}, "permissions": ["GetOrders"]}]);
                let token = fixture.session(|new| new.acl(acl_of(acl)).otp_required(guarded)).await;
                let token = AuthenticationToken::from_text(&token).unwrap();
                let code = guarded.then(|| fixture.outbox.last_code());
                customers.push(Customer { token, code });
                Ok(())
            }
            Transition::Exchange { session, presented, keeps, asks_too_much } => {
                let customer = &customers[session];
                let mut request = ExchangeRequest::default().invalidate(!keeps);
                if let Some(code) = customer.presents(presented) {
                    request = request.one_time_password(code);
                }
                if asks_too_much {
                    let acl = json!([{"scope": {}, "permissions": ["DeleteOrder"]}]);
                    request = request.acl(acl_of(acl));
                }
                fixture
                    .tokens
                    .exchange(&customer.token, request, &RequestContext::without_address())
                    .await
                    .map(drop)
                    .map_err(kind)
            }
            Transition::Confirm { session, presented } => {
                let customer = &customers[session];
                let code = customer.presents(presented).unwrap_or_default();
                let context = RequestContext::without_address();
                let confirmed =
                    fixture.tokens.confirm_one_time_password(&customer.token, code, &context);
                let token = confirmed.await.map_err(kind)?.token;
                customers.push(Customer { token, code: None });
                Ok(())
            }
            Transition::SendAgain { session } => {
                let customer = &mut customers[session];
                let context = RequestContext::without_address();
                let sent = fixture.tokens.resend_one_time_password(&customer.token, &context);
                sent.await.map_err(kind)?;
                customer.code = Some(fixture.outbox.last_code());
                Ok(())
            }
            Transition::Look { session } => {
                let token = &customers[session].token;
                let found =
                    fixture.tokens.find_session(token, &RequestContext::without_address()).await;
                found.and_then(SessionState::proven).map(drop).map_err(kind)
            }
            Transition::LogOut { session } => {
                let token = &customers[session].token;
                let ended = fixture
                    .tokens
                    .log_out_customer(token, &RequestContext::without_address())
                    .await;
                ended.map(drop).map_err(kind)
            }
            Transition::Wait { seconds } => {
                fixture.clock.advance(Duration::from_secs(seconds));
                Ok(())
            }
        }
    }
}

impl Customer {
    fn presents(&self, presented: Presented) -> Option<String> {
        let last = self.code.clone().unwrap_or_else(|| "123456".to_owned());
        match presented {
            Presented::Nothing => None,
            Presented::TheLastCode => Some(last),
            Presented::Another => {
                let other = (last.parse::<u32>().unwrap() + 1) % 1_000_000;
                Some(format!("{other:06}"))
            }
        }
    }
}
