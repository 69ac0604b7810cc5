//! The memory store, by the suite that every store passes.

use std::sync::Arc;
use std::time::Duration;

use countersign::claims::TokenId;
use countersign::sessions::Session;
use countersign::store::{
    Cursor, EntityStore, MemoryStore, PageRequest, Revocation, RevocationTarget, SessionFilter,
    SessionStore, StoreError, conformance, record,
};
use countersign::{Acl, AuthenticationToken, CustomerId, Entity, SessionId, Timestamp};

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
        SessionStore::insert(&store, session, now).await.unwrap();
        keys.push(key);
    }
    let clone = store.clone();
    for key in &keys {
        assert!(SessionStore::get(&clone, key).await.unwrap().is_some());
    }
    let page = PageRequest::first(1);
    assert_eq!(
        SessionStore::list(&clone, &SessionFilter::all(), &page, now).await.unwrap().total,
        10_000
    );
}

#[tokio::test]
async fn a_memory_store_that_nobody_purges_forgets_what_has_ended_when_others_are_started() {
    let store = MemoryStore::new();
    let now = Timestamp::from_secs(1_800_000_000);
    let minute = Duration::from_secs(60);
    let start = async |number: u32, at: Timestamp| {
        let key = AuthenticationToken::generate().unwrap().key();
        let id = SessionId::new(format!("session-{number}")).unwrap();
        let customer = CustomerId::new(format!("cus_{number}")).unwrap();
        let session = Session::new(key, id, customer, at, at + minute);
        SessionStore::insert(&store, session, at).await.unwrap();
        key
    };
    let mut ended = Vec::new();
    for number in 0..100 {
        ended.push(start(number, now).await);
    }
    for number in 100..150 {
        let live = start(number, now + minute * 3).await;
        assert!(SessionStore::get(&store, &live).await.unwrap().is_some());
    }
    for key in ended {
        assert!(SessionStore::get(&store, &key).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_reader_that_is_behind_what_was_purged_is_brought_up_to_date() {
    let store = MemoryStore::new();
    let now = Timestamp::from_secs(1_800_000_000);
    let target = RevocationTarget::Token(TokenId::new("jti").unwrap());
    store.publish(Revocation { target, until: now }.into()).await.unwrap();
    let read = store.read_feed(&Cursor::START, Duration::ZERO).await.unwrap();
    assert_eq!(read.events.len(), 1);
    store.purge_expired(now).await.unwrap();
    let late = store.read_feed(&Cursor::START, Duration::ZERO).await.unwrap();
    assert!(late.events.is_empty());
    assert_eq!(late.next, read.next, "it has nothing to come back for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replacement_that_races_a_removal_never_brings_the_entity_back() {
    let store = MemoryStore::new();
    for number in 0..2_000 {
        let entity = Entity::machine(format!("e-{number}")).unwrap();
        let id = entity.id().clone();
        EntityStore::insert(&store, entity.clone()).await.unwrap();
        let (writer, version) = (store.clone(), entity.version());
        let writing = tokio::spawn(async move {
            let _ = EntityStore::replace(&writer, entity.next_version(), version).await;
        });
        assert!(EntityStore::remove(&store, &id).await.unwrap());
        writing.await.unwrap();
        assert!(EntityStore::get(&store, &id).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_record_of_a_later_release_or_a_damaged_one_is_corrupt_and_quoted_nowhere() {
    let entity = Entity::machine("canary-of-a-name").unwrap().acl(Acl::everything());
    let text = record::write_entity(&entity).unwrap();
    assert!(record::read_entity(&text).is_ok());
    for damaged in [
        text.replacen("\"form\":1", "\"form\":2", 1),
        text.replacen("\"disabled\":false", "\"disabled\":\"canary-of-a-name\"", 1),
        text.replacen("\"subject_type\":\"entity\"", "\"subject_type\":\"user\"", 1),
        text[..text.len() / 2].to_owned(),
        String::new(),
    ] {
        assert_ne!(damaged, text);
        let error = record::read_entity(&damaged).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
        assert!(!format!("{error:?}").contains("canary-of-a-name"), "{error:?}");
    }
}
