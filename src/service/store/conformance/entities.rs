use std::sync::Arc;

use crate::service::model::entity::{Entity, EntityId};
use crate::service::model::password::PasswordHash;
use crate::service::store::EntityStore;
use crate::service::store::conformance::{
    RACERS, drop_halfway, entity, look_alike, race, unique, won,
};
use crate::token::acl::Acl;
use crate::token::identifier::OrganizationId;

/// Of no password that anybody knows.
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$\
                    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

pub(super) async fn an_entity_is_answered_as_it_was_written(store: &dyn EntityStore) {
    let organization = OrganizationId::new(unique()).unwrap();
    let written = entity().acl(Acl::everything()).organization(organization);
    store.insert(written.clone()).await.unwrap();
    let read = store.get(written.id()).await.unwrap().expect("what was inserted is there");
    assert_eq!(read.acl, written.acl);
    assert_eq!(read.organization_id(), written.organization_id());
    assert_eq!(read.version(), written.version());
    let other_sort = EntityId::user(written.id().name()).unwrap();
    assert!(store.get(&other_sort).await.unwrap().is_none(), "names are told apart by sort");
}

pub(super) async fn an_id_is_registered_once(store: &dyn EntityStore) {
    let first = entity().acl(Acl::everything());
    store.insert(first.clone()).await.unwrap();
    let second = first.clone().acl(Acl::default());
    assert!(!won(store.insert(second).await), "a second insert has to conflict");
    let read = store.get(first.id()).await.unwrap().unwrap();
    assert_eq!(read.acl, first.acl, "a failed insert has to change nothing");
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

pub(super) async fn a_distinct_name_is_of_one_entity_of_its_sort(store: &dyn EntityStore) {
    let name = unique();
    let first = look_alike(&name);
    store.insert(first.clone()).await.unwrap();
    let read = store.get(first.id()).await.unwrap().unwrap();
    assert_eq!(read.distinct_name(), first.distinct_name());
    let second = look_alike(&name);
    assert!(!won(store.insert(second.clone()).await), "a taken name has to conflict");
    assert!(store.get(second.id()).await.unwrap().is_none(), "and must not be registered");
    store.replace(first.clone().next_version(), first.version()).await.unwrap();
    assert!(!won(store.insert(second).await), "it stays taken when its entity is changed");
    // Neither another sort nor an entity without such a name is held to it.
    let user = Entity::user(unique(), PasswordHash::from_phc(HASH).unwrap()).unwrap();
    store.insert(Entity { distinct_name: Some(name.clone()), ..user }).await.unwrap();
    store.insert(Entity { distinct_name: None, ..look_alike(&name) }).await.unwrap();
    assert!(store.remove(first.id()).await.unwrap());
    let second = look_alike(&name);
    store.insert(second.clone()).await.expect("a name is free once its entity was removed");
    assert!(!won(store.insert(first).await), "and then of the next one");
    assert!(store.remove(second.id()).await.unwrap());
}

pub(super) async fn of_racing_names_that_look_alike_one_is_registered(
    store: &Arc<dyn EntityStore>,
) {
    for _ in 0..3 {
        let name = unique();
        let racers: Vec<_> = (0..RACERS).map(|_| look_alike(&name)).collect();
        let mut entities = racers.clone().into_iter();
        let winners = race(|| {
            let (store, entity) = (Arc::clone(store), entities.next().unwrap());
            async move { won(store.insert(entity).await) }
        });
        assert_eq!(winners.await, 1, "of racing names that look alike one has to be registered");
        assert_eq!(registered(store, &racers).await.len(), 1, "and no other one");
    }
}

pub(super) async fn of_racing_inserts_of_one_id_with_a_distinct_name_one_succeeds(
    store: &Arc<dyn EntityStore>,
) {
    let name = unique();
    let contested = look_alike(&name);
    let winners = race(|| {
        let (store, entity) = (Arc::clone(store), contested.clone());
        async move { won(store.insert(entity).await) }
    });
    assert_eq!(winners.await, 1, "of racing inserts one has to succeed");
    assert!(!won(store.insert(look_alike(&name)).await), "and it has to have the name");
    assert!(store.remove(contested.id()).await.unwrap());
    store.insert(look_alike(&name)).await.expect("a name is free once its entity was removed");
}

pub(super) async fn a_distinct_name_that_is_freed_while_others_want_it_is_of_one_again(
    store: &Arc<dyn EntityStore>,
) {
    for _ in 0..10 {
        let name = unique();
        let first = look_alike(&name);
        store.insert(first.clone()).await.unwrap();
        // The first one's own id is among those that come next.
        let racers = [vec![first.clone()], (1..8).map(|_| look_alike(&name)).collect()].concat();
        let inserting = racers.clone().into_iter().map(|entity| {
            let store = Arc::clone(store);
            tokio::spawn(async move { won(store.insert(entity).await) })
        });
        let inserting: Vec<_> = inserting.collect();
        assert!(store.remove(first.id()).await.unwrap());
        let mut winners = 0;
        for inserted in inserting {
            winners += usize::from(inserted.await.unwrap());
        }
        let left = registered(store, &racers).await;
        assert!(
            winners <= 1 && left.len() == winners,
            "{winners} have won, and {left:?} are there"
        );
        // Whoever it is, the name is theirs alone.
        let next = won(store.insert(look_alike(&name)).await);
        assert_eq!(next, winners == 0, "a name is free or of whoever is registered");
    }
}

/// Returns those of the entities that are there.
async fn registered(store: &Arc<dyn EntityStore>, entities: &[Entity]) -> Vec<EntityId> {
    let mut found = Vec::new();
    for entity in entities {
        found.extend(store.get(entity.id()).await.unwrap().map(|entity| entity.id().clone()));
    }
    found
}

pub(super) async fn a_write_that_is_dropped_halfway_is_whole_or_not_there(store: &dyn EntityStore) {
    for _ in 0..RACERS {
        let written = entity().acl(Acl::everything());
        drop_halfway(store.insert(written.clone()));
        // It may not have begun, be under way, or be done.
        let _ = won(store.insert(written.clone()).await);
        let read = store.get(written.id()).await.unwrap().expect("one of the two was written");
        assert_eq!(read.acl, written.acl, "half a record is none");
    }
}
