//! Reads and resets of one secret at once.

use countersign::policy::ThrottleLimit;
use countersign::store::MemoryStore;
use countersign::testing::{Calls, FaultyStore, StoreVerb};
use countersign::{Entity, EntityId, Grant, OrganizationId, Policy};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use serde_json::json;

use super::{
    JSON, READ, RESET, SECRET, assert_error, complete, entity_login, manager, service_with,
    text_in, token_of,
};
use crate::support::{Fixture, Server, acl_of};

/// Lets the next so many callers go on only when all of them have read who asks, and then what is asked
/// for.
fn hold_until_all_have_read(
    store: &FaultyStore<MemoryStore>,
    callers: usize,
) -> impl Future<Output = ()> + use<> {
    let reads = || Calls::from(StoreVerb::GetEntity).take(callers);
    let managers = store.hold_replies(reads());
    let machines = store.hold_replies(reads().skip(callers));
    async move {
        for held in [managers, machines] {
            held.wait_for(callers).await;
            held.release();
        }
    }
}

/// Sends the same request many times at once, and answers the secrets that came back.
async fn many_at_once(server: &Server, route: &str, token: &str, times: usize) -> Vec<String> {
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..times {
        let request = Request::builder()
            .method(Method::POST)
            .uri(route)
            .header(CONTENT_TYPE, JSON)
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .body(complete().to_string())
            .unwrap();
        requests.spawn(crate::support::send(server.address, request));
    }
    let answers = requests.join_all().await;
    answers.into_iter().map(|answer| text_in(&answer.expect(200).json(), "secret")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_resets_at_once_one_wins_and_all_callers_are_told_its_secret() {
    const CALLERS: usize = 8;
    let store = FaultyStore::new(MemoryStore::new());
    let fixture = Fixture::with(|builder| builder.entity_store(store.clone()));
    fixture.machine("aa-1", SECRET).await;
    let server = fixture.serve().await;
    let manager = manager(&fixture);
    for _ in 0..5 {
        let ((), told) = tokio::join!(
            hold_until_all_have_read(&store, CALLERS),
            many_at_once(&server, RESET, &manager, CALLERS),
        );
        assert!(told.iter().all(|secret| *secret == told[0]), "{told:?}");
        let read = server.post(READ, Some(&manager), &complete()).await.expect(200);
        assert_eq!(text_in(&read.json(), "secret"), told[0]);
        entity_login(&server, "aa-1", &told[0]).await.expect(200);
    }
    entity_login(&server, "aa-1", SECRET).await.expect(401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_first_reads_and_resets_at_once_all_callers_are_told_one_secret() {
    const READERS: usize = 8;
    let store = FaultyStore::new(MemoryStore::new());
    let fixture = Fixture::with(|builder| builder.entity_store(store.clone()));
    fixture.tokens.register(Entity::machine("aa-1").unwrap()).await.unwrap();
    let server = fixture.serve().await;
    let manager = manager(&fixture);
    let ((), read, reset) = tokio::join!(
        hold_until_all_have_read(&store, 2 * READERS),
        many_at_once(&server, READ, &manager, READERS),
        many_at_once(&server, RESET, &manager, READERS),
    );
    let told = [read, reset].concat();
    assert!(told.iter().all(|secret| *secret == told[0]), "{told:?}");
    entity_login(&server, "aa-1", &told[0]).await.expect(200);
}

#[tokio::test]
async fn a_machine_that_leaves_the_managers_organization_meanwhile_keeps_its_secret() {
    let store = FaultyStore::new(MemoryStore::new());
    let fixture = Fixture::with(|builder| builder.entity_store(store.clone()));
    let organization = |id: &str| OrganizationId::new(id).unwrap();
    fixture.machine("aa-1", SECRET).await;
    let id = EntityId::machine("aa-1").unwrap();
    let server = fixture.serve().await;
    let acl = acl_of(json!([{"scope": {}, "permissions": ["ResetEntitySecret"]}]));
    let manager = Grant::user("manager@example.com").acl(acl).organization(organization("org_1"));
    let manager = token_of(&fixture, manager);
    let move_to = async |id: &EntityId, to: &str| {
        let to = organization(to);
        let moving = move |entity: Entity| entity.organization(to.clone());
        fixture.tokens.update_entity(id, moving).await.unwrap();
    };
    move_to(&id, "org_1").await;
    let body = complete();
    let held = store.hold(Calls::from(StoreVerb::ReplaceEntity).take(1));
    let (reset, ()) = tokio::join!(server.post(RESET, Some(&manager), &body), async {
        held.wait_for(1).await;
        move_to(&id, "org_2").await;
        held.release();
    });
    assert_error(&reset, 401, "Unauthorized", "Invalid entity id");
    entity_login(&server, "aa-1", SECRET).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_any_number_of_resets_the_current_secret_is_one_that_was_answered() {
    let unthrottled =
        |policy: Policy| policy.throttle(|throttle| throttle.by_name(ThrottleLimit::unlimited()));
    let (fixture, server) = service_with(unthrottled).await;
    let manager = manager(&fixture);
    let told = many_at_once(&server, RESET, &manager, 100).await;
    let read = server.post(READ, Some(&manager), &complete()).await.expect(200);
    let current = text_in(&read.json(), "secret");
    assert!(told.contains(&current));
    for secret in &told {
        let status = if *secret == current { 200 } else { 401 };
        entity_login(&server, "aa-1", secret).await.expect(status);
    }
}
