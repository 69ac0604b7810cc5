//! Between the layers of tower-http, which hosts put around and behind those of the crate.

use std::convert::Infallible;
use std::io::Read as _;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse as _;
use countersign::{Grant, Issue, SubjectType};
use flate2::read::GzDecoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH};
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tower::{Layer as _, ServiceBuilder, ServiceExt as _, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

use crate::layers::{bearer, found, session, user_with};
use crate::support::{Answer, Fixture, Server, send};

const LIMIT: usize = 1_000;
const HOUR: Duration = Duration::from_secs(3_600);

/// A service within and behind a layer of the crate: all of tower-http's on both sides of it.
macro_rules! surrounded {
    ($layer:expr) => {
        ServiceBuilder::new()
            .layer(TraceLayer::new_for_http())
            .layer(CatchPanicLayer::new())
            .layer(RequestBodyLimitLayer::new(LIMIT))
            .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, HOUR * 2))
            .layer(CompressionLayer::new())
            .layer($layer)
            .layer(TraceLayer::new_for_http())
            .layer(CatchPanicLayer::new())
            .layer(RequestBodyLimitLayer::new(LIMIT / 2))
            .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, HOUR))
            .layer(CompressionLayer::new())
            .service(service_fn(app))
    };
}

/// What stands behind all of them.
async fn app<B>(request: Request<B>) -> Result<Response<String>, Infallible> {
    match request.uri().path() {
        "/panic" => panic!("a handler panics"),
        "/never" => std::future::pending().await,
        "/login" => {
            let issue = Issue::grant(Grant::user("ops@example.com")).into_response();
            Ok(issue.map(|_| String::new()))
        }
        _ => Ok(Response::new(format!("{} {}", found(&request), "long ".repeat(200)))),
    }
}

/// One server a layer of the crate, with the headers of a request that it lets through.
async fn servers(fixture: &Fixture) -> Vec<(&'static str, Server, String)> {
    let tokens = &fixture.tokens;
    let user = bearer(&user_with(fixture, json!({}), &["GetOrders"])).1;
    let opaque = bearer(&session(fixture).await).1;
    let required = ServiceBuilder::new()
        .layer(tokens.validate_layer())
        .layer(CompressionLayer::new())
        .layer(tokens.require_layer("GetOrders"));
    let exchange = tokens.exchange_layer().only([SubjectType::Customer, SubjectType::User]);
    let validate = Router::new().fallback_service(surrounded!(tokens.validate_layer()));
    let require = Router::new().fallback_service(surrounded!(required));
    let exchange = Router::new().fallback_service(surrounded!(exchange));
    let issue = Router::new().fallback_service(surrounded!(tokens.issue_layer()));
    vec![
        ("validate", Server::start(validate).await, user.clone()),
        ("require", Server::start(require).await, user),
        ("exchange", Server::start(exchange).await, opaque),
        ("issue", Server::start(issue).await, String::new()),
    ]
}

async fn get(server: &Server, path: &str, authorization: &str) -> Answer {
    let mut request = Request::get(path).header(ACCEPT_ENCODING, "gzip");
    if !authorization.is_empty() {
        request = request.header("authorization", authorization);
    }
    server.send(request.body("").unwrap()).await
}

/// The body of a compressed response.
#[track_caller]
fn unzipped(answer: &Answer) -> String {
    assert_eq!(answer.header("content-encoding"), "gzip");
    let mut text = String::new();
    GzDecoder::new(answer.body()).read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn a_compressed_response_goes_through_each_layer_and_is_compressed_once() {
    let fixture = Fixture::new();
    for (name, server, authorization) in servers(&fixture).await {
        let answer = get(&server, "/", &authorization).await.expect(200);
        let text = unzipped(&answer);
        let caller = match name {
            "exchange" => "cus_1",
            "issue" => "nobody",
            _ => "ops@example.com",
        };
        assert!(text.starts_with(&format!("{caller} long ")), "{name}: {text}");
        let is_private = answer.headers().get("cache-control").is_some();
        assert_eq!(is_private, name != "issue", "{name}");
        let vary: Vec<_> = answer.headers().get_all("vary").iter().collect();
        assert!(vary.iter().any(|one| one.to_str().unwrap().contains("accept-encoding")));
    }
}

#[tokio::test]
async fn a_rejection_of_each_layer_is_compressed_on_its_way_out_and_keeps_its_headers() {
    let fixture = Fixture::new();
    for (name, server, _) in servers(&fixture).await {
        if name == "issue" {
            continue;
        }
        let answer = get(&server, "/", "").await.expect(401);
        assert!(answer.header("www-authenticate").starts_with("Bearer realm="), "{name}");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let problem: Value = serde_json::from_str(&unzipped(&answer)).unwrap();
        assert_eq!(problem["code"], "missing-token", "{name}");
    }
    let poor = bearer(&user_with(&fixture, json!({}), &["Other"])).1;
    let servers = servers(&fixture).await;
    let (_, require, _) = &servers[1];
    let answer = get(require, "/", &poor).await.expect(403);
    assert!(answer.header("www-authenticate").contains("insufficient_scope"));
    let problem: Value = serde_json::from_str(&unzipped(&answer)).unwrap();
    assert_eq!(problem["code"], "insufficient-permission");
}

#[tokio::test]
async fn a_token_is_issued_within_and_behind_them() {
    let fixture = Fixture::new();
    let servers = servers(&fixture).await;
    let (_, issue, _) = &servers[3];
    let answer = get(issue, "/login", "").await.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    let issued: Value = serde_json::from_str(&unzipped(&answer)).unwrap();
    let token = issued["accessToken"].as_str().unwrap();
    let validated = fixture.tokens.validator().validate(token).unwrap();
    assert_eq!(validated.principal().id(), "ops@example.com");
}

#[tokio::test]
async fn a_panic_and_a_body_that_is_too_large_are_answered_by_the_layers_behind() {
    let fixture = Fixture::new();
    for (name, server, authorization) in servers(&fixture).await {
        get(&server, "/panic", &authorization).await.expect(500);
        for (length, expected) in [(LIMIT / 2, 200), (LIMIT / 2 + 1, 413), (LIMIT + 1, 413)] {
            let mut request = Request::post("/");
            if !authorization.is_empty() {
                request = request.header("authorization", &authorization);
            }
            let answer = server.send(request.body("x".repeat(length)).unwrap()).await;
            assert_eq!(answer.status().as_u16(), expected, "{name}: {length}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_behind_a_layer_is_a_408_and_the_layers_further_out_let_it_pass() {
    let fixture = Fixture::new();
    let (name, value) = bearer(&user_with(&fixture, json!({}), &["GetOrders"]));
    let request =
        |path: &str| Request::get(path).header(name.clone(), &value).body(Body::empty()).unwrap();
    let tokens = &fixture.tokens;
    let validate = surrounded!(tokens.validate_layer());
    let status = validate.oneshot(request("/never")).await.unwrap().status();
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
    let required = (tokens.validate_layer(), tokens.require_layer("GetOrders"));
    let status = surrounded!(required).oneshot(request("/never")).await.unwrap().status();
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
    let exchange = surrounded!(tokens.exchange_layer().only([SubjectType::User]));
    let status = exchange.oneshot(request("/never")).await.unwrap().status();
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
    let issue = surrounded!(tokens.issue_layer());
    let status = issue.oneshot(request("/never")).await.unwrap().status();
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn a_hooks_response_takes_the_place_of_a_default_one_that_was_compressed_on_the_way() {
    let fixture = Fixture::with(|builder| {
        builder
            .reject_with(|rejection, _| (rejection.status(), format!("no: {}", rejection.code())))
    });
    let tokens = &fixture.tokens;
    let behind = || {
        ServiceBuilder::new()
            .layer(CompressionLayer::new())
            .layer(TraceLayer::new_for_http())
            .layer(tokens.require_layer("GetPlans"))
            .service(service_fn(app))
    };
    let user = bearer(&user_with(&fixture, json!({}), &["GetOrders"])).1;
    let opaque = bearer(&session(&fixture).await).1;
    let routers = [
        (Router::new().fallback_service(tokens.validate_layer().layer(behind())), &user),
        (Router::new().fallback_service(tokens.exchange_layer().layer(behind())), &opaque),
        (
            Router::new().fallback_service(
                (tokens.issue_layer(), CompressionLayer::new(), tokens.validate_layer())
                    .layer(behind()),
            ),
            &user,
        ),
    ];
    for (router, authorization) in routers {
        let server = Server::start(router).await;
        let request = Request::get("/")
            .header(ACCEPT_ENCODING, "gzip")
            .header("authorization", authorization)
            .body("")
            .unwrap();
        let answer = send(server.address, request).await.expect(403);
        assert_eq!(answer.text(), "no: insufficient-permission");
        assert!(!answer.headers().contains_key(CONTENT_ENCODING), "{answer:?}");
        assert_eq!(answer.headers()[CONTENT_LENGTH], "27");
        assert!(answer.header("www-authenticate").contains("insufficient_scope"));
    }
}
