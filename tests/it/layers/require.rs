use axum::Router;
use axum::routing::get;
use countersign::RequireLayer;
use http::header::AUTHORIZATION;
use http::{HeaderName, StatusCode};
use serde_json::json;
use tower::{Layer, ServiceExt as _, service_fn};

use crate::layers::{
    ask, assert_rejected, axum_whoami, bearer, challenge, request_with, text_of, user_token,
    user_with, whoami,
};
use crate::support::log::Log;
use crate::support::{Fixture, ISSUER, Server};

#[tokio::test]
async fn a_token_without_the_permission_is_a_403_that_names_it() {
    let fixture = Fixture::new();
    let app = axum_whoami()
        .layer(fixture.tokens.require_layer("GetOrders"))
        .layer(fixture.tokens.validate_layer());
    let server = Server::start(app).await;
    let detail = "The access token does not grant the permission";
    let scope = format!("{}, scope=\"GetOrders\"", challenge("insufficient_scope", detail));
    for token in [
        user_token(&fixture),
        user_with(&fixture, json!({}), &["PostOrder", "getorders", "GetOrdersAll"]),
        user_with(&fixture, json!({"organizationId": ["org_1"]}), &["GetOrders"]),
    ] {
        assert_rejected(&server.get("/", Some(&token)).await, 403, detail, Some(&scope));
    }
    for permissions in [&["GetOrders"][..], &["*"], &["PostOrder", "GetOrders"]] {
        let token = user_with(&fixture, json!({}), permissions);
        assert_eq!(server.get("/", Some(&token)).await.expect(200).text(), "ops@example.com");
    }
    let nobody = server.get("/", None).await;
    let expected = format!("Bearer realm=\"{ISSUER}\"");
    assert_rejected(&nobody, 401, "A bearer token is required", Some(&expected));
}

#[tokio::test]
async fn an_anonymous_request_is_a_401_where_a_permission_is_required() {
    let fixture = Fixture::new();
    let app = axum_whoami()
        .layer(fixture.tokens.require_layer("GetOrders"))
        .layer(fixture.tokens.validate_layer().optional());
    let server = Server::start(app).await;
    let expected = format!("Bearer realm=\"{ISSUER}\"");
    let answer = server.get("/", None).await;
    assert_rejected(&answer, 401, "A bearer token is required", Some(&expected));
    let token = user_with(&fixture, json!({}), &["GetOrders"]);
    server.get("/", Some(&token)).await.expect(200);
}

#[tokio::test]
async fn a_permission_may_be_required_within_a_scope_that_the_request_names() {
    let fixture = Fixture::new();
    let require = fixture
        .tokens
        .require_layer("GetOrders")
        .scope("organizationId", |parts| {
            Some(parts.headers.get("x-organization")?.to_str().ok()?.to_owned())
        })
        .scope("planId", |parts| parts.uri.query().map(str::to_owned));
    let app = axum_whoami().layer(require).layer(fixture.tokens.validate_layer());
    let server = Server::start(app).await;
    let token = |scope| user_with(&fixture, scope, &["GetOrders"]);
    let one = token(json!({"organizationId": ["org_1", "org_2"]}));
    let both = token(json!({"organizationId": ["org_1"], "planId": ["p_1"]}));
    let free = token(json!({}));
    let other_key = token(json!({"productId": ["org_1"]}));
    for (token, path, organization, status) in [
        (&one, "/", Some("org_1"), 200),
        (&one, "/?p_9", Some("org_2"), 200),
        (&one, "/", Some("org_3"), 403),
        (&one, "/", Some("ORG_1"), 403),
        (&one, "/", None, 403),
        (&both, "/?p_1", Some("org_1"), 200),
        (&both, "/?p_2", Some("org_1"), 403),
        (&both, "/", Some("org_1"), 403),
        (&free, "/", None, 200),
        (&free, "/?p_2", Some("org_3"), 200),
        (&other_key, "/", Some("org_1"), 403),
    ] {
        let value = format!("Bearer {token}");
        let mut headers = vec![(AUTHORIZATION, value.as_str())];
        headers.extend(organization.map(|id| (HeaderName::from_static("x-organization"), id)));
        ask(&server, path, &headers).await.expect(status);
    }
}

#[tokio::test]
async fn a_scope_may_come_from_the_path() {
    let fixture = Fixture::new();
    let require = || fixture.tokens.require_layer("GetOrders").scope_from_path("organizationId");
    let orders = || Router::new().route("/orders", get(async || "orders"));
    let app = Router::new()
        .route("/route/{organizationId}/orders", get(async || "orders"))
        .route_layer(require())
        .nest("/nest/{organizationId}", orders().layer(require()))
        .layer(fixture.tokens.validate_layer());
    let server = Server::start(app).await;
    let held = user_with(&fixture, json!({"organizationId": ["org_1", "o/2"]}), &["GetOrders"]);
    let free = user_with(&fixture, json!({}), &["GetOrders"]);
    for (path, with_scope) in [
        ("/route/org_1/orders", 200),
        ("/route/org%5f1/orders", 200),
        ("/route/o%2F2/orders", 200),
        ("/route/org_2/orders", 403),
        ("/route/org_1%00/orders", 403),
        ("/route/%FF/orders", 403),
        ("/nest/org_1/orders", 200),
        ("/nest/org_2/orders", 403),
    ] {
        let answer = server.get(path, Some(&held)).await;
        assert_eq!(answer.status().as_u16(), with_scope, "{path}");
        let expected = if path.contains("%FF") { 403 } else { 200 };
        server.get(path, Some(&free)).await.expect(expected);
    }
}

#[tokio::test]
async fn permissions_add_up_where_layers_do() {
    let fixture = Fixture::new();
    let app = axum_whoami()
        .layer(fixture.tokens.require_layer("GetOrders"))
        .layer(fixture.tokens.require_layer("GetCustomers"))
        .layer(fixture.tokens.validate_layer());
    let server = Server::start(app).await;
    let token = |permissions: &[&str]| user_with(&fixture, json!({}), permissions);
    server.get("/", Some(&token(&["GetOrders"]))).await.expect(403);
    server.get("/", Some(&token(&["GetCustomers"]))).await.expect(403);
    server.get("/", Some(&token(&["GetOrders", "GetCustomers"]))).await.expect(200);
}

#[tokio::test]
async fn a_hook_is_told_the_permission_that_a_require_layer_asked_for() {
    let fixture = Fixture::with(|builder| {
        builder.reject_with(|rejection, _| {
            let text = format!("{} {:?}", rejection.code(), rejection.permission());
            (StatusCode::NOT_FOUND, text)
        })
    });
    let layer = (fixture.tokens.validate_layer(), RequireLayer::new("GetOrders"));
    let service = layer.layer(service_fn(whoami::<String>));
    let (name, value) = bearer(&user_token(&fixture));
    let answer = service.oneshot(request_with(&[(name, &value)])).await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    let sent = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert_eq!(text_of(answer).await, "insufficient-permission Some(\"GetOrders\")");
    assert!(sent.ends_with("scope=\"GetOrders\""), "{sent}");
}

#[tokio::test]
async fn without_a_layer_that_validates_a_permission_is_a_500_and_the_log_says_why() {
    let fixture = Fixture::new();
    let log = Log::default();
    let _guard = log.listen();
    let token = user_with(&fixture, json!({}), &["*"]);
    let (name, value) = bearer(&token);
    let service = fixture.tokens.require_layer("GetOrders").layer(service_fn(whoami::<String>));
    for asked in 1..=2 {
        let answer = service.clone().oneshot(request_with(&[(name.clone(), &value)])).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!answer.headers().contains_key("www-authenticate"));
        assert!(text_of(answer).await.contains("Internal server error"));
        let errors = log.errors();
        assert_eq!(errors.len(), asked, "once a request: {errors:?}");
        let told = errors.last().unwrap();
        assert!(told.contains("ValidateLayer") && told.contains("RequireLayer"), "{told}");
        assert!(!told.contains(&token));
    }
}

#[tokio::test]
async fn layers_in_the_wrong_order_are_a_500() {
    let fixture = Fixture::new();
    let app = axum_whoami()
        .layer(fixture.tokens.validate_layer())
        .layer(fixture.tokens.require_layer("GetOrders"));
    let server = Server::start(app).await;
    let token = user_with(&fixture, json!({}), &["*"]);
    let answer = server.get("/", Some(&token)).await;
    assert_rejected(&answer, 500, "Internal server error", None);
}

#[tokio::test]
async fn a_list_of_permissions_that_was_left_empty_lets_nobody_pass() {
    let fixture = Fixture::new();
    let everything = user_with(&fixture, json!({}), &["*"]);
    let none: [&str; 0] = [];
    for require in [RequireLayer::all_of(none), RequireLayer::any_of(none)] {
        let app = axum_whoami().layer(require).layer(fixture.tokens.validate_layer());
        let server = Server::start(app).await;
        server.get("/", Some(&everything)).await.expect(403);
    }
}
