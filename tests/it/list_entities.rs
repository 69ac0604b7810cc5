//! Listing who is registered, a page at a time.

use std::collections::BTreeSet;

use countersign::entities::{EntityFilter, EntityList};
use countersign::store::MemoryStore;
use countersign::testing::{Calls, FaultyStore, StoreFault, StoreVerb};
use countersign::{
    CustomerId, Entity, EntityId, ErrorKind, OrganizationId, Password, SubjectType, TokenService,
};

use crate::support::Fixture;
use crate::support::log::Log;

const SORTS: [SubjectType; 3] = [SubjectType::User, SubjectType::Machine, SubjectType::Customer];

fn organization(id: &str) -> OrganizationId {
    OrganizationId::new(id).unwrap()
}

/// Registers three of each sort, of which the second is of `org_1`.
async fn register_all(fixture: &Fixture) {
    let tokens = &fixture.tokens;
    let hash = tokens.hash_password(Password::new("a password of theirs").unwrap()).await.unwrap();
    for name in ["c", "a", "b"] {
        let customer = CustomerId::new("cus_1").unwrap();
        for entity in [
            Entity::machine(name).unwrap(),
            Entity::customer(name, hash.clone(), customer, false).unwrap(),
            Entity::user(name, hash.clone()).unwrap(),
        ] {
            let is_bound = name == "b";
            let entity = if is_bound { entity.organization(organization("org_1")) } else { entity };
            tokens.register(entity).await.unwrap();
        }
    }
}

fn ids(list: &EntityList) -> Vec<String> {
    let id = |entity: &Entity| format!("{}:{}", entity.id().subject_type(), entity.id().name());
    list.entities.iter().map(id).collect()
}

async fn pages_of(tokens: &TokenService, filter: &EntityFilter, limit: usize) -> Vec<Vec<String>> {
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = tokens.list_entities(filter, after.as_ref(), limit).await.unwrap();
        pages.push(ids(&page));
        let last = page.entities.last().map(|last| last.id().clone());
        assert!(page.next.is_none() || page.next == last, "a page leads to the one behind it");
        after = page.next;
        if after.is_none() {
            return pages;
        }
    }
}

#[tokio::test]
async fn everybody_is_listed_once_in_the_order_of_their_ids_however_long_a_page_is() {
    let fixture = Fixture::new();
    register_all(&fixture).await;
    let everybody =
        SORTS.iter().flat_map(|sort| ["a", "b", "c"].map(|name| format!("{sort}:{name}")));
    let everybody: Vec<String> = everybody.collect();
    for limit in 1..=everybody.len() + 1 {
        let pages = pages_of(&fixture.tokens, &EntityFilter::all(), limit).await;
        assert_eq!(pages.concat(), everybody, "pages of {limit}");
        assert_eq!(pages.len(), everybody.len().div_ceil(limit), "none of them is empty");
    }
    let listed = fixture.tokens.list_entities(&EntityFilter::all(), None, 1_000).await.unwrap();
    assert!(listed.entities.iter().map(Entity::id).is_sorted());
}

#[tokio::test]
async fn a_list_is_of_one_sort_or_organization_where_that_is_asked_for() {
    let fixture = Fixture::new();
    register_all(&fixture).await;
    let bound = EntityFilter::all().of_organization(organization("org_1"));
    let all_of_it = pages_of(&fixture.tokens, &bound, 2).await;
    assert_eq!(all_of_it, [vec!["user:b", "entity:b"], vec!["customer:b"]]);
    let machines = EntityFilter::all().of_subject_type(SubjectType::Machine);
    let pages = pages_of(&fixture.tokens, &machines, 2).await;
    assert_eq!(pages, [vec!["entity:a", "entity:b"], vec!["entity:c"]]);
    let both = machines.clone().of_organization(organization("org_1"));
    assert_eq!(pages_of(&fixture.tokens, &both, 2).await, [vec!["entity:b"]]);
    let nobody = EntityFilter::all().of_organization(organization("org_2"));
    assert_eq!(pages_of(&fixture.tokens, &nobody, 2).await, [vec![""; 0]]);
    // A page begins behind any id, of another sort or of nobody, too.
    let begin = async |after: EntityId| {
        let page = fixture.tokens.list_entities(&machines, Some(&after), 10).await.unwrap();
        ids(&page)
    };
    assert_eq!(begin(EntityId::user("z").unwrap()).await, ["entity:a", "entity:b", "entity:c"]);
    assert_eq!(begin(EntityId::machine("aa").unwrap()).await, ["entity:b", "entity:c"]);
    assert_eq!(begin(EntityId::customer("a").unwrap()).await, [""; 0]);
}

#[tokio::test]
async fn who_is_disabled_or_moved_is_listed_as_they_are_and_who_is_removed_is_not() {
    let fixture = Fixture::new();
    register_all(&fixture).await;
    let tokens = &fixture.tokens;
    let [a, b, c] = ["a", "b", "c"].map(|name| EntityId::machine(name).unwrap());
    tokens.disable_entity(&a).await.unwrap();
    tokens.update_entity(&b, |b| b.organization(organization("org_2"))).await.unwrap();
    tokens.remove_entity(&c).await.unwrap();
    let machines = EntityFilter::all().of_subject_type(SubjectType::Machine);
    let listed = tokens.list_entities(&machines, None, 10).await.unwrap();
    assert_eq!(ids(&listed), ["entity:a", "entity:b"]);
    assert!(listed.entities[0].is_disabled());
    let of = |id| machines.clone().of_organization(organization(id));
    assert_eq!(pages_of(tokens, &of("org_1"), 10).await, [vec![""; 0]]);
    assert_eq!(pages_of(tokens, &of("org_2"), 10).await, [vec!["entity:b"]]);
}

#[tokio::test]
async fn a_page_that_is_too_long_or_empty_is_an_error() {
    let fixture = Fixture::new();
    for limit in [0, EntityList::MAX_LEN + 1, usize::MAX] {
        let error =
            fixture.tokens.list_entities(&EntityFilter::all(), None, limit).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidFields);
        assert_eq!(error.invalid_fields()[0].field, "limit");
    }
    let all = EntityFilter::all();
    fixture.tokens.list_entities(&all, None, EntityList::MAX_LEN).await.unwrap();
}

#[tokio::test]
async fn a_list_costs_a_call_for_each_sort_that_it_reaches_and_fails_with_the_store() {
    let store = FaultyStore::new(MemoryStore::new());
    let fixture = Fixture::with(|builder| builder.entity_store(store.clone()));
    register_all(&fixture).await;
    store.fail(Calls::from(StoreVerb::ListEntities).skip(1), StoreFault::unavailable("down"));
    let all = EntityFilter::all();
    // Two users, and a third one that tells that there are more.
    let page = fixture.tokens.list_entities(&all, None, 2).await.unwrap();
    assert_eq!(ids(&page), ["user:a", "user:b"]);
    let error = fixture.tokens.list_entities(&all, None, 3).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn listing_is_audited_as_the_hosts_own() {
    let fixture = Fixture::new();
    let log = Log::default();
    let _listening = log.listen();
    let filter = EntityFilter::all().of_organization(organization("org_1"));
    fixture.tokens.list_entities(&filter, None, 1).await.unwrap();
    let event = log.only("list_entities");
    assert_eq!(event["outcome"], "accepted");
    assert_eq!(event["organization_id"], "org_1");
    let named = ["actor", "actor_kind", "subject", "subject_kind"];
    assert_eq!(named.iter().filter(|name| event.contains_key(**name)).count(), 0);
    let log = Log::default();
    let _listening = log.listen();
    fixture.tokens.list_entities(&filter, None, 0).await.unwrap_err();
    assert_eq!(log.only("list_entities")["outcome"], "rejected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_registered_all_the_while_is_on_one_page_whoever_comes_and_goes() {
    let fixture = Fixture::new();
    let stay: BTreeSet<String> = (0..50).map(|number| format!("stays-{number:02}")).collect();
    for name in &stay {
        fixture.tokens.register(Entity::machine(name).unwrap()).await.unwrap();
    }
    let tokens = fixture.tokens.clone();
    let changing = tokio::spawn(async move {
        for number in (0..50).cycle() {
            let name = format!("stays-{number:02}-or-not");
            tokens.register(Entity::machine(&name).unwrap()).await.unwrap();
            tokio::task::yield_now().await;
            tokens.remove_entity(&EntityId::machine(&name).unwrap()).await.unwrap();
        }
    });
    for limit in [1, 2, 3, 7, 49, 50, 1_000] {
        let listed = pages_of(&fixture.tokens, &EntityFilter::all(), limit).await.concat();
        let kept = listed
            .iter()
            .filter_map(|id| id.strip_prefix("entity:"))
            .filter(|id| stay.contains(*id));
        assert!(kept.eq(&stay), "pages of {limit}: {listed:?}");
    }
    changing.abort();
}
