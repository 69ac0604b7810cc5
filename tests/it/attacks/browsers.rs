//! What pages of other sites have a browser send, with the user's cookies.

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::{any, get, post};
use countersign::cookies::{SameSite, SessionCookie};
use countersign::store::PageRequest;
use countersign::{
    Actor, Bearer, CustomerId, Error, ErrorKind, Grant, Issue, NewSession, RequestContext,
    SubjectType, TokenService,
};
use http::{HeaderName, Method, Request};

use crate::support::log::Log;
use crate::support::{Answer, Fixture, Server};

const OWN: &str = "https://app.example.com";
const SITE: &str = "sec-fetch-site";
const ORIGIN: &str = "origin";
const COOKIE: &str = "cookie";
const AUTHORIZATION: &str = "authorization";

/// What browsers say of a request of the app's own pages, where the layer allows [`OWN`].
const OWN_PAGES: [&[(&str, &str)]; 6] = [
    &[(SITE, "same-origin")],
    &[(SITE, "none")],
    &[(SITE, "same-origin"), (ORIGIN, OWN)],
    &[(ORIGIN, OWN)],
    // A page of the host's on another origin, which it has listed.
    &[(SITE, "same-site"), (ORIGIN, OWN)],
    &[(SITE, "cross-site"), (ORIGIN, OWN)],
];

/// What they say of others, or what nobody can make sense of.
const OTHERS: [&[(&str, &str)]; 17] = [
    &[],
    &[(SITE, "cross-site")],
    &[(SITE, "same-site")],
    &[(SITE, "same-site"), (ORIGIN, "https://blog.example.com")],
    &[(SITE, ""), (ORIGIN, "null")],
    &[(SITE, "Same-Origin")],
    &[(SITE, "same-origin, same-origin")],
    &[(SITE, "same-origin"), (SITE, "same-origin")],
    &[(SITE, "same-origin"), (SITE, "cross-site")],
    &[(ORIGIN, "null")],
    &[(ORIGIN, "https://evil.example.net")],
    &[(ORIGIN, "https://app.example.com.evil.example.net")],
    &[(ORIGIN, "https://blog.app.example.com")],
    &[(ORIGIN, "http://app.example.com")],
    &[(ORIGIN, "https://app.example.com:8443")],
    &[(ORIGIN, OWN), (ORIGIN, OWN)],
    &[(ORIGIN, "https://evil.example.net https://app.example.com")],
];

const UNSAFE: [&str; 6] = ["POST", "PUT", "PATCH", "DELETE", "PROPFIND", "CONNECT"];
const SAFE: [&str; 4] = ["GET", "HEAD", "OPTIONS", "TRACE"];

/// How a WebSocket and its like are asked for.
const UPGRADES: [&[(&str, &str)]; 3] = [
    &[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")],
    &[("connection", "upgrade")],
    &[("upgrade", "h2c")],
];

fn app() -> Router {
    Router::new().route(
        "/",
        any(async |caller: Option<Bearer>| {
            let name =
                caller.map_or("nobody".to_owned(), |Bearer(it)| it.principal().id().to_owned());
            [("x-caller", name)]
        }),
    )
}

async fn ask(
    router: &Router,
    method: &str,
    headers: &[&[(&str, &str)]],
) -> http::Response<axum::body::Body> {
    let mut request = Request::builder().method(method).uri("/");
    for (name, value) in headers.iter().copied().flatten() {
        request = request.header(*name, *value);
    }
    let request = request.body(axum::body::Body::empty()).unwrap();
    tower::ServiceExt::oneshot(router.clone(), request).await.unwrap()
}

async fn text_of(response: http::Response<axum::body::Body>) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_cookie_with_an_unsafe_request_or_an_upgrade_counts_for_the_apps_own_pages_alone() {
    let fixture = Fixture::new();
    let token = fixture.session(|new| new).await;
    let pair = format!("__Host-session={token}");
    let cookie: &[(&str, &str)] = &[(COOKIE, &pair)];
    let layer = || fixture.tokens.exchange_layer().allow_origin(OWN).unwrap();
    let (required, optional) = (app().layer(layer()), app().layer(layer().optional()));
    let unsafe_ones = UNSAFE.map(|method| (method, &[][..]));
    let upgrades = UPGRADES.map(|upgrade| ("GET", upgrade));
    for (method, upgrade) in unsafe_ones.into_iter().chain(upgrades) {
        for from in OWN_PAGES {
            let answer = ask(&required, method, &[cookie, upgrade, from]).await;
            assert_eq!(answer.status(), 200, "{method} {from:?}");
            let answer = ask(&optional, method, &[cookie, upgrade, from]).await;
            assert_eq!(answer.headers()["x-caller"], "cus_1", "{method} {from:?}");
        }
        for from in OTHERS {
            let answer = ask(&required, method, &[cookie, upgrade, from]).await;
            assert_eq!(answer.status(), 403, "{method} {upgrade:?} {from:?}");
            assert!(!answer.headers().contains_key("www-authenticate"));
            assert_eq!(answer.headers()["cache-control"], "no-store");
            if method != "CONNECT" {
                assert!(text_of(answer).await.contains("another origin"));
            }
            let answer = ask(&optional, method, &[cookie, upgrade, from]).await;
            assert_eq!(answer.status(), 200, "{method} {upgrade:?} {from:?}");
            assert_eq!(answer.headers()["x-caller"], "nobody", "{method} {upgrade:?} {from:?}");
        }
    }
}

#[tokio::test]
async fn a_cookie_counts_for_links_and_pictures_of_other_sites_which_change_nothing() {
    let fixture = Fixture::new();
    let pair = format!("__Host-session={}", fixture.session(|new| new).await);
    let router = app().layer(fixture.tokens.exchange_layer());
    for method in SAFE {
        for from in OTHERS {
            let answer = ask(&router, method, &[&[(COOKIE, &pair)], from]).await;
            assert_eq!(answer.status(), 200, "{method} {from:?}");
        }
    }
}

#[tokio::test]
async fn a_bearer_token_counts_wherever_the_request_comes_from() {
    let fixture = Fixture::new();
    let token = fixture.session(|new| new).await;
    let (bearer, pair) = (format!("Bearer {token}"), "__Host-session=unknown".to_owned());
    let router = app().layer(fixture.tokens.exchange_layer());
    for from in OTHERS {
        let credentials = &[(AUTHORIZATION, bearer.as_str()), (COOKIE, pair.as_str())];
        let answer = ask(&router, "POST", &[credentials, from]).await;
        assert_eq!(answer.headers()["x-caller"], "cus_1", "{from:?}");
    }
    // Of another scheme it is none, and the cookie is the only credential.
    let pair = format!("__Host-session={token}");
    let basic = &[(AUTHORIZATION, "Basic b3BzOnB3"), (COOKIE, pair.as_str())];
    assert_eq!(ask(&router, "POST", &[basic]).await.status(), 403);
}

#[tokio::test]
async fn without_a_cookie_a_request_of_another_site_is_like_any_other() {
    let fixture = Fixture::new();
    let router = app().layer(fixture.tokens.exchange_layer());
    for from in OTHERS {
        let answer = ask(&router, "POST", &[&[(COOKIE, "theme=dark")], from]).await;
        assert_eq!(answer.status(), 401, "{from:?}");
        let two = "__Host-session=a; __Host-session=b";
        let answer = ask(&router, "POST", &[&[(COOKIE, two)], from]).await;
        assert_eq!(answer.status(), 403, "{from:?}");
    }
}

#[tokio::test]
async fn a_host_that_takes_the_risk_has_cookies_count_for_all_sites() {
    let fixture = Fixture::new();
    let pair = format!("__Host-session={}", fixture.session(|new| new).await);
    let layer = fixture.tokens.exchange_layer().dangerous_accept_any_origin();
    let router = app().layer(layer);
    for from in OTHERS {
        let answer = ask(&router, "POST", &[&[(COOKIE, &pair)], UPGRADES[0], from]).await;
        assert_eq!(answer.headers()["x-caller"], "cus_1", "{from:?}");
    }
}

#[tokio::test]
async fn why_a_cookie_does_not_count_is_in_the_audit_log() {
    let fixture = Fixture::new();
    let log = Log::default();
    let _guard = log.listen();
    let pair = format!("__Host-session={}", fixture.session(|new| new).await);
    let router = app().layer(fixture.tokens.exchange_layer());
    ask(&router, "POST", &[&[(COOKIE, &pair)]]).await;
    assert!(log.text().contains("cross_origin"), "{}", log.text());
}

fn logins() -> Router {
    let grant = || Grant::user("mallory@example.com");
    Router::new()
        .route(
            "/",
            post(async move || Issue::grant(grant())).get(async move || Issue::grant(grant())),
        )
        .route("/other", post(async || "not a login"))
}

#[tokio::test]
async fn another_site_logs_nobody_in_as_somebody_else() {
    let fixture = Fixture::new();
    let log = Log::default();
    let _guard = log.listen();
    let router =
        logins().layer(fixture.tokens.issue_layer().as_cookie().allow_origin(OWN).unwrap());
    for from in OTHERS {
        let answer = ask(&router, "POST", &[from]).await;
        assert_eq!(answer.status(), 403, "{from:?}");
        assert!(!answer.headers().contains_key("set-cookie"));
    }
    let logged = log.text();
    assert!(!logged.contains("outcome=\"accepted\""), "nothing was issued: {logged}");
    assert!(logged.contains("cross_origin"), "{logged}");
    for from in OWN_PAGES {
        let answer = ask(&router, "POST", &[from]).await;
        assert_eq!(answer.status(), 204, "{from:?}");
    }
    // The callback of an identity provider, to which another site leads.
    let answer = ask(&router, "GET", &[&[(SITE, "cross-site")]]).await;
    assert_eq!(answer.status(), 204);
}

#[tokio::test]
async fn a_login_that_sets_no_cookie_may_come_from_anywhere() {
    let fixture = Fixture::new();
    let layers = [
        fixture.tokens.issue_layer(),
        fixture.tokens.issue_layer().as_header(HeaderName::from_static("x-token")),
        fixture.tokens.issue_layer().as_cookie().dangerous_accept_any_origin(),
    ];
    for layer in layers {
        let router = logins().layer(layer);
        for from in OTHERS {
            assert!(ask(&router, "POST", &[from]).await.status().is_success(), "{from:?}");
        }
    }
}

#[tokio::test]
async fn what_grants_nothing_passes_an_issue_layer_wherever_it_comes_from() {
    let fixture = Fixture::new();
    let server = Server::start(logins().layer(fixture.tokens.issue_layer().as_cookie())).await;
    let answer = server.post_text("/other", None, None, "").await.expect(200);
    assert_eq!(answer.text(), "not a login");
}

/// A login that sets the cookie in the handler.
async fn log_in_by_form(State(tokens): State<TokenService>) -> Result<impl IntoResponse, Error> {
    let new = NewSession::of(CustomerId::new("cus_mallory")?);
    let started =
        tokens.start_session(Actor::Host, new, &RequestContext::without_address()).await?;
    Ok([(http::header::SET_COOKIE, started.cookie(&SessionCookie::default()))])
}

#[tokio::test]
async fn another_site_reaches_no_handler_behind_a_layer_of_the_same_origin() {
    let fixture = Fixture::new();
    let log = Log::default();
    let _guard = log.listen();
    let login = any(log_in_by_form).with_state(fixture.tokens.clone());
    let layer = fixture.tokens.same_origin_layer().allow_origin(OWN).unwrap();
    let router = Router::new().route("/", login).layer(layer);
    for from in OTHERS {
        for method in UNSAFE {
            let answer = ask(&router, method, &[from]).await;
            assert_eq!(answer.status(), 403, "{method} {from:?}");
            assert!(!answer.headers().contains_key("set-cookie"));
        }
        for upgrade in UPGRADES {
            assert_eq!(ask(&router, "GET", &[upgrade, from]).await.status(), 403, "{from:?}");
        }
    }
    let context = RequestContext::without_address();
    let sessions =
        fixture.tokens.list_sessions(Actor::Host, None, PageRequest::first(1), &context).await;
    assert_eq!(sessions.unwrap().total, 0, "nobody was logged in");
    let events = log.audit();
    let mut rejected = events.iter().filter(|event| event["operation"] != "list_sessions");
    assert!(rejected.clone().count() > 0);
    assert!(rejected.all(|event| event["operation"] == "same_origin"), "{events:?}");
    assert!(events.iter().any(|event| event.get("reason").is_some_and(|it| it == "cross_origin")));
    for from in OWN_PAGES {
        let answer = ask(&router, "POST", &[from]).await;
        assert!(answer.headers().contains_key("set-cookie"), "{from:?}");
    }
    // A link of another site leads to the form.
    for method in SAFE {
        assert_eq!(
            ask(&router, method, &[&[(SITE, "cross-site")]]).await.status(),
            200,
            "{method}"
        );
    }
}

#[tokio::test]
async fn a_layer_of_the_same_origin_answers_by_the_hook_of_the_service() {
    let fixture = Fixture::with(|builder| {
        builder
            .reject_with(|rejection, _| (rejection.status(), format!("no: {}", rejection.code())))
    });
    let wrong = async || Err::<(), _>(Error::new(ErrorKind::InvalidCredentials, "no"));
    let router = Router::new().route("/", post(wrong)).layer(fixture.tokens.same_origin_layer());
    let server = Server::start(router).await;
    for (site, status, text) in
        [("cross-site", 403, "no: cross-origin"), ("same-origin", 401, "no: invalid-credentials")]
    {
        let request = Request::post("/").header(SITE, site).body("").unwrap();
        assert_eq!(server.send(request).await.expect(status).text(), text);
    }
}

/// Logs in, logs out, and returns the answer to the latter.
async fn log_out(server: &Server, pair: &str, site: &str) -> Answer {
    let request = Request::builder()
        .method(Method::POST)
        .uri("/logout")
        .header(COOKIE, pair)
        .header(SITE, site)
        .body("")
        .unwrap();
    server.send(request).await
}

#[tokio::test]
async fn a_log_out_revokes_the_token_and_removes_the_cookie_and_no_other_site_can_do_it() {
    let fixture = Fixture::new();
    let cookie = SessionCookie::new("__Host-shop").unwrap().same_site(SameSite::Strict);
    let (tokens, removal) = (fixture.tokens.clone(), cookie.removal());
    let leave = async move |Bearer(claims): Bearer| {
        tokens.revoke_token(claims.token_id()).await.unwrap();
        [(http::header::SET_COOKIE, removal)]
    };
    let app = Router::new()
        .route("/logout", post(leave))
        .route("/home", get(async || "home"))
        .layer(fixture.tokens.exchange_layer().only([SubjectType::User]).cookie(cookie.clone()))
        .merge(logins().layer(fixture.tokens.issue_layer().as_session_cookie(cookie)));
    let server = Server::start(app).await;
    let login = Request::post("/").header(SITE, "same-origin").body("").unwrap();
    let login = server.send(login).await.expect(204);
    let (pair, attributes) = login.header("set-cookie").split_once("; ").unwrap();
    let home = Request::get("/home").header(COOKIE, pair).body("").unwrap();
    log_out(&server, pair, "same-site").await.expect(403);
    server.send(home.clone()).await.expect(200);
    let left = log_out(&server, pair, "same-origin").await.expect(200);
    let removed = attributes.replace("Max-Age=86400", "Max-Age=0");
    assert_eq!(left.header("set-cookie"), format!("__Host-shop=; {removed}"));
    server.send(home).await.expect(401);
}
