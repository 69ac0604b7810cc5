//! A store that a test scripts: what becomes of its calls, when, and how often they came.

use std::sync::Arc;

use countersign::store::{
    EntityStore, KeyStore, MemoryStore, SessionStore, Store, StoreError, conformance,
};
use countersign::testing::{Calls, FaultyStore, StoreFault, StoreVerb};
use countersign::{Entity, EntityId, Policy};
use tokio::task::JoinHandle;

use crate::support::Fixture;

type Found = Result<Option<Entity>, StoreError>;

const MESSAGE: &str = "connection to 10.0.0.7:5432 rejected";

fn store() -> FaultyStore<MemoryStore> {
    FaultyStore::new(MemoryStore::new())
}

fn entity() -> Entity {
    Entity::machine("aa-1").unwrap()
}

async fn insert(store: &FaultyStore<MemoryStore>) -> Result<(), StoreError> {
    EntityStore::insert(store, entity()).await
}

async fn get(store: &FaultyStore<MemoryStore>) -> Found {
    EntityStore::get(store, entity().id()).await
}

async fn is_there(store: &FaultyStore<MemoryStore>) -> bool {
    EntityStore::get(&store.inner(), entity().id()).await.unwrap().is_some()
}

/// A call of its own, as that of another request.
fn spawn_get(store: &FaultyStore<MemoryStore>) -> JoinHandle<Found> {
    let store = store.clone();
    tokio::spawn(async move { get(&store).await })
}

fn spawn_insert(store: &FaultyStore<MemoryStore>) -> JoinHandle<Result<(), StoreError>> {
    let store = store.clone();
    tokio::spawn(async move { insert(&store).await })
}

/// Polls once, for what would otherwise not come back.
async fn returns_at_once(call: impl Future) -> bool {
    tokio::select! {
        biased;
        _ = call => true,
        () = std::future::ready(()) => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_script_it_keeps_every_contract_of_the_store_that_it_wraps() {
    conformance::check_entity_store(Arc::new(store())).await;
    conformance::check_session_store(Arc::new(store())).await;
    conformance::check_key_store(Arc::new(store())).await;
}

#[tokio::test]
async fn a_call_fails_as_it_was_told_to_and_does_nothing() {
    let store = store();
    store.fail(StoreVerb::InsertEntity, StoreFault::unavailable(MESSAGE));
    let error = insert(&store).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(source) if source.to_string() == MESSAGE));
    store.clear_faults();
    store.fail(StoreVerb::InsertEntity, StoreFault::conflict());
    assert!(matches!(insert(&store).await, Err(StoreError::Conflict)));
    store.clear_faults();
    store.fail(StoreVerb::InsertEntity, StoreFault::corrupt(MESSAGE));
    let error = insert(&store).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt(source) if source.to_string() == MESSAGE));
    store.clear_faults();
    store.fail(StoreVerb::InsertEntity, StoreFault::hang());
    assert!(!returns_at_once(insert(&store)).await);
    assert!(!is_there(&store).await);
    store.clear_faults();
    insert(&store).await.unwrap();
    assert!(is_there(&store).await);
}

#[tokio::test]
async fn a_call_whose_reply_is_lost_has_taken_effect() {
    let store = store();
    let next = Calls::from(StoreVerb::InsertEntity).take(1);
    store.fail(next, StoreFault::lost_reply(MESSAGE));
    let error = insert(&store).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(source) if source.to_string() == MESSAGE));
    assert!(is_there(&store).await);
    assert!(matches!(insert(&store).await, Err(StoreError::Conflict)), "it was made already");
}

#[tokio::test]
async fn as_many_calls_fail_as_were_selected_and_after_as_many_as_were_left_out() {
    let store = store();
    let second_and_third = Calls::from(StoreVerb::GetEntity).skip(1).take(2);
    store.fail(second_and_third, StoreFault::unavailable(MESSAGE));
    assert_eq!(store.faults_left(), 2);
    let mut fail = Vec::new();
    for _ in 0..5 {
        // Other verbs are not counted.
        let _ = KeyStore::get(&store).await.unwrap();
        fail.push(get(&store).await.is_err());
    }
    assert_eq!(fail, [false, true, true, false, false]);
    assert_eq!(store.faults_left(), 0);
    store.fail(StoreVerb::GetEntity, StoreFault::unavailable(MESSAGE));
    assert!(get(&store).await.is_err());
    assert_eq!(store.faults_left(), usize::MAX);
}

#[tokio::test]
async fn faults_apply_in_the_order_in_which_they_were_scripted_and_one_to_a_call() {
    let store = store();
    let next = || Calls::all().take(1);
    store.fail(next(), StoreFault::unavailable(MESSAGE));
    store.fail(next(), StoreFault::conflict());
    assert!(matches!(get(&store).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(get(&store).await, Err(StoreError::Conflict)));
    get(&store).await.unwrap();
}

#[tokio::test]
async fn a_read_only_store_is_read() {
    let store = store();
    insert(&store).await.unwrap();
    store.fail(Calls::writes(), StoreFault::unavailable(MESSAGE));
    assert!(get(&store).await.unwrap().is_some());
    assert!(KeyStore::get(&store).await.unwrap().is_none());
    EntityStore::replace(&store, entity().next_version(), 1).await.unwrap_err();
    EntityStore::remove(&store, entity().id()).await.unwrap_err();
    let now = Fixture::new().tokens.now();
    SessionStore::purge_expired(&store, now).await.unwrap_err();
}

#[tokio::test]
async fn verbs_of_the_same_name_are_told_apart_by_their_store() {
    let store = store();
    store.fail([StoreVerb::GetKeys, StoreVerb::GetSession], StoreFault::unavailable(MESSAGE));
    get(&store).await.unwrap();
    KeyStore::get(&store).await.unwrap_err();
    let key = countersign::AuthenticationToken::generate().unwrap().key();
    SessionStore::get(&store, &key).await.unwrap_err();
}

#[tokio::test]
async fn a_held_call_takes_effect_once_it_is_released() {
    let store = store();
    let held = store.hold(StoreVerb::InsertEntity);
    let inserting = spawn_insert(&store);
    held.wait_for(1).await;
    assert!(!is_there(&store).await);
    held.release();
    inserting.await.unwrap().unwrap();
    assert!(is_there(&store).await);
    // It holds no later ones.
    EntityStore::remove(&store, entity().id()).await.unwrap();
    insert(&store).await.unwrap();
}

#[tokio::test]
async fn a_call_whose_reply_is_held_has_taken_effect_before_it_is_released() {
    let store = store();
    let held = store.hold_replies(StoreVerb::InsertEntity);
    let inserting = spawn_insert(&store);
    held.wait_for(1).await;
    assert!(is_there(&store).await);
    assert!(!inserting.is_finished());
    drop(held);
    inserting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_held_call_that_is_given_up_does_nothing_and_stays_counted() {
    let store = store();
    let held = store.hold(StoreVerb::InsertEntity);
    let inserting = spawn_insert(&store);
    held.wait_for(1).await;
    inserting.abort();
    assert!(inserting.await.unwrap_err().is_cancelled());
    held.wait_for(1).await;
    held.release();
    assert!(!is_there(&store).await);
    assert_eq!(store.calls(StoreVerb::InsertEntity), 1);
}

#[tokio::test]
async fn as_many_calls_are_held_as_were_selected() {
    let store = store();
    let held = store.hold_replies(Calls::from(StoreVerb::GetEntity).skip(1).take(2));
    get(&store).await.unwrap();
    let two = [spawn_get(&store), spawn_get(&store)];
    held.wait_for(2).await;
    get(&store).await.unwrap();
    assert!(two.iter().all(|get| !get.is_finished()));
    held.release();
    for get in two {
        get.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_held_call_can_fail_once_it_is_released_by_what_was_scripted_when_it_came() {
    let store = store();
    let held = store.hold_replies(StoreVerb::InsertEntity);
    store.fail(StoreVerb::InsertEntity, StoreFault::lost_reply(MESSAGE));
    let inserting = spawn_insert(&store);
    held.wait_for(1).await;
    store.clear_faults();
    held.release();
    assert!(matches!(inserting.await.unwrap(), Err(StoreError::Unavailable(_))));
    assert!(is_there(&store).await);
}

#[tokio::test]
async fn calls_are_counted_by_verb_whatever_becomes_of_them_and_can_be_waited_for() {
    let store = store();
    store.fail(Calls::all().take(1), StoreFault::unavailable(MESSAGE));
    get(&store).await.unwrap_err();
    let held = store.hold(StoreVerb::GetEntity);
    let getting = spawn_get(&store);
    store.wait_for_calls(StoreVerb::GetEntity, 2).await;
    assert!(!returns_at_once(store.wait_for_calls(StoreVerb::GetEntity, 3)).await);
    held.release();
    getting.await.unwrap().unwrap();
    // Of clones, too, but not past it.
    get(&store.clone()).await.unwrap();
    EntityStore::get(&store.inner(), entity().id()).await.unwrap();
    assert_eq!(store.calls(StoreVerb::GetEntity), 3);
    assert_eq!(store.calls(StoreVerb::InsertEntity), 0);
}

#[tokio::test]
async fn a_store_that_has_lost_its_data_is_another_one_for_all_clones() {
    let store = store();
    insert(&store).await.unwrap();
    let clone = store.clone();
    store.set_inner(MemoryStore::new());
    assert!(get(&clone).await.unwrap().is_none());
    insert(&clone).await.unwrap();
    assert!(is_there(&store).await);
}

#[test]
fn whether_it_is_durable_is_what_the_test_says_and_else_what_the_store_says() {
    let (memory, durable) = (store(), store().durable(true));
    let volatile = FaultyStore::new(durable.clone()).durable(false);
    assert!(!memory.is_durable() && durable.is_durable());
    assert!(FaultyStore::new(durable).is_durable());
    assert!(!volatile.is_durable());
}

#[tokio::test]
async fn a_service_over_it_is_unavailable_while_it_fails_or_hangs_and_goes_on_afterwards() {
    let store = store();
    let fixture = Fixture::with(|builder| {
        let policy = Policy::default()
            .runtime(|runtime| runtime.store_deadline(std::time::Duration::from_millis(5)));
        builder.entity_store(store.clone()).policy(policy)
    });
    let id = EntityId::machine("aa-1").unwrap();
    fixture.tokens.register(entity()).await.unwrap();
    for fault in [StoreFault::unavailable(MESSAGE), StoreFault::hang()] {
        store.fail(StoreVerb::GetEntity, fault);
        let error = fixture.tokens.find_entity(&id).await.unwrap_err();
        assert_eq!(error.kind(), countersign::ErrorKind::Unavailable);
        assert!(!error.to_string().contains(MESSAGE));
        store.clear_faults();
        fixture.tokens.find_entity(&id).await.unwrap();
    }
}
