//! The example `customer_portal`, in a real browser.

use http::Request;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::support::programs::{Folder, TokenServer, example};
use crate::support::{Answer, send};

const COOKIE: &str = "__Host-session";
const PASSWORD: &str = "a-password-for-the-test";

const LOGIN: &str = "#login:not([hidden])";
const CODE: &str = "#code:not([hidden])";
const ORDERS: &str = "#orders:not([hidden])";

/// The portal, and a browser that has opened it.
struct Portal {
    browser: Browser,
    server: TokenServer,
    folder: Folder,
}

impl Portal {
    async fn open() -> Self {
        let (server, folder) = serve();
        let browser = Browser::start().await;
        browser.open(&server.url()).await;
        Self { browser, server, folder }
    }

    async fn see(&self, selector: &str) -> String {
        self.browser.text_of(selector).await
    }

    async fn enter_password(&self, password: &str) {
        self.browser.fill_in(&format!("{LOGIN} [name=username]"), "jane@example.com").await;
        self.browser.fill_in(&format!("{LOGIN} [name=password]"), password).await;
        self.browser.click(&format!("{LOGIN} [type=submit]")).await;
    }

    async fn enter_code(&self, code: &str) {
        self.browser.fill_in(&format!("{CODE} [name=code]"), code).await;
        self.browser.click(&format!("{CODE} [type=submit]")).await;
    }

    async fn log_in(&self) {
        self.enter_password(PASSWORD).await;
        self.see(CODE).await;
        self.enter_code(&self.sent_code()).await;
        self.see(ORDERS).await;
    }

    /// The code in the message that came last.
    fn sent_code(&self) -> String {
        let outbox = std::fs::read_to_string(self.folder.path().join("outbox.jsonl")).unwrap();
        let message: Value = serde_json::from_str(outbox.lines().last().unwrap()).unwrap();
        message["oneTimePassword"].as_str().unwrap().to_owned()
    }

    /// What the browser holds, though no script of the page gets it.
    async fn token(&self) -> String {
        self.browser.cookie(COOKIE).await["value"].as_str().unwrap().to_owned()
    }

    /// Asks for the orders with a token that was in the cookie.
    async fn orders_with(&self, token: &str) -> Answer {
        let request = Request::get("/orders").header("cookie", format!("{COOKIE}={token}"));
        send(self.server.address(), request.body("").unwrap()).await
    }

    /// Keeps a picture where somebody wants to look at it.
    async fn picture(&self, name: &str) {
        if let Ok(folder) = std::env::var("COUNTERSIGN_TEST_PICTURES") {
            let path = std::path::Path::new(&folder).join(format!("portal-{name}.png"));
            std::fs::write(path, self.browser.picture().await).unwrap();
        }
    }
}

fn serve() -> (TokenServer, Folder) {
    let folder = Folder::new("portal");
    let mut command = example("customer_portal");
    command
        .env("COUNTERSIGN_DEMO_PASSWORD", PASSWORD)
        .env("COUNTERSIGN_OUTBOX", folder.path().join("outbox.jsonl"));
    (TokenServer::start(command), folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_and_a_wrong_code_are_told_and_the_right_ones_show_the_orders() {
    let portal = Portal::open().await;
    portal.see(LOGIN).await;
    portal.picture("login").await;

    portal.enter_password("another-password").await;
    let error = portal.see(&format!("{LOGIN} [role=alert]:not(:empty)")).await;
    assert_eq!(error, "The e-mail address or the password is wrong.");
    portal.picture("wrong-password").await;

    portal.enter_password(PASSWORD).await;
    assert!(portal.see(CODE).await.contains("code of six digits"));
    portal.picture("code").await;
    let code = portal.sent_code();
    let wrong = if code == "000000" { "000001" } else { "000000" };
    portal.enter_code(wrong).await;
    let error = portal.see(&format!("{CODE} [role=alert]:not(:empty)")).await;
    assert_eq!(error, "The code is wrong.");
    portal.picture("wrong-code").await;

    portal.enter_code(&code).await;
    let orders = portal.see(ORDERS).await;
    assert!(orders.contains("Hello, Jane.") && orders.contains("Teapot, blue"), "{orders}");
    portal.picture("orders").await;
    let console = portal.browser.console().await;
    let stopped = console.iter().find(|line| line.contains("Content Security Policy"));
    assert_eq!(stopped, None, "the page keeps to its own rules");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_of_the_page_never_get_at_what_the_customer_holds() {
    let portal = Portal::open().await;
    portal.enter_password(PASSWORD).await;
    portal.see(CODE).await;
    let opaque = portal.token().await;
    portal.enter_code(&portal.sent_code()).await;
    portal.see(ORDERS).await;
    let fresh = portal.token().await;
    assert_ne!(opaque, fresh, "a fresh session by a fresh token");

    let cookie = portal.browser.cookie(COOKIE).await;
    assert_eq!(cookie["httpOnly"], true, "{cookie}");
    assert_eq!(cookie["secure"], true, "{cookie}");
    assert_eq!(cookie["sameSite"], "Strict", "{cookie}");
    let seen = portal.browser.run(
        "return document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage) \
         + location.href + document.documentElement.outerHTML",
    );
    let seen = seen.await.as_str().unwrap().to_owned();
    assert!(seen.contains("Teapot, blue"), "{seen}");
    assert!(!seen.contains(&opaque) && !seen.contains(&fresh), "{seen}");
    assert_eq!(portal.browser.run("return document.cookie").await, "");
    assert_eq!(portal.browser.run("return localStorage.length").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_loaded_again_is_where_it_was() {
    let portal = Portal::open().await;
    portal.see(LOGIN).await;
    portal.browser.reload().await;
    portal.see(LOGIN).await;

    portal.enter_password(PASSWORD).await;
    portal.see(CODE).await;
    portal.browser.reload().await;
    portal.see(CODE).await;
    portal.enter_code(&portal.sent_code()).await;
    portal.see(ORDERS).await;
    let token = portal.token().await;

    portal.browser.reload().await;
    portal.see(&format!("{ORDERS} td")).await;
    assert_eq!(portal.token().await, token, "it is confirmed once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_log_out_the_token_is_rejected_and_no_way_back_shows_the_orders() {
    let portal = Portal::open().await;
    portal.log_in().await;
    let token = portal.token().await;
    portal.orders_with(&token).await.expect(200);

    // The page that is left here is what a browser may keep, as it is once it was hidden.
    let kept = "dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true})); \
                return document.body.textContent";
    let kept = portal.browser.run(kept).await.as_str().unwrap().to_owned();
    assert!(!kept.contains("Jane") && !kept.contains("Teapot"), "{kept}");
    portal.browser.open(&format!("{}/portal.css", portal.server.url())).await;
    portal.browser.open(&portal.server.url()).await;
    portal.browser.click(&format!("{ORDERS} .log-out")).await;
    assert!(portal.see(LOGIN).await.contains("Log in"));
    assert_eq!(portal.see("[role=status]").await, "You have logged out.");
    portal.picture("logged-out").await;

    portal.orders_with(&token).await.expect(401);
    portal.server.get("/orders", &token).await.expect(401);
    assert_eq!(portal.browser.cookies().await, Vec::<Value>::new());

    portal.browser.back().await;
    portal.browser.back().await;
    portal.see(LOGIN).await;
    let shown = portal.browser.run("return document.body.textContent").await;
    let shown = shown.as_str().unwrap();
    assert!(!shown.contains("Jane") && !shown.contains("Teapot"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_starts_again_before_the_code_has_a_session_that_is_gone() {
    let portal = Portal::open().await;
    portal.enter_password(PASSWORD).await;
    portal.see(CODE).await;
    let token = portal.token().await;
    let code = portal.sent_code();
    portal.browser.click(&format!("{CODE} .log-out")).await;
    portal.see(LOGIN).await;

    let request = Request::post("/session/code")
        .header("cookie", format!("{COOKIE}={token}"))
        .header("content-type", "application/json")
        .body(json!({"code": code}).to_string());
    send(portal.server.address(), request.unwrap()).await.expect(410);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_fits_on_a_telephone() {
    let portal = Portal::open().await;
    portal.browser.resize(320, 640).await;
    let fits = "return document.documentElement.scrollWidth <= 320 && innerWidth === 320";
    portal.see(LOGIN).await;
    assert_eq!(portal.browser.run(fits).await, true);
    portal.picture("narrow-login").await;
    portal.log_in().await;
    assert_eq!(portal.browser.run(fits).await, true);
    portal.picture("narrow-orders").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_done_for_what_a_form_of_another_site_can_send() {
    let (server, _folder) = serve();
    let body = json!({"username": "jane@example.com", "password": PASSWORD}).to_string();
    for content_type in ["text/plain", "application/x-www-form-urlencoded"] {
        server.post("/session", content_type, body.clone()).await.expect(415);
        server.post("/session/code", content_type, r#"{"code": "123456"}"#).await.expect(415);
    }
    server.post("/session", "application/json", body).await.expect(204);

    let page = send(server.address(), Request::get("/").body("").unwrap()).await.expect(200);
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("cache-control"), "no-store");
}
