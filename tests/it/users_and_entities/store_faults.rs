//! A store that is down, silent, read-only, or holds what cannot be read.

use std::time::Duration;

use countersign::Policy;
use countersign::store::MemoryStore;
use countersign::testing::{Calls, FaultyStore, StoreFault};
use serde_json::json;

use super::{
    READ, RESET, ROUTES, SECRET, TRANSACTION, assert_error, assert_unavailable, complete,
    entity_login, manager,
};
use crate::support::{Fixture, Server};

type Store = FaultyStore<MemoryStore>;

const DRIVERS_MESSAGE: &str = "connection to 10.0.0.7:5432 rejected for user shop_rw";

/// A user and an entity, over a store that fails as it is told to.
async fn service_over_faulty_store() -> (Store, Fixture, Server) {
    let store = FaultyStore::new(MemoryStore::new());
    let fixture = Fixture::with(|builder| builder.entity_store(store.clone()));
    fixture.user("ops@example.com", json!([])).await;
    fixture.machine("aa-1", SECRET).await;
    let server = fixture.serve().await;
    (store, fixture, server)
}

#[tokio::test]
async fn a_store_out_of_reach_is_a_503_and_when_it_is_back_all_goes_on() {
    let (store, fixture, server) = service_over_faulty_store().await;
    let manager = manager(&fixture);
    store.fail(Calls::all(), StoreFault::unavailable(DRIVERS_MESSAGE));
    for route in ROUTES {
        let answer = server.post(route, Some(&manager), &complete()).await;
        assert_unavailable(&answer);
        assert!(!answer.text().contains("10.0.0.7"), "{answer:?}");
    }
    for route in [READ, RESET] {
        let answer = server.post(route, Some(&manager), &complete()).await;
        assert_eq!(answer.json()["txnId"], TRANSACTION);
    }
    store.clear_faults();
    for route in ROUTES {
        server.post(route, Some(&manager), &complete()).await.expect(200);
    }
}

#[tokio::test]
async fn a_store_that_never_answers_is_a_503_at_the_deadline() {
    let deadline = Duration::from_millis(5);
    let store = FaultyStore::new(MemoryStore::new());
    let policy = Policy::default().runtime(|runtime| runtime.store_deadline(deadline));
    let fixture = Fixture::with(|builder| builder.entity_store(store.clone()).policy(policy));
    let server = fixture.serve().await;
    let manager = manager(&fixture);
    store.fail(Calls::all(), StoreFault::hang());
    for route in ROUTES {
        assert_unavailable(&server.post(route, Some(&manager), &complete()).await);
    }
}

#[tokio::test]
async fn a_store_that_takes_no_writes_keeps_serving_what_it_has() {
    let (store, fixture, server) = service_over_faulty_store().await;
    let manager = manager(&fixture);
    store.fail(Calls::writes(), StoreFault::unavailable(DRIVERS_MESSAGE));
    assert_unavailable(&server.post(RESET, Some(&manager), &complete()).await);
    let read = server.post(READ, Some(&manager), &complete()).await.expect(200).json();
    assert_eq!(read["secret"], SECRET);
    entity_login(&server, "aa-1", SECRET).await.expect(200);
}

#[tokio::test]
async fn a_reset_that_always_comes_late_gives_up_with_a_503() {
    let (store, fixture, server) = service_over_faulty_store().await;
    let manager = manager(&fixture);
    store.fail(Calls::writes(), StoreFault::conflict());
    assert_unavailable(&server.post(RESET, Some(&manager), &complete()).await);
    store.clear_faults();
    entity_login(&server, "aa-1", SECRET).await.expect(200);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_a_500_without_the_drivers_message() {
    let (store, fixture, server) = service_over_faulty_store().await;
    let manager = manager(&fixture);
    store.fail(Calls::all(), StoreFault::corrupt(DRIVERS_MESSAGE));
    for route in ROUTES {
        let answer = server.post(route, Some(&manager), &complete()).await;
        assert_error(&answer, 500, "Internal Server Error", "The service failed");
    }
}
