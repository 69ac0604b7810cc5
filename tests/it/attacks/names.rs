//! Names that are taken for others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use countersign::entities::PasswordHash;
use countersign::store::EntityStore;
use countersign::{
    Bearer, CustomerId, Entity, EntityId, ErrorKind, Grant, Organization, Password, Policy,
    RequestContext, Secret, SubjectType,
};
use serde_json::json;

use crate::attacks::service::Cluster;
use crate::support::{Fixture, PASSWORD, Server};

const JANE: &str = "jane@example.com";
/// Ways to write [`JANE`] that people, or a store of a host, take for it.
const LOOK_ALIKES: [&str; 7] = [
    "Jane@example.com",
    "JANE@EXAMPLE.COM",
    "jane@example.com ",
    "ja ne@example.com",
    "ｊane@example.com",
    "j\u{430}ne@example.com",
    "jan\u{200b}e@example.com",
];

async fn hash(fixture: &Fixture) -> PasswordHash {
    fixture.tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap()
}

fn entity(kind: SubjectType, name: &str, hash: &PasswordHash) -> Entity {
    let made = match kind {
        SubjectType::User => Entity::user(name, hash.clone()),
        SubjectType::Machine => Entity::machine(name),
        SubjectType::Customer => {
            Entity::customer(name, hash.clone(), CustomerId::new("cus_1").unwrap(), false)
        }
    };
    made.unwrap()
}

#[tokio::test]
async fn who_registers_a_look_alike_of_a_name_is_rejected() {
    let fixture = Fixture::new();
    let (tokens, hash) = (&fixture.tokens, hash(&fixture).await);
    for kind in [SubjectType::User, SubjectType::Machine, SubjectType::Customer] {
        let register = async |name: &str| tokens.register(entity(kind, name, &hash)).await;
        // A name of another sort is nobody's here.
        register(JANE).await.unwrap();
        for name in LOOK_ALIKES {
            let rejected = register(name).await.unwrap_err();
            assert_eq!(rejected.kind(), ErrorKind::Conflict, "{name:?}");
            assert_eq!(
                rejected.to_string(),
                "a name that looks like it is registered already",
                "{name:?}"
            );
            let id = EntityId::new(kind, name).unwrap();
            assert!(tokens.find_entity(&id).await.unwrap().is_none(), "{name:?}");
        }
        let rejected = register(JANE).await.unwrap_err();
        assert_eq!(rejected.kind(), ErrorKind::Conflict);
        assert_eq!(rejected.to_string(), "the id is registered already");
        register("joan@example.com").await.unwrap();
    }
    // NUL is in no name at all.
    assert!(EntityId::user("jane\0@example.com").is_err());
    // Whoever was there is found by the name as it is written, and logs in by no other one.
    let server = fixture.serve().await;
    for (name, status) in [(JANE, 200), (LOOK_ALIKES[0], 401)] {
        let login = json!({"username": name, "password": PASSWORD});
        server.post("/user/token/generate", None, &login).await.expect(status);
    }
}

#[tokio::test]
async fn a_name_is_free_for_its_look_alikes_once_its_owner_was_removed() {
    let fixture = Fixture::new();
    let hash = hash(&fixture).await;
    for (before, name) in LOOK_ALIKES.iter().zip(&LOOK_ALIKES[1..]) {
        let user = |name: &str| entity(SubjectType::User, name, &hash);
        let _ = fixture.tokens.register(user(before)).await;
        assert!(fixture.tokens.register(user(name)).await.is_err());
        fixture.tokens.remove_entity(user(before).id()).await.unwrap();
        fixture.tokens.register(user(name)).await.unwrap();
    }
}

#[tokio::test]
async fn names_that_were_registered_without_the_policy_are_kept_and_compared_with_nobody() {
    let lax = Fixture::with(|builder| {
        builder.policy(Policy::default().principals(|principals| principals.distinct_names(false)))
    });
    let hash = hash(&lax).await;
    let names = [&[JANE], &LOOK_ALIKES[..]].concat();
    for name in &names {
        lax.tokens.register(entity(SubjectType::User, name, &hash)).await.unwrap();
    }
    for name in names {
        lax.user_token(name).await;
    }
}

/// What a host keeps for its users, by whom their tokens name.
fn notes() -> Router {
    let kept = Arc::new(Mutex::new(HashMap::<String, String>::new()));
    let read = Arc::clone(&kept);
    let write = async move |Bearer(caller): Bearer, note: String| {
        kept.lock().unwrap().insert(caller.principal().to_string(), note);
    };
    let read = async move |Bearer(caller): Bearer| {
        read.lock().unwrap().get(&caller.principal().to_string()).cloned().unwrap_or_default()
    };
    Router::new().route("/notes", get(read).post(write))
}

#[tokio::test]
async fn who_takes_a_removed_users_name_gets_nothing_of_what_the_host_kept_for_them() {
    for (is_opaque, found) in [(true, ""), (false, "a secret of the first one")] {
        let policy =
            Policy::default().principals(|principals| principals.opaque_subjects(is_opaque));
        let fixture = Fixture::with(|builder| builder.policy(policy));
        let tokens = &fixture.tokens;
        let app = tokens.router().merge(notes().layer(tokens.validate_layer()));
        let server = Server::start(app).await;
        let log_in = async || -> String {
            let login = json!({"username": JANE, "password": PASSWORD});
            let answer = server.post("/user/token/generate", None, &login).await.expect(200);
            answer.json()["accessToken"].as_str().unwrap().to_owned()
        };
        let sub = |token: &str| tokens.validator().validate(token).unwrap().principal().clone();
        fixture.user(JANE, json!([])).await;
        let first = log_in().await;
        let note = "a secret of the first one";
        server.post_text("/notes", Some(&first), None, note).await.expect(200);
        // It is the same one for as long as they are registered.
        let former = sub(&first);
        let id = EntityId::user(JANE).unwrap();
        tokens.set_password(&id, Password::new(PASSWORD).unwrap()).await.unwrap();
        tokens.disable_entity(&id).await.unwrap();
        tokens.enable_entity(&id).await.unwrap();
        let first = log_in().await;
        assert_eq!(sub(&first), former);
        assert_eq!(former.id() == JANE, !is_opaque);
        assert_eq!(server.get("/notes", Some(&first)).await.expect(200).text(), note);

        fixture.clock.advance(Duration::from_secs(1));
        tokens.remove_entity(&id).await.unwrap();
        server.get("/notes", Some(&first)).await.expect(401);
        fixture.user(JANE, json!([])).await;
        let second = log_in().await;
        assert_eq!(server.get("/notes", Some(&second)).await.expect(200).text(), found);
        assert_eq!(sub(&second) == former, !is_opaque);
        server.get("/notes", Some(&first)).await.expect(401);
    }
}

/// What ends a user's tokens, by their name.
#[derive(Clone, Copy, Debug)]
enum End {
    Disable,
    Remove,
    ChangePassword,
    Revoke,
    Block,
}

#[tokio::test]
async fn what_ends_a_users_tokens_ends_those_that_name_them_in_either_way_on_every_node() {
    // Who ends them, a node under the one setting of the policy or the other, and how.
    for by in [0, 1] {
        for end in [End::Disable, End::Remove, End::ChangePassword, End::Revoke, End::Block] {
            let cluster = Cluster::new();
            let nodes = [false, true].map(|is_opaque| {
                let policy = Policy::default()
                    .principals(|principals| principals.opaque_subjects(is_opaque));
                cluster.node(&[1], cluster.store.clone(), policy)
            });
            let may = json!([{"scope": {}, "permissions": ["*"]}]);
            nodes[0].user(JANE, may).await;
            let [named, opaque] = [&nodes[0], &nodes[1]];
            let tokens = [named.user_token(JANE).await, opaque.user_token(JANE).await];
            let mut sessions = Vec::new();
            for (node, token) in nodes.iter().zip(&tokens) {
                let server = node.serve().await;
                let start = json!({"mode": "passwordless", "customerId": "cus_1"});
                let started = server.post("/authentication-tokens", Some(token), &start).await;
                sessions.push(started.expect(201).json()["token"].as_str().unwrap().to_owned());
            }
            cluster.clock.advance(Duration::from_secs(1));

            let (id, ending) = (EntityId::user(JANE).unwrap(), &nodes[by].tokens);
            match end {
                End::Disable => ending.disable_entity(&id).await.unwrap(),
                End::Remove => ending.remove_entity(&id).await.unwrap(),
                End::ChangePassword => {
                    ending.set_password(&id, Password::new(PASSWORD).unwrap()).await.unwrap();
                }
                End::Revoke => {
                    let jane = ending.principal(SubjectType::User, JANE, Organization::All);
                    let revoked = ending.revoke_subject(&jane, ending.now()).await.unwrap();
                    assert_eq!((revoked.sessions, revoked.is_known), (2, true));
                }
                End::Block => {
                    let jane = ending.principal(SubjectType::User, JANE, Organization::All);
                    ending
                        .block_subject(&jane, ending.now() + Duration::from_secs(60))
                        .await
                        .unwrap();
                }
            }
            for node in &nodes {
                let is_shut_out = !matches!(end, End::ChangePassword | End::Revoke);
                node.tokens.catch_up().await.unwrap();
                let server = node.serve().await;
                for (token, session) in tokens.iter().zip(&sessions) {
                    let validator = node.tokens.validator();
                    assert!(validator.validate(token).is_err(), "{by} {end:?}: {token}");
                    let path = format!("/authentication-tokens/{session}");
                    server.get(&path, None).await.expect(404);
                }
                assert_eq!(node.tokens.issue_for(&id).await.is_err(), is_shut_out, "{by} {end:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_user_of_an_earlier_release_keeps_the_name_as_the_subject() {
    let cluster = Cluster::new();
    let policy = Policy::default().principals(|principals| principals.opaque_subjects(true));
    let node = cluster.node(&[1], cluster.store.clone(), policy);
    let jane = Entity::user(JANE, hash(&node).await).unwrap();
    EntityStore::insert(&cluster.store, jane.clone()).await.unwrap();
    let token = node.user_token(JANE).await;
    assert_eq!(node.tokens.validator().validate(&token).unwrap().principal().id(), JANE);
    cluster.clock.advance(Duration::from_secs(1));
    node.tokens.disable_entity(jane.id()).await.unwrap();
    assert!(node.tokens.validator().validate(&token).is_err());
}

#[tokio::test]
async fn machine_clients_and_customers_keep_their_ids_and_no_user_takes_an_opaque_id_as_a_name() {
    let policy = Policy::default().principals(|principals| principals.opaque_subjects(true));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let (tokens, hash) = (&fixture.tokens, hash(&fixture).await);
    fixture.machine("aa-1", "a-known-secret").await;
    let secret = Secret::presented("a-known-secret");
    let context = RequestContext::without_address();
    let issued = tokens.issue_machine_token("aa-1", &secret, &context).await.unwrap();
    let machine = tokens.validator().validate(issued.access_token.expose()).unwrap();
    assert_eq!((machine.principal().id(), machine.client_id()), ("aa-1", "aa-1"));
    fixture.user(JANE, json!([])).await;
    tokens.register(entity(SubjectType::Customer, JANE, &hash)).await.unwrap();
    let stored = async |kind| {
        let id = EntityId::new(kind, if kind == SubjectType::Machine { "aa-1" } else { JANE });
        tokens.find_entity(&id.unwrap()).await.unwrap().unwrap()
    };
    for kind in [SubjectType::Machine, SubjectType::Customer] {
        assert_eq!(stored(kind).await.subject_id(), None);
    }
    // Registered again from what was kept of the first one, it is another all the same.
    let first = stored(SubjectType::User).await;
    let taken = first.subject_id().unwrap();
    tokens.remove_entity(first.id()).await.unwrap();
    tokens.register(first.clone()).await.unwrap();
    assert_ne!(stored(SubjectType::User).await.subject_id(), Some(taken));
    let rejected = tokens.register(entity(SubjectType::User, taken, &hash)).await.unwrap_err();
    assert_eq!(rejected.kind(), ErrorKind::InvalidRequest);
}

#[tokio::test]
async fn by_an_opaque_id_nobody_is_let_past_what_shuts_the_user_out() {
    for is_opaque in [true, false] {
        let policy =
            Policy::default().principals(|principals| principals.opaque_subjects(is_opaque));
        let fixture = Fixture::with(|builder| builder.policy(policy));
        let (tokens, id) = (&fixture.tokens, EntityId::user(JANE).unwrap());
        // Blocked before there is such a user, and an id.
        let named = tokens.principal(SubjectType::User, JANE, Organization::All);
        let until = tokens.now() + Duration::from_secs(60);
        tokens.block_subject(&named, until).await.unwrap();
        let hash = hash(&fixture).await;
        let jane = entity(SubjectType::User, JANE, &hash).organization(Organization::All);
        tokens.register(jane).await.unwrap();
        assert_eq!(tokens.issue_for(&id).await.unwrap_err().kind(), ErrorKind::Disabled);
        fixture.clock.advance(Duration::from_secs(120));
        tokens.issue_for(&id).await.unwrap();

        tokens.disable_entity(&id).await.unwrap();
        let stored = tokens.find_entity(&id).await.unwrap().unwrap();
        let subject_id = stored.subject_id().unwrap();
        let grant = Grant::user(subject_id).organization(Organization::All);
        let rejected = tokens.issue(grant).await.unwrap_err();
        assert_eq!(rejected.kind(), ErrorKind::InvalidFields);
        let opaque = tokens.principal(SubjectType::User, subject_id, Organization::All);
        assert!(tokens.revoke_subject(&opaque, tokens.now()).await.unwrap().is_known);
    }
}

#[tokio::test]
async fn an_update_changes_nothing_of_what_was_made_at_the_registration() {
    let fixture = Fixture::new();
    let (tokens, hash) = (&fixture.tokens, hash(&fixture).await);
    for kind in [SubjectType::User, SubjectType::Machine] {
        tokens.register(entity(kind, JANE, &hash)).await.unwrap();
        let id = EntityId::new(kind, JANE).unwrap();
        let before = tokens.find_entity(&id).await.unwrap().unwrap();
        // Two are taken for one, but for what only this one has.
        let (anew, set_at) = (entity(kind, JANE, &hash), before.password_set_at);
        let anew = set_at.map_or(anew.clone(), |set_at| anew.password_set_at(set_at));
        let after = tokens.update_entity(&id, move |_| anew.clone()).await.unwrap();
        assert_eq!(after.subject_id(), before.subject_id());
        assert_eq!(after.distinct_name(), before.distinct_name());
        tokens.remove_entity(&id).await.unwrap();
        tokens.register(entity(kind, LOOK_ALIKES[0], &hash)).await.unwrap();
    }
}
