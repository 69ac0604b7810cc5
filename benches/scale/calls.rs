//! The calls that are measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use countersign::clock::{Clock as _, SystemClock};
use countersign::entities::PasswordChange;
use countersign::jose::{CryptoProvider as _, DefaultProvider, SigningKey};
use countersign::store::PageRequest;
use countersign::{
    Actor, Algorithm, AuthenticationToken, CustomerId, Entity, EntityId, ExchangeRequest,
    Housekeeping, KeyRing, NewSession, Organization, Password, Policy, RequestContext, SealingKey,
    SessionId, StartedSession, SubjectType, TokenService,
};

use crate::engine::{Engine, acl};

/// An even number: a password that is changed so often is the first one again.
const SAMPLES: usize = 400;
/// How many sessions a customer has who logs out everywhere.
const DEVICES: usize = 10;
/// How many sessions the customer has who logs out while others start theirs.
const MANY_DEVICES: usize = 10_000;
const MACHINE: &str = "aa-1";
const USER: &str = "ops";
const PASSWORD: &str = "correct-horse-battery";
const OTHER_PASSWORD: &str = "battery-horse-correct";

/// A service over an engine, with one machine client and one user.
pub(crate) struct Calls {
    tokens: TokenService,
    context: RequestContext,
    /// Hears the feed while an engine is filled.
    housekeeping: Housekeeping,
}

impl Calls {
    pub(crate) async fn new(engine: &Engine) -> Self {
        let key = DefaultProvider.generate(Algorithm::EdDSA).unwrap();
        let policy = Policy::default().sessions(|sessions| sessions.max_per_customer(usize::MAX));
        let tokens = TokenService::builder()
            .issuer("https://auth.example.com")
            .audience("https://api.example.com")
            .keys(KeyRing::new(SigningKey::new(&key, &DefaultProvider).unwrap()))
            .sealing_key(SealingKey::from_bytes([7; 32]))
            .entity_store(Arc::clone(&engine.entities))
            .session_store(Arc::clone(&engine.sessions))
            .policy(policy)
            .build()
            .unwrap();
        let housekeeping = tokens.start().await.unwrap();
        tokens.register(Entity::machine(MACHINE).unwrap().acl(acl())).await.unwrap();
        let hash = tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
        tokens.register(Entity::user(USER, hash).unwrap()).await.unwrap();
        Self { tokens, context: RequestContext::without_address(), housekeeping }
    }

    pub(crate) async fn shut_down(self) {
        self.housekeeping.shutdown().await;
    }

    async fn start(&self, customer: &str) -> StartedSession {
        let new = NewSession::of(CustomerId::new(customer).unwrap()).acl(acl());
        self.tokens.start_session(Actor::Host, new, &self.context).await.unwrap()
    }

    async fn token(&self) -> AuthenticationToken {
        self.start("cus_of_bench").await.token
    }

    async fn session_id(&self) -> SessionId {
        self.start("cus_of_bench").await.session.position().id
    }

    async fn list(&self, customer: Option<&CustomerId>, page: PageRequest) {
        self.tokens.list_sessions(Actor::Host, customer, page, &self.context).await.unwrap();
    }

    /// Returns the median of each call, in microseconds.
    pub(crate) async fn medians(&self, stored: usize) -> Vec<(&'static str, f64)> {
        let (tokens, context) = (&self.tokens, &self.context);
        let page = PageRequest::first(DEVICES);
        let deep = page.clone().offset(stored.min(10_000) - DEVICES);
        let customer = CustomerId::new("cus_5").unwrap();
        let (machine, user) = (EntityId::machine(MACHINE).unwrap(), EntityId::user(USER).unwrap());
        let secret = tokens.read_secret(Actor::Host, &machine, None, context).await.unwrap().secret;
        let first = tokens.list_sessions(Actor::Host, None, page.clone(), context).await.unwrap();
        let behind = page.clone().after(first.sessions.last().unwrap().position());
        let (started, kept) = (self.token().await, self.token().await);
        let mut medians = vec![
            ("start a session", median(async || (), async |()| drop(self.token().await)).await),
            (
                "find a session",
                median(
                    async || (),
                    async |()| {
                        let _found = tokens.find_session(&started, context).await.unwrap();
                    },
                )
                .await,
            ),
            (
                "exchange, once",
                median(
                    async || self.token().await,
                    async |token| {
                        tokens.exchange(&token, ExchangeRequest::default(), context).await.unwrap();
                    },
                )
                .await,
            ),
            (
                "exchange, and keep the session",
                median(
                    async || (),
                    async |()| {
                        let keeping = ExchangeRequest::default().invalidate(false);
                        tokens.exchange(&kept, keeping, context).await.unwrap();
                    },
                )
                .await,
            ),
            (
                "end a session by its token",
                median(
                    async || self.token().await,
                    async |token| {
                        tokens.log_out_customer(&token, context).await.unwrap();
                    },
                )
                .await,
            ),
            (
                "end a session by its id",
                median(
                    async || self.session_id().await,
                    async |id| {
                        tokens.end_session(&id).await.unwrap();
                    },
                )
                .await,
            ),
        ];
        let with_devices = async || {
            for _ in 0..DEVICES {
                let _started = self.start("cus_everywhere").await;
            }
        };
        let log_out_everywhere = async |()| {
            let customer =
                tokens.principal(SubjectType::Customer, "cus_everywhere", Organization::All);
            let revoked = tokens.revoke_subject(&customer, tokens.now()).await.unwrap();
            assert_eq!(revoked.sessions, DEVICES);
        };
        medians.push(("log out everywhere, of 10", median(with_devices, log_out_everywhere).await));
        for (call, customer, page) in [
            ("list the first page", None, &page),
            ("list a page behind a position", None, &behind),
            ("list a page of a customer", Some(&customer), &page),
            ("list the page at the greatest offset", None, &deep),
        ] {
            let listing = async |()| self.list(customer, page.clone()).await;
            medians.push((call, median(async || (), listing).await));
        }
        let reading = async |()| {
            let read = tokens.read_secret(Actor::Host, &machine, None, context);
            drop(read.await.unwrap());
        };
        medians.push(("read a secret", median(async || (), reading).await));
        let issuing = async |()| {
            tokens.issue_machine_token(MACHINE, &secret, context).await.unwrap();
        };
        medians.push(("issue a machine client's token", median(async || (), issuing).await));
        let is_changed = AtomicBool::new(false);
        let changing = async |()| {
            let mut passwords = [PASSWORD, OTHER_PASSWORD];
            if is_changed.fetch_xor(true, Ordering::Relaxed) {
                passwords.reverse();
            }
            let [old, new] = passwords;
            let [old, new] = [old, new].map(|text| Password::new(text).unwrap());
            let change = PasswordChange::new(user.clone(), old, new);
            tokens.change_password(change, context).await.unwrap();
        };
        medians.push(("change a password", median(async || (), changing).await));
        let resetting = async |()| {
            let reset = tokens.reset_secret(Actor::Host, &machine, None, context);
            drop(reset.await.unwrap());
        };
        medians.push(("reset a secret", median(async || (), resetting).await));
        medians
    }

    /// Returns the 99th percentile of starting sessions, in microseconds: alone, and while one caller lists and
    /// another logs a customer with many sessions out.
    pub(crate) async fn starts_beside_others(&self) -> [f64; 2] {
        let start = async |()| drop(self.token().await);
        let quiet = percentile_99(times(async || (), start).await);
        for _ in 0..MANY_DEVICES {
            let _started = self.start("cus_with_many").await;
        }
        let (others, context) = (self.tokens.clone(), self.context.clone());
        let lister = tokio::spawn(async move {
            loop {
                let page = PageRequest::first(100);
                others.list_sessions(Actor::Host, None, page, &context).await.unwrap();
                // As a server between two requests of one connection.
                tokio::task::yield_now().await;
            }
        });
        let others = self.tokens.clone();
        let customer = others.principal(SubjectType::Customer, "cus_with_many", Organization::All);
        let leaving = tokio::spawn(async move {
            others.revoke_subject(&customer, SystemClock.now()).await.unwrap().sessions
        });
        let mut busy = Vec::new();
        while !leaving.is_finished() || busy.len() < SAMPLES {
            busy.extend(times_of(100, async || (), start).await);
        }
        assert_eq!(leaving.await.unwrap(), MANY_DEVICES);
        lister.abort();
        [quiet, percentile_99(busy)]
    }
}

async fn times<T>(before: impl AsyncFn() -> T, call: impl AsyncFn(T)) -> Vec<Duration> {
    times_of(SAMPLES, before, call).await
}

async fn times_of<T>(
    count: usize,
    before: impl AsyncFn() -> T,
    call: impl AsyncFn(T),
) -> Vec<Duration> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let with = before().await;
        let begun = Instant::now();
        call(with).await;
        times.push(begun.elapsed());
    }
    times
}

/// In microseconds; the first calls warm up.
async fn median<T>(before: impl AsyncFn() -> T, call: impl AsyncFn(T)) -> f64 {
    let mut times = times(before, call).await.split_off(SAMPLES / 10);
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}

fn percentile_99(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() * 99 / 100].as_secs_f64() * 1e6
}
