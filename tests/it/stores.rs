//! The memory store, by the suite that every store passes.

use std::sync::Arc;
use std::time::Duration;

use countersign::store::{MemoryStore, Page, SessionFilter, SessionStore, conformance};
use countersign::{AuthenticationToken, CustomerId, Session, SessionId, Timestamp};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_store_keeps_the_contract_of_entities() {
    conformance::check_entity_store(Arc::new(MemoryStore::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_store_keeps_the_contract_of_sessions() {
    conformance::check_session_store(Arc::new(MemoryStore::new())).await;
}

#[tokio::test]
async fn the_memory_store_drops_nothing_that_is_live_and_its_clones_share_it() {
    let store = MemoryStore::new();
    let now = Timestamp::from_secs(1_800_000_000);
    let customer = CustomerId::new("cus_1").unwrap();
    let mut keys = Vec::new();
    for number in 0..10_000 {
        let key = AuthenticationToken::generate().unwrap().key();
        let id = SessionId::new(format!("session-{number}")).unwrap();
        let expires_at = now + Duration::from_secs(60);
        let session = Session::new(key, id, customer.clone(), now, expires_at);
        store.insert(session, now).await.unwrap();
        keys.push(key);
    }
    let clone = store.clone();
    for key in &keys {
        assert!(clone.get(key).await.unwrap().is_some());
    }
    let page = Page { offset: 0, limit: 1 };
    assert_eq!(clone.list(&SessionFilter::all(), page, now).await.unwrap().total, 10_000);
}
