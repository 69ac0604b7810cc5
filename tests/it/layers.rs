//! The middleware and the extractors, under axum and under plain tower.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::response::{AppendHeaders, IntoResponse as _};
use axum::routing::{get, post};
use countersign::layers::RefusableFuture;
use countersign::layers::exchange::Exchange;
use countersign::layers::issue::{IssueFuture, IssueService};
use countersign::layers::require::Require;
use countersign::layers::validate::Validate;
use countersign::store::{
    Cursor, MemoryStore, Page, Revocations, SessionFilter, SessionPage, SessionStore, StoreError,
};
use countersign::{
    AccessToken, Acl, Algorithm, AuthenticationToken, Bearer, Caller, CustomerId, Entity, Error,
    ExchangeLayer, ExchangeRequest, Grant, Issue, IssueLayer, IssuedSecret, IssuedToken, KeyRing,
    ManagedKeys, NewSession, OrganizationId, Password, Policy, ProblemDetails, Refusal,
    RefusalReason, RequireLayer, Revocation, SameSite, Secret, Session, SessionId, SessionKey,
    SubjectType, Timestamp, TokenFault, TokenService, TokenServiceBuilder, ValidateLayer,
    Validated, Validator, ValidatorBuilder,
};
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tower::{Layer, Service, ServiceExt as _, service_fn};

use crate::support::log::Log;
use crate::support::{AUDIENCE, Answer, Fixture, ISSUER, START, Server, acl_of};

fn token_of(fixture: &Fixture, grant: Grant) -> String {
    fixture.tokens.issue(grant).unwrap().access_token.expose().to_owned()
}

fn user_token(fixture: &Fixture) -> String {
    token_of(fixture, Grant::user("ops@example.com"))
}

fn user_with(fixture: &Fixture, scope: Value, permissions: &[&str]) -> String {
    let acl = acl_of(json!([{"scope": scope, "permissions": permissions}]));
    token_of(fixture, Grant::user("ops@example.com").acl(acl))
}

/// What a service behind a layer finds in the request.
fn found<B>(request: &Request<B>) -> String {
    match request.extensions().get::<Arc<Validated>>() {
        Some(validated) => validated.subject().to_owned(),
        None => "nobody".to_owned(),
    }
}

/// Answers who is asking, with the `Authorization` that arrived.
async fn whoami<B>(request: Request<B>) -> Result<Response<String>, Infallible> {
    let mut response = Response::new(found(&request));
    if let Some(value) = request.headers().get(AUTHORIZATION) {
        response.headers_mut().insert("x-authorization", value.clone());
    }
    Ok(response)
}

fn axum_whoami() -> Router {
    let handler = async |request: axum::extract::Request| whoami(request).await.unwrap();
    Router::new().route("/", get(handler))
}

fn request_with<B: Default>(headers: &[(HeaderName, &str)]) -> Request<B> {
    let mut request = Request::new(B::default());
    for (name, value) in headers {
        request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
    }
    request
}

fn bearer(token: &str) -> (HeaderName, String) {
    (AUTHORIZATION, format!("Bearer {token}"))
}

/// Gets a path with these headers.
async fn ask(server: &Server, path: &str, headers: &[(HeaderName, &str)]) -> Answer {
    let mut request = request_with::<String>(headers);
    *request.uri_mut() = path.parse().unwrap();
    server.send(request).await
}

fn challenge(error: &str, description: &str) -> String {
    format!("Bearer realm=\"{ISSUER}\", error=\"{error}\", error_description=\"{description}\"")
}

/// Checks a refusal in problem details.
#[track_caller]
fn assert_refused(answer: &Answer, status: u16, detail: &str, challenge: Option<&str>) {
    assert_eq!(answer.status().as_u16(), status, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.header("cache-control"), "no-store");
    let title = answer.status().canonical_reason().unwrap();
    let expected =
        json!({"type": "about:blank", "title": title, "status": status, "detail": detail});
    assert_eq!(answer.json(), expected);
    let sent = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap());
    assert_eq!(sent, challenge);
}

// ValidateLayer

#[tokio::test]
async fn a_request_with_a_good_token_passes_with_what_was_found_in_its_extensions() {
    let fixture = Fixture::new();
    let server = Server::start(axum_whoami().layer(fixture.tokens.validate_layer())).await;
    let token = user_token(&fixture);
    for scheme in ["Bearer", "bearer", "BEARER  "] {
        let value = format!("{scheme} {token}");
        let answer = ask(&server, "/", &[(AUTHORIZATION, &value)]).await.expect(200);
        assert_eq!(answer.text(), "ops@example.com");
        assert_eq!(answer.header("x-authorization"), value, "handed on as it came");
    }
}

#[tokio::test]
async fn a_request_without_credentials_is_a_401_without_an_error_code() {
    let fixture = Fixture::new();
    let server = Server::start(axum_whoami().layer(fixture.tokens.validate_layer())).await;
    let token = user_token(&fixture);
    let expected = format!("Bearer realm=\"{ISSUER}\"");
    let mut answers = vec![ask(&server, "/", &[]).await];
    for other in ["Basic b3BzOnB3", "DPoP abc", "Token abc", ""] {
        answers.push(ask(&server, "/", &[(AUTHORIZATION, other)]).await);
    }
    answers.push(ask(&server, &format!("/?access_token={token}"), &[]).await);
    answers.push(ask(&server, "/", &[(COOKIE, &format!("__Host-session={token}"))]).await);
    for answer in answers {
        assert_refused(&answer, 401, "A bearer token is required", Some(&expected));
    }
}

#[tokio::test]
async fn an_optional_layer_lets_anonymous_requests_pass_and_refuses_bad_ones_still() {
    let fixture = Fixture::new();
    let layer = fixture.tokens.validate_layer().optional();
    let server = Server::start(axum_whoami().layer(layer)).await;
    assert_eq!(ask(&server, "/", &[]).await.expect(200).text(), "nobody");
    let basic = ask(&server, "/", &[(AUTHORIZATION, "Basic b3BzOnB3")]).await.expect(200);
    assert_eq!(basic.text(), "nobody");
    let good = server.get("/", Some(&user_token(&fixture))).await.expect(200);
    assert_eq!(good.text(), "ops@example.com");
    let stranger = user_token(&Fixture::new());
    for bad in [&stranger, "a.b.c", "opaque"] {
        let answer = server.get("/", Some(bad)).await;
        let detail = "The access token is not valid";
        assert_refused(&answer, 401, detail, Some(&challenge("invalid_token", detail)));
    }
    let malformed = ask(&server, "/", &[(AUTHORIZATION, "Bearer")]).await;
    malformed.expect(400);
}

#[tokio::test]
async fn a_token_that_has_expired_is_told_so() {
    let fixture = Fixture::new();
    let server = Server::start(axum_whoami().layer(fixture.tokens.validate_layer())).await;
    let token = user_token(&fixture);
    fixture.clock.advance(Duration::from_secs(86_400 + 59));
    server.get("/", Some(&token)).await.expect(200);
    fixture.clock.advance(Duration::from_secs(1));
    let answer = server.get("/", Some(&token)).await;
    let detail = "The access token has expired";
    assert_refused(&answer, 401, detail, Some(&challenge("invalid_token", detail)));
}

#[tokio::test]
async fn a_token_that_was_taken_back_is_refused_from_then_on() {
    let fixture = Fixture::new();
    let server = Server::start(axum_whoami().layer(fixture.tokens.validate_layer())).await;
    let issued = fixture.tokens.issue(Grant::user("ops@example.com")).unwrap();
    server.get("/", Some(issued.access_token.expose())).await.expect(200);
    fixture.tokens.revoke_token(&issued.token_id).await.unwrap();
    let answer = server.get("/", Some(issued.access_token.expose())).await;
    let detail = "The access token is not valid";
    assert_refused(&answer, 401, detail, Some(&challenge("invalid_token", detail)));
}

#[tokio::test]
async fn credentials_that_cannot_be_read_are_a_400() {
    let fixture = Fixture::new();
    let good = format!("Bearer {}", user_token(&fixture));
    let tab = good.replace(' ', "\t");
    let detail = "There must be one Authorization header, holding one bearer token";
    for optional in [false, true] {
        let mut layer = fixture.tokens.validate_layer();
        if optional {
            layer = layer.optional();
        }
        let server = Server::start(axum_whoami().layer(layer)).await;
        for values in [
            vec![good.as_str(), good.as_str()],
            vec!["Basic b3BzOnB3", good.as_str()],
            vec!["", ""],
            vec!["Bearer"],
            vec!["Bearer a b"],
            vec!["Bearer a,Bearer b"],
            vec![tab.as_str()],
        ] {
            let headers: Vec<_> = values.iter().map(|value| (AUTHORIZATION, *value)).collect();
            let answer = ask(&server, "/", &headers).await;
            assert_refused(&answer, 400, detail, Some(&challenge("invalid_request", detail)));
        }
    }
}

#[tokio::test]
async fn a_hook_shapes_the_refusal_and_the_challenge_stays() {
    let fixture = Fixture::new();
    let hook = |refusal: &Refusal| {
        let reason = match refusal.reason() {
            RefusalReason::MissingCredentials => "missing",
            RefusalReason::InvalidToken(TokenFault::Malformed) => "malformed token",
            _ => "another",
        };
        let mut response = Response::new(axum::body::Body::from(format!("oops: {reason}")));
        *response.status_mut() = refusal.status();
        response.headers_mut().insert("content-type", HeaderValue::from_static("text/oops"));
        response.headers_mut().insert("cache-control", HeaderValue::from_static("private"));
        response
    };
    let layer = fixture.tokens.validate_layer().refuse_with(hook);
    let server = Server::start(axum_whoami().layer(layer)).await;
    let answer = server.get("/", None).await.expect(401);
    assert_eq!(answer.text(), "oops: missing");
    assert_eq!(answer.header("content-type"), "text/oops");
    assert_eq!(answer.header("cache-control"), "private", "the hook's own header wins");
    assert_eq!(answer.header("www-authenticate"), format!("Bearer realm=\"{ISSUER}\""));
    let answer = server.get("/", Some("opaque")).await.expect(401);
    assert_eq!(answer.text(), "oops: malformed token");
    let expected = challenge("invalid_token", "The access token is not valid");
    assert_eq!(answer.header("www-authenticate"), expected);

    // A hook that forgets all headers cannot forget these.
    let bare = |refusal: &Refusal| {
        let mut response = Response::new(String::new());
        *response.status_mut() = refusal.status();
        response
    };
    let service = fixture.tokens.validate_layer().refuse_with(bare).layer(service_fn(whoami));
    let response = service.oneshot(Request::new(String::new())).await.unwrap();
    assert!(response.headers().contains_key("www-authenticate"));
    assert_eq!(response.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn a_validate_layer_serves_plain_tower_with_any_body() {
    let fixture = Fixture::new();
    let (name, value) = bearer(&user_token(&fixture));
    let good = [(name, value.as_str())];

    let service = fixture.tokens.validate_layer().layer(service_fn(whoami::<String>));
    let answer = service.clone().oneshot(request_with(&good)).await.unwrap();
    assert_eq!((answer.status(), answer.body().as_str()), (StatusCode::OK, "ops@example.com"));
    let answer = service.oneshot(request_with(&[])).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert!(answer.body().contains("A bearer token is required"));

    let full = service_fn(async |request: Request<Full<Bytes>>| {
        let text = found(&request);
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let text = format!("{text} {}", String::from_utf8_lossy(&body));
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
    });
    let service = fixture.tokens.validate_layer().layer(full);
    let request = request_with::<Full<Bytes>>(&good).map(|_| Full::new(Bytes::from("body")));
    let answer = service.clone().oneshot(request).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "ops@example.com body");
    let answer = service.oneshot(request_with(&[])).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(serde_json::from_slice::<Value>(&body).is_ok());
}

#[tokio::test]
async fn a_validate_layer_keeps_what_other_layers_left_in_the_request() {
    let fixture = Fixture::new();
    let inner = service_fn(async |request: Request<String>| {
        let number = request.extensions().get::<u32>().copied();
        let text = format!("{} {number:?} {:?}", request.uri(), request.headers().get("x-a"));
        Ok::<_, Infallible>(Response::new(text))
    });
    let service = fixture.tokens.validate_layer().optional().layer(inner);
    for token in [None, Some(user_token(&fixture))] {
        let mut request = Request::builder().uri("/a?b=c").header("x-a", "d").extension(7_u32);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body("body".to_owned()).unwrap();
        let answer = service.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.body(), "/a?b=c Some(7) Some(\"d\")");
    }
}

#[tokio::test]
async fn a_layer_of_a_validator_alone_needs_no_service() {
    let fixture = Fixture::new();
    let validator = Validator::builder()
        .issuer(ISSUER)
        .audience(crate::support::AUDIENCE)
        .keys(KeyRing::from_jwks(fixture.tokens.jwks().as_bytes()).unwrap())
        .clock(Arc::new(fixture.clock.clone()))
        .build()
        .unwrap();
    let service = ValidateLayer::new(validator).layer(service_fn(whoami::<String>));
    let (name, value) = bearer(&user_token(&fixture));
    let answer = service.oneshot(request_with(&[(name, &value)])).await.unwrap();
    assert_eq!(answer.body(), "ops@example.com");
}

// RequireLayer

#[tokio::test]
async fn a_token_without_the_permission_is_a_403_that_names_it() {
    let fixture = Fixture::new();
    let app = axum_whoami()
        .layer(fixture.tokens.require("GetOrders"))
        .layer(fixture.tokens.validate_layer());
    let server = Server::start(app).await;
    let detail = "The access token does not grant the permission";
    let scope = format!("{}, scope=\"GetOrders\"", challenge("insufficient_scope", detail));
    for token in [
        user_token(&fixture),
        user_with(&fixture, json!({}), &["PostOrder", "getorders", "GetOrdersAll"]),
        user_with(&fixture, json!({"organizationId": ["org_1"]}), &["GetOrders"]),
    ] {
        assert_refused(&server.get("/", Some(&token)).await, 403, detail, Some(&scope));
    }
    for permissions in [&["GetOrders"][..], &["*"], &["PostOrder", "GetOrders"]] {
        let token = user_with(&fixture, json!({}), permissions);
        assert_eq!(server.get("/", Some(&token)).await.expect(200).text(), "ops@example.com");
    }
    let nobody = server.get("/", None).await;
    let expected = format!("Bearer realm=\"{ISSUER}\"");
    assert_refused(&nobody, 401, "A bearer token is required", Some(&expected));
}

#[tokio::test]
async fn an_anonymous_request_is_a_401_where_a_permission_is_required() {
    let fixture = Fixture::new();
    let app = axum_whoami()
        .layer(fixture.tokens.require("GetOrders"))
        .layer(fixture.tokens.validate_layer().optional());
    let server = Server::start(app).await;
    let expected = format!("Bearer realm=\"{ISSUER}\"");
    let answer = server.get("/", None).await;
    assert_refused(&answer, 401, "A bearer token is required", Some(&expected));
    let token = user_with(&fixture, json!({}), &["GetOrders"]);
    server.get("/", Some(&token)).await.expect(200);
}

#[tokio::test]
async fn a_permission_may_be_required_within_a_scope_that_the_request_names() {
    let fixture = Fixture::new();
    let require = fixture
        .tokens
        .require("GetOrders")
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
    let require = || fixture.tokens.require("GetOrders").scope_from_path("organizationId");
    let orders = || Router::new().route("/orders", get(async || "orders"));
    let app = Router::new()
        .route("/route/{organizationId}/orders", get(async || "orders"))
        .route("/without", get(async || "orders"))
        .route("/other/{planId}", get(async || "orders"))
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
        ("/without", 403),
        ("/without?organizationId=org_1", 403),
        ("/other/org_1", 403),
    ] {
        let answer = server.get(path, Some(&held)).await;
        assert_eq!(answer.status().as_u16(), with_scope, "{path}");
        server.get(path, Some(&free)).await.expect(200);
    }
}

#[tokio::test]
async fn permissions_add_up_where_layers_do() {
    let fixture = Fixture::new();
    let app = axum_whoami()
        .layer(fixture.tokens.require("GetOrders"))
        .layer(fixture.tokens.require("GetCustomers"))
        .layer(fixture.tokens.validate_layer());
    let server = Server::start(app).await;
    let token = |permissions: &[&str]| user_with(&fixture, json!({}), permissions);
    server.get("/", Some(&token(&["GetOrders"]))).await.expect(403);
    server.get("/", Some(&token(&["GetCustomers"]))).await.expect(403);
    server.get("/", Some(&token(&["GetOrders", "GetCustomers"]))).await.expect(200);
}

#[tokio::test]
async fn a_hook_of_a_require_layer_is_told_the_permission() {
    let fixture = Fixture::new();
    let hook = |refusal: &Refusal| {
        let text = format!("{:?} {:?}", refusal.reason(), refusal.permission());
        let mut response = Response::new(text);
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    };
    let layer = (fixture.tokens.validate_layer(), RequireLayer::new("GetOrders").refuse_with(hook));
    let service = layer.layer(service_fn(whoami::<String>));
    let (name, value) = bearer(&user_token(&fixture));
    let answer = service.oneshot(request_with(&[(name, &value)])).await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert_eq!(answer.body(), "InsufficientPermission Some(\"GetOrders\")");
    let sent = answer.headers()["www-authenticate"].to_str().unwrap();
    assert!(sent.ends_with("scope=\"GetOrders\""), "{sent}");
}

#[tokio::test]
async fn without_a_layer_that_validates_a_permission_is_a_500_and_the_log_says_why() {
    let fixture = Fixture::new();
    let log = Log::default();
    let _guard = log.listen();
    let token = user_with(&fixture, json!({}), &["*"]);
    let (name, value) = bearer(&token);
    let service = fixture.tokens.require("GetOrders").layer(service_fn(whoami::<String>));
    for asked in 1..=2 {
        let answer = service.clone().oneshot(request_with(&[(name.clone(), &value)])).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!answer.headers().contains_key("www-authenticate"));
        assert!(answer.body().contains("The server is not set up right"));
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
        .layer(fixture.tokens.require("GetOrders"));
    let server = Server::start(app).await;
    let token = user_with(&fixture, json!({}), &["*"]);
    let answer = server.get("/", Some(&token)).await;
    assert_refused(&answer, 500, "The server is not set up right", None);
}

// Extractors

#[derive(Debug, Deserialize)]
struct MyClaims {
    locale: String,
    #[serde(default)]
    roles: Vec<String>,
}

fn extracting() -> Router {
    Router::new()
        .route("/", get(async |Bearer(claims): Bearer| claims.subject().to_owned()))
        .route(
            "/mine",
            get(async |Bearer(claims): Bearer<MyClaims>| {
                let MyClaims { locale, roles } = &claims.custom;
                format!("{} {locale} {roles:?}", claims.validated().subject())
            }),
        )
        .route(
            "/maybe",
            get(async |caller: Option<Bearer>| {
                caller.map_or("nobody".to_owned(), |Bearer(claims)| claims.subject().to_owned())
            }),
        )
        .route(
            "/maybe/mine",
            get(async |caller: Option<Bearer<MyClaims>>| match caller {
                Some(Bearer(claims)) => claims.custom.locale.clone(),
                None => "nobody".to_owned(),
            }),
        )
}

fn with_claims(fixture: &Fixture, claims: Value) -> String {
    let claims = claims.as_object().unwrap().clone();
    token_of(fixture, Grant::user("ops@example.com").custom_claims(claims))
}

#[tokio::test]
async fn a_handler_gets_the_validated_token_and_its_own_claims() {
    let fixture = Fixture::new();
    let server = Server::start(extracting().layer(fixture.tokens.validate_layer())).await;
    let plain = user_token(&fixture);
    let mine = with_claims(&fixture, json!({"locale": "de", "roles": ["a"], "more": 1}));
    for (path, token, expected) in [
        ("/", &plain, "ops@example.com"),
        ("/", &mine, "ops@example.com"),
        ("/maybe", &plain, "ops@example.com"),
        ("/mine", &mine, "ops@example.com de [\"a\"]"),
        ("/maybe/mine", &mine, "de"),
    ] {
        assert_eq!(server.get(path, Some(token)).await.expect(200).text(), expected, "{path}");
    }
}

#[tokio::test]
async fn claims_that_do_not_read_as_the_handlers_own_are_a_401() {
    let fixture = Fixture::new();
    let layer = fixture.tokens.validate_layer().optional();
    let server = Server::start(extracting().layer(layer)).await;
    let detail = "The access token lacks custom claims";
    let expected = challenge("invalid_token", detail);
    for claims in
        [json!({}), json!({"Locale": "de"}), json!({"locale": 1}), json!({"locale": null})]
    {
        let token = with_claims(&fixture, claims);
        for path in ["/mine", "/maybe/mine"] {
            assert_refused(&server.get(path, Some(&token)).await, 401, detail, Some(&expected));
        }
        server.get("/", Some(&token)).await.expect(200);
    }
}

#[tokio::test]
async fn behind_an_optional_layer_the_handler_says_whether_it_demands_a_token() {
    let fixture = Fixture::new();
    let layer = fixture.tokens.validate_layer().optional();
    let server = Server::start(extracting().layer(layer)).await;
    for path in ["/maybe", "/maybe/mine"] {
        assert_eq!(server.get(path, None).await.expect(200).text(), "nobody");
        server.get(path, Some("a.bad.token")).await.expect(401);
    }
    let expected = format!("Bearer realm=\"{ISSUER}\"");
    for path in ["/", "/mine"] {
        let answer = server.get(path, None).await;
        assert_refused(&answer, 401, "A bearer token is required", Some(&expected));
    }
}

#[tokio::test]
async fn an_extractor_without_its_layer_is_a_500_and_the_log_says_why() {
    let fixture = Fixture::new();
    let log = Log::default();
    let _guard = log.listen();
    let server = Server::start(extracting()).await;
    let token = user_token(&fixture);
    for (count, path) in ["/", "/mine", "/maybe", "/maybe/mine"].into_iter().enumerate() {
        let answer = server.get(path, Some(&token)).await;
        assert_refused(&answer, 500, "The server is not set up right", None);
        let errors = log.errors();
        assert_eq!(errors.len(), count + 1, "{errors:?}");
        let told = errors.last().unwrap();
        assert!(told.contains("ValidateLayer") && told.contains("Bearer"), "{told}");
    }
}

// IssueLayer

fn issuing() -> Router {
    let grant = || Grant::user("ops@example.com").acl(Acl::everything());
    Router::new()
        .route("/login", post(async move || Issue(grant())))
        .route(
            "/form",
            post(async move || Issue(grant()).see_other(HeaderValue::from_static("/home"))),
        )
        .route("/blank", post(async || Issue(Grant::user(" "))))
        .route("/other", post(async || (StatusCode::ACCEPTED, [("x-a", "b")], "not a token")))
}

#[track_caller]
fn assert_token(fixture: &Fixture, token: &str) {
    let validated = fixture.tokens.validator().validate(token).unwrap();
    assert_eq!(validated.subject(), "ops@example.com");
    assert_eq!(validated.subject_type(), SubjectType::User);
    assert_eq!(validated.expires_at().as_secs(), START + 86_400);
    assert_eq!(*validated.acl(), Acl::everything());
}

async fn post_to(server: &Server, path: &str) -> Answer {
    server.post_text(path, None, None, "").await
}

#[tokio::test]
async fn what_a_handler_grants_becomes_a_token_in_json() {
    let fixture = Fixture::new();
    let server = Server::start(issuing().layer(fixture.tokens.issue_layer())).await;
    let answer = post_to(&server, "/login").await.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-type"), "application/json");
    let body = answer.json();
    let token = body["accessToken"].as_str().unwrap();
    assert_eq!(body, json!({"accessToken": token, "expiresIn": 86_400, "tokenType": "Bearer"}));
    assert_token(&fixture, token);
}

#[tokio::test]
async fn other_headers_of_a_handler_that_grants_a_token_are_kept() {
    let fixture = Fixture::new();
    let handler = async || {
        let cookies = AppendHeaders([("set-cookie", "state=; Max-Age=0"), ("x-a", "b")]);
        (cookies, Issue(Grant::user("ops@example.com").acl(Acl::everything())))
    };
    let app = Router::new().route("/login", post(handler));
    let server = Server::start(app.layer(fixture.tokens.issue_layer().as_cookie())).await;
    let answer = post_to(&server, "/login").await.expect(204);
    assert_eq!(answer.header("x-a"), "b");
    let cookies: Vec<_> = answer.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies.len(), 2);
    assert_eq!(cookies[0], "state=; Max-Age=0");
    assert!(cookies[1].to_str().unwrap().starts_with("__Host-session="));
    assert!(answer.headers().get("content-type").is_none());
}

#[tokio::test]
async fn what_cannot_be_issued_yet_is_a_503_and_no_fault_of_the_host() {
    let tokens = TokenService::builder()
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .keys(ManagedKeys::new(Algorithm::EdDSA))
        .build()
        .unwrap();
    let server = Server::start(issuing().layer(tokens.issue_layer())).await;
    let answer = post_to(&server, "/login").await.expect(503);
    assert!(!answer.header("retry-after").is_empty());
    tokens.catch_up().await.unwrap();
    post_to(&server, "/login").await.expect(200);
}

#[tokio::test]
async fn what_a_handler_grants_becomes_a_token_in_a_header() {
    let fixture = Fixture::new();
    let layer = fixture.tokens.issue_layer().as_header(HeaderName::from_static("x-token"));
    let server = Server::start(issuing().layer(layer)).await;
    let answer = post_to(&server, "/login").await.expect(204);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.text(), "");
    assert_token(&fixture, answer.header("x-token"));
    let answer = post_to(&server, "/form").await.expect(303);
    assert_eq!(answer.header("location"), "/home");
    assert_token(&fixture, answer.header("x-token"));
}

#[tokio::test]
async fn what_a_handler_grants_becomes_a_cookie_that_scripts_and_plain_http_do_not_get() {
    let fixture = Fixture::new();
    let cookie = |answer: &Answer| -> (String, String) {
        let (pair, attributes) = answer.header("set-cookie").split_once("; ").unwrap();
        let (name, token) = pair.split_once('=').unwrap();
        assert_token(&fixture, token);
        assert_eq!(answer.header("cache-control"), "no-store");
        (name.to_owned(), attributes.to_owned())
    };
    let server = Server::start(issuing().layer(fixture.tokens.issue_layer().as_cookie())).await;
    let plain = post_to(&server, "/login").await.expect(204);
    let form = post_to(&server, "/form").await.expect(303);
    assert_eq!(form.header("location"), "/home");
    for answer in [plain, form] {
        let (name, attributes) = cookie(&answer);
        assert_eq!(name, "__Host-session");
        assert_eq!(attributes, "Path=/; Max-Age=86400; HttpOnly; Secure; SameSite=Lax");
    }
    for (same_site, written) in
        [(SameSite::Strict, "Strict"), (SameSite::Lax, "Lax"), (SameSite::None, "None")]
    {
        let layer = fixture.tokens.issue_layer().as_cookie_named("shop", same_site);
        let server = Server::start(issuing().layer(layer)).await;
        let (name, attributes) = cookie(&post_to(&server, "/login").await.expect(204));
        assert_eq!(name, "shop");
        let expected = format!("Path=/; Max-Age=86400; HttpOnly; Secure; SameSite={written}");
        assert_eq!(attributes, expected);
    }
}

#[tokio::test]
async fn answers_that_grant_nothing_go_out_as_they_are() {
    let fixture = Fixture::new();
    for layer in [fixture.tokens.issue_layer(), fixture.tokens.issue_layer().as_cookie()] {
        let server = Server::start(issuing().layer(layer)).await;
        let answer = post_to(&server, "/other").await.expect(202);
        assert_eq!(answer.text(), "not a token");
        assert_eq!(answer.header("x-a"), "b");
        assert!(!answer.headers().contains_key("set-cookie"));
        post_to(&server, "/unknown").await.expect(404);
    }
}

#[tokio::test]
async fn a_grant_that_cannot_be_signed_is_a_500_and_the_log_says_why() {
    let fixture = Fixture::new();
    let log = Log::default();
    let _guard = log.listen();
    let server = Server::start(issuing().layer(fixture.tokens.issue_layer().as_cookie())).await;
    let answer = post_to(&server, "/blank").await;
    assert_refused(&answer, 500, "The server is not set up right", None);
    assert!(!answer.headers().contains_key("set-cookie"));
    let errors = log.errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("subject must not be blank"), "{errors:?}");
}

#[tokio::test]
async fn a_grant_without_its_layer_is_a_500_and_the_log_says_why() {
    let log = Log::default();
    let _guard = log.listen();
    let server = Server::start(issuing()).await;
    for (count, path) in ["/login", "/form"].into_iter().enumerate() {
        let answer = post_to(&server, path).await.expect(500);
        assert_eq!(answer.text(), "The server is not set up right\n");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(!answer.headers().contains_key("location"));
        let errors = log.errors();
        assert_eq!(errors.len(), count + 1, "{errors:?}");
        assert!(errors[count].contains("IssueLayer"), "{errors:?}");
    }
}

#[tokio::test]
async fn a_grant_with_its_layer_leaves_no_error_in_the_log() {
    let fixture = Fixture::new();
    let log = Log::default();
    let _guard = log.listen();
    let server = Server::start(issuing().layer(fixture.tokens.issue_layer())).await;
    let answer = post_to(&server, "/login").await.expect(200);
    assert_eq!(log.errors(), Vec::<String>::new());
    let token = answer.json()["accessToken"].as_str().unwrap().to_owned();
    let logged = log.text();
    assert!(!logged.contains(&token));
}

#[test]
fn a_grant_carries_no_more_claims_than_the_policy_allows() {
    let fixture =
        Fixture::with(|builder| builder.policy(Policy::default().max_custom_claims_len(20)));
    let issue = |text: &str| {
        let claims = [("locale".to_owned(), json!(text))].into_iter().collect();
        fixture.tokens.issue(Grant::user("ops@example.com").custom_claims(claims))
    };
    issue("de").unwrap();
    let error = issue("much too long to be one").unwrap_err();
    assert_eq!(error.invalid_fields()[0].field, "customClaims");
}

#[tokio::test]
async fn what_cannot_be_issued_is_answered_in_the_shape_of_the_host() {
    let fixture = Fixture::new();
    let unsignable = service_fn(async |_: Request<()>| {
        let nobody = Issue(Grant::user(" ")).into_response();
        Ok::<_, Infallible>(nobody.map(|_| String::new()))
    });
    let layer = fixture.tokens.issue_layer().refuse_with(|refusal: &Refusal| {
        let mut response = Response::new(format!("oops: {}", refusal.reason().as_str()));
        *response.status_mut() = refusal.status();
        response
    });
    let answer = layer.layer(unsignable).oneshot(Request::new(())).await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.body(), "oops: internal");
    assert_eq!(answer.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn an_issue_layer_serves_plain_tower_with_any_body() {
    let fixture = Fixture::new();
    let grant = || Issue(Grant::user("ops@example.com").acl(Acl::everything())).into_response();
    let text = service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(grant().map(|_| "a placeholder".to_owned()))
    });
    let answer = fixture.tokens.issue_layer().layer(text).oneshot(Request::new(())).await.unwrap();
    let body: Value = serde_json::from_str(answer.body()).unwrap();
    assert_token(&fixture, body["accessToken"].as_str().unwrap());

    let full = service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(grant().map(|_| Full::<Bytes>::default()))
    });
    let layer = fixture.tokens.issue_layer().as_header(HeaderName::from_static("x-token"));
    let answer = layer.layer(full).oneshot(Request::new(())).await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_token(&fixture, answer.headers()["x-token"].to_str().unwrap());
    assert!(answer.headers()["x-token"].is_sensitive());
}

// ExchangeLayer

async fn session(fixture: &Fixture) -> String {
    let claims = json!({"locale": "de"}).as_object().unwrap().clone();
    let acl = acl_of(json!([{"scope": {}, "permissions": ["GetOrders"]}]));
    fixture.session(|new| new.acl(acl).custom_claims(claims)).await
}

fn cookie(token: &str) -> (HeaderName, String) {
    (COOKIE, format!("theme=dark; __Host-session={token}; lang=de"))
}

async fn exchanging(fixture: &Fixture) -> Server {
    let app = axum_whoami().merge(extracting_below("/extract"));
    Server::start(app.layer(fixture.tokens.exchange_layer())).await
}

fn extracting_below(path: &str) -> Router {
    Router::new().nest(path, extracting())
}

/// The JWT that the service behind the layer was handed.
#[track_caller]
fn handed_on(answer: Answer) -> String {
    let answer = answer.expect(200);
    answer.header("x-authorization").strip_prefix("Bearer ").unwrap().to_owned()
}

#[tokio::test]
async fn an_authentication_token_becomes_a_jwt_whether_it_comes_as_bearer_or_as_cookie() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let token = session(&fixture).await;
    for (name, value) in
        [bearer(&token), cookie(&token), (COOKIE, format!("__Host-session={token}"))]
    {
        let answer = ask(&server, "/", &[(name.clone(), &value)]).await.expect(200);
        assert_eq!(answer.text(), "cus_1");
        let jwt = handed_on(answer);
        let validated = fixture.tokens.validator().validate(&jwt).unwrap();
        let claims = serde_json::to_value(&*validated).unwrap();
        assert_eq!(claims["sub"], "cus_1");
        assert_eq!(claims["subject_type"], "customer");
        assert_eq!(claims["client_id"], "first-party");
        assert_eq!(claims["acl"], json!([{"scope": {}, "permissions": ["GetOrders"]}]));
        assert_eq!(claims["customClaims"], json!({"locale": "de"}));
        assert_eq!(claims["iat"], START);
        assert_eq!(claims["exp"], START + 300);
        assert!(claims["jti"].as_str().unwrap().starts_with("jwt_"));
        assert!(claims["sid"].is_string());
        assert!(!claims.to_string().contains(&token), "the token itself is not in the JWT");
        let mine = ask(&server, "/extract/mine", &[(name, &value)]).await.expect(200);
        assert_eq!(mine.text(), "cus_1 de []");
    }
}

#[tokio::test]
async fn the_jwt_carries_the_sessions_organization() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let organization = OrganizationId::new("org_1").unwrap();
    let token = fixture.session(|new| new.organization(organization.clone())).await;
    let jwt = handed_on(server.get("/", Some(&token)).await);
    let validated = fixture.tokens.validator().validate(&jwt).unwrap();
    assert_eq!(validated.organization_id(), Some(&organization));
}

#[tokio::test]
async fn one_jwt_is_used_until_shortly_before_its_end() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let (one, other) = (session(&fixture).await, session(&fixture).await);
    let first = handed_on(server.get("/", Some(&one)).await);
    let (name, value) = cookie(&one);
    assert_eq!(handed_on(ask(&server, "/", &[(name, &value)]).await), first);
    assert_ne!(handed_on(server.get("/", Some(&other)).await), first);
    fixture.clock.advance(Duration::from_secs(239));
    assert_eq!(handed_on(server.get("/", Some(&one)).await), first);
    fixture.clock.advance(Duration::from_secs(1));
    let second = handed_on(server.get("/", Some(&one)).await);
    assert_ne!(second, first);
    assert_eq!(handed_on(server.get("/", Some(&one)).await), second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_requests_at_once_all_are_handed_on_with_one_jwt() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let token = session(&fixture).await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (name, value) = bearer(&token);
        let request = request_with::<String>(&[(name, &value)]);
        requests.spawn(crate::support::send(server.address, request));
    }
    let handed: Vec<_> = requests.join_all().await.into_iter().map(handed_on).collect();
    assert!(handed.iter().all(|jwt| *jwt == handed[0]));
}

#[tokio::test]
async fn the_jwt_never_outlives_its_session() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let token = fixture.session(|new| new.lifetime(Duration::from_secs(100))).await;
    let jwt = handed_on(server.get("/", Some(&token)).await);
    let validated = fixture.tokens.validator().validate(&jwt).unwrap();
    assert_eq!(validated.expires_at().as_secs(), START + 100);
    fixture.clock.advance(Duration::from_secs(99));
    server.get("/", Some(&token)).await.expect(200);
    fixture.clock.advance(Duration::from_secs(1));
    assert_unknown_session(&server.get("/", Some(&token)).await);
}

#[track_caller]
fn assert_unknown_session(answer: &Answer) {
    let detail = "The authentication token is not valid";
    assert_refused(answer, 401, detail, Some(&challenge("invalid_token", detail)));
}

#[tokio::test]
async fn a_session_that_was_ended_is_refused_from_the_next_request_on() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let text = session(&fixture).await;
    let token = AuthenticationToken::from_text(&text).unwrap();
    let jwt = handed_on(server.get("/", Some(&text)).await);
    fixture.tokens.log_out_customer(&token, &Caller::default()).await.unwrap();
    let (name, value) = cookie(&text);
    assert_unknown_session(&server.get("/", Some(&text)).await);
    assert_unknown_session(&ask(&server, "/", &[(name, &value)]).await);
    let answer = server.get("/", Some(&jwt)).await;
    let detail = "The access token is not valid";
    assert_refused(&answer, 401, detail, Some(&challenge("invalid_token", detail)));
}

#[tokio::test]
async fn a_session_that_was_used_up_by_an_exchange_is_refused_from_the_next_request_on() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let text = session(&fixture).await;
    let token = AuthenticationToken::from_text(&text).unwrap();
    server.get("/", Some(&text)).await.expect(200);
    let keeping = ExchangeRequest::default().invalidate(false);
    fixture.tokens.exchange(&token, keeping).await.unwrap();
    server.get("/", Some(&text)).await.expect(200);
    fixture.tokens.exchange(&token, ExchangeRequest::default()).await.unwrap();
    assert_unknown_session(&server.get("/", Some(&text)).await);
}

#[tokio::test]
async fn a_jwt_passes_through_the_exchange_layer_as_it_is() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let jwt = user_token(&fixture);
    for (name, value) in [bearer(&jwt), (AUTHORIZATION, format!("bearer  {jwt}")), cookie(&jwt)] {
        let answer = ask(&server, "/", &[(name, &value)]).await.expect(200);
        assert_eq!(answer.text(), "ops@example.com");
        assert_eq!(handed_on(answer), jwt);
    }
    let stranger = user_token(&Fixture::new());
    let detail = "The access token is not valid";
    for (name, value) in [bearer(&stranger), cookie(&stranger), bearer("a.b.c"), bearer(".")] {
        let answer = ask(&server, "/", &[(name, &value)]).await;
        assert_refused(&answer, 401, detail, Some(&challenge("invalid_token", detail)));
    }
}

#[tokio::test]
async fn an_authentication_token_that_no_session_answers_to_is_a_401() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let good = session(&fixture).await;
    let unknown = AuthenticationToken::generate().unwrap();
    let altered = good.to_uppercase();
    let long = "a".repeat(513);
    let quoted = format!("\"{good}\"");
    for token in [unknown.expose(), &altered, &long, &good[1..], "x"] {
        for (name, value) in [bearer(token), cookie(token)] {
            assert_unknown_session(&ask(&server, "/", &[(name, &value)]).await);
        }
    }
    for token in ["", &quoted] {
        let (name, value) = cookie(token);
        assert_unknown_session(&ask(&server, "/", &[(name, &value)]).await);
    }
}

#[tokio::test]
async fn a_session_that_needs_a_one_time_password_is_refused() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let token = fixture.session(|new| new.otp_required(true)).await;
    let detail = "The session needs a one-time password first";
    for (name, value) in [bearer(&token), cookie(&token)] {
        let answer = ask(&server, "/", &[(name, &value)]).await;
        assert_refused(&answer, 401, detail, Some(&challenge("invalid_token", detail)));
    }
    // Being refused is no try: the right code still works.
    let code = fixture.outbox.last_code();
    let token = AuthenticationToken::from_text(&token).unwrap();
    let request = ExchangeRequest::default().one_time_password(code);
    fixture.tokens.exchange(&token, request).await.unwrap();
}

#[tokio::test]
async fn without_credentials_the_exchange_layer_refuses_or_lets_pass_as_told() {
    let fixture = Fixture::new();
    let required = exchanging(&fixture).await;
    let expected = format!("Bearer realm=\"{ISSUER}\"");
    let none = [vec![], vec![(COOKIE, "theme=dark")], vec![(AUTHORIZATION, "Basic b3BzOnB3")]];
    for headers in &none {
        let answer = ask(&required, "/", headers).await;
        assert_refused(&answer, 401, "A bearer token is required", Some(&expected));
    }
    let layer = fixture.tokens.exchange_layer().optional();
    let optional = Server::start(axum_whoami().merge(extracting_below("/extract")).layer(layer));
    let optional = optional.await;
    for headers in &none {
        assert_eq!(ask(&optional, "/", headers).await.expect(200).text(), "nobody");
        let answer = ask(&optional, "/extract/maybe", headers).await.expect(200);
        assert_eq!(answer.text(), "nobody");
        ask(&optional, "/extract", headers).await.expect(401);
    }
    let (name, value) = cookie("unknown");
    assert_unknown_session(&ask(&optional, "/", &[(name, &value)]).await);
    let token = session(&fixture).await;
    assert_eq!(optional.get("/", Some(&token)).await.expect(200).text(), "cus_1");
}

#[tokio::test]
async fn two_opinions_about_who_is_asking_are_a_400() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let (one, two) = (session(&fixture).await, session(&fixture).await);
    let detail = "There must be one Authorization header, holding one bearer token";
    let pair = format!("__Host-session={one}; __Host-session={two}");
    let (first, second) = (format!("__Host-session={one}"), format!("__Host-session={two}"));
    let (bearer_one, bearer_two) = (format!("Bearer {one}"), format!("Bearer {two}"));
    for headers in [
        vec![(COOKIE, pair.as_str())],
        vec![(COOKIE, first.as_str()), (COOKIE, second.as_str())],
        vec![(AUTHORIZATION, bearer_one.as_str()), (AUTHORIZATION, bearer_two.as_str())],
        vec![(AUTHORIZATION, bearer_one.as_str()), (AUTHORIZATION, bearer_one.as_str())],
        vec![(AUTHORIZATION, "Bearer"), (COOKIE, first.as_str())],
    ] {
        let answer = ask(&server, "/", &headers).await;
        assert_refused(&answer, 400, detail, Some(&challenge("invalid_request", detail)));
    }
    let same = format!("{first}; {first}");
    ask(&server, "/", &[(COOKIE, &same)]).await.expect(200);
    ask(&server, "/", &[(COOKIE, &first), (COOKIE, &first)]).await.expect(200);
}

#[tokio::test]
async fn a_bearer_token_goes_before_a_cookie() {
    let fixture = Fixture::new();
    let server = exchanging(&fixture).await;
    let token = session(&fixture).await;
    let (jwt, stranger) = (user_token(&fixture), user_token(&Fixture::new()));
    let good = format!("__Host-session={token}");
    let user = format!("Bearer {jwt}");
    let answer = ask(&server, "/", &[(AUTHORIZATION, &user), (COOKIE, &good)]).await.expect(200);
    assert_eq!(answer.text(), "ops@example.com");
    let bad_cookie = (COOKIE, "__Host-session=unknown");
    ask(&server, "/", &[(AUTHORIZATION, &user), bad_cookie]).await.expect(200);
    let bad_bearer = format!("Bearer {stranger}");
    ask(&server, "/", &[(AUTHORIZATION, &bad_bearer), (COOKIE, &good)]).await.expect(401);
    // Credentials of another scheme are none, and are replaced.
    let headers = [(AUTHORIZATION, "Basic b3BzOnB3"), (COOKIE, good.as_str())];
    let jwt = handed_on(ask(&server, "/", &headers).await);
    assert_eq!(fixture.tokens.validator().validate(&jwt).unwrap().subject(), "cus_1");
}

#[tokio::test]
async fn the_cookie_may_have_another_name() {
    let fixture = Fixture::new();
    let layer = fixture.tokens.exchange_layer().cookie("shop");
    let server = Server::start(axum_whoami().layer(layer)).await;
    let token = session(&fixture).await;
    ask(&server, "/", &[(COOKIE, &format!("shop={token}"))]).await.expect(200);
    for other in ["__Host-session", "Shop", "shop2", "sho"] {
        ask(&server, "/", &[(COOKIE, &format!("{other}={token}"))]).await.expect(401);
    }
}

#[tokio::test]
async fn a_cookie_that_was_issued_is_one_that_is_read() {
    let fixture = Fixture::new();
    let app = issuing()
        .layer(fixture.tokens.issue_layer().as_cookie())
        .merge(axum_whoami().layer(fixture.tokens.exchange_layer()));
    let server = Server::start(app).await;
    let login = post_to(&server, "/login").await.expect(204);
    let (pair, _) = login.header("set-cookie").split_once(';').unwrap();
    let answer = ask(&server, "/", &[(COOKIE, pair)]).await.expect(200);
    assert_eq!(answer.text(), "ops@example.com");
}

#[tokio::test]
async fn permissions_and_validation_work_behind_an_exchange_layer() {
    let fixture = Fixture::new();
    let app = |permission: &str| {
        axum_whoami()
            .layer(fixture.tokens.validate_layer())
            .layer(fixture.tokens.require(permission))
            .layer(fixture.tokens.exchange_layer())
    };
    let (name, value) = cookie(&session(&fixture).await);
    let server = Server::start(app("GetOrders")).await;
    let answer = ask(&server, "/", &[(name.clone(), &value)]).await.expect(200);
    assert_eq!(answer.text(), "cus_1");
    let server = Server::start(app("PostOrder")).await;
    ask(&server, "/", &[(name, &value)]).await.expect(403);
}

#[tokio::test]
async fn a_hook_shapes_the_refusals_of_an_exchange_layer() {
    let fixture = Fixture::new();
    let hook = |refusal: &Refusal| {
        let mut response = Response::new(format!("{:?}", refusal.reason()));
        *response.status_mut() = refusal.status();
        response
    };
    let layer = fixture.tokens.exchange_layer().cookie("shop").refuse_with(hook);
    let service = layer.layer(service_fn(whoami::<String>));
    let (name, value) = bearer("unknown");
    for (headers, reason) in [
        (vec![], "MissingCredentials"),
        (vec![(name, value.as_str())], "UnknownSession"),
        (vec![(COOKIE, "shop=unknown")], "UnknownSession"),
        (vec![(COOKIE, "shop=a; shop=b")], "MalformedCredentials"),
    ] {
        let answer = service.clone().oneshot(request_with(&headers)).await.unwrap();
        assert_eq!(answer.body(), reason);
        assert!(answer.headers().contains_key("www-authenticate"));
    }
}

#[tokio::test]
async fn an_exchange_layer_serves_plain_tower_with_any_body() {
    let fixture = Fixture::new();
    let (name, value) = cookie(&session(&fixture).await);
    let service = fixture.tokens.exchange_layer().layer(service_fn(whoami::<Full<Bytes>>));
    let answer = service.clone().oneshot(request_with(&[(name, &value)])).await.unwrap();
    assert_eq!(answer.body(), "cus_1");
    let handed = &answer.headers()["x-authorization"];
    assert!(handed.is_sensitive());
    assert!(handed.to_str().unwrap().starts_with("Bearer ey"));
    let answer = service.oneshot(request_with(&[])).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}

/// A store that is down, or that never answers.
#[derive(Debug)]
struct Broken {
    silent: bool,
}

impl Broken {
    async fn answer<T>(&self) -> Result<T, StoreError> {
        if self.silent {
            std::future::pending::<()>().await;
        }
        Err(StoreError::unavailable("connection to 10.0.0.7:6379 refused"))
    }
}

#[async_trait::async_trait]
impl SessionStore for Broken {
    async fn insert(&self, _: Session, _: Timestamp) -> Result<(), StoreError> {
        self.answer().await
    }
    async fn get(&self, _: &SessionKey) -> Result<Option<Session>, StoreError> {
        self.answer().await
    }
    async fn replace(&self, _: Session, _: u64, _: Timestamp) -> Result<(), StoreError> {
        self.answer().await
    }
    async fn take(&self, _: &SessionKey, _: u64) -> Result<Option<Session>, StoreError> {
        self.answer().await
    }
    async fn list(
        &self,
        _: &SessionFilter,
        _: Page,
        _: Timestamp,
    ) -> Result<SessionPage, StoreError> {
        self.answer().await
    }
    async fn remove(&self, _: &SessionId) -> Result<Option<Session>, StoreError> {
        self.answer().await
    }
    async fn remove_subject(
        &self,
        _: &CustomerId,
        _: Timestamp,
    ) -> Result<Vec<Session>, StoreError> {
        self.answer().await
    }
    async fn revoke(&self, _: Revocation) -> Result<(), StoreError> {
        self.answer().await
    }
    async fn revocations(&self, _: &Cursor, _: Duration) -> Result<Revocations, StoreError> {
        self.answer().await
    }
    async fn purge_expired(&self, _: Timestamp) -> Result<u64, StoreError> {
        self.answer().await
    }
    fn is_durable(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn a_store_out_of_reach_is_a_503_and_never_a_401_or_a_pass() {
    for silent in [false, true] {
        let fixture = Fixture::with(|builder| {
            let policy = Policy::default().store_deadline(Duration::from_millis(5));
            builder.sessions(Broken { silent }).policy(policy)
        });
        let layer = fixture.tokens.exchange_layer().optional();
        let server = Server::start(axum_whoami().layer(layer)).await;
        let token = AuthenticationToken::generate().unwrap();
        for (name, value) in [bearer(token.expose()), cookie(token.expose())] {
            let answer = ask(&server, "/", &[(name, &value)]).await;
            let detail = "The service is unavailable, try again later";
            assert_refused(&answer, 503, detail, None);
            assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
        }
        // What needs no store goes on.
        server.get("/", Some(&user_token(&fixture))).await.expect(200);
        server.get("/", None).await.expect(200);
    }
}

// What tower asks of a service

/// Panics where it is called without having been asked whether it is ready, as tower allows.
struct Wary {
    ready: bool,
    response: fn() -> Response<String>,
}

impl Wary {
    fn new(response: fn() -> Response<String>) -> Self {
        Self { ready: false, response }
    }
}

impl Clone for Wary {
    fn clone(&self) -> Self {
        Self { ready: false, response: self.response }
    }
}

impl Service<Request<String>> for Wary {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<String>) -> Self::Future {
        assert!(std::mem::replace(&mut self.ready, false), "called before it was ready");
        ready(Ok((self.response)()))
    }
}

/// Calls a service many times, refused and let through, and clones of it in between.
async fn call_again_and_again<S>(mut service: S, headers: &[(HeaderName, &str)], good: StatusCode)
where
    S: Service<Request<String>, Response = Response<String>, Error = Infallible> + Clone,
{
    for _ in 0..3 {
        let served = service.ready().await.unwrap().call(request_with(headers)).await.unwrap();
        assert_eq!(served.status(), good);
        service.ready().await.unwrap().call(request_with(&[])).await.unwrap();
        let mut clone = service.clone();
        let served = clone.ready().await.unwrap().call(request_with(headers)).await.unwrap();
        assert_eq!(served.status(), good);
    }
    // Several calls in flight at once, each with a readiness of its own.
    let first = service.ready().await.unwrap().call(request_with(headers));
    let second = service.ready().await.unwrap().call(request_with(headers));
    let (second, first) = (second.await.unwrap(), first.await.unwrap());
    assert_eq!((first.status(), second.status()), (good, good));
}

#[tokio::test]
async fn no_layer_calls_a_service_that_it_has_not_asked_whether_it_is_ready() {
    let fixture = Fixture::new();
    let ok = || Wary::new(|| Response::new("ok".to_owned()));
    let (name, value) = bearer(&user_with(&fixture, json!({}), &["GetOrders"]));
    let user = [(name, value.as_str())];
    let (name, value) = cookie(&session(&fixture).await);
    let customer = [(name, value.as_str())];

    let validate = fixture.tokens.validate_layer();
    call_again_and_again(validate.layer(ok()), &user, StatusCode::OK).await;
    call_again_and_again(validate.clone().optional().layer(ok()), &user, StatusCode::OK).await;
    let require = (validate, fixture.tokens.require("GetOrders"));
    call_again_and_again(require.layer(ok()), &user, StatusCode::OK).await;
    let exchange = fixture.tokens.exchange_layer();
    call_again_and_again(exchange.layer(ok()), &user, StatusCode::OK).await;
    call_again_and_again(exchange.layer(ok()), &customer, StatusCode::OK).await;
    call_again_and_again(exchange.optional().layer(ok()), &customer, StatusCode::OK).await;
    let issue = fixture.tokens.issue_layer().as_cookie();
    call_again_and_again(issue.layer(ok()), &[], StatusCode::OK).await;
    let granting =
        Wary::new(|| Issue(Grant::user("ops@example.com")).into_response().map(|_| String::new()));
    call_again_and_again(issue.layer(granting), &[], StatusCode::NO_CONTENT).await;
}

/// Never ready, or broken, as told.
#[derive(Clone)]
struct Unready {
    error: Option<&'static str>,
}

impl Service<Request<String>> for Unready {
    type Response = Response<String>;
    type Error = &'static str;
    type Future = Ready<Result<Response<String>, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        self.error.map_or(Poll::Pending, |error| Poll::Ready(Err(error)))
    }

    fn call(&mut self, _: Request<String>) -> Self::Future {
        panic!("called before it was ready");
    }
}

#[track_caller]
fn assert_passes_readiness_on<L>(layer: &L)
where
    L: Layer<Unready>,
    L::Service: Service<Request<String>, Error = &'static str>,
{
    let mut context = Context::from_waker(std::task::Waker::noop());
    let mut waiting = layer.layer(Unready { error: None });
    assert!(waiting.poll_ready(&mut context).is_pending());
    let mut broken = layer.layer(Unready { error: Some("broken") });
    assert!(matches!(broken.poll_ready(&mut context), Poll::Ready(Err("broken"))));
}

#[test]
fn all_layers_pass_on_whether_the_service_behind_them_is_ready() {
    let fixture = Fixture::new();
    assert_passes_readiness_on(&fixture.tokens.validate_layer());
    assert_passes_readiness_on(&fixture.tokens.require("GetOrders"));
    assert_passes_readiness_on(&fixture.tokens.exchange_layer());
    assert_passes_readiness_on(&fixture.tokens.issue_layer());
}

#[tokio::test]
async fn all_layers_pass_on_the_errors_of_the_service_behind_them() {
    let fixture = Fixture::new();
    let failing =
        || service_fn(async |_: Request<String>| Err::<Response<String>, _>("the inner error"));
    let (name, value) = bearer(&user_with(&fixture, json!({}), &["*"]));
    let request = || request_with::<String>(&[(name.clone(), &value)]);
    let tokens = &fixture.tokens;
    let error = tokens.validate_layer().layer(failing()).oneshot(request()).await.unwrap_err();
    assert_eq!(error, "the inner error");
    let layer = (tokens.validate_layer(), tokens.require("GetOrders"));
    let error = layer.layer(failing()).oneshot(request()).await.unwrap_err();
    assert_eq!(error, "the inner error");
    let exchange = tokens.exchange_layer().layer(service_fn(|_: Request<String>| {
        ready(Err::<Response<String>, _>("the inner error"))
    }));
    assert_eq!(exchange.oneshot(request()).await.unwrap_err(), "the inner error");
    let error = tokens.issue_layer().layer(failing()).oneshot(request()).await.unwrap_err();
    assert_eq!(error, "the inner error");
}

#[test]
fn what_is_public_goes_across_threads_and_is_cloned_where_it_can_be() {
    fn shared<T: Send + Sync + 'static>() {}
    fn cloned<T: Clone + Send + Sync + 'static>() {}
    fn sent<T: Send + 'static>() {}

    cloned::<TokenService>();
    shared::<TokenServiceBuilder>();
    cloned::<Validator>();
    cloned::<ValidatorBuilder>();
    cloned::<KeyRing>();
    cloned::<Policy>();
    cloned::<MemoryStore>();
    cloned::<Acl>();
    cloned::<Grant>();
    cloned::<NewSession>();
    cloned::<ExchangeRequest>();
    cloned::<Entity>();
    cloned::<Session>();
    cloned::<Password>();
    cloned::<Secret>();
    cloned::<AccessToken>();
    cloned::<AuthenticationToken>();
    cloned::<IssuedToken>();
    cloned::<IssuedSecret>();
    cloned::<Timestamp>();
    cloned::<Refusal>();
    cloned::<Issue>();
    cloned::<Bearer<MyOwnClaims>>();
    shared::<Validated>();
    shared::<Error>();

    cloned::<ValidateLayer>();
    cloned::<RequireLayer>();
    cloned::<IssueLayer>();
    cloned::<ExchangeLayer>();
    cloned::<ProblemDetails>();
    cloned::<Validate<Wary>>();
    cloned::<Require<Wary>>();
    cloned::<IssueService<Wary>>();
    cloned::<Exchange<Wary>>();
    sent::<RefusableFuture<Ready<Result<Response<String>, Infallible>>, String>>();
    sent::<IssueFuture<Ready<Result<Response<String>, Infallible>>>>();

    fn error<T: std::error::Error>() {}
    error::<Error>();
    error::<TokenFault>();
    error::<StoreError>();
}

#[derive(Clone)]
struct MyOwnClaims;
