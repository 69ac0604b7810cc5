//! What pages of other origins have a real browser send with the user's cookie, and what becomes of it.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{Html, Response};
use axum::routing::{get, post};
use countersign::cookies::{SameSite, SessionCookie};
use countersign::{Bearer, Grant, Issue, SubjectType};
use http::header::COOKIE;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::browser::Browser;
use crate::support::Fixture;

const NAME: &str = "__Host-session";

/// A request as it came, and its status.
#[derive(Debug)]
struct Seen {
    path: String,
    site: Option<String>,
    has_cookie: bool,
    status: u16,
}

/// An app whose cookie goes along with requests of all sites, and what it has seen.
struct App {
    address: SocketAddr,
    seen: UnboundedReceiver<Seen>,
}

impl App {
    async fn start(fixture: &Fixture) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let own = format!("http://{address}");
        let cookie = SessionCookie::default().same_site(SameSite::None);
        let exchange = fixture.tokens.exchange_layer().cookie(cookie.clone());
        let exchange = exchange.only([SubjectType::User]);
        let issue = fixture.tokens.issue_layer().as_session_cookie(cookie);
        let whoami = async |Bearer(claims): Bearer| claims.principal().id().to_owned();
        let members = Router::new()
            .route("/transfer", post(whoami))
            .route("/socket", get(whoami))
            // Chromium says of a WebSocket nothing but the origin.
            .layer(exchange.allow_origin(&own).unwrap());
        let login = Router::new()
            .route("/login", post(async || Issue::grant(Grant::user("jane@example.com"))))
            .layer(issue.allow_origin(&own).unwrap());
        let (sender, seen) = unbounded_channel();
        let record = from_fn(move |request, next| record(sender.clone(), request, next));
        let app =
            members.merge(login).route_layer(record).route("/", get(async || Html("the app")));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, seen }
    }

    async fn next(&mut self) -> Seen {
        self.seen.recv().await.unwrap()
    }
}

async fn record(sender: UnboundedSender<Seen>, request: Request, next: Next) -> Response {
    let site = request.headers().get("sec-fetch-site");
    let site = site.map(|site| site.to_str().unwrap().to_owned());
    let (path, has_cookie) =
        (request.uri().path().to_owned(), request.headers().contains_key(COOKIE));
    let response = next.run(request).await;
    sender.send(Seen { path, site, has_cookie, status: response.status().as_u16() }).unwrap();
    response
}

/// Pages of somebody else.
async fn start_other() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/", get(async || Html("another page")));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

fn fetch(target: &str, path: &str) -> String {
    format!(
        "fetch('{target}{path}', {{method: 'POST', mode: 'no-cors', credentials: 'include', \
         body: 'x'}}).catch(() => null)"
    )
}

fn form(target: &str, path: &str) -> String {
    format!(
        "const form = document.createElement('form'); form.method = 'POST'; \
         form.action = '{target}{path}'; document.body.append(form); form.submit()"
    )
}

fn socket(target: &str) -> String {
    format!("new WebSocket('{}/socket')", target.replace("http://", "ws://"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_other_origins_get_nothing_with_the_users_cookie() {
    let fixture = Fixture::new();
    let mut app = App::start(&fixture).await;
    let own = format!("http://{}", app.address);
    let browser = Browser::start().await;
    browser.open(&own).await;
    browser.run(&fetch("", "/login")).await;
    assert_eq!(app.next().await.status, 204);
    let token = browser.cookie(NAME).await["value"].as_str().unwrap().to_owned();

    for (script, site) in [
        (fetch("", "/transfer"), Some("same-origin")),
        (form("", "/transfer"), Some("same-origin")),
        (socket(&own), None),
    ] {
        browser.open(&own).await;
        browser.run(&script).await;
        let seen = app.next().await;
        assert_eq!((seen.status, seen.has_cookie), (200, true), "{script}: {seen:?}");
        assert!(seen.site.is_none() || seen.site.as_deref() == site, "{script}: {seen:?}");
    }

    let port = start_other().await.port();
    for (page, site) in [("127.0.0.1", "same-site"), ("localhost", "cross-site")] {
        for (script, path) in [
            (fetch(&own, "/transfer"), "/transfer"),
            (form(&own, "/transfer"), "/transfer"),
            (socket(&own), "/socket"),
            (fetch(&own, "/login"), "/login"),
            (form(&own, "/login"), "/login"),
        ] {
            browser.open(&format!("http://{page}:{port}/")).await;
            browser.run(&script).await;
            let seen = app.next().await;
            assert_eq!((seen.path.as_str(), seen.status), (path, 403), "{script}: {seen:?}");
            assert!(seen.has_cookie, "the browser sent it along: {script}: {seen:?}");
            assert!(seen.site.is_none() || seen.site.as_deref() == Some(site), "{seen:?}");
        }
    }
    browser.open(&own).await;
    assert_eq!(browser.cookie(NAME).await["value"], Value::from(token), "nobody was logged in");
}
