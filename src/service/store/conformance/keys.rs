use std::sync::Arc;

use crate::service::model::key_schedule::{KeySchedule, ScheduledKey};
use crate::service::model::sealing::Sealed;
use crate::service::store::conformance::{HOUR, now, race, unique, won};
use crate::service::store::{KeyStore, StoreError};

fn with_another_key(before: &KeySchedule) -> KeySchedule {
    let mut after = before.clone().next_version();
    after.keys.extend(keys().keys);
    after
}

/// A schedule of one key, which is none.
fn keys() -> KeySchedule {
    KeySchedule::new(ScheduledKey {
        kid: unique(),
        sealed: Sealed::from_bytes(unique().into_bytes()),
        announced_at: now(),
        signs_from: now() + HOUR,
        retired_at: Some(now() + 2 * HOUR),
    })
}

pub(super) async fn of_racing_nodes_one_writes_the_first_keys(store: &Arc<dyn KeyStore>) {
    assert!(store.get().await.unwrap().is_none(), "there are keys before any were written");
    let winners = race(|| {
        let store = Arc::clone(store);
        async move { won(store.insert(keys().next_version()).await) }
    });
    assert_eq!(winners.await, 1, "several nodes wrote the first keys");
    let written = store.get().await.unwrap().expect("keys that were written are gone");
    assert_eq!(written.version(), 2, "keys have to keep the version that they were written with");
}

pub(super) async fn keys_are_answered_as_they_were_written(store: &dyn KeyStore) {
    let before = store.get().await.unwrap().expect("keys that were written are gone");
    let after = with_another_key(&before);
    store.replace(after.clone(), before.version()).await.unwrap();
    assert_eq!(store.get().await.unwrap(), Some(after), "keys are not what was written");
}

pub(super) async fn of_racing_replaces_of_keys_one_succeeds(store: &Arc<dyn KeyStore>) {
    let before = store.get().await.unwrap().expect("keys that were written are gone");
    let winners = race(|| {
        let (store, before) = (Arc::clone(store), before.clone());
        async move {
            let after = with_another_key(&before);
            won(store.replace(after, before.version()).await)
        }
    });
    assert_eq!(winners.await, 1, "keys of one version were replaced more than once");
}

pub(super) async fn a_stale_replace_of_keys_conflicts(store: &dyn KeyStore) {
    let there = store.get().await.unwrap().expect("keys that were written are gone");
    let late = store.replace(there.clone().next_version(), there.version() - 1).await;
    assert!(matches!(late, Err(StoreError::Conflict)), "a stale replace was answered {late:?}");
    assert_eq!(store.get().await.unwrap(), Some(there), "a stale replace changed something");
}
