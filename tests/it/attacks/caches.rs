//! Caches between the app and its callers, and those of browsers.

use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use countersign::{Actor, Bearer, CustomerId, Grant, NewSession, RequestContext};
use futures_util::FutureExt as _;
use http::header::{AUTHORIZATION, COOKIE, HeaderName};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use proptest::prelude::*;
use tower::{Layer, ServiceExt as _, service_fn};

use crate::support::shared_cache::{may_be_stored, shared_cache};
use crate::support::{Answer, Fixture, Server, issue_now};

/// A path, its status, and its headers.
type Page = (&'static str, u16, &'static [(&'static str, &'static str)]);

/// What handlers say of caches.
const PAGES: [Page; 12] = [
    ("/silent", 200, &[]),
    ("/public", 200, &[("cache-control", "public, max-age=60")]),
    ("/s-maxage", 200, &[("cache-control", "s-maxage=60")]),
    ("/must-revalidate", 200, &[("cache-control", "max-age=60, must-revalidate")]),
    ("/max-age", 200, &[("cache-control", "max-age=60")]),
    ("/expires", 200, &[("expires", "Fri, 01 Jan 2100 00:00:00 GMT")]),
    ("/some-fields", 200, &[("cache-control", "private=\"set-cookie\", public, max-age=60")]),
    ("/targeted", 200, &[("cache-control", "no-store"), ("cdn-cache-control", "max-age=60")]),
    ("/surrogate", 200, &[("surrogate-control", "max-age=60")]),
    ("/varying", 200, &[("cache-control", "public"), ("vary", "accept-encoding")]),
    ("/missing", 404, &[("cache-control", "public, max-age=60")]),
    ("/moved", 308, &[("cache-control", "public"), ("location", "/elsewhere")]),
];

/// Pages that say whose they are.
fn pages() -> Router {
    let page = |status: u16, headers: &'static [(&str, &str)]| {
        get(move |caller: Option<Bearer>| async move {
            let name =
                caller.map_or("nobody".to_owned(), |Bearer(it)| it.principal().id().to_owned());
            let response = Response::builder().status(status);
            let add = |response: http::response::Builder, (name, value): &(&str, &str)| {
                response.header(*name, *value)
            };
            headers.iter().fold(response, add).body(Body::from(name)).unwrap()
        })
    };
    PAGES
        .into_iter()
        .fold(Router::new(), |app, (path, status, headers)| app.route(path, page(status, headers)))
}

async fn session_of(fixture: &Fixture, customer: &str) -> String {
    let new = NewSession::of(CustomerId::new(customer).unwrap());
    fixture
        .tokens
        .start_session(Actor::Host, new, &RequestContext::without_address())
        .await
        .unwrap()
        .token
        .expose()
        .to_owned()
}

async fn ask(server: &Server, path: &str, credentials: Option<&(HeaderName, String)>) -> Answer {
    let mut request = Request::get(path);
    if let Some((name, value)) = credentials {
        request = request.header(name, value);
    }
    server.send(request.body("").unwrap()).await
}

/// By cookie, and by bearer token.
async fn credentials(fixture: &Fixture, customer: &str) -> [(HeaderName, String); 2] {
    let token = session_of(fixture, customer).await;
    [(COOKIE, format!("__Host-session={token}")), (AUTHORIZATION, format!("Bearer {token}"))]
}

#[tokio::test]
async fn a_shared_cache_in_front_serves_nobody_the_page_of_another_user() {
    let fixture = Fixture::new();
    let origin = Server::start(pages().layer(fixture.tokens.exchange_layer().optional())).await;
    let (one, two) = (credentials(&fixture, "cus_1").await, credentials(&fixture, "cus_2").await);
    for (path, status, _) in PAGES {
        for (mine, others) in one.iter().zip(&two) {
            let cache = shared_cache(origin.address).await;
            for (asking, name) in [
                (Some(mine), "cus_1"),
                (Some(others), "cus_2"),
                (None, "nobody"),
                (Some(mine), "cus_1"),
                (Some(others), "cus_2"),
            ] {
                let answer = ask(&cache, path, asking).await.expect(status);
                assert_eq!(answer.text(), name, "{path} {answer:?}");
                let is_stored = answer.headers().contains_key("age");
                assert!(!is_stored || name == "nobody", "{path} {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_shared_cache_stores_what_anonymous_callers_get() {
    let fixture = Fixture::new();
    let origin = Server::start(pages().layer(fixture.tokens.exchange_layer().optional())).await;
    let cache = shared_cache(origin.address).await;
    for path in ["/public", "/silent"] {
        assert!(!ask(&cache, path, None).await.headers().contains_key("age"));
        let answer = ask(&cache, path, None).await.expect(200);
        assert!(answer.headers().contains_key("age"), "{path} {answer:?}");
    }
}

#[tokio::test]
async fn no_history_of_a_browser_keeps_a_page_that_says_nothing_of_caches() {
    let fixture = Fixture::new();
    let handler = async || Response::builder().status(304).body(Body::empty()).unwrap();
    let app = || pages().route("/unchanged", get(handler));
    let layers = app()
        .layer(fixture.tokens.validate_layer())
        .merge(Router::new().nest("/exchanged", app()).layer(fixture.tokens.exchange_layer()));
    let server = Server::start(layers).await;
    let token = session_of(&fixture, "cus_1").await;
    let cookie = format!("__Host-session={token}");
    let jwt = fixture.tokens.issue(Grant::user("ops@example.com")).await.unwrap();
    let bearer = format!("Bearer {}", jwt.access_token.expose());
    for method in [Method::GET, Method::HEAD] {
        for (path, name, value) in [
            ("/silent", AUTHORIZATION, &bearer),
            ("/unchanged", AUTHORIZATION, &bearer),
            ("/exchanged/silent", COOKIE, &cookie),
            ("/exchanged/unchanged", COOKIE, &cookie),
        ] {
            let request = Request::builder().method(method.clone()).uri(path).header(name, value);
            let answer = server.send(request.body(String::new()).unwrap()).await;
            assert_eq!(answer.header("cache-control"), "private, no-store", "{method} {path}");
            assert!(answer.header("vary").starts_with("Authorization"), "{method} {path}");
        }
    }
}

fn directive() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("public"),
        Just("private"),
        Just("no-store"),
        Just("s-maxage"),
        Just("max-age"),
        Just("must-revalidate"),
        Just("no-cache"),
        Just("x"),
    ];
    let argument = prop_oneof![
        3 => Just(String::new()),
        2 => Just("=60".to_owned()),
        1 => Just("=\"a, private\"".to_owned()),
        1 => Just("=\"".to_owned()),
        1 => Just(" = \"no-store".to_owned()),
    ];
    (name, argument, any::<bool>()).prop_map(|(name, argument, is_upper)| {
        let name = if is_upper { name.to_ascii_uppercase() } else { name.to_owned() };
        name + &argument
    })
}

proptest! {
    #[test]
    fn whatever_a_handler_says_of_caches_no_shared_one_stores_what_a_validated_caller_got(
        values in prop::collection::vec(
            (
                prop::sample::select(vec!["cache-control", "cdn-cache-control", "surrogate-control"]),
                prop::collection::vec(directive(), 0..5),
            ),
            0..4,
        ),
        status in prop::sample::select(vec![200_u16, 206, 301, 404, 500]),
    ) {
        static FIXTURE: LazyLock<Fixture> = LazyLock::new(Fixture::new);
        let token = issue_now(&FIXTURE.tokens, Grant::user("ops@example.com")).unwrap();
        let bearer = format!("Bearer {}", token.access_token.expose());
        let inner = service_fn(|_: Request<()>| {
            let mut response = Response::new(String::new());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, directives) in &values {
                response.headers_mut().append(*name, directives.join(", ").parse().unwrap());
            }
            std::future::ready(Ok::<_, std::convert::Infallible>(response))
        });
        let service = FIXTURE.tokens.validate_layer().layer(inner);
        let request = Request::get("/").header(AUTHORIZATION, bearer).body(()).unwrap();
        let response = service.oneshot(request).now_or_never().unwrap().unwrap();
        // As if the credentials were in a cookie.
        let stored = may_be_stored(&HeaderMap::new(), response.status(), response.headers());
        prop_assert!(!stored, "{:?}", response.headers());
    }
}
