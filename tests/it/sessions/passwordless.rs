//! Starting a session for somebody else.

use countersign::{
    Acl, AuthenticationToken, CustomerId, ErrorKind, Grant, NewSession, OrganizationId, Policy,
    RequestContext, SubjectType,
};
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};

use super::{
    JSON, NAME, START_PERMISSION, bearer_of_everything, bearer_of_everything_in, bearer_with,
    below, claims_in, fixture, passwordless_for, register_credential, start_session, token_in,
    token_of,
};
use crate::support::problems::{assert_problem, invalid_fields};
use crate::support::sessions::{SESSIONS, exchange};
use crate::support::{Fixture, ISSUER, PASSWORD, acl_of};

#[tokio::test]
async fn users_and_entities_start_sessions_of_customers_that_they_vouch_for() {
    let (fixture, server) = fixture().await;
    let acl = acl_of(json!([{"scope": {}, "permissions": [START_PERMISSION]}]));
    for subject_type in [SubjectType::User, SubjectType::Machine] {
        let bearer = token_of(&fixture, Grant::new(subject_type, "ops").acl(acl.clone()));
        let answer =
            server.post(SESSIONS, Some(&bearer), &passwordless_for("cus 1/ü")).await.expect(201);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.headers().get("location").is_none());
        let body = answer.json();
        let expected = json!({
            "customerId": "cus 1/ü",
            "token": body["token"],
            "otpRequired": false,
            "expiredTime": "2026-01-01T01:00:00.000Z",
            "createdTime": "2026-01-01T00:00:00.000Z",
            "updatedTime": "2026-01-01T00:00:00.000Z",
            "_links": [],
        });
        assert_eq!(body, expected);
        let exchanged = exchange(&server, &token_in(answer), &json!({})).await;
        let links = json!([{"href": "/customers/cus%201%2F%C3%BC", "rel": "customer"}]);
        assert_eq!(exchanged.json()["_links"], links);
        let claims = claims_in(&fixture, exchanged);
        assert_eq!(claims["sub"], "cus 1/ü");
        // Nothing was asked for, so nothing is held: not what the bearer holds.
        assert_eq!(claims["acl"], json!([]));
    }
}

#[tokio::test]
async fn a_customer_id_alone_needs_no_mode_and_what_a_login_takes_makes_it_a_login() {
    let (fixture, server) = fixture().await;
    register_credential(&fixture, NAME, |entity| entity).await;
    let bearer = bearer_of_everything(&fixture);
    for body in [
        json!({"customerId": "cus_2"}),
        json!({"customerId": "cus_2", "mode": null, "username": null, "password": null}),
    ] {
        let started = server.post(SESSIONS, Some(&bearer), &body).await.expect(201).json();
        assert_eq!(started["customerId"], "cus_2");
        assert_problem(&server.post(SESSIONS, None, &body).await, 401, "missing-token");
    }
    // As after an explicit mode, the bearer comes first.
    let answer = server.post(SESSIONS, None, &json!({"customerId": " "})).await;
    assert_problem(&answer, 401, "missing-token");
    let answer = server.post(SESSIONS, Some(&bearer), &json!({"customerId": " "})).await;
    assert_eq!(invalid_fields(&answer), ["customerId"]);
    // Of a login, a customer's id is a field to read alone.
    let login = json!({"customerId": "cus_2", "username": NAME, "password": PASSWORD});
    let started = server.post(SESSIONS, Some(&bearer), &login).await.expect(201).json();
    assert_eq!(started["customerId"], "cus_1");
    for (body, missing) in [
        (json!({"customerId": "cus_2", "username": NAME}), &["password"][..]),
        (json!({"customerId": "cus_2", "password": PASSWORD}), &["username"]),
        (json!({"customerId": "cus_2", "username": ""}), &["password", "username"]),
        (json!({"customerId": "cus_2", "mode": "password"}), &["password", "username"]),
        (json!({"customerId": null}), &["password", "username"]),
        (json!({}), &["password", "username"]),
    ] {
        let answer = server.post(SESSIONS, Some(&bearer), &body).await;
        assert_eq!(invalid_fields(&answer), missing, "{body}");
    }
}

#[tokio::test]
async fn without_a_good_bearer_nobody_starts_a_session_for_somebody_else() {
    let (fixture, server) = fixture().await;
    let realm = format!("Bearer realm=\"{ISSUER}\"");
    let attempt = async |headers: &[&str]| {
        let mut request = Request::post(SESSIONS).header(CONTENT_TYPE, JSON);
        for header in headers {
            request = request.header(AUTHORIZATION, *header);
        }
        server.send(request.body(passwordless_for("cus_1").to_string()).unwrap()).await
    };
    for none in [&[][..], &["Basic YTpi"]] {
        let answer = attempt(none).await;
        assert_problem(&answer, 401, "missing-token");
        assert_eq!(answer.header("www-authenticate"), realm);
    }
    for bad in [
        &["Bearer a.forged.token"][..],
        &[&format!("Bearer {}", start_session(&fixture, "cus_1", None).await)],
    ] {
        let answer = attempt(bad).await;
        assert_problem(&answer, 401, "invalid-token");
        assert!(answer.header("www-authenticate").starts_with(&realm));
        assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
    }
    for malformed in [&["Bearer"][..], &["Bearer a b"], &["Bearer a", "Bearer b"]] {
        let answer = attempt(malformed).await;
        assert_problem(&answer, 400, "malformed-credentials");
        assert!(answer.header("www-authenticate").contains("error=\"invalid_request\""));
    }
}

#[tokio::test]
async fn a_bearer_needs_the_permission_for_that_customer_in_that_organization() {
    let (fixture, server) = fixture().await;
    let root = SESSIONS.to_owned();
    let in_org_1 = below("org_1", SESSIONS);
    let with = |scope: Value| bearer_with(&fixture, &scope, &[START_PERMISSION]);
    let others = bearer_with(&fixture, &json!({}), &["GetOrders", "postAuthenticationToken"]);
    let customers = token_of(&fixture, Grant::customer("cus_1").acl(Acl::everything()));
    for (case, path, bearer, status) in [
        ("no list", &root, token_of(&fixture, Grant::user("ops")), 403),
        ("other permissions", &root, others, 403),
        ("another customer", &root, with(json!({"customerId": ["cus_2", "cus_10"]})), 403),
        ("an organization", &root, with(json!({"organizationId": ["org_1"]})), 403),
        ("a further key", &root, with(json!({"planId": ["p1"]})), 403),
        ("another organization's", &in_org_1, with(json!({"organizationId": ["org_2"]})), 403),
        ("of another organization", &in_org_1, bearer_of_everything_in(&fixture, "org_2"), 403),
        ("a customer's own token", &root, customers, 403),
        ("that customer", &root, with(json!({"customerId": ["cus_2", "cus_1"]})), 201),
        ("that organization", &in_org_1, with(json!({"organizationId": ["org_1"]})), 201),
        ("everything", &root, bearer_of_everything(&fixture), 201),
    ] {
        let answer = server.post(path, Some(&bearer), &passwordless_for("cus_1")).await;
        assert_eq!(answer.status().as_u16(), status, "{case}");
        if status == 403 {
            assert_problem(&answer, 403, "insufficient-permission");
            let challenge = answer.header("www-authenticate");
            assert!(challenge.starts_with(&format!("Bearer realm=\"{ISSUER}\"")), "{case}");
            assert!(challenge.contains("error=\"insufficient_scope\""), "{case}");
        }
    }
}

#[tokio::test]
async fn a_session_is_given_no_more_than_its_bearer_holds() {
    let policy = Policy::default().tokens(|tokens| tokens.open_custom_claims(["locale"]));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let server = fixture.serve().await;
    let held = json!([
        {"scope": {}, "permissions": [START_PERMISSION]},
        {"scope": {"productId": ["p1", "p2"]}, "permissions": ["GetOrders", "PostOrder"]},
    ]);
    let bearer = token_of(&fixture, Grant::user("ops").acl(acl_of(held)));
    let within = json!({"scope": {"productId": ["p2"]}, "permissions": ["GetOrders"]});
    let attempt = async |acl: Value| {
        let mut body = passwordless_for("cus_1");
        body["acl"] = acl;
        body["customClaims"] = json!({"locale": "de"});
        server.post(SESSIONS, Some(&bearer), &body).await
    };
    for beyond in [
        json!({"scope": {}, "permissions": ["GetOrders"]}),
        json!({"scope": {"productId": ["p1", "p3"]}, "permissions": ["GetOrders"]}),
        json!({"scope": {"productId": ["p1"]}, "permissions": ["GetOrders", "DeleteOrder"]}),
        json!({"scope": {"productId": ["p1"]}, "permissions": ["*"]}),
    ] {
        let answer = attempt(json!([within, beyond])).await;
        assert_problem(&answer, 403, "acl-exceeds-grant");
        assert!(answer.json()["detail"].as_str().unwrap().contains("acl.1"), "{answer:?}");
    }
    let token = token_in(attempt(json!([within])).await);
    let claims = claims_in(&fixture, exchange(&server, &token, &json!({})).await);
    assert_eq!(claims["acl"], json!([within]));
    assert_eq!(claims["customClaims"], json!({"locale": "de"}));
    let listed = server.get(SESSIONS, Some(&bearer_of_everything(&fixture))).await.expect(200);
    assert_eq!(listed.json(), json!([]), "those that were rejected have left nothing behind");
}

#[tokio::test]
async fn all_that_is_wrong_with_a_session_for_somebody_else_is_told_at_once() {
    let (fixture, server) = fixture().await;
    let bearer = bearer_of_everything(&fixture);
    let large = json!({"text": "x".repeat(4_096)});
    for (name, value, fields) in [
        ("customerId", json!(" "), vec!["customerId"]),
        ("customerId", json!(null), vec!["customerId"]),
        ("customerId", json!("cus\u{0}1"), vec!["customerId"]),
        ("customerId", json!("c".repeat(257)), vec!["customerId"]),
        ("acl", json!([]), vec!["acl"]),
        ("acl", json!([{"scope": {}, "permissions": ["Get*"]}]), vec!["acl"]),
        (
            "acl",
            json!([{"scope": {"productId": []}, "permissions": []}]),
            vec!["acl.0.permissions", "acl.0.scope.productId"],
        ),
        ("customClaims", large.clone(), vec!["customClaims"]),
    ] {
        let mut body = passwordless_for("cus_1");
        body[name] = value;
        let answer = server.post(SESSIONS, Some(&bearer), &body).await;
        assert_eq!(invalid_fields(&answer), fields);
    }
    let body = json!({
        "mode": "passwordless",
        "acl": [],
        "customClaims": large,
        "expiredTime": "2020-01-01T00:00:00Z",
    });
    let answer = server.post(SESSIONS, Some(&bearer), &body).await;
    assert_eq!(invalid_fields(&answer), ["acl", "customClaims", "customerId", "expiredTime"]);
}

#[tokio::test]
async fn a_bearer_without_the_permission_is_not_told_whether_a_token_has_a_session() {
    let (fixture, _server) = fixture().await;
    let taken = start_session(&fixture, "cus_1", None).await;
    let taken = AuthenticationToken::from_text(&taken).unwrap();
    let bearer = bearer_with(&fixture, &json!({}), &["GetOrders"]);
    let bearer = fixture.tokens.validator().validate(&bearer).unwrap();
    for token in [taken, AuthenticationToken::generate().unwrap()] {
        let new = NewSession::of(CustomerId::new("cus_1").unwrap()).dangerous_token(token);
        let context = RequestContext::without_address();
        let started = fixture.tokens.start_session(&bearer, new, &context).await;
        assert_eq!(started.unwrap_err().kind(), ErrorKind::InsufficientPermission);
    }
}

#[tokio::test]
async fn a_session_is_of_the_organization_of_the_mount_or_else_of_the_bearer() {
    let (fixture, server) = fixture().await;
    let scope = json!({"customerId": ["cus_1"]});
    let acl = acl_of(json!([{"scope": scope, "permissions": [START_PERMISSION]}]));
    let organization = OrganizationId::new("org_1").unwrap();
    let bound = token_of(&fixture, Grant::user("ops").acl(acl).organization(organization));
    for (path, bearer, organization) in [
        (SESSIONS.to_owned(), bound.clone(), json!("org_1")),
        (below("org_1", SESSIONS), bound, json!("org_1")),
        (below("org_2", SESSIONS), bearer_of_everything(&fixture), json!("org_2")),
        (SESSIONS.to_owned(), bearer_of_everything(&fixture), Value::Null),
    ] {
        let answer = server.post(&path, Some(&bearer), &passwordless_for("cus_1")).await;
        let exchanged = exchange(&server, &token_in(answer), &json!({})).await;
        assert_eq!(claims_in(&fixture, exchanged)["organizationId"], organization);
    }
}
