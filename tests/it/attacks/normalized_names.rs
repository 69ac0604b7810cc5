//! Names that a host has normalized.

use std::time::Duration;

use axum::Router;
use countersign::faults::TokenFault;
use countersign::sessions::CustomerLogin;
use countersign::{
    CustomerId, Entity, EntityId, ErrorKind, Grant, Organization, OrganizationId, Password, Policy,
    RequestContext, SubjectType,
};
use serde_json::json;

use crate::attacks::service::{HOME, Login, by_name_and_address, serve};
use crate::support::log::Log;
use crate::support::sessions::SESSIONS;
use crate::support::{Fixture, PASSWORD, Server, change_of};

const USER_TOKEN: &str = "/user/token/generate";
const WRITTEN: [&str; 4] = ["ada", "Ada ", " ADA", "aDa"];
const OTHER_PASSWORD: &str = "another password of theirs";

fn trimmed_in_lower_case(policy: Policy) -> Policy {
    policy.principals(|principals| {
        principals.normalize_names(|name| Some(name.trim().to_lowercase()))
    })
}

fn fixture() -> Fixture {
    Fixture::with(|builder| builder.policy(trimmed_in_lower_case(Policy::default())))
}

fn context() -> RequestContext {
    RequestContext::without_address()
}

async fn credential(fixture: &Fixture, name: &str) -> Entity {
    let hash = fixture.tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
    Entity::customer(name, hash, CustomerId::new("cus_1").unwrap(), false).unwrap()
}

#[tokio::test]
async fn each_way_to_write_a_name_is_one_user_on_every_route() {
    let fixture = fixture();
    let tokens = &fixture.tokens;
    let hash = tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
    let org_1 = OrganizationId::new("org_1").unwrap();
    for organization in [Organization::All, org_1.into()] {
        let user = Entity::user("Ada ", hash.clone()).unwrap().organization(organization.clone());
        tokens.register(user).await.unwrap();
        let customer = credential(&fixture, "Ada ").await.organization(organization);
        tokens.register(customer).await.unwrap();
    }
    let routes = tokens.router();
    let host = Router::new().nest("/organizations/{organizationId}", routes.clone()).merge(routes);
    let server = Server::start(host).await;
    for name in WRITTEN {
        for home in ["", "/organizations/org_1"] {
            let body = json!({"username": name, "password": PASSWORD});
            let log = Log::default();
            let listening = log.listen();
            let login = server.post(&format!("{home}{USER_TOKEN}"), None, &body).await.expect(200);
            drop(listening);
            assert!(log.only("issue_user_token").contains_key("jti"));
            let token = login.json()["accessToken"].as_str().unwrap().to_owned();
            assert_eq!(tokens.validator().validate(&token).unwrap().principal().id(), "ada");
            let path = format!("{home}{SESSIONS}");
            let started = server.post(&path, None, &body).await.expect(201).json();
            let path = format!("{path}/{}", started["token"].as_str().unwrap());
            assert_eq!(server.get(&path, None).await.expect(200).json()["username"], "ada");
        }
        // Registered once, however it is written.
        let again = Entity::user(name, hash.clone()).unwrap();
        assert_eq!(tokens.register(again).await.unwrap_err().kind(), ErrorKind::Conflict);
    }
}

#[tokio::test]
async fn each_way_to_write_a_name_is_one_user_in_every_call() {
    let fixture = fixture();
    let tokens = &fixture.tokens;
    fixture.user("ada", json!([])).await;
    tokens.register(credential(&fixture, "ada").await).await.unwrap();
    let second = Duration::from_secs(1);
    for name in WRITTEN {
        let (id, customer) = (EntityId::user(name).unwrap(), EntityId::customer(name).unwrap());
        let ada = EntityId::user("ada").unwrap();
        assert_eq!(tokens.find_entity(&id).await.unwrap().unwrap().id(), &ada);
        let known_as = EntityId::customer("ada").unwrap();
        assert_eq!(tokens.credential_id(&customer), tokens.credential_id(&known_as));
        tokens.update_entity(&id, |ada| ada.disabled(false)).await.unwrap();
        for id in [&id, &customer] {
            tokens.set_password(id, Password::new(OTHER_PASSWORD).unwrap()).await.unwrap();
            let change = change_of(id.clone(), OTHER_PASSWORD, PASSWORD);
            tokens.change_password(change, &context()).await.unwrap();
        }
        let login = CustomerLogin::new(name, Password::new(PASSWORD).unwrap());
        tokens.log_in_customer(login, &context()).await.unwrap();
        fixture.user_token(name).await;

        for by_id in [true, false] {
            let issued = if by_id {
                tokens.issue_for(&id).await.unwrap()
            } else {
                tokens.issue(Grant::user(name)).await.unwrap()
            };
            let check = || tokens.validator().validate(issued.access_token.expose());
            assert_eq!(check().unwrap().principal().id(), "ada");
            fixture.clock.advance(second);
            let principal = tokens.principal(SubjectType::User, name, Organization::All);
            let revoked = tokens.revoke_subject(&principal, tokens.now()).await.unwrap();
            assert!(revoked.is_known);
            assert_eq!(check().unwrap_err(), TokenFault::Revoked);
        }
        tokens.disable_entity(&id).await.unwrap();
        let rejected = tokens.issue(Grant::user(name)).await.unwrap_err();
        assert_eq!(rejected.kind(), ErrorKind::Disabled);
        tokens.enable_entity(&id).await.unwrap();
        fixture.clock.advance(second);
        tokens.remove_entity(&id).await.unwrap();
        assert!(tokens.find_entity(&ada).await.unwrap().is_none());
        fixture.user(name, json!([])).await;
    }
}

#[tokio::test]
async fn guesses_at_one_user_are_counted_together_however_the_name_is_written() {
    let policy = by_name_and_address(3).principals(|principals| {
        principals.normalize_names(|name| Some(name.replace('.', "").to_lowercase()))
    });
    let fixture = Fixture::with(|builder| builder.policy(policy));
    fixture.user("ada", json!([])).await;
    let server = serve(&fixture).await;
    for (name, status) in [("ada", 401), ("a.da", 401), ("a.d.a", 401), ("ad.a", 429)] {
        assert_eq!(Login::User.guess(&server, HOME, name).await, status, "{name}");
    }
}

#[tokio::test]
async fn a_name_that_cannot_be_normalized_is_registered_and_known_by_nobody() {
    let policy = Policy::default().principals(|principals| {
        principals.normalize_names(|name| match name {
            "nobody" => None,
            "long" => Some("x".repeat(257)),
            // Each time, another one.
            grows if grows.starts_with("grow") => Some(format!("{grows}s")),
            name => Some(name.to_owned()),
        })
    });
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let tokens = &fixture.tokens;
    let hash = tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
    let server = fixture.serve().await;
    let login = async |name: &str| {
        let body = json!({"username": name, "password": PASSWORD});
        let answer = server.post(USER_TOKEN, None, &body).await.expect(401);
        answer.json()["errorMsg"].clone()
    };
    for name in ["nobody", "long", "grow"] {
        let user = Entity::user(name, hash.clone()).unwrap();
        let rejected = tokens.register(user).await.unwrap_err();
        assert_eq!(rejected.kind(), ErrorKind::InvalidRequest, "{name}");
        assert_eq!(login(name).await, login("unknown").await, "{name}");
    }
    let id = EntityId::user("nobody").unwrap();
    let rejected = tokens.find_entity(&id).await.unwrap_err();
    assert_eq!(rejected.kind(), ErrorKind::InvalidRequest);
    for name in ["nobody", "grow"] {
        let rejected = tokens.issue(Grant::user(name)).await.unwrap_err();
        assert_eq!(rejected.invalid_fields()[0].field, "subject");
    }
    let change = change_of(id, PASSWORD, OTHER_PASSWORD);
    let rejected = tokens.change_password(change, &context()).await.unwrap_err();
    assert_eq!(rejected.kind(), ErrorKind::InvalidCredentials);
}

#[tokio::test]
async fn the_ids_of_machine_clients_and_customers_stay_as_they_are_and_so_does_all_by_default() {
    let fixture = fixture();
    let tokens = &fixture.tokens;
    fixture.machine("AA-1", "a secret of sixteen bytes").await;
    assert!(tokens.find_entity(&EntityId::machine("aa-1").unwrap()).await.unwrap().is_none());
    tokens.issue_for(&EntityId::machine("AA-1").unwrap()).await.unwrap();
    let customer = tokens.principal(SubjectType::Customer, "CUS", Organization::All);
    assert_eq!(customer.id(), "CUS");
    let customer = tokens.issue(Grant::customer("CUS")).await.unwrap();
    let customer = tokens.validator().validate(customer.access_token.expose()).unwrap();
    assert_eq!(customer.principal().id(), "CUS");

    let exact = Fixture::new();
    exact.user("Ada", json!([])).await;
    let server = exact.serve().await;
    for (name, status) in [("Ada", 200), ("ada", 401), ("Ada ", 401)] {
        let body = json!({"username": name, "password": PASSWORD});
        server.post(USER_TOKEN, None, &body).await.expect(status);
    }
}
