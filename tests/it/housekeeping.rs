//! What a service does for itself in the background, and that nothing ends it but its own end.

use std::sync::Arc;
use std::time::Duration;

use countersign::faults::TokenFault;
use countersign::store::{MemoryStore, SessionStore};
use countersign::testing::{Calls, FaultyStore, StoreFault, StoreVerb};
use countersign::tokens::AccessToken;
use countersign::{Algorithm, Grant, KeyRing, ManagedKeys, Policy, SealingKey};

use crate::support::log::Log;
use crate::support::{Fixture, Server, issue_now};

type Store = FaultyStore<MemoryStore>;

/// One that outlives the process, for all that a service can tell.
fn durable_store() -> Store {
    FaultyStore::new(MemoryStore::new()).durable(true)
}

/// Fails so many reads of the feed and purges.
fn fail(store: &Store, times: usize) {
    let calls = Calls::from([StoreVerb::ReadFeed, StoreVerb::PurgeExpired]).take(times);
    store.fail(calls, StoreFault::unavailable("gone for a while"));
}

/// Waits until a condition holds, one turn of the executor after the other.
async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_one_node_revokes_is_rejected_by_another_that_shares_the_store() {
    let store = MemoryStore::new();
    let node = || Fixture::with(|builder| builder.session_store(store.clone()));
    let (here, there) = (node(), node());
    // Two nodes have their own keys here, so that each checks its own token; the subject is one.
    let token = there.tokens.issue(Grant::user("ops")).await.unwrap();
    let check = || there.tokens.validator().validate(token.access_token.expose()).map(drop);
    let _housekeeping = there.tokens.start().await.unwrap();
    here.clock.advance(Duration::from_secs(1));
    assert_eq!(check(), Ok(()));
    let (sort, now) = (countersign::SubjectType::User, here.tokens.now());
    here.tokens
        .revoke_subject(&here.tokens.principal(sort, "ops", countersign::Organization::All), now)
        .await
        .unwrap();
    until(|| check() == Err(TokenFault::Revoked)).await;
}

#[tokio::test]
async fn a_node_that_was_started_anew_hears_of_all_that_was_revoked_before() {
    let store = MemoryStore::new();
    let before = Fixture::with(|builder| builder.session_store(store.clone()));
    let after = Fixture::with(|builder| builder.session_store(store.clone()));
    let token = after.tokens.issue(Grant::user("ops")).await.unwrap();
    before.tokens.revoke_token(&token.token_id).await.unwrap();
    let check = || after.tokens.validator().validate(token.access_token.expose()).map(drop);
    assert_eq!(check(), Ok(()), "nothing has been read yet");
    let _housekeeping = after.tokens.start().await.unwrap();
    assert_eq!(check(), Err(TokenFault::Revoked));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_for_a_while_ends_nothing() {
    let store = FaultyStore::new(MemoryStore::new());
    let fixture = Fixture::with(|builder| builder.session_store(store.clone()));
    let _housekeeping = fixture.tokens.start().await.unwrap();
    fail(&store, 7);
    let token = fixture.tokens.issue(Grant::user("ops")).await.unwrap();
    // By another node: this one hears of it by the feed alone.
    let other = Fixture::with(|builder| builder.session_store(store.inner()));
    other.tokens.revoke_token(&token.token_id).await.unwrap();
    store.wait_for_calls(StoreVerb::PurgeExpired, 5).await;
    assert_eq!(store.faults_left(), 0);
    let fault = fixture.tokens.validator().validate(token.access_token.expose()).unwrap_err();
    assert_eq!(fault, TokenFault::Revoked);
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_is_removed_from_the_store() {
    let store = FaultyStore::new(MemoryStore::new());
    let fixture = Fixture::with(|builder| builder.session_store(store.clone()));
    let token = fixture.session(|new| new.lifetime(Duration::from_secs(60))).await;
    let key = countersign::AuthenticationToken::from_text(&token).unwrap().key();
    fixture.clock.advance(Duration::from_secs(60));
    let _housekeeping = fixture.tokens.start().await.unwrap();
    store.wait_for_calls(StoreVerb::PurgeExpired, 2).await;
    assert!(SessionStore::get(&store.inner(), &key).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn housekeeping_ends_with_the_service() {
    let store = Arc::new(MemoryStore::new());
    let fixture = Fixture::with(|builder| builder.session_store(Arc::clone(&store)));
    let _housekeeping = fixture.tokens.start().await.unwrap();
    assert!(Arc::strong_count(&store) > 1);
    drop(fixture);
    // What waits for the feed does so for a while.
    tokio::time::timeout(Duration::from_secs(60), async {
        while Arc::strong_count(&store) > 1 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .expect("nothing holds the store any more");
}

/// A service over a store that other nodes may share, which has heard nothing of them yet, and a token
/// that one of them has issued.
fn shared(store: &Store, policy: Policy) -> (Fixture, AccessToken) {
    let keys = KeyRing::generate(Algorithm::EdDSA).unwrap();
    let other = Fixture::with_keys(keys.clone(), |builder| builder);
    let token = issue_now(&other.tokens, Grant::user("ops")).unwrap().access_token;
    let fixture = Fixture::with_keys(keys, |builder| {
        let key = SealingKey::from_bytes([7; 32]);
        builder.session_store(store.clone()).sealing_key(key).policy(policy)
    });
    (fixture, token)
}

#[tokio::test]
async fn over_a_shared_store_no_token_is_accepted_before_it_is_known_what_was_revoked() {
    let (fixture, token) = shared(&durable_store(), Policy::default());
    let validate = || fixture.tokens.validator().validate(token.expose());
    assert_eq!(validate().unwrap_err(), TokenFault::RevocationsUnavailable);
    fixture.tokens.catch_up().await.unwrap();
    validate().unwrap();
}

#[tokio::test]
async fn no_duration_is_so_long_that_nothing_can_be_reckoned_with_it() {
    let far = Duration::MAX;
    let schedule = countersign::policy::RotationSchedule::default();
    let policies = [
        Policy::default().runtime(|runtime| runtime.max_revocation_staleness(far)),
        Policy::default().tokens(|tokens| tokens.phantom_lifetime(far)),
        Policy::default().tokens(|tokens| tokens.max_exchanged_lifetime(far)),
        Policy::default().tokens(|tokens| tokens.max_lifetime(Some(far))),
        Policy::default().tokens(|tokens| tokens.leeway(far)),
        Policy::default().sessions(|sessions| sessions.max_lifetime(far)),
        Policy::default().tokens(|tokens| tokens.rotation_schedule(schedule.clock_tolerance(far))),
        Policy::default().tokens(|tokens| tokens.rotation_schedule(schedule.rotation_period(far))),
        Policy::default().runtime(|runtime| runtime.store_deadline(Duration::ZERO)),
        Policy::default().sessions(|sessions| sessions.one_time_password_lifetime(Duration::ZERO)),
    ];
    for policy in policies {
        let built = countersign::TokenService::builder()
            .issuer(crate::support::ISSUER)
            .audience(crate::support::AUDIENCE)
            .keys(countersign::KeyRing::generate(countersign::Algorithm::EdDSA).unwrap())
            .policy(policy)
            .build();
        assert_eq!(built.unwrap_err().kind(), countersign::ErrorKind::Configuration);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_heard_once_is_relied_on_for_a_while_where_nobody_does_the_housekeeping() {
    let (fixture, token) = shared(&durable_store(), Policy::default());
    let validate = || fixture.tokens.validator().validate(token.expose());
    for _ in 0..2 {
        fixture.tokens.catch_up().await.unwrap();
        validate().unwrap();
        tokio::time::advance(Duration::from_secs(59)).await;
        validate().unwrap();
        tokio::time::advance(Duration::from_secs(2)).await;
        until(|| validate().is_err()).await;
        assert_eq!(validate().unwrap_err(), TokenFault::RevocationsUnavailable);
    }
    let _housekeeping = fixture.tokens.start().await.unwrap();
    validate().unwrap();
}

#[tokio::test]
async fn a_token_that_cannot_be_judged_is_a_503_and_one_that_is_bad_a_401() {
    let (fixture, token) = shared(&durable_store(), Policy::default());
    let app = axum::Router::new()
        .route("/", axum::routing::get(|| async {}))
        .layer(fixture.tokens.validate_layer())
        .merge(fixture.tokens.router());
    let server = Server::start(app).await;
    let answer = server.get("/", Some(token.expose())).await.expect(503);
    assert!(matches!(answer.header("retry-after"), "1" | "2" | "3"));
    assert!(answer.headers().get("www-authenticate").is_none());
    server.get("/", Some("no.such.token")).await.expect(401);
    server.get("/", None).await.expect(401);
    let answer = server.get("/authentication-tokens", Some(token.expose())).await.expect(503);
    assert!(matches!(answer.header("retry-after"), "1" | "2" | "3"));
    fixture.tokens.catch_up().await.unwrap();
    server.get("/", Some(token.expose())).await.expect(200);
}

#[tokio::test(start_paused = true)]
async fn tokens_are_rejected_while_the_feed_has_been_silent_for_too_long_and_no_longer() {
    let store = durable_store();
    let (fixture, token) = shared(&store, Policy::default());
    let _housekeeping = fixture.tokens.start().await.unwrap();
    let wait_until = async |accepted: bool| {
        for second in 0..600_u64 {
            if fixture.tokens.validator().validate(token.expose()).is_ok() == accepted {
                return second;
            }
            tokio::time::advance(Duration::from_secs(1)).await;
            tokio::task::yield_now().await;
        }
        panic!("nothing changed in ten minutes");
    };
    fail(&store, usize::MAX);
    let lasted = wait_until(false).await;
    assert!((40..=85).contains(&lasted), "{lasted} s after the store went away");
    store.clear_faults();
    let lasted = wait_until(true).await;
    assert!(lasted <= 5, "{lasted} s after the store came back");
}

#[tokio::test(start_paused = true)]
async fn tokens_are_accepted_as_soon_as_the_service_was_started_and_no_longer_once_that_has_ended()
{
    let (fixture, token) = shared(&durable_store(), Policy::default());
    let started = tokio::time::Instant::now();
    let housekeeping = fixture.tokens.start().await.unwrap();
    let validate = || fixture.tokens.validator().validate(token.expose());
    validate().expect("the feed is empty, and that is known at once");
    assert_eq!(started.elapsed(), Duration::ZERO, "nobody has to wait for the first revocation");
    housekeeping.shutdown().await;
    assert_eq!(validate().unwrap_err(), TokenFault::RevocationsUnavailable);
    let again = fixture.tokens.start().await.unwrap();
    validate().expect("it may be started again");
    drop(again);
    until(|| validate().is_err()).await;
}

#[tokio::test]
async fn a_policy_may_prefer_to_let_tokens_pass() {
    let policy =
        Policy::default().runtime(|runtime| runtime.dangerous_accept_stale_revocations(true));
    let store = durable_store();
    fail(&store, usize::MAX);
    let (fixture, token) = shared(&store, policy);
    fixture.tokens.validator().validate(token.expose()).unwrap();
    let hasty = Policy::default()
        .runtime(|runtime| runtime.max_revocation_staleness(Duration::from_millis(999)));
    let built = countersign::testing::TestIssuer::new().service_builder().policy(hasty).build();
    assert_eq!(built.unwrap_err().kind(), countersign::ErrorKind::Configuration);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_under_one_part_of_the_work_ends_no_part_of_it() {
    let parts = [StoreVerb::ReadFeed, StoreVerb::PurgeExpired, StoreVerb::GetKeys];
    for verb in parts {
        let store = durable_store();
        let keys = ManagedKeys::new(Algorithm::EdDSA);
        let fixture = Fixture::with_keys(keys, |builder| {
            builder.store(store.clone()).sealing_key(SealingKey::from_bytes([7; 32]))
        });
        let log = Log::default();
        let _listening = log.listen();
        let _housekeeping = fixture.tokens.start().await.unwrap();
        let token = issue_now(&fixture.tokens, Grant::user("ops")).unwrap().access_token;
        store.fail(Calls::from(verb).take(3), StoreFault::panic("a fault of the store"));
        for part in parts {
            store.wait_for_calls(part, store.calls(part) + 5).await;
        }
        assert_eq!(store.faults_left(), 0);
        let errors = log.errors();
        let panics = errors.iter().filter(|error| error.contains("is restarted")).count();
        assert_eq!(panics, 3, "{verb:?}: {errors:?}");
        fixture.tokens.validator().validate(token.expose()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn where_reading_the_feed_panics_for_too_long_tokens_are_rejected_until_it_is_read() {
    let store = durable_store();
    let (fixture, token) = shared(&store, Policy::default());
    let _housekeeping = fixture.tokens.start().await.unwrap();
    let validate = || fixture.tokens.validator().validate(token.expose());
    store.fail(StoreVerb::ReadFeed, StoreFault::panic("a fault of the store"));
    let minutes = Duration::from_secs(600);
    let rejected = async {
        while validate().is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(minutes, rejected).await.expect("it is not relied on for ever");
    assert_eq!(validate().unwrap_err(), TokenFault::RevocationsUnavailable);
    store.clear_faults();
    let accepted = async {
        while validate().is_err() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(minutes, accepted).await.expect("it is read again");
}

#[tokio::test(start_paused = true)]
async fn silence_is_judged_also_while_who_reads_the_feed_waits_to_be_started_again() {
    let store = durable_store();
    let (fixture, token) = shared(&store, Policy::default());
    let read_at = tokio::time::Instant::now();
    let _housekeeping = fixture.tokens.start().await.unwrap();
    store.fail(StoreVerb::ReadFeed, StoreFault::panic("a fault of the store"));
    while fixture.tokens.validator().validate(token.expose()).is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let relied_on = read_at.elapsed();
    assert!(relied_on <= Duration::from_secs(62), "{relied_on:?}");
}
