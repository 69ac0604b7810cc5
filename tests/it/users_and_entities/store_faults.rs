//! A store that is down, silent, read-only, or holds what cannot be read.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign::store::{EntityStore, MemoryStore, StoreError};
use countersign::{Entity, EntityId, Policy};
use serde_json::json;

use super::{
    READ, RESET, ROUTES, SECRET, TRANSACTION, assert_error, assert_unavailable, complete,
    entity_login, manager,
};
use crate::support::{Fixture, Server};

/// A store with a fault that a test chooses.
#[derive(Debug)]
struct Faulty {
    inner: MemoryStore,
    fault: Mutex<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Down,
    Silent,
    Corrupt,
    ReadOnly,
    AlwaysLate,
}

const DRIVERS_MESSAGE: &str = "connection to 10.0.0.7:5432 refused for user shop_rw";

impl Faulty {
    fn new() -> Arc<Self> {
        Arc::new(Self { inner: MemoryStore::new(), fault: Mutex::new(Fault::None) })
    }

    fn fail(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    async fn read(&self) -> Result<(), StoreError> {
        let fault = *self.fault.lock().unwrap();
        match fault {
            Fault::None | Fault::ReadOnly | Fault::AlwaysLate => Ok(()),
            Fault::Down => Err(StoreError::unavailable(DRIVERS_MESSAGE)),
            Fault::Silent => std::future::pending().await,
            Fault::Corrupt => Err(StoreError::corrupt(DRIVERS_MESSAGE)),
        }
    }

    async fn write(&self) -> Result<(), StoreError> {
        let fault = *self.fault.lock().unwrap();
        match fault {
            Fault::ReadOnly => Err(StoreError::unavailable(DRIVERS_MESSAGE)),
            Fault::AlwaysLate => Err(StoreError::Conflict),
            _ => self.read().await,
        }
    }
}

#[async_trait::async_trait]
impl EntityStore for Faulty {
    async fn insert(&self, entity: Entity) -> Result<(), StoreError> {
        self.write().await?;
        EntityStore::insert(&self.inner, entity).await
    }
    async fn get(&self, id: &EntityId) -> Result<Option<Entity>, StoreError> {
        self.read().await?;
        EntityStore::get(&self.inner, id).await
    }
    async fn replace(&self, entity: Entity, expected_version: u64) -> Result<(), StoreError> {
        self.write().await?;
        EntityStore::replace(&self.inner, entity, expected_version).await
    }
    async fn remove(&self, id: &EntityId) -> Result<bool, StoreError> {
        self.write().await?;
        EntityStore::remove(&self.inner, id).await
    }
    fn is_durable(&self) -> bool {
        false
    }
}

/// A user and an entity, over a store that fails as it is told to.
async fn service_over_faulty_store() -> (Arc<Faulty>, Fixture, Server) {
    let store = Faulty::new();
    let fixture = Fixture::with(|builder| builder.entities(Arc::clone(&store)));
    fixture.user("ops@example.com", json!([])).await;
    fixture.entity("aa-1", SECRET).await;
    let server = fixture.serve().await;
    (store, fixture, server)
}

#[tokio::test]
async fn a_store_out_of_reach_is_a_503_and_when_it_is_back_all_goes_on() {
    let (store, fixture, server) = service_over_faulty_store().await;
    let manager = manager(&fixture);
    store.fail(Fault::Down);
    for route in ROUTES {
        let answer = server.post(route, Some(&manager), &complete()).await;
        assert_unavailable(&answer);
        assert!(!answer.text().contains("10.0.0.7"), "{answer:?}");
    }
    for route in [READ, RESET] {
        let answer = server.post(route, Some(&manager), &complete()).await;
        assert_eq!(answer.json()["txnId"], TRANSACTION);
    }
    store.fail(Fault::None);
    for route in ROUTES {
        server.post(route, Some(&manager), &complete()).await.expect(200);
    }
}

#[tokio::test]
async fn a_store_that_never_answers_is_a_503_at_the_deadline() {
    let deadline = Duration::from_millis(5);
    let store = Faulty::new();
    store.fail(Fault::Silent);
    let policy = Policy::default().store_deadline(deadline);
    let fixture = Fixture::with(|builder| builder.entities(store).policy(policy));
    let server = fixture.serve().await;
    let manager = manager(&fixture);
    for route in ROUTES {
        assert_unavailable(&server.post(route, Some(&manager), &complete()).await);
    }
}

#[tokio::test]
async fn a_store_that_takes_no_writes_keeps_serving_what_it_has() {
    let (store, fixture, server) = service_over_faulty_store().await;
    let manager = manager(&fixture);
    store.fail(Fault::ReadOnly);
    assert_unavailable(&server.post(RESET, Some(&manager), &complete()).await);
    let read = server.post(READ, Some(&manager), &complete()).await.expect(200).json();
    assert_eq!(read["secret"], SECRET);
    entity_login(&server, "aa-1", SECRET).await.expect(200);
}

#[tokio::test]
async fn a_reset_that_always_comes_late_gives_up_with_a_503() {
    let (store, fixture, server) = service_over_faulty_store().await;
    let manager = manager(&fixture);
    store.fail(Fault::AlwaysLate);
    assert_unavailable(&server.post(RESET, Some(&manager), &complete()).await);
    store.fail(Fault::None);
    entity_login(&server, "aa-1", SECRET).await.expect(200);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_a_500_without_the_drivers_message() {
    let (store, fixture, server) = service_over_faulty_store().await;
    let manager = manager(&fixture);
    store.fail(Fault::Corrupt);
    for route in ROUTES {
        let answer = server.post(route, Some(&manager), &complete()).await;
        assert_error(&answer, 500, "Internal Server Error", "The service failed");
    }
}
