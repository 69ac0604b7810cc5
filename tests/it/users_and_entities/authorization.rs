//! Who may read and reset a secret, and what everybody else is told.

use std::time::Duration;

use countersign::{Acl, Entity, Grant, Organization, OrganizationId, SubjectType};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use serde_json::json;

use super::{
    DAY, JSON, READ, RESET, SECRET, TRANSACTION, WRONG_ENTITY, all_that_a_caller_sees,
    assert_bad_request, assert_error, complete, complete_for, entity_login, manager, manager_with,
    service, text_in, token_of, user_login,
};
use crate::support::{Fixture, ISSUER, PASSWORD};

#[tokio::test]
async fn a_manager_of_one_organization_has_no_say_in_another() {
    let fixture = Fixture::new();
    let organization = |id: &str| OrganizationId::new(id).unwrap();
    for (id, of) in
        [("of-1", Organization::One(organization("org_1"))), ("of-none", Organization::All)]
    {
        let entity = Entity::machine(id).unwrap().organization(of);
        fixture.tokens.register(entity).await.unwrap();
    }
    let server = fixture.serve().await;
    let bound = |id: &str| {
        let grant = Grant::user("manager@example.com").acl(Acl::everything());
        token_of(&fixture, grant.organization(organization(id)))
    };
    let scoped = |id: &str| {
        let permissions = ["ReadEntitySecret", "ResetEntitySecret"];
        manager_with(&fixture, json!({"organizationId": [id]}), &permissions)
    };
    for (token, entity, status) in [
        (bound("org_1"), "of-1", 200),
        (bound("org_2"), "of-1", 401),
        (bound("org_1"), "of-none", 401),
        (scoped("org_1"), "of-1", 200),
        (scoped("org_2"), "of-1", 401),
        (scoped("org_1"), "of-none", 401),
    ] {
        for route in [RESET, READ] {
            server.post(route, Some(&token), &complete_for(entity)).await.expect(status);
        }
    }
}

#[tokio::test]
async fn without_credentials_the_challenge_has_no_error_code() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    for route in [READ, RESET] {
        let mut answers = vec![server.post(route, None, &complete()).await];
        let in_query = format!("{route}?access_token={manager}");
        answers.push(server.post(&in_query, None, &complete()).await);
        for other in ["Basic b3BzOnB3", "DPoP abc", "Bearer-Like abc", ""] {
            let request = Request::builder()
                .method(Method::POST)
                .uri(route)
                .header(CONTENT_TYPE, JSON)
                .header(AUTHORIZATION, other)
                .body(complete().to_string())
                .unwrap();
            answers.push(server.send(request).await);
        }
        for answer in answers {
            assert_error(&answer, 401, "Unauthorized", "A bearer token is required");
            assert_eq!(answer.header("www-authenticate"), format!("Bearer realm=\"{ISSUER}\""));
        }
    }
}

#[tokio::test]
async fn credentials_that_are_malformed_are_a_400_invalid_request() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    let good = format!("Bearer {manager}");
    for headers in [
        vec![good.clone(), good.clone()],
        vec!["Basic b3BzOnB3".to_owned(), good.clone()],
        vec!["Bearer".to_owned()],
        vec![format!("Bearer\t{manager}")],
        vec![format!("Bearer {manager} {manager}")],
        vec![format!("Bearer {manager},")],
    ] {
        let mut request = Request::builder().method(Method::POST).uri(READ);
        request = request.header(CONTENT_TYPE, JSON);
        for value in &headers {
            request = request.header(AUTHORIZATION, value);
        }
        let answer = server.send(request.body(complete().to_string()).unwrap()).await;
        let message = "There must be one Authorization header, holding one bearer token";
        assert_bad_request(&answer, message);
        let challenge = format!(
            "Bearer realm=\"{ISSUER}\", error=\"invalid_request\", error_description=\"{message}\""
        );
        assert_eq!(answer.header("www-authenticate"), challenge, "{headers:?}");
        assert_eq!(answer.json()["txnId"], TRANSACTION);
    }
}

#[tokio::test]
async fn the_scheme_has_no_case_and_more_than_one_blank_behind_it() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    for scheme in ["bearer ", "BEARER ", "Bearer   "] {
        let request = Request::builder()
            .method(Method::POST)
            .uri(READ)
            .header(CONTENT_TYPE, JSON)
            .header(AUTHORIZATION, format!("{scheme}{manager}"))
            .body(complete().to_string())
            .unwrap();
        server.send(request).await.expect(200);
    }
}

#[tokio::test]
async fn a_token_that_is_not_accepted_is_a_401_invalid_token() {
    let (fixture, server) = service().await;
    let good = manager(&fixture);
    let stranger = manager(&Fixture::new());
    let (head, signature) = good.rsplit_once('.').unwrap();
    let swapped: String = signature.chars().rev().collect();
    let forged = format!("{head}.{swapped}");
    let challenge = |description: &str| {
        format!(
            "Bearer realm=\"{ISSUER}\", error=\"invalid_token\", error_description=\"{description}\""
        )
    };
    for bad in [&stranger, &forged, head, "abc", "a.b.c"] {
        for route in [READ, RESET] {
            let answer = server.post(route, Some(bad), &complete()).await;
            let message = "The access token is not valid";
            assert_error(&answer, 401, "Unauthorized", message);
            assert_eq!(answer.header("www-authenticate"), challenge(message));
        }
    }
    fixture.clock.advance(DAY + Duration::from_secs(60));
    let answer = server.post(READ, Some(&good), &complete()).await;
    let message = "The access token has expired";
    assert_error(&answer, 401, "Unauthorized", message);
    assert_eq!(answer.header("www-authenticate"), challenge(message));
}

#[tokio::test]
async fn who_may_not_manage_an_entity_is_not_told_whether_it_exists() {
    let (fixture, server) = service().await;
    fixture.machine("aa-2", SECRET).await;
    let disabled = Entity::machine("disabled").unwrap().disabled(true);
    fixture.tokens.register(disabled).await.unwrap();
    let everything =
        |kind, name: &str| token_of(&fixture, Grant::new(kind, name).acl(Acl::everything()));
    let manager = manager(&fixture);
    let both = ["ReadEntitySecret", "ResetEntitySecret"];
    let everywhere = json!({});
    let cases = [
        ("an unknown entity", manager.clone(), "unknown"),
        ("a user's name", manager.clone(), "ops@example.com"),
        ("a disabled entity", manager.clone(), "disabled"),
        ("another spelling", manager.clone(), "AA-1"),
        ("a name that cannot be", manager.clone(), "aa-1\u{0}"),
        ("an entity's token", everything(SubjectType::Machine, "aa-1"), "aa-1"),
        ("another entity's token", everything(SubjectType::Machine, "aa-2"), "aa-1"),
        ("a customer's token", everything(SubjectType::Customer, "cus_1"), "aa-1"),
        ("no list", token_of(&fixture, Grant::user("nobody")), "aa-1"),
        ("no permission", manager_with(&fixture, everywhere.clone(), &["GetOrders"]), "aa-1"),
        ("another case", manager_with(&fixture, everywhere, &["readEntitySecret"]), "aa-1"),
        ("another scope", manager_with(&fixture, json!({"entityId": ["aa-2"]}), &both), "aa-1"),
        ("a further key", manager_with(&fixture, json!({"planId": ["p_1"]}), &both), "aa-1"),
        ("nobody known, nothing held", token_of(&fixture, Grant::user("nobody")), "unknown"),
    ];
    let challenge = format!(
        "Bearer realm=\"{ISSUER}\", error=\"invalid_token\", error_description=\"{WRONG_ENTITY}\""
    );
    for route in [READ, RESET] {
        let mut first = None;
        for (case, token, entity) in &cases {
            let answer = server.post(route, Some(token), &complete_for(entity)).await;
            assert_error(&answer, 401, "Unauthorized", WRONG_ENTITY);
            assert_eq!(answer.header("www-authenticate"), challenge, "{case}");
            assert_eq!(answer.json()["txnId"], TRANSACTION, "{case}");
            let first = first.get_or_insert_with(|| all_that_a_caller_sees(&answer));
            assert_eq!(all_that_a_caller_sees(&answer), *first, "{case}");
        }
    }
    // None of them has changed anything.
    entity_login(&server, "aa-1", SECRET).await.expect(200);
}

#[tokio::test]
async fn each_of_the_two_operations_needs_its_own_permission_within_a_scope_that_covers_the_entity()
{
    let (fixture, server) = service().await;
    let token = |scope, permissions: &[&str]| manager_with(&fixture, scope, permissions);
    let here = json!({"entityId": ["aa-0", "aa-1"]});
    for (token, read, reset) in [
        (token(json!({}), &["*"]), 200, 200),
        (token(here.clone(), &["ReadEntitySecret"]), 200, 401),
        (token(here.clone(), &["ResetEntitySecret"]), 401, 200),
        (token(here, &["GetOrders", "ResetEntitySecret", "ReadEntitySecret"]), 200, 200),
        (token(json!({"entityId": ["aa-10"]}), &["*"]), 401, 401),
    ] {
        server.post(READ, Some(&token), &complete()).await.expect(read);
        server.post(RESET, Some(&token), &complete()).await.expect(reset);
    }
}

#[tokio::test]
async fn a_user_who_logs_in_manages_secrets_with_the_token_from_the_route() {
    let fixture = Fixture::new();
    let acl = json!([{
        "scope": {"entityId": ["aa-1"]},
        "permissions": ["ReadEntitySecret", "ResetEntitySecret"],
    }]);
    fixture.user("ops@example.com", acl).await;
    fixture.tokens.register(Entity::machine("aa-1").unwrap()).await.unwrap();
    let server = fixture.serve().await;
    let login = user_login(&server, "ops@example.com", PASSWORD).await.expect(200);
    let token = text_in(&login.json(), "accessToken");
    let reset = server.post(RESET, Some(&token), &complete()).await.expect(200).json();
    let read = server.post(READ, Some(&token), &complete()).await.expect(200).json();
    assert_eq!(reset["secret"], read["secret"]);
    entity_login(&server, "aa-1", &text_in(&read, "secret")).await.expect(200);
}
