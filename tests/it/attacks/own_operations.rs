//! The crate's own operations, and whose token reaches them.

use countersign::store::PageRequest;
use countersign::{ErrorKind, Grant, Policy, RequestContext, SubjectType};
use serde_json::json;

use crate::attacks::service::secret_request;
use crate::support::problems::assert_problem;
use crate::support::sessions::{SESSIONS, exchange, exchange_path};
use crate::support::{Fixture, Server, acl_of, issue_now};

const LIST: &str = "GetAuthenticationTokenCollection";
const START: &str = "PostAuthenticationToken";
const WIDEN: &str = "PostAuthenticationTokenExchange";
const READ: &str = "ReadEntitySecret";
const RESET: &str = "ResetEntitySecret";
const OWN_OPERATIONS: [&str; 5] = [LIST, START, WIDEN, READ, RESET];

fn token_with(fixture: &Fixture, subject_type: SubjectType, permissions: &[&str]) -> String {
    let acl = acl_of(json!([{"scope": {}, "permissions": permissions}]));
    let issued = issue_now(&fixture.tokens, Grant::new(subject_type, "ops").acl(acl)).unwrap();
    issued.access_token.expose().to_owned()
}

/// Does one of the operations, and returns its status.
async fn attempt(fixture: &Fixture, server: &Server, token: &str, operation: &str) -> u16 {
    let token = Some(token);
    let answer = match operation {
        LIST => server.get(SESSIONS, token).await,
        START => {
            let body = json!({"mode": "passwordless", "customerId": "cus_1"});
            server.post(SESSIONS, token, &body).await
        }
        WIDEN => {
            let session = fixture.session(|new| new).await;
            let body = json!({"acl": [{"scope": {}, "permissions": ["GetOrders"]}]});
            server.post(&exchange_path(&session), token, &body).await
        }
        _ => {
            let action = if operation == READ { "read" } else { "reset" };
            server.post(&format!("/entity/secret/{action}"), token, &secret_request("aa-1")).await
        }
    };
    answer.status().as_u16()
}

async fn served(fixture: Fixture) -> (Fixture, Server) {
    fixture.machine("aa-1", "a secret that the tests know").await;
    let server = fixture.serve().await;
    (fixture, server)
}

#[tokio::test]
async fn whatever_its_list_says_a_customers_token_reaches_no_operation_and_a_machines_no_secret() {
    let (fixture, server) = served(Fixture::new()).await;
    for (subject_type, expected) in [
        (SubjectType::User, [200, 201, 201, 200, 200]),
        (SubjectType::Machine, [200, 201, 201, 401, 401]),
        (SubjectType::Customer, [403, 403, 403, 401, 401]),
    ] {
        for permissions in [&["*"][..], &["GetOrders", LIST, START, WIDEN, READ, RESET]] {
            let token = token_with(&fixture, subject_type, permissions);
            for (operation, expected) in OWN_OPERATIONS.into_iter().zip(expected) {
                let status = attempt(&fixture, &server, &token, operation).await;
                assert_eq!(status, expected, "{subject_type:?} {permissions:?} {operation}");
            }
        }
    }
}

#[tokio::test]
async fn a_customer_lists_no_sessions_by_the_jwt_of_a_session_that_grants_everything() {
    let (fixture, server) = served(Fixture::new()).await;
    let everything = json!([{"scope": {}, "permissions": ["*"]}]);
    let session = fixture.session(|new| new.acl(acl_of(everything))).await;
    let exchanged = exchange(&server, &session, &json!({"invalidate": false})).await.expect(201);
    let jwt = exchanged.json()["token"].as_str().unwrap().to_owned();
    let organization = format!("{SESSIONS}?customerId=cus_1");
    for path in [SESSIONS, &organization] {
        let answer = server.get(path, Some(&jwt)).await;
        assert_problem(&answer, 403, "insufficient-permission");
        assert!(answer.header("www-authenticate").contains("error=\"insufficient_scope\""));
    }
    let validated = fixture.tokens.validator().validate(&jwt).unwrap();
    let (page, context) = (PageRequest::first(1), RequestContext::without_address());
    let listed = fixture.tokens.list_sessions(&validated, None, page, &context).await;
    assert_eq!(listed.unwrap_err().kind(), ErrorKind::InsufficientPermission);
}

fn by_name() -> Fixture {
    let policy = Policy::default()
        .tokens(|tokens| tokens.own_operations_by_name(true).trailing_wildcards(true));
    Fixture::with(|builder| builder.policy(policy))
}

#[tokio::test]
async fn where_the_policy_wants_them_named_no_wildcard_grants_an_own_operation() {
    let (fixture, server) = served(by_name()).await;
    let refused = [403, 403, 403, 401, 401];
    let granted = [200, 201, 201, 200, 200];
    for (permissions, expected) in [
        (&["*"][..], refused),
        (&["GetAuthenticationToken*", "PostAuthenticationToken*", "R*"], refused),
        (&["PostAuthenticationToken", "GetOrders"], [403, 201, 403, 401, 401]),
        (&["*", "ReadEntitySecret"], [403, 403, 403, 200, 401]),
        (&["GetOrders", LIST, START, WIDEN, READ, RESET], granted),
    ] {
        let token = token_with(&fixture, SubjectType::User, permissions);
        for (operation, expected) in OWN_OPERATIONS.into_iter().zip(expected) {
            let status = attempt(&fixture, &server, &token, operation).await;
            assert_eq!(status, expected, "{permissions:?} {operation}");
        }
        let validated = fixture.tokens.validator().validate(&token).unwrap();
        let holds_orders = validated.allows("GetOrders", &[]);
        assert_eq!(holds_orders, permissions.iter().any(|it| ["*", "GetOrders"].contains(it)));
    }
}

#[tokio::test]
async fn who_holds_an_own_operation_by_a_wildcard_gives_it_to_nobody_where_it_has_to_be_named() {
    let (fixture, server) = served(by_name()).await;
    let bearer = token_with(&fixture, SubjectType::User, &["*", START, WIDEN]);
    let everything = acl_of(json!([{"scope": {}, "permissions": ["*"]}]));
    for (permission, status) in [
        ("*", 201),
        ("Read*", 201),
        ("GetOrders", 201),
        (START, 201),
        (WIDEN, 201),
        (READ, 403),
        (RESET, 403),
        (LIST, 403),
    ] {
        let acl = json!([{"scope": {"entityId": ["aa-1"]}, "permissions": [permission]}]);
        let body = json!({"mode": "passwordless", "customerId": "cus_1", "acl": acl});
        let started = server.post(SESSIONS, Some(&bearer), &body).await;
        let session = fixture.session(|new| new).await;
        let asked = json!({"acl": acl});
        let widened = server.post(&exchange_path(&session), Some(&bearer), &asked).await;
        for answer in [started, widened] {
            assert_eq!(answer.status().as_u16(), status, "{permission} {answer:?}");
            if status == 403 {
                assert_problem(&answer, 403, "acl-exceeds-grant");
            }
        }
        // Of a session that holds `*`, nobody makes one that names an operation.
        let session = fixture.session(|new| new.acl(everything.clone())).await;
        let narrowed = exchange(&server, &session, &asked).await.status().as_u16();
        let is_own = OWN_OPERATIONS.contains(&permission);
        assert_eq!(narrowed, if is_own { 403 } else { 201 }, "{permission}");
    }
}
