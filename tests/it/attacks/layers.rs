//! What a host naturally writes around the layers.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, post};
use countersign::cookies::SessionCookie;
use countersign::{ErrorKind, Grant, Issue, TrustedProxies};
use http::StatusCode;

use crate::support::log::Log;
use crate::support::{Answer, Fixture, Server};

/// All that no request of [`post_from_elsewhere`] gets through, with a hook that responds with `status`.
fn rejecting(status: u16) -> Router {
    let fixture = Fixture::with(|builder| {
        builder.reject_with(move |_, _| {
            let caching = [("cache-control", "public, max-age=60")];
            (StatusCode::from_u16(status).unwrap(), caching, "shaped")
        })
    });
    let tokens = &fixture.tokens;
    let secret = || any(async || "secret");
    let login = post(async || Issue::grant(Grant::user("ops@example.com")));
    let blank = any(async || Issue::grant(Grant::user(" ")));
    let required = Router::new()
        .route("/require", secret())
        .layer(tokens.require_layer("GetOrders"))
        .layer(tokens.validate_layer().optional());
    Router::new()
        .route("/validate", secret().layer(tokens.validate_layer()))
        .merge(required)
        .route("/exchange", secret().layer(tokens.exchange_layer()))
        .route("/login", login.layer(tokens.issue_layer().as_cookie()))
        .route("/issue", blank.layer(tokens.issue_layer()))
}

/// As another site has a browser send it.
async fn post_from_elsewhere(server: &Server, path: &str) -> Answer {
    let request = http::Request::post(path).header("sec-fetch-site", "cross-site");
    server.send(request.body("").unwrap()).await
}

const REJECTED: [(&str, u16); 5] =
    [("/validate", 401), ("/require", 401), ("/exchange", 401), ("/login", 403), ("/issue", 500)];

#[tokio::test]
async fn no_hook_turns_a_rejection_into_a_success() {
    for shaped in [200, 201, 204, 206, 299, 304] {
        let log = Log::default();
        let _guard = log.listen();
        let server = Server::start(rejecting(shaped)).await;
        for (path, own) in REJECTED {
            let answer = post_from_elsewhere(&server, path).await;
            assert_eq!(answer.status().as_u16(), own, "{path} {shaped}");
            assert_eq!(answer.text(), "shaped");
        }
        let told = log.errors().iter().filter(|line| line.contains("reject_with")).count();
        assert_eq!(told, REJECTED.len(), "{:?}", log.errors());
    }
}

#[test]
fn no_hook_switches_protocols_with_a_rejected_request() {
    use futures_util::FutureExt as _;
    use tower::ServiceExt as _;

    for shaped in [100, 101, 103, 199] {
        for (path, own) in REJECTED {
            let request = http::Request::post(path).header("sec-fetch-site", "cross-site");
            let request = request.body(Body::empty()).unwrap();
            let response = rejecting(shaped).oneshot(request).now_or_never().unwrap();
            assert_eq!(response.unwrap().status().as_u16(), own, "{path} {shaped}");
        }
    }
}

#[tokio::test]
async fn a_hook_may_redirect_or_choose_another_error_and_no_shared_cache_stores_it() {
    for shaped in [303, 307, 400, 404, 418, 500] {
        let log = Log::default();
        let _guard = log.listen();
        let server = Server::start(rejecting(shaped)).await;
        for (path, _) in REJECTED {
            let answer = post_from_elsewhere(&server, path).await.expect(shaped);
            assert_eq!(answer.header("cache-control"), "private, max-age=60", "{path} {shaped}");
        }
        assert!(!log.text().contains("reject_with"));
    }
}

/// What a layer that traces requests within would print.
async fn dumped(request: Request) -> String {
    format!("{:?}", request.headers())
}

#[tokio::test]
async fn what_handlers_print_of_a_request_holds_no_credentials() {
    let fixture = Fixture::new();
    let jwt = fixture.tokens.issue(Grant::user("ops@example.com")).await.unwrap();
    let (jwt, session) = (jwt.access_token.expose(), fixture.session(|new| new).await);
    let (validate, exchange) = (fixture.tokens.validate_layer(), fixture.tokens.exchange_layer());
    let app = || Router::new().route("/", any(dumped));
    let (bearer, basic) = (format!("Bearer {jwt}"), "Basic Y2FuYXJ5OmNhbmFyeQ==".to_owned());
    let opaque = format!("Bearer {session}");
    let cookie = format!("theme=dark; __Host-session={session}");
    let other = "theme=dark; other-session=canary".to_owned();
    for (app, headers) in [
        (app().layer(validate.clone()), vec![("authorization", &bearer), ("cookie", &cookie)]),
        (app().layer(validate.clone().optional()), vec![("authorization", &bearer)]),
        (
            app().layer(validate.optional()),
            vec![("authorization", &basic), ("cookie", &other), ("cookie", &cookie)],
        ),
        (app().layer(exchange.clone()), vec![("cookie", &other), ("cookie", &cookie)]),
        (app().layer(exchange.clone()), vec![("authorization", &opaque), ("cookie", &other)]),
        (app().layer(exchange.clone().optional()), vec![("cookie", &cookie)]),
        (
            app().layer(exchange.optional()),
            vec![("authorization", &basic), ("cookie", &other), ("cookie", &other)],
        ),
    ] {
        let server = Server::start(app).await;
        let mut request = http::Request::get("/").header("x-a", "to be seen");
        for (name, value) in &headers {
            request = request.header(*name, value.as_str());
        }
        let text = server.send(request.body("").unwrap()).await.expect(200).text();
        assert!(text.contains("to be seen") && text.contains("Sensitive"), "{text}");
        for secret in [jwt, &session, "Y2FuYXJ5OmNhbmFyeQ", "canary", "eyJ", "dark"] {
            assert!(!text.contains(secret), "{headers:?} {text}");
        }
    }
}

/// The cookies that arrive behind the layer, a line each.
async fn cookies(request: Request) -> String {
    let values = request.headers().get_all("cookie").iter();
    values.map(|value| value.to_str().unwrap().to_owned() + "\n").collect()
}

#[tokio::test]
async fn the_cookie_alone_is_stripped_and_all_others_stay_in_their_order() {
    let fixture = Fixture::new();
    let token = fixture.session(|new| new).await;
    let layer = fixture.tokens.exchange_layer().optional().strip_cookie();
    let server = Server::start(Router::new().route("/", any(cookies)).layer(layer)).await;
    let mine = format!("__Host-session={token}");
    for (values, expected) in [
        (vec![mine.clone()], ""),
        (vec![format!("a=1; {mine}; b=2")], "a=1; b=2\n"),
        (vec![format!("{mine};b=x=y"), "c=3".to_owned(), mine.clone()], "b=x=y\nc=3\n"),
        (vec![format!("b=2; {mine}; a=1; {mine}")], "b=2; a=1\n"),
        (
            vec!["__Host-session2=a; x__Host-session=b".to_owned()],
            "__Host-session2=a; x__Host-session=b\n",
        ),
        (vec!["b=2;a=1;  a=1".to_owned()], "b=2;a=1;  a=1\n"),
    ] {
        for method in ["GET", "POST"] {
            // The POST is anonymous: the cookie does not count, and is stripped all the same.
            let mut request = http::Request::builder().method(method).uri("/");
            for value in &values {
                request = request.header("cookie", value);
            }
            let answer = server.send(request.body("").unwrap()).await.expect(200);
            assert_eq!(answer.text(), expected, "{values:?}");
        }
    }
    let kept = Router::new().route("/", any(cookies)).layer(fixture.tokens.exchange_layer());
    let request = http::Request::get("/").header("cookie", &mine).body("").unwrap();
    assert_eq!(Server::start(kept).await.send(request).await.text(), format!("{mine}\n"));
}

#[tokio::test]
async fn a_log_out_clears_the_cookie_behind_a_layer_that_strips_it() {
    let fixture = Fixture::new();
    let leave = async || -> Response {
        ([("set-cookie", SessionCookie::default().removal())], "left").into_response()
    };
    let layer = fixture.tokens.exchange_layer().strip_cookie();
    let server = Server::start(Router::new().route("/", post(leave)).layer(layer)).await;
    let pair = format!("__Host-session={}", fixture.session(|new| new).await);
    let request = http::Request::post("/").header("cookie", pair);
    let request = request.header("sec-fetch-site", "same-origin").body("").unwrap();
    let removal = "__Host-session=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax";
    assert_eq!(server.send(request).await.expect(200).header("set-cookie"), removal);
}

#[test]
fn all_addresses_are_no_trusted_proxies() {
    for all in [
        &["0.0.0.0/0"][..],
        &["::/0"],
        &["::ffff:0:0/96"],
        &["10.0.0.0/8", "0.0.0.0/0"],
        &["0.0.0.0/1", "128.0.0.0/1"],
    ] {
        let error = TrustedProxies::networks(all).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{all:?}");
        assert!(error.message().contains("trusted proxies"), "{error}");
    }
}
