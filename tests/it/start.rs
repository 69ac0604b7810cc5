//! How a service is started: what is found out then, and how what it runs ends.

use std::time::Duration;

use countersign::builder::KeySource;
use countersign::faults::TokenFault;
use countersign::store::{Cursor, MemoryStore, SessionStore};
use countersign::testing::{Calls, FaultyStore, StoreFault, StoreVerb};
use countersign::{Algorithm, Error, ErrorKind, Grant, KeyRing, ManagedKeys, Policy, SealingKey};
use futures_util::FutureExt as _;

use crate::support::log::Log;
use crate::support::{Fixture, Server};

type Store = FaultyStore<MemoryStore>;

/// One that outlives the process, for all that a service can tell.
fn durable_store() -> Store {
    FaultyStore::new(MemoryStore::new()).durable(true)
}

fn ring() -> KeyRing {
    KeyRing::generate(Algorithm::EdDSA).unwrap()
}

/// A node over `store`, with the sealing keys that the bytes stand for, the first of which seals.
fn node(store: &Store, keys: impl Into<KeySource>, sealing_keys: &[u8]) -> Fixture {
    Fixture::with_keys(keys, |builder| {
        let policy =
            Policy::default().runtime(|runtime| runtime.store_deadline(Duration::from_millis(50)));
        let key = |byte: &u8| SealingKey::from_bytes([*byte; 32]);
        let builder = builder.store(store.clone()).policy(policy);
        sealing_keys.iter().map(key).fold(builder, |builder, key| builder.sealing_key(key))
    })
}

async fn start_error(fixture: &Fixture) -> Error {
    fixture.tokens.start().await.map(drop).unwrap_err()
}

#[tokio::test]
async fn a_service_that_was_started_has_heard_what_was_revoked_and_has_the_managed_keys() {
    let store = durable_store();
    let managed = || ManagedKeys::new(Algorithm::EdDSA);
    let (here, there) = (node(&store, managed(), &[1]), node(&store, managed(), &[1]));
    let _here = here.tokens.start().await.unwrap();
    let issue = async || here.tokens.issue(Grant::user("ops")).await.unwrap();
    let (good, revoked) = (issue().await, issue().await);
    here.tokens.revoke_token(&revoked.token_id).await.unwrap();
    let _there = there.tokens.start().await.unwrap();
    let validator = there.tokens.validator();
    validator.validate(good.access_token.expose()).unwrap();
    let fault = validator.validate(revoked.access_token.expose()).unwrap_err();
    assert_eq!(fault, TokenFault::Revoked);
}

#[tokio::test]
async fn a_wrong_sealing_key_over_an_existing_store_is_found_at_the_start() {
    let store = durable_store();
    node(&store, ring(), &[1]).tokens.start().await.unwrap().shutdown().await;
    let error = start_error(&node(&store, ring(), &[2])).await;
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("`sealing_key`"), "{error}");
    // It was given nothing to write over.
    node(&store, ring(), &[1]).tokens.start().await.unwrap().shutdown().await;
}

#[tokio::test]
async fn a_wrong_sealing_key_over_managed_keys_is_found_at_the_start() {
    let store = durable_store();
    let managed = || ManagedKeys::new(Algorithm::EdDSA);
    node(&store, managed(), &[1]).tokens.start().await.unwrap().shutdown().await;
    let error = start_error(&node(&store, managed(), &[2])).await;
    assert!(error.to_string().contains("`sealing_key`"), "{error}");
}

#[tokio::test]
async fn a_sealing_key_is_rotated_in_steps_and_the_old_one_then_left_out() {
    let store = durable_store();
    for sealing_keys in [&[1][..], &[1, 2], &[2, 1], &[1, 2], &[2, 1], &[2]] {
        node(&store, ring(), sealing_keys).tokens.start().await.unwrap().shutdown().await;
    }
    start_error(&node(&store, ring(), &[1])).await;
}

#[tokio::test]
async fn a_store_that_cannot_be_written_is_joined() {
    let store = durable_store();
    node(&store, ring(), &[1]).tokens.start().await.unwrap().shutdown().await;
    store.fail(Calls::writes(), StoreFault::unavailable("OOM command not allowed"));
    node(&store, ring(), &[1]).tokens.start().await.unwrap().shutdown().await;
    // Also where it is the first time.
    let store = durable_store();
    store.fail(Calls::writes(), StoreFault::unavailable("OOM command not allowed"));
    node(&store, ring(), &[1]).tokens.start().await.unwrap().shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_out_of_reach_is_an_error_and_the_host_may_start_again() {
    let store = durable_store();
    let fixture = node(&store, ring(), &[1]);
    for verb in [StoreVerb::IsCurrent, StoreVerb::ReadFeed, StoreVerb::ReadSealingCheck] {
        for fault in [StoreFault::unavailable("connection refused"), StoreFault::hang()] {
            store.fail(verb, fault);
            assert_eq!(start_error(&fixture).await.kind(), ErrorKind::Unavailable, "{verb:?}");
            store.clear_faults();
        }
    }
    fixture.tokens.start().await.unwrap().shutdown().await;
}

#[tokio::test]
async fn a_shutdown_finishes_the_purge_that_is_under_way_and_ends_what_runs() {
    let store = durable_store();
    let fixture = Fixture::with(|builder| {
        builder.store(store.clone()).sealing_key(SealingKey::from_bytes([1; 32]))
    });
    let held = store.hold_replies(StoreVerb::PurgeExpired);
    let housekeeping = fixture.tokens.start().await.unwrap();
    held.wait_for(1).await;
    let shutdown = tokio::spawn(housekeeping.shutdown());
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!shutdown.is_finished(), "the purge is under way");
    held.release();
    shutdown.await.unwrap();
    assert_eq!(store.calls(StoreVerb::PurgeExpired), 1);
}

#[tokio::test]
async fn a_shutdown_waits_for_what_is_written_though_its_caller_has_hung_up() {
    let store = durable_store();
    let fixture = Fixture::with(|builder| {
        builder.store(store.clone()).sealing_key(SealingKey::from_bytes([1; 32]))
    });
    let housekeeping = fixture.tokens.start().await.unwrap();
    let token = fixture.tokens.issue(Grant::user("ops")).await.unwrap();
    let held = store.hold(StoreVerb::Publish);
    let mut revoking = Box::pin(fixture.tokens.revoke_token(&token.token_id));
    assert!((&mut revoking).now_or_never().is_none());
    held.wait_for(1).await;
    drop(revoking);
    let shutdown = tokio::spawn(housekeeping.shutdown());
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!shutdown.is_finished(), "a revocation is being written");
    held.release();
    shutdown.await.unwrap();
    let published = store.inner().read_feed(&Cursor::START, Duration::ZERO).await.unwrap();
    assert_eq!(published.events.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_a_store_that_hangs_no_longer_than_it_says() {
    let store = durable_store();
    let fixture = node(&store, ring(), &[1]);
    let housekeeping = fixture.tokens.start().await.unwrap();
    store.fail(Calls::all(), StoreFault::hang());
    let begun = tokio::time::Instant::now();
    housekeeping.shutdown().await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn after_a_shutdown_the_store_is_left_alone() {
    let store = durable_store();
    let fixture = node(&store, ring(), &[1]);
    fixture.tokens.start().await.unwrap().shutdown().await;
    let calls = || [StoreVerb::ReadFeed, StoreVerb::PurgeExpired].map(|verb| store.calls(verb));
    let before = calls();
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(calls(), before);
}

#[tokio::test]
async fn a_start_that_was_forgotten_is_an_error_in_the_log_once() {
    let managed = ManagedKeys::new(Algorithm::EdDSA);
    let in_memory = Fixture::with_keys(managed.clone(), |builder| builder);
    let ring = ring();
    let other = Fixture::with_keys(ring.clone(), |builder| builder);
    let nodes =
        [node(&durable_store(), ring, &[1]), node(&durable_store(), managed, &[1]), in_memory];
    for fixture in nodes {
        let app = axum::Router::new()
            .route("/", axum::routing::get(async || "hello"))
            .layer(fixture.tokens.validate_layer());
        let server = Server::start(app).await;
        let log = Log::default();
        let listening = log.listen();
        let issued = fixture.tokens.issue(Grant::user("ops")).await;
        assert_eq!(issued.unwrap_err().kind(), ErrorKind::Unavailable);
        // Of a key that has not come: it is not looked at.
        let token = other.tokens.issue(Grant::user("ops")).await.unwrap().access_token;
        let token = token.expose().to_owned();
        for _ in 0..3 {
            server.get("/", Some(&token)).await.expect(503);
        }
        drop(listening);
        let errors = log.errors();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains("`TokenService::start` was not called"), "{errors:?}");
    }
}

#[tokio::test]
async fn a_service_in_memory_with_keys_of_the_hosts_own_needs_no_start() {
    let fixture = Fixture::new();
    let log = Log::default();
    let listening = log.listen();
    let token = fixture.tokens.issue(Grant::user("ops")).await.unwrap().access_token;
    fixture.tokens.validator().validate(token.expose()).unwrap();
    drop(listening);
    assert_eq!(log.errors(), [""; 0]);
}

#[tokio::test]
async fn a_serverless_host_catches_up_and_nothing_runs_on() {
    let store = durable_store();
    let fixture = node(&store, ManagedKeys::new(Algorithm::EdDSA), &[1]);
    fixture.tokens.catch_up().await.unwrap();
    let token = fixture.tokens.issue(Grant::user("ops")).await.unwrap();
    fixture.tokens.validator().validate(token.access_token.expose()).unwrap();
    let calls = || store.calls(StoreVerb::ReadFeed);
    let before = calls();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(calls(), before);
    fixture.tokens.revoke_token(&token.token_id).await.unwrap();
    let page = store.read_feed(&countersign::store::Cursor::START, Duration::ZERO).await.unwrap();
    assert_eq!(page.events.len(), 1);
}
