//! Pages behind a session cookie: logging in, being logged out, and where a browser goes then.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use countersign::cookies::{SameSite, SessionCookie};
use countersign::{
    Actor, AuthenticationToken, Bearer, CustomerId, ExchangeLayer, NewSession, RequestContext,
    SubjectType, TokenService,
};
use http::Request;
use http::header::{COOKIE, SET_COOKIE};

use crate::layers::{ask, session, user_token};
use crate::support::{Answer, Fixture, Server};

const PAGE: (http::HeaderName, &str) = (http::header::ACCEPT, "text/html,application/xhtml+xml");

async fn serve(layer: ExchangeLayer) -> Server {
    let page = async |caller: Option<Bearer>| match caller {
        Some(Bearer(caller)) => caller.principal().id().to_owned(),
        None => "anonymous".to_owned(),
    };
    let members = async |Bearer(caller): Bearer| caller.principal().id().to_owned();
    let shop = Router::new().route("/orders", get(members));
    let app = Router::new().route("/", get(page)).route("/members", get(members));
    Server::start(app.nest("/shop", shop).layer(layer)).await
}

#[track_caller]
fn location(answer: &Answer) -> &str {
    answer.header("location")
}

#[tokio::test]
async fn who_opens_a_page_without_a_session_is_led_to_the_login_and_back() {
    let fixture = Fixture::new();
    let layer = fixture.tokens.exchange_layer().login_page("/login");
    for layer in [layer.clone(), layer.optional()] {
        let server = serve(layer).await;
        let answer = ask(&server, "/members?page=2", &[PAGE]).await.expect(303);
        assert_eq!(location(&answer), "/login?next=/members%3Fpage%3D2");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.headers().get("www-authenticate").is_none());
        let answer = ask(&server, "/shop/orders", &[PAGE]).await.expect(303);
        assert_eq!(location(&answer), "/login?next=/shop/orders");
        // A script is told what it needs to know.
        let fetch = [PAGE, ("sec-fetch-mode".parse().unwrap(), "cors")];
        let answer = ask(&server, "/members", &fetch).await.expect(401);
        assert!(answer.headers().contains_key("www-authenticate"));
        ask(&server, "/members", &[]).await.expect(401);
        let post = Request::post("/members").header(PAGE.0, PAGE.1).body("").unwrap();
        assert_ne!(server.send(post).await.status().as_u16(), 303);
        // Who is logged in is served.
        let cookie = format!("__Host-session={}", session(&fixture).await);
        let served = ask(&server, "/members", &[PAGE, (COOKIE, &cookie)]).await.expect(200);
        assert_eq!(served.text(), "cus_1");
    }
}

#[tokio::test]
async fn a_path_that_would_lead_to_another_site_is_not_handed_on() {
    let fixture = Fixture::new();
    let server = serve(fixture.tokens.exchange_layer().login_page("/login")).await;
    let answer = ask(&server, "//elsewhere.example/members", &[PAGE]).await.expect(303);
    assert_eq!(location(&answer), "/login?next=/");
}

#[tokio::test]
async fn a_stale_cookie_is_anonymous_and_forgotten_where_the_layer_says_so() {
    let fixture = Fixture::new();
    let cookie = || SessionCookie::new("__Host-shop").unwrap().same_site(SameSite::Strict);
    let layer = || fixture.tokens.exchange_layer().cookie(cookie());
    let ended = session(&fixture).await;
    let token = countersign::AuthenticationToken::from_text(&ended).unwrap();
    let context = RequestContext::without_address();
    fixture.tokens.log_out_customer(&token, &context).await.unwrap();
    let expired = fixture.tokens.issue(countersign::Grant::customer("cus_1")).await.unwrap();
    fixture.clock.advance(std::time::Duration::from_secs(2 * 86_400));
    let stale = [ended, expired.access_token.expose().to_owned()];
    for stale in stale.map(|value| format!("__Host-shop={value}")) {
        let strict = serve(layer().optional()).await;
        ask(&strict, "/", &[(COOKIE, &stale)]).await.expect(401);

        let lenient = serve(layer().optional().stale_cookies_are_anonymous()).await;
        let answer = ask(&lenient, "/", &[(COOKIE, &stale)]).await.expect(200);
        assert_eq!(answer.text(), "anonymous");
        assert_eq!(*answer.header("set-cookie"), *cookie().removal().to_str().unwrap());
        let bearer = stale.replace("__Host-shop=", "Bearer ");
        ask(&lenient, "/", &[(http::header::AUTHORIZATION, &bearer)]).await.expect(401);

        let page = layer().stale_cookies_are_anonymous().login_page("/login");
        let answer = ask(&serve(page).await, "/members", &[PAGE, (COOKIE, &stale)]).await;
        let answer = answer.expect(303);
        assert_eq!(*answer.header("set-cookie"), *cookie().removal().to_str().unwrap());
    }
    // An empty one is none.
    let server = serve(layer().optional()).await;
    let answer = ask(&server, "/", &[(COOKIE, "__Host-shop=")]).await.expect(200);
    assert_eq!(answer.text(), "anonymous");
}

#[tokio::test]
async fn a_stale_cookie_is_removed_by_the_response_to_a_navigation_alone() {
    let fixture = Fixture::new();
    let cookie = format!("__Host-session={}", AuthenticationToken::generate().unwrap().expose());
    let layer = || fixture.tokens.exchange_layer().stale_cookies_are_anonymous();
    let (open, closed) = (serve(layer().optional()).await, serve(layer()).await);
    let fetch_mode = |mode| ("sec-fetch-mode".parse().unwrap(), mode);
    for (mode, is_removed) in [
        (None, true),
        (Some("navigate"), true),
        // The response may come after a login that another request has made meanwhile.
        (Some("no-cors"), false),
        (Some("cors"), false),
        (Some("same-origin"), false),
        (Some("websocket"), false),
    ] {
        let headers = [Some((COOKIE, &*cookie)), mode.map(fetch_mode)];
        let headers: Vec<_> = headers.into_iter().flatten().collect();
        let answer = ask(&open, "/", &headers).await.expect(200);
        assert_eq!(answer.text(), "anonymous", "{mode:?}");
        assert_eq!(answer.headers().contains_key(SET_COOKIE), is_removed, "{mode:?}");
        let answer = ask(&closed, "/", &headers).await.expect(401);
        assert_eq!(answer.json()["code"], "missing-token", "{mode:?}");
        assert_eq!(answer.headers().contains_key(SET_COOKIE), is_removed, "{mode:?}");
    }
}

#[tokio::test]
async fn who_has_the_cookie_of_a_kind_that_is_not_admitted_can_log_in() {
    let fixture = Fixture::new();
    let jwt = user_token(&fixture);
    let pair = format!("__Host-session={jwt}");
    let cookie = || (COOKIE, &*pair);
    let layer = || fixture.tokens.exchange_layer();
    let removal = SessionCookie::default().removal();
    let is_removed = |answer: &Answer| answer.headers().get(SET_COOKIE) == Some(&removal);

    let server = serve(layer().optional().stale_cookies_are_anonymous()).await;
    let answer = ask(&server, "/", &[cookie()]).await.expect(200);
    assert!(answer.text() == "anonymous" && is_removed(&answer), "{answer:?}");
    let answer = ask(&server, "/members", &[cookie()]).await.expect(401);
    assert!(is_removed(&answer), "{answer:?}");

    let server = serve(layer().stale_cookies_are_anonymous().login_page("/login")).await;
    let answer = ask(&server, "/members", &[PAGE, cookie()]).await.expect(303);
    assert!(location(&answer) == "/login?next=/members" && is_removed(&answer), "{answer:?}");
    let answer = ask(&server, "/members", &[cookie()]).await.expect(401);
    assert!(answer.json()["code"] == "missing-token" && is_removed(&answer), "{answer:?}");

    // Where stale cookies are not forgotten, a browser that opens a page gets there all the same.
    let server = serve(layer().login_page("/login")).await;
    let answer = ask(&server, "/members", &[PAGE, cookie()]).await.expect(303);
    assert!(location(&answer) == "/login?next=/members" && !is_removed(&answer), "{answer:?}");
    let answer = ask(&server, "/members", &[cookie()]).await.expect(403);
    assert_eq!(answer.json()["code"], "kind-not-admitted");
    ask(&serve(layer()).await, "/members", &[PAGE, cookie()]).await.expect(403);

    // A client that sends a token is told what is wrong with it.
    let bearer = (http::header::AUTHORIZATION, format!("Bearer {jwt}"));
    let bearer = [PAGE, (bearer.0, &*bearer.1)];
    let lenient = layer().stale_cookies_are_anonymous().login_page("/login");
    ask(&serve(lenient.clone()).await, "/members", &bearer).await.expect(403);
    let server = serve(lenient.clone().only([SubjectType::User])).await;
    let answer = ask(&server, "/members", &[PAGE, cookie()]).await.expect(200);
    assert!(!is_removed(&answer), "{answer:?}");
    // Who is logged in, and may not see one page of many, is not to log in again.
    let page = get(async || "machines")
        .route_layer(fixture.tokens.require_layer("GetMachines").only([SubjectType::Machine]));
    let app = Router::new().route("/", page).layer(lenient.only([SubjectType::User]));
    let answer = ask(&Server::start(app).await, "/", &[PAGE, cookie()]).await.expect(403);
    assert!(!is_removed(&answer), "{answer:?}");
}

#[tokio::test]
async fn a_handler_sets_the_cookie_of_a_session_and_reads_it() {
    let fixture = Fixture::new();
    let log_in = async |State(tokens): State<TokenService>| {
        let new = NewSession::of(CustomerId::new("cus_1").unwrap());
        let started =
            tokens.start_session(Actor::Host, new, &RequestContext::without_address()).await?;
        Ok::<_, countersign::Error>([(SET_COOKIE, started.cookie(&SessionCookie::default()))])
    };
    let read = async |headers: http::HeaderMap| {
        let cookie = SessionCookie::default().read(&headers)?.unwrap_or("none").to_owned();
        Ok::<_, countersign::Rejection>(cookie)
    };
    let members = get(async |_: Bearer| "in").layer(fixture.tokens.exchange_layer());
    let app = Router::new()
        .route("/login", axum::routing::post(log_in))
        .route("/read", get(read))
        .route("/members", members)
        .with_state(fixture.tokens.clone());
    let server = Server::start(app).await;
    let answer = server.send(Request::post("/login").body("").unwrap()).await.expect(200);
    let set = answer.header("set-cookie");
    assert!(set.ends_with("; HttpOnly; Secure; SameSite=Lax") && set.contains("Max-Age=86400"));
    let pair = set.split(';').next().unwrap();
    ask(&server, "/members", &[(COOKIE, pair)]).await.expect(200);
    let read = ask(&server, "/read", &[(COOKIE, pair)]).await.expect(200).text();
    assert_eq!(format!("__Host-session={read}"), pair);
    assert_eq!(ask(&server, "/read", &[]).await.expect(200).text(), "none");
    let two = "__Host-session=a; __Host-session=b";
    let answer = ask(&server, "/read", &[(COOKIE, two)]).await.expect(400);
    assert!(answer.text().contains("several session cookies"), "{answer:?}");
}

#[test]
fn a_cookie_of_a_domain_or_over_plain_http_has_a_name_that_allows_it() {
    let shared = SessionCookie::dangerous_without_prefix("shop").unwrap();
    let shared = shared.domain("example.com").unwrap();
    let set = shared.removal();
    assert!(set.to_str().unwrap().contains("; Domain=example.com;"), "{set:?}");
    assert!(SessionCookie::default().domain("example.com").is_err());
    let plain = || SessionCookie::dangerous_without_prefix("shop").unwrap();
    for domain in ["", "example.com; Secure", "b\u{fc}cher.example", "a b"] {
        assert!(plain().domain(domain).is_err(), "{domain:?}");
    }
    let development = SessionCookie::insecure_over_http("shop").unwrap().removal();
    assert!(!development.to_str().unwrap().contains("Secure"), "{development:?}");
    for name in ["__Host-shop", "__Secure-shop", ""] {
        assert!(SessionCookie::insecure_over_http(name).is_err(), "{name:?}");
    }
}
