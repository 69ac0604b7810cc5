//! Users and customers' credentials of one name, each in an organization of their own.

use std::time::Duration;

use axum::Router;
use countersign::faults::TokenFault;
use countersign::policy::ThrottleLimit;
use countersign::sessions::CustomerLogin;
use countersign::{
    Acl, AuthenticationToken, CustomerId, Entity, EntityId, ErrorKind, Grant, OrganizationId,
    Password, Policy, RequestContext, SubjectType, TokenService,
};
use serde_json::json;

use crate::attacks::service::{
    ENTITY_TOKEN, HOME, Login, PEER, USER_TOKEN, by_name_and_address, limit, secret_request, serve,
};
use crate::support::sessions::SESSIONS;
use crate::support::{Fixture, PASSWORD, Server, acl_of, change_of};

const JANE: &str = "jane";
const OTHER_PASSWORD: &str = "another password of theirs";

fn organization(id: &str) -> OrganizationId {
    OrganizationId::new(id).unwrap()
}

fn in_organization(id: &str) -> RequestContext {
    RequestContext::without_address().organization(organization(id))
}

async fn entity(tokens: &TokenService, kind: SubjectType, name: &str, password: &str) -> Entity {
    let hash = tokens.hash_password(Password::new(password).unwrap()).await.unwrap();
    let customer = CustomerId::new("cus_1").unwrap();
    let entity = match kind {
        SubjectType::User => Entity::user(name, hash),
        SubjectType::Machine => Entity::machine(name),
        SubjectType::Customer => Entity::customer(name, hash, customer, false),
    };
    entity.unwrap().acl(Acl::everything())
}

async fn register(
    tokens: &TokenService,
    kind: SubjectType,
    home: &str,
    password: &str,
) -> EntityId {
    let jane = entity(tokens, kind, JANE, password).await.organization(organization(home));
    let id = jane.id().clone();
    tokens.register(jane).await.unwrap();
    id
}

/// Serves the routes, and below an organization.
async fn serve_everywhere(fixture: &Fixture) -> Server {
    let routes = fixture.tokens.router();
    let host = Router::new().nest("/organizations/{organizationId}", routes.clone()).merge(routes);
    Server::start(host).await
}

#[tokio::test]
async fn each_namesake_logs_in_at_their_own_organization_by_their_own_password() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let homes = [
        ("", "a password of none"),
        ("/organizations/org_1", "a password of the first"),
        ("/organizations/org_2", "a password of the second"),
    ];
    for (home, password) in homes {
        for kind in [SubjectType::User, SubjectType::Customer] {
            match home.strip_prefix("/organizations/") {
                Some(home) => drop(register(tokens, kind, home, password).await),
                None => tokens.register(entity(tokens, kind, JANE, password).await).await.unwrap(),
            }
        }
    }
    let server = serve_everywhere(&fixture).await;
    let mut rejected = Vec::new();
    for (home, own) in homes.into_iter().chain([("/organizations/org_3", "nobody's password")]) {
        for (_, password) in homes {
            let body = json!({"username": JANE, "password": password});
            let login = server.post(&format!("{home}{USER_TOKEN}"), None, &body).await;
            let start = server.post(&format!("{home}{SESSIONS}"), None, &body).await;
            if password != own {
                start.expect(401);
                rejected.push(login.expect(401).json()["errorMsg"].clone());
                continue;
            }
            let token = login.expect(200).json()["accessToken"].as_str().unwrap().to_owned();
            let claims = tokens.validator().validate(&token).unwrap();
            let organization = claims.organization_id().map(OrganizationId::as_str);
            assert_eq!(organization, home.strip_prefix("/organizations/"));
            assert_eq!(claims.principal().id(), JANE);
            let session = start.expect(201).json();
            let path = format!("{home}{SESSIONS}/{}", session["token"].as_str().unwrap());
            assert_eq!(server.get(&path, None).await.expect(200).json()["username"], JANE);
        }
    }
    assert_eq!(rejected.len(), 9);
    assert!(rejected.iter().all(|message| *message == rejected[0]), "nothing tells them apart");
}

#[tokio::test]
async fn a_name_is_registered_once_in_an_organization_and_the_id_of_a_machine_client_once() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    for kind in [SubjectType::User, SubjectType::Customer] {
        for home in ["org_1", "org_2"] {
            register(tokens, kind, home, PASSWORD).await;
            for (name, message) in [
                (JANE, "the id is registered already"),
                ("Jane", "a name that looks like it is registered already"),
            ] {
                let again = entity(tokens, kind, name, PASSWORD).await;
                let rejected =
                    tokens.register(again.organization(organization(home))).await.unwrap_err();
                assert_eq!(rejected.kind(), ErrorKind::Conflict);
                assert_eq!(rejected.to_string(), message);
            }
        }
        // A look-alike is one within an organization alone.
        let elsewhere = entity(tokens, kind, "Jane", PASSWORD).await;
        tokens.register(elsewhere.organization(organization("org_3"))).await.unwrap();
        tokens.register(entity(tokens, kind, JANE, PASSWORD).await).await.unwrap();
    }
    let machine =
        |name: &str, home: &str| Entity::machine(name).unwrap().organization(organization(home));
    tokens.register(machine("aa-1", "org_1")).await.unwrap();
    for name in ["aa-1", "AA-1"] {
        let rejected = tokens.register(machine(name, "org_2")).await.unwrap_err();
        assert_eq!(rejected.kind(), ErrorKind::Conflict, "a `client_id` is one client's: {name}");
    }
}

/// What is done to one of two namesakes.
#[derive(Clone, Copy, Debug)]
enum Act {
    Disable,
    Remove,
    SetPassword,
    ChangePassword,
    TakeAway,
    Revoke,
    Block,
}

#[tokio::test]
async fn what_is_done_to_one_namesake_leaves_the_others_alone() {
    for kind in [SubjectType::User, SubjectType::Customer] {
        for act in [
            Act::Disable,
            Act::Remove,
            Act::SetPassword,
            Act::ChangePassword,
            Act::TakeAway,
            Act::Revoke,
            Act::Block,
        ] {
            act_on_one_of_three(kind, act).await;
        }
    }
}

async fn act_on_one_of_three(kind: SubjectType, act: Act) {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let first = register(tokens, kind, "org_1", PASSWORD).await;
    let second = register(tokens, kind, "org_2", PASSWORD).await;
    let unbound = entity(tokens, kind, JANE, PASSWORD).await;
    let third = unbound.id().clone();
    tokens.register(unbound).await.unwrap();
    let everybody = [
        (first.clone(), in_organization("org_1")),
        (second, in_organization("org_2")),
        (third, RequestContext::without_address()),
    ];
    let mut held = Vec::new();
    for (id, context) in &everybody {
        held.push((tokens.issue_for(id).await.unwrap(), log_in(tokens, kind, context).await));
    }
    fixture.clock.advance(Duration::from_secs(1));
    let password = || Password::new(OTHER_PASSWORD).unwrap();
    let registered = tokens.find_entity(&first).await.unwrap().unwrap();
    let principal = tokens.principal_of(&registered);
    match act {
        Act::Disable => tokens.disable_entity(&first).await.unwrap(),
        Act::Remove => tokens.remove_entity(&first).await.unwrap(),
        Act::SetPassword => tokens.set_password(&first, password()).await.unwrap(),
        Act::ChangePassword => {
            let change = || change_of(first.clone(), PASSWORD, OTHER_PASSWORD);
            let elsewhere = tokens.change_password(change(), &in_organization("org_2")).await;
            assert_eq!(elsewhere.unwrap_err().kind(), ErrorKind::InvalidCredentials);
            tokens.change_password(change(), &in_organization("org_1")).await.unwrap();
        }
        Act::TakeAway => {
            drop(tokens.update_entity(&first, |jane| jane.acl(Acl::default())).await.unwrap());
        }
        Act::Revoke => {
            let revoked = tokens.revoke_subject(&principal, tokens.now()).await.unwrap();
            assert!(revoked.is_known);
        }
        Act::Block => {
            let until = tokens.now() + Duration::from_secs(3_600);
            tokens.block_subject(&principal, until).await.unwrap();
        }
    }
    for (at, ((id, context), (token, session))) in everybody.iter().zip(&held).enumerate() {
        let is_theirs = at == 0;
        let checked = tokens.validator().validate(token.access_token.expose()).map(drop);
        assert_eq!(checked, if is_theirs { Err(TokenFault::Revoked) } else { Ok(()) }, "{act:?}");
        if let Some(session) = session {
            let found = tokens.find_session(session, context).await;
            assert_eq!(found.is_err(), is_theirs, "{kind} {act:?}");
        }
        let is_shut_out = is_theirs && !matches!(act, Act::TakeAway | Act::Revoke);
        let again = try_to_log_in(tokens, kind, context).await;
        assert_eq!(again.is_err(), is_shut_out, "{kind} {act:?} {id:?}");
    }
}

/// Logs in by [`PASSWORD`], and returns the session that comes of it.
async fn log_in(
    tokens: &TokenService,
    kind: SubjectType,
    context: &RequestContext,
) -> Option<AuthenticationToken> {
    try_to_log_in(tokens, kind, context).await.unwrap()
}

async fn try_to_log_in(
    tokens: &TokenService,
    kind: SubjectType,
    context: &RequestContext,
) -> Result<Option<AuthenticationToken>, ErrorKind> {
    let password = Password::new(PASSWORD).unwrap();
    let outcome = if kind == SubjectType::User {
        tokens.issue_user_token(JANE, password, context).await.map(|_| None)
    } else {
        let started = tokens.log_in_customer(CustomerLogin::new(JANE, password), context).await;
        started.map(|started| Some(started.token))
    };
    outcome.map_err(|error| error.kind())
}

#[tokio::test]
async fn guesses_at_one_namesake_delay_nobody_else() {
    for login in [Login::User, Login::Customer] {
        let policy = by_name_and_address(3);
        let policy = policy.throttle(|throttle| throttle.by_name(limit(3)));
        let fixture = Fixture::with(|builder| builder.policy(policy));
        let kind = match login {
            Login::User => SubjectType::User,
            _ => SubjectType::Customer,
        };
        for home in ["org_1", "org_2"] {
            register(&fixture.tokens, kind, home, PASSWORD).await;
        }
        let server = serve(&fixture).await;
        let attempt = async |home: &str, password: &str| {
            let path = format!("/organizations/{home}{}", login.path());
            let request = login.request(&path, &[(PEER, HOME)], JANE, password);
            server.send(request).await.status().as_u16()
        };
        for _ in 0..3 {
            assert_eq!(attempt("org_1", "a guess").await, 401);
        }
        assert_eq!(attempt("org_1", PASSWORD).await, 429);
        assert!(matches!(attempt("org_2", PASSWORD).await, 200 | 201));
    }
}

#[tokio::test]
async fn guesses_in_an_organization_that_cannot_exist_are_counted_against_nobody_without_one() {
    let policy = by_name_and_address(3);
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let jane = entity(&fixture.tokens, SubjectType::User, JANE, PASSWORD).await;
    fixture.tokens.register(jane).await.unwrap();
    let server = serve_everywhere(&fixture).await;
    let attempt = async |below: &str| {
        let path = format!("{below}{}", Login::User.path());
        let request = Login::User.request(&path, &[], JANE, PASSWORD);
        server.send(request).await.status().as_u16()
    };
    for _ in 0..3 {
        assert_eq!(
            attempt("/organizations/%20").await,
            401,
            "the right password is nobody's there"
        );
    }
    assert_eq!(attempt("").await, 200);
}

#[tokio::test]
async fn a_password_is_changed_in_the_organization_of_the_call() {
    let tokens = Fixture::new().tokens;
    for home in ["org_1", "org_2"] {
        register(&tokens, SubjectType::User, home, PASSWORD).await;
    }
    let bare = EntityId::user(JANE).unwrap();
    let elsewhere = bare.clone().organization(organization("org_2"));
    let context = in_organization("org_1");
    let change = change_of(elsewhere, PASSWORD, OTHER_PASSWORD);
    let rejected = tokens.change_password(change, &context).await.unwrap_err();
    assert_eq!(rejected.kind(), ErrorKind::InvalidCredentials);
    let change = change_of(bare, PASSWORD, OTHER_PASSWORD);
    tokens.change_password(change, &context).await.unwrap();
    for (home, logs_in) in [("org_1", false), ("org_2", true)] {
        let logged_in = try_to_log_in(&tokens, SubjectType::User, &in_organization(home)).await;
        assert_eq!(logged_in.is_ok(), logs_in, "{home}");
    }
}

#[tokio::test]
async fn what_one_manager_asks_for_secrets_is_not_counted_against_a_namesake() {
    let policy = Policy::default().throttle(|throttle| {
        throttle.secret_access(ThrottleLimit::new(1, Duration::from_secs(3_600)))
    });
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let tokens = &fixture.tokens;
    let server = fixture.serve().await;
    for home in ["org_1", "org_2"] {
        let id = format!("{home}.aa-1");
        let machine = Entity::machine(&id).unwrap().organization(organization(home));
        tokens.register(machine).await.unwrap();
        // Of nobody who is registered: the name is all that there is to count by.
        let permissions = ["ReadEntitySecret", "ResetEntitySecret"];
        let acl = acl_of(json!([{"scope": {}, "permissions": permissions}]));
        let grant = Grant::user("manager").acl(acl).organization(organization(home));
        let manager = tokens.issue(grant).await.unwrap();
        let manager = Some(manager.access_token.expose());
        for status in [200, 429] {
            let request = secret_request(&id);
            server.post("/entity/secret/read", manager, &request).await.expect(status);
        }
    }
}

#[tokio::test]
async fn namesakes_are_known_to_clients_by_ids_of_their_own_and_found_by_their_organization() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let ids = [
        register(tokens, SubjectType::Customer, "org_1", PASSWORD).await,
        register(tokens, SubjectType::Customer, "org_2", PASSWORD).await,
    ];
    let unbound = EntityId::customer(JANE).unwrap();
    assert!(tokens.find_entity(&unbound).await.unwrap().is_none());
    assert_ne!(tokens.credential_id(&ids[0]), tokens.credential_id(&ids[1]));
    assert_ne!(tokens.credential_id(&ids[0]), tokens.credential_id(&unbound));
    for id in &ids {
        let found = tokens.find_entity(id).await.unwrap().unwrap();
        assert_eq!(found.organization_id(), id.organization_id());
    }
    // A machine client's id says nothing of an organization.
    let machine = Entity::machine("aa-1").unwrap().organization(organization("org_1"));
    assert_eq!(machine.id(), &EntityId::machine("aa-1").unwrap());
    tokens.register(machine).await.unwrap();
    let named = EntityId::machine("aa-1").unwrap().organization(organization("org_2"));
    let found = tokens.find_entity(&named).await.unwrap().unwrap();
    assert_eq!(found.organization_id(), Some(&organization("org_1")));
    let body = json!({"id": "aa-1", "secret": "a guess"});
    serve_everywhere(&fixture).await.post(ENTITY_TOKEN, None, &body).await.expect(401);
}
