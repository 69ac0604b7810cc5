use std::sync::Arc;

use crate::service::model::entity::{Entity, EntityId};
use crate::service::model::password::PasswordHash;
use crate::service::store::EntityStore;
use crate::service::store::conformance::{
    RACERS, drop_halfway, entity, look_alike, race, unique, won,
};
use crate::token::acl::Acl;
use crate::token::claims::SubjectType;
use crate::token::identifier::OrganizationId;

/// Of no password that anybody knows.
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$\
                    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

pub(super) async fn an_entity_is_answered_as_it_was_written(store: &dyn EntityStore) {
    let organization = OrganizationId::new(unique()).unwrap();
    let written = entity().acl(Acl::everything()).organization(organization).audience("a");
    store.insert(written.clone()).await.unwrap();
    let read = store.get(written.id()).await.unwrap().expect("what was inserted is there");
    assert_eq!(read.acl, written.acl);
    assert_eq!(read.organization_id(), written.organization_id());
    assert_eq!(read.audiences, written.audiences);
    assert_eq!(read.version(), written.version());
    let other_sort = EntityId::user(written.id().name()).unwrap();
    assert!(store.get(&other_sort).await.unwrap().is_none(), "names are told apart by sort");
}

pub(super) async fn a_name_is_of_one_user_in_each_organization(store: &Arc<dyn EntityStore>) {
    let (name, distinct_name) = (unique(), unique());
    let organizations = [None, Some(unique()), Some(unique())];
    let namesakes = organizations.map(|organization| {
        let user = Entity::user(&name, PasswordHash::from_phc(HASH).unwrap()).unwrap();
        let user = match organization {
            Some(id) => user.organization(OrganizationId::new(id).unwrap()),
            None => user,
        };
        Entity { distinct_name: Some(distinct_name.clone()), ..user }
    });
    for user in &namesakes {
        let mut racers = (0..RACERS).map(|_| user.clone());
        let winners = race(|| {
            let (store, user) = (Arc::clone(store), racers.next().unwrap());
            async move { won(store.insert(user).await) }
        });
        assert_eq!(winners.await, 1, "one in an organization, also if others have the name");
    }
    let [unbound, first, second] = &namesakes;
    let bound = first.organization_id();
    let mut ids = namesakes.each_ref().map(|user| user.id().clone());
    ids.sort();
    assert_eq!(ids[0], *unbound.id(), "who is without an organization comes first");
    assert_eq!(
        users(&**store, None, Some(unbound), 2).await,
        ids[1..],
        "namesakes are listed one by one"
    );
    assert_eq!(users(&**store, bound, None, 10).await, [first.id().clone()]);
    store.replace(first.clone().disabled(true).next_version(), 1).await.unwrap();
    assert!(!store.get(second.id()).await.unwrap().unwrap().is_disabled(), "nor changed with it");
    assert!(store.remove(first.id()).await.unwrap());
    assert!(store.get(first.id()).await.unwrap().is_none());
    for user in [unbound, second] {
        let there = store.get(user.id()).await.unwrap().expect("a namesake is not removed with it");
        assert_eq!(there.id(), user.id());
        assert!(!won(store.insert(user.clone()).await), "and keeps the name");
    }
    store.insert(first.clone()).await.expect("the name is free again in its organization");
    // The id of a machine client is of one in all of them.
    let machine = look_alike(&distinct_name).organization(bound.unwrap().clone());
    store.insert(machine.clone()).await.unwrap();
    let elsewhere = machine.clone().organization(second.organization_id().unwrap().clone());
    assert!(!won(store.insert(elsewhere).await));
    let alike = look_alike(&distinct_name).organization(second.organization_id().unwrap().clone());
    assert!(!won(store.insert(alike).await));
    for user in &namesakes {
        assert!(store.remove(user.id()).await.unwrap());
    }
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

pub(super) async fn entities_are_listed_by_name_in_pages(store: &dyn EntityStore) {
    let organization = OrganizationId::new(unique()).unwrap();
    // By their bytes: a collation that knows letters, or compares UTF-16, has another order.
    let prefix = unique();
    let names = ["", "-", "A b", "B", "_", "a", "b", "\u{e4}", "\u{fb01}", "\u{1f511}"];
    let names = names.map(|name| format!("{prefix}{name}"));
    for (at, name) in names.iter().enumerate().rev() {
        let entity = Entity::machine(name).unwrap().organization(organization.clone());
        let distinct_name = (at % 2 == 0).then(unique);
        store.insert(Entity { distinct_name, ..entity }).await.unwrap();
    }
    let user = Entity::user(&names[1], PasswordHash::from_phc(HASH).unwrap()).unwrap();
    store.insert(user.organization(organization.clone())).await.unwrap();
    let bound = Some(&organization);
    let all = list(store, bound, None, 100).await;
    assert_eq!(all, names, "those of an organization and sort, in the order of the bytes");
    assert_eq!(list(store, bound, Some(&names[3]), 4).await, names[4..8], "a page");
    assert_eq!(list(store, bound, Some(&names[9]), 4).await, [""; 0], "behind the last one");
    let between = format!("{prefix}C");
    assert_eq!(list(store, bound, Some(&between), 1).await, names[4..5], "behind nobody's name");
    // Whoever else is registered stands before or behind them.
    let of_all = list(store, None, Some(&names[0]), names.len() - 1).await;
    assert_eq!(of_all, names[1..], "all of a sort");
    let users = store.list(SubjectType::User, bound, None, 100).await.unwrap();
    assert_eq!(users.len(), 1, "another sort");
    let read = users[0].password().map(PasswordHash::as_phc);
    assert_eq!(read, Some(HASH), "a list has whole records");
}

pub(super) async fn a_list_has_what_is_there_and_as_it_is(store: &dyn EntityStore) {
    let [before, after] = [(); 2].map(|()| OrganizationId::new(unique()).unwrap());
    let first = look_alike(&unique()).organization(before.clone());
    let name = first.id().name();
    store.insert(first.clone()).await.unwrap();
    let taken = first.clone().organization(after.clone());
    assert!(!won(store.insert(taken).await));
    assert_eq!(
        list(store, Some(&after), None, 10).await,
        [""; 0],
        "what was rejected is in no list"
    );
    assert_eq!(list(store, Some(&before), None, 10).await, [name]);
    let second = first.clone().organization(after.clone()).next_version();
    store.replace(second.clone(), first.version()).await.unwrap();
    let stale = first.clone().next_version();
    assert!(!won(store.replace(stale, first.version()).await));
    assert_eq!(list(store, Some(&before), None, 10).await, [""; 0], "it has moved");
    let moved = store.list(SubjectType::Machine, Some(&after), None, 10).await.unwrap();
    assert_eq!(moved.iter().map(Entity::version).collect::<Vec<_>>(), [second.version()]);
    let unbound = Entity { organization: None, ..second.clone() }.next_version();
    store.replace(unbound, second.version()).await.unwrap();
    assert_eq!(list(store, Some(&after), None, 10).await, [""; 0], "and is bound to none");
    let before_it = EntityId::machine(&name[..name.len() - 1]).unwrap();
    let of_all = store.list(SubjectType::Machine, None, Some(&before_it), 1_000).await.unwrap();
    assert!(of_all.iter().any(|entity| entity.id() == first.id()));
    assert!(store.remove(first.id()).await.unwrap());
    let of_all = store.list(SubjectType::Machine, None, Some(&before_it), 1_000).await.unwrap();
    assert!(
        of_all.iter().all(|entity| entity.id() != first.id()),
        "what was removed is in no list"
    );
}

pub(super) async fn who_is_registered_while_others_list_is_in_every_list_after_that(
    store: &Arc<dyn EntityStore>,
) {
    let organization = OrganizationId::new(unique()).unwrap();
    let names: Vec<String> = (0..RACERS).map(|_| unique()).collect();
    let mut racers = names.clone().into_iter();
    let listed = race(|| {
        let (store, name) = (Arc::clone(store), racers.next().unwrap());
        let organization = organization.clone();
        async move {
            let entity = Entity::machine(&name).unwrap().organization(organization.clone());
            let reader = Arc::clone(&store);
            let bound = organization.clone();
            let reading =
                tokio::spawn(async move { list(&*reader, Some(&bound), None, 1_000).await });
            store.insert(entity).await.unwrap();
            reading.await.unwrap();
            list(&*store, Some(&organization), None, 1_000).await.contains(&name)
        }
    });
    assert_eq!(listed.await, RACERS, "who was registered has to be listed");
    let all = list(&**store, Some(&organization), None, 1_000).await;
    assert_eq!(all.len(), RACERS, "and nobody twice");
}

pub(super) async fn an_id_that_is_removed_and_registered_at_once_is_listed_if_it_is_there(
    store: &Arc<dyn EntityStore>,
) {
    let organization = OrganizationId::new(unique()).unwrap();
    let contested = entity().organization(organization.clone());
    let mut turns = (0..RACERS).map(|at| at % 3);
    let work = race(|| {
        let (store, turn) = (Arc::clone(store), turns.next().unwrap());
        let (entity, organization) = (contested.clone(), organization.clone());
        async move {
            match turn {
                0 => won(store.insert(entity).await),
                1 => store.remove(entity.id()).await.unwrap(),
                _ => list(&*store, Some(&organization), None, 10).await.len() <= 1,
            }
        }
    });
    work.await;
    let is_there = store.get(contested.id()).await.unwrap().is_some();
    let listed = list(&**store, Some(&organization), None, 10).await;
    assert_eq!(listed.len(), usize::from(is_there), "a list has what is there, and nothing else");
}

/// Returns the ids of the users of a list.
async fn users(
    store: &dyn EntityStore,
    organization: Option<&OrganizationId>,
    after: Option<&Entity>,
    limit: usize,
) -> Vec<EntityId> {
    let listing = store.list(SubjectType::User, organization, after.map(Entity::id), limit);
    listing.await.unwrap().iter().map(|user| user.id().clone()).collect()
}

/// Returns the names of the machine clients of a list.
async fn list(
    store: &dyn EntityStore,
    organization: Option<&OrganizationId>,
    after: Option<&str>,
    limit: usize,
) -> Vec<String> {
    let after = after.map(|name| EntityId::machine(name).unwrap());
    let listed = store.list(SubjectType::Machine, organization, after.as_ref(), limit);
    let listed = listed.await.unwrap();
    listed.iter().map(|entity| entity.id().name().to_owned()).collect()
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
