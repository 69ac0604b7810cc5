//! Clocks that are wrong: of a node beside that of its engine, and of a process that is put forward.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countersign::clock::{Clock, SystemClock};
use countersign::faults::TokenFault;
use countersign::store::{KeyStore, MemoryStore, SessionStore};
use countersign::testing::{FaultyStore, StoreVerb};
use countersign::{
    AuthenticationToken, ErrorKind, Grant, KeyRing, SealingKey, Timestamp, TokenService,
};

use crate::support::log::Log;
use crate::support::managed_keys::{DAY, MINUTE, fault, kids, node, signing_kid, token_of};
use crate::support::{Fixture, TestClock, issue_now};

type Engine = FaultyStore<MemoryStore>;

/// A store whose engine has a clock of its own.
fn engine() -> (Engine, TestClock) {
    let clock = TestClock::new();
    (FaultyStore::new(MemoryStore::new()).durable(true).clock(clock.clone()), clock)
}

/// A node whose clock is that far from its engine's.
fn node_over(store: &Engine, clock: Timestamp) -> Fixture {
    let fixture = Fixture::with(|builder| {
        builder.store(store.clone()).sealing_key(SealingKey::from_bytes([7; 32]))
    });
    fixture.clock.set(clock);
    fixture
}

async fn is_there(store: &Engine, token: &str) -> bool {
    let key = AuthenticationToken::from_text(token).unwrap().key();
    SessionStore::get(&store.inner(), &key).await.unwrap().is_some()
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_clock_is_days_off_purges_nothing_and_says_so_once_a_minute() {
    for (days, direction) in [(2, "ahead of its store"), (16, "ahead of its store"), (0, "behind")]
    {
        let (store, clock) = engine();
        let right = node_over(&store, clock.now());
        right.tokens.catch_up().await.unwrap();
        let session = right.session(|new| new.lifetime(MINUTE)).await;
        right.clock.advance(10 * MINUTE);
        clock.advance(10 * MINUTE);
        let wrong_time = if days > 0 { clock.now() + DAY * days } else { clock.now() - DAY };
        let wrong = node_over(&store, wrong_time);
        let log = Log::default();
        let listening = log.listen();
        for _ in 0..3 {
            let error = wrong.tokens.purge_expired().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
        }
        let told = || {
            let errors = log.errors().into_iter();
            errors.filter(|error| error.contains(" clock: ")).collect::<Vec<_>>()
        };
        let errors = told();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains(direction) && errors[0].contains("NTP"), "{errors:?}");
        tokio::time::advance(MINUTE).await;
        wrong.tokens.purge_expired().await.unwrap_err();
        assert_eq!(told().len(), 2);
        drop(listening);
        assert!(is_there(&store, &session).await);
        right.tokens.purge_expired().await.unwrap();
        assert!(!is_there(&store, &session).await, "a node whose clock is right removes it");
    }
}

#[tokio::test]
async fn what_a_node_purges_has_ended_by_its_own_clock_and_by_its_engines() {
    let (store, clock) = engine();
    for (ahead, behind) in [(4 * MINUTE, Duration::ZERO), (Duration::ZERO, 4 * MINUTE)] {
        let node = node_over(&store, clock.now() + ahead - behind);
        node.tokens.catch_up().await.unwrap();
        let session = node.session(|new| new.lifetime(MINUTE)).await;
        // By one of the clocks it has ended, and by the other it has not.
        let passed = if behind.is_zero() { MINUTE } else { Duration::ZERO };
        clock.advance(passed);
        node.clock.advance(passed);
        node.tokens.purge_expired().await.unwrap();
        assert!(is_there(&store, &session).await);
        clock.advance(10 * MINUTE);
        node.clock.advance(10 * MINUTE);
        node.tokens.purge_expired().await.unwrap();
        assert!(!is_there(&store, &session).await);
    }
}

#[tokio::test]
async fn a_node_whose_clock_is_days_off_changes_no_keys() {
    let (store, clock) = engine();
    let right = node(store.clone(), clock.clone());
    right.catch_up().await.unwrap();
    // The next key is announced, and is to sign in two weeks.
    clock.advance(77 * DAY);
    right.catch_up().await.unwrap();
    let before = KeyStore::get(&store.inner()).await.unwrap();
    let (signing, token) = (signing_kid(&right), token_of(&right));

    // By its clock, the first key has ended; and by the other one's nothing has begun.
    for time in [clock.now() + 16 * DAY, clock.now() + 900 * DAY, clock.now() - 70 * DAY] {
        let wrong = node(store.clone(), TestClock::at(time));
        wrong.catch_up().await.unwrap();
        let error = wrong.rotate_keys().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert_eq!(KeyStore::get(&store.inner()).await.unwrap(), before);
    }
    right.catch_up().await.unwrap();
    assert_eq!(signing_kid(&right), signing);
    right.validator().validate(&token).unwrap();

    // A key in wrong hands is ended by whatever clock.
    let wrong = node(store.clone(), TestClock::at(clock.now() + 16 * DAY));
    wrong.catch_up().await.unwrap();
    wrong.retire_key(&signing).await.unwrap();
    right.catch_up().await.unwrap();
    assert_eq!(fault(&right, &token), TokenFault::UnknownKey);
    assert_eq!(kids(&right), [signing_kid(&right)]);
}

#[tokio::test]
async fn a_key_is_announced_when_it_is_time_by_both_clocks_and_for_long_enough_by_both() {
    let (store, clock) = engine();
    let ahead = TestClock::at(clock.now() + 4 * MINUTE);
    let tokens = node(store.clone(), ahead.clone());
    tokens.catch_up().await.unwrap();
    for clock in [&clock, &ahead] {
        clock.advance(76 * DAY - MINUTE);
    }
    tokens.catch_up().await.unwrap();
    assert_eq!(kids(&tokens).len(), 1, "by the engine's clock it is not time yet");
    for clock in [&clock, &ahead] {
        clock.advance(MINUTE);
    }
    tokens.catch_up().await.unwrap();
    let keys = KeyStore::get(&store.inner()).await.unwrap().unwrap();
    assert_eq!(keys.keys()[1].signs_from(), ahead.now() + 14 * DAY);
}

/// The system's clock in a process, which may be put forward and back, and knows what has passed.
#[derive(Clone, Debug)]
struct PutForward {
    passed: TestClock,
    by_seconds: Arc<AtomicU64>,
}

impl Clock for PutForward {
    fn now(&self) -> Timestamp {
        self.passed.now() + Duration::from_secs(self.by_seconds.load(Ordering::SeqCst))
    }

    fn earliest_now(&self) -> Timestamp {
        self.passed.now()
    }
}

fn over_a_clock(clock: &PutForward) -> TokenService {
    Fixture::with_keys(KeyRing::generate(countersign::Algorithm::EdDSA).unwrap(), |builder| {
        builder.clock(clock.clone())
    })
    .tokens
}

#[tokio::test]
async fn a_clock_that_is_put_forward_for_a_while_has_a_process_forget_nothing() {
    let clock = PutForward { passed: TestClock::new(), by_seconds: Arc::default() };
    let tokens = over_a_clock(&clock);
    let revoked = issue_now(&tokens, Grant::user("jane")).unwrap();
    let customer = countersign::CustomerId::new("cus_1").unwrap();
    let context = countersign::RequestContext::without_address();
    let started = tokens
        .start_session(
            countersign::Actor::Host,
            countersign::NewSession::of(customer.clone()),
            &context,
        )
        .await
        .unwrap();
    tokens.revoke_token(&revoked.token_id).await.unwrap();
    clock.by_seconds.store(2 * DAY.as_secs(), Ordering::SeqCst);
    tokens.purge_expired().await.unwrap();
    // Starting and revoking purge a little, too.
    for _ in 0..10 {
        let other = issue_now(&tokens, Grant::user("joe")).unwrap();
        tokens.revoke_token(&other.token_id).await.unwrap();
        let new = countersign::NewSession::of(customer.clone());
        tokens.start_session(countersign::Actor::Host, new, &context).await.unwrap();
    }
    clock.by_seconds.store(0, Ordering::SeqCst);
    let token = revoked.access_token.expose();
    assert_eq!(tokens.validator().validate(token).unwrap_err(), TokenFault::Revoked);
    let request = countersign::ExchangeRequest::default();
    tokens
        .exchange(&started.token, request, &countersign::RequestContext::without_address())
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_a_machine_was_suspended_no_token_is_accepted_before_the_feed_was_read() {
    let store = FaultyStore::new(MemoryStore::new()).durable(true);
    let clock = PutForward { passed: TestClock::new(), by_seconds: Arc::default() };
    let keys = KeyRing::generate(countersign::Algorithm::EdDSA).unwrap();
    let tokens = Fixture::with_keys(keys, |builder| {
        let key = SealingKey::from_bytes([7; 32]);
        builder.clock(clock.clone()).store(store.clone()).sealing_key(key)
    })
    .tokens;
    let soon = async |is_so: &dyn Fn() -> bool| {
        for _ in 0..30 {
            if is_so() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    };
    for follows in [true, false] {
        let housekeeping = if follows {
            Some(tokens.start().await.unwrap())
        } else {
            tokens.catch_up().await.unwrap();
            None
        };
        let token = issue_now(&tokens, Grant::user("jane")).unwrap().access_token;
        let validate = || tokens.validator().validate(token.expose());
        assert!(!soon(&|| validate().is_err()).await);
        let held = store.hold(StoreVerb::ReadFeed);
        clock.by_seconds.fetch_add(60, Ordering::SeqCst);
        assert!(soon(&|| validate().is_err()).await, "{follows}");
        assert_eq!(validate().unwrap_err(), TokenFault::RevocationsUnavailable);
        held.release();
        if !follows {
            tokens.catch_up().await.unwrap();
        }
        assert!(soon(&|| validate().is_ok()).await, "{follows}");
        // A clock that runs a little ahead is put right by NTP, and nothing comes of it.
        clock.by_seconds.fetch_add(4, Ordering::SeqCst);
        assert!(!soon(&|| validate().is_err()).await, "{follows}");
        if let Some(housekeeping) = housekeeping {
            housekeeping.shutdown().await;
        }
    }
}

#[test]
fn the_systems_clock_is_no_earlier_than_what_has_passed() {
    let first = SystemClock.earliest_now();
    assert!(first <= SystemClock.now());
    assert!(SystemClock.earliest_now() >= first);
}

#[tokio::test]
async fn what_a_node_revokes_whose_clock_is_behind_is_kept_as_long_as_the_tokens_live() {
    for behind in [4 * MINUTE, DAY] {
        let (store, clock) = engine();
        let keys = KeyRing::generate(countersign::Algorithm::EdDSA).unwrap();
        let over_the_store = |time: Timestamp| {
            let fixture = Fixture::with_keys(keys.clone(), |builder| {
                builder.store(store.clone()).sealing_key(SealingKey::from_bytes([7; 32]))
            });
            fixture.clock.set(time);
            fixture
        };
        let (right, wrong) = (over_the_store(clock.now()), over_the_store(clock.now() - behind));
        right.tokens.catch_up().await.unwrap();
        wrong.tokens.catch_up().await.unwrap();
        // It compares its clock with the engine's.
        let _ = wrong.tokens.purge_expired().await;
        let issued = issue_now(&right.tokens, Grant::customer("cus_1")).unwrap();
        wrong.tokens.revoke_token(&issued.token_id).await.unwrap();
        let validated = right.tokens.validator().validate(issued.access_token.expose()).unwrap();
        let left = validated.expires_at().saturating_since(right.tokens.now());
        for clock in [&clock, &right.clock] {
            clock.advance(left - Duration::from_secs(1));
        }
        right.tokens.purge_expired().await.unwrap();
        right.tokens.catch_up().await.unwrap();
        let other = over_the_store(right.tokens.now());
        other.tokens.catch_up().await.unwrap();
        for node in [&right, &other] {
            assert_eq!(fault(&node.tokens, issued.access_token.expose()), TokenFault::Revoked);
        }
    }
}
