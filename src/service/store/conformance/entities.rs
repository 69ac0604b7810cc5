use std::sync::Arc;

use crate::service::model::entity::EntityId;
use crate::service::store::EntityStore;
use crate::service::store::conformance::{RACERS, drop_halfway, entity, race, unique, won};
use crate::token::acl::Acl;
use crate::token::identifier::OrganizationId;

pub(super) async fn an_entity_is_answered_as_it_was_written(store: &dyn EntityStore) {
    let organization = OrganizationId::new(unique()).unwrap();
    let written = entity().with_acl(Acl::everything()).with_organization(organization);
    store.insert(written.clone()).await.unwrap();
    let read = store.get(written.id()).await.unwrap().expect("what was inserted is there");
    assert_eq!(read.acl(), written.acl());
    assert_eq!(read.organization_id(), written.organization_id());
    assert_eq!(read.version(), written.version());
    let other_sort = EntityId::user(written.id().name()).unwrap();
    assert!(store.get(&other_sort).await.unwrap().is_none(), "names are told apart by sort");
}

pub(super) async fn an_id_is_registered_once(store: &dyn EntityStore) {
    let first = entity().with_acl(Acl::everything());
    store.insert(first.clone()).await.unwrap();
    let second = first.clone().with_acl(Acl::default());
    assert!(!won(store.insert(second).await), "a second insert has to conflict");
    let read = store.get(first.id()).await.unwrap().unwrap();
    assert_eq!(read.acl(), first.acl(), "a failed insert has to change nothing");
}

pub(super) async fn of_racing_inserts_one_succeeds(store: &Arc<dyn EntityStore>) {
    let contested = entity();
    let winners = race(|| {
        let (store, entity) = (Arc::clone(store), contested.clone());
        async move { won(store.insert(entity).await) }
    });
    assert_eq!(winners.await, 1, "of racing inserts one has to succeed");
}

pub(super) async fn of_racing_replaces_of_one_version_one_succeeds(store: &Arc<dyn EntityStore>) {
    let contested = entity();
    store.insert(contested.clone()).await.unwrap();
    let winners = race(|| {
        let (store, entity) = (Arc::clone(store), contested.clone());
        let version = entity.version();
        async move { won(store.replace(entity.next_version(), version).await) }
    });
    assert_eq!(winners.await, 1, "of racing replaces of one version one has to succeed");
    let read = store.get(contested.id()).await.unwrap().unwrap();
    assert_eq!(read.version(), contested.next_version().version());
}

pub(super) async fn a_stale_or_late_replace_conflicts_and_resurrects_nothing(
    store: &dyn EntityStore,
) {
    let first = entity();
    store.insert(first.clone()).await.unwrap();
    let second = first.clone().next_version();
    store.replace(second.clone(), first.version()).await.unwrap();
    let stale = store.replace(first.clone().next_version(), first.version());
    assert!(!won(stale.await), "a stale replace has to conflict");
    assert!(store.remove(first.id()).await.unwrap());
    let late = store.replace(second.clone().next_version(), second.version());
    assert!(!won(late.await), "a replace of what is gone has to conflict");
    assert!(store.get(first.id()).await.unwrap().is_none(), "and must not bring it back");
}

pub(super) async fn an_entity_is_removed_once(store: &Arc<dyn EntityStore>) {
    let contested = entity();
    store.insert(contested.clone()).await.unwrap();
    let winners = race(|| {
        let (store, id) = (Arc::clone(store), contested.id().clone());
        async move { store.remove(&id).await.unwrap() }
    });
    assert_eq!(winners.await, 1, "of racing removals one has to have removed it");
}

pub(super) async fn a_write_that_is_dropped_halfway_is_whole_or_not_there(store: &dyn EntityStore) {
    for _ in 0..RACERS {
        let written = entity().with_acl(Acl::everything());
        drop_halfway(store.insert(written.clone()));
        // It may not have begun, be under way, or be done.
        let _ = won(store.insert(written.clone()).await);
        let read = store.get(written.id()).await.unwrap().expect("one of the two was written");
        assert_eq!(read.acl(), written.acl(), "half a record is none");
    }
}
