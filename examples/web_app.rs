//! A web site whose pages the server renders, without JavaScript: a login by password and one-time
//! password, a session in a cookie, and a log-out.
//!
//! ```text
//! cargo run --example web_app       and open http://localhost:8080/orders in a browser, or:
//! curl -i -H 'Accept: text/html' http://localhost:8080/orders
//! curl -i -H 'Sec-Fetch-Site: same-origin' -d 'name=jane&password=correct-horse&next=/orders' http://localhost:8080/login
//! curl -i -H 'Sec-Fetch-Site: same-origin' -H "Cookie: __Host-session=$TOKEN" -d "code=$CODE&next=/orders" http://localhost:8080/login/code
//! curl -H "Cookie: __Host-session=$TOKEN" http://localhost:8080/orders
//! curl -i -H 'Sec-Fetch-Site: same-origin' -H "Cookie: __Host-session=$TOKEN" -X POST http://localhost:8080/logout
//! cargo test --example web_app
//! ```
//!
//! The one-time password is printed; a real site sends it.
//!
//! Browsers say by `Sec-Fetch-Site` whose page sends a request. A login and what changes something count
//! from the site's own pages alone, so curl has to say it as well.

#![allow(clippy::print_stdout, reason = "a program talks to its terminal")]

use std::net::SocketAddr;

use axum::extract::{Query, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use countersign::cookies::{ReturnPath, SessionCookie};
use countersign::sessions::{
    CustomerLogin, OneTimePasswordMessage, OneTimePasswordSender, SessionState,
};
use countersign::{
    Algorithm, Bearer, CustomerId, Entity, Error, ErrorKind, KeyRing, Password, Rejection,
    RequestContext, StartedSession, TokenService,
};
use http::HeaderMap;
use http::header::SET_COOKIE;
use serde::Deserialize;
use tokio::net::TcpListener;

#[derive(Debug)]
struct Terminal;

#[async_trait::async_trait]
impl OneTimePasswordSender for Terminal {
    async fn send(
        &self,
        message: OneTimePasswordMessage,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        println!("the code is {}", message.one_time_password.expose());
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tokens = token_service(Terminal).await?;
    let housekeeping = tokens.start().await?;
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("open http://localhost:8080/orders and log in as jane, with correct-horse");
    let app = app(&tokens).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).await?;
    housekeeping.shutdown().await;
    Ok(())
}

async fn token_service(sender: impl OneTimePasswordSender) -> Result<TokenService, Error> {
    let tokens = TokenService::builder()
        .issuer("https://shop.example.com")
        .audience("https://shop.example.com")
        .keys(KeyRing::generate(Algorithm::EdDSA)?)
        .one_time_password_sender(sender)
        .reject_with(|rejection, _| {
            let body = format!("<p>{}</p><p><a href=/login>Log in</a></p>", rejection.message());
            (rejection.status(), page("That did not work", &body))
        })
        .build()?;
    let hash = tokens.hash_password(Password::new("correct-horse")?).await?;
    tokens.register(Entity::customer("jane", hash, CustomerId::new("cus_1")?, true)?).await?;
    Ok(tokens)
}

fn app(tokens: &TokenService) -> Router {
    let pages = tokens.exchange_layer().stale_cookies_are_anonymous();
    let public = Router::new().route("/", get(front)).layer(pages.clone().optional());
    let members = Router::new().route("/orders", get(orders)).layer(pages.login_page("/login"));
    let login = Router::new()
        .route("/login", get(login_form).post(log_in))
        .route("/login/code", post(enter_code))
        .route("/logout", post(log_out))
        // Another site must not log its visitors in here, or out.
        .layer(tokens.same_origin_layer());
    public.merge(members).merge(login).with_state(tokens.clone())
}

// --- Pages ----------------------------------------------------------------------------------

fn page(title: &str, body: &str) -> Html<String> {
    Html(format!("<!doctype html><title>{title}</title><h1>{title}</h1>{body}"))
}

async fn front(visitor: Option<Bearer>) -> Html<String> {
    match visitor {
        Some(_) => page("Welcome back", "<p><a href=/orders>Your orders</a></p>"),
        None => page("Welcome", "<p><a href=/login>Log in</a></p>"),
    }
}

async fn orders(Bearer(customer): Bearer) -> Html<String> {
    let log_out = "<form method=post action=/logout><button>Log out</button></form>";
    page(&format!("Orders of {}", customer.principal().id()), log_out)
}

// --- Logging in and out ---------------------------------------------------------------------

#[derive(Deserialize)]
struct Next {
    #[serde(default)]
    next: ReturnPath,
}

async fn login_form(Query(Next { next }): Query<Next>) -> Html<String> {
    ask_password(&next, "")
}

fn ask_password(next: &ReturnPath, problem: &str) -> Html<String> {
    let form = format!(
        "<p>{problem}</p><form method=post action=/login>\
         <input type=hidden name=next value=\"{next}\"><input name=name>\
         <input type=password name=password><button>Log in</button></form>"
    );
    page("Log in", &form)
}

fn ask_code(next: &ReturnPath, problem: &str) -> Html<String> {
    let form = format!(
        "<p>{problem}</p><form method=post action=/login/code>\
         <input type=hidden name=next value=\"{next}\"><input name=code>\
         <button>Go on</button></form>"
    );
    page("Type the code that you were sent", &form)
}

#[derive(Deserialize)]
struct Login {
    name: String,
    password: Password,
    #[serde(default)]
    next: ReturnPath,
}

async fn log_in(
    State(tokens): State<TokenService>,
    context: RequestContext,
    Form(login): Form<Login>,
) -> Result<Response, Rejection> {
    let by_password = CustomerLogin::new(login.name, login.password);
    match tokens.log_in_customer(by_password, &context).await {
        Ok(started) => Ok(proceed(&started, &login.next)),
        Err(error) if error.kind() == ErrorKind::InvalidCredentials => {
            let again = ask_password(&login.next, "Name and password do not fit.");
            Ok((error.status(), again).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Deserialize)]
struct Code {
    code: String,
    #[serde(default)]
    next: ReturnPath,
}

async fn enter_code(
    State(tokens): State<TokenService>,
    context: RequestContext,
    headers: HeaderMap,
    Form(form): Form<Code>,
) -> Result<Response, Rejection> {
    let token = SessionCookie::default().token(&headers)?;
    match tokens.confirm_one_time_password(&token, form.code, &context).await {
        Ok(started) => Ok(proceed(&started, &form.next)),
        Err(error) if error.kind() == ErrorKind::OneTimePasswordInvalid => {
            let again = ask_code(&form.next, "That is not the code.");
            Ok((error.status(), again).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

/// Goes on to the code, or to the page that was asked for.
fn proceed(started: &StartedSession, next: &ReturnPath) -> Response {
    let cookie = [(SET_COOKIE, started.cookie(&SessionCookie::default()))];
    match started.session {
        SessionState::OneTimePasswordPending(_) => (cookie, ask_code(next, "")).into_response(),
        SessionState::Proven(_) => (cookie, Redirect::to(next.as_str())).into_response(),
    }
}

/// Whatever the cookie holds: a session that has ended meanwhile, too.
async fn log_out(
    State(tokens): State<TokenService>,
    context: RequestContext,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Rejection> {
    let removal = tokens.log_out_browser(&SessionCookie::default(), &headers, &context).await?;
    Ok(([(SET_COOKIE, removal)], Redirect::to("/")))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::body::Body;
    use http::Request;
    use http::request::Builder;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    /// Keeps the last code.
    #[derive(Clone, Debug, Default)]
    struct Outbox(Arc<Mutex<String>>);

    #[async_trait::async_trait]
    impl OneTimePasswordSender for Outbox {
        async fn send(
            &self,
            message: OneTimePasswordMessage,
        ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            *self.0.lock().unwrap() = message.one_time_password.expose().to_owned();
            Ok(())
        }
    }

    /// Keeps the cookie, as a browser does.
    struct Browser {
        app: Router,
        outbox: Outbox,
        cookie: Option<String>,
    }

    struct Page {
        status: u16,
        location: String,
        body: String,
    }

    impl Browser {
        async fn new() -> Self {
            let outbox = Outbox::default();
            let tokens = token_service(outbox.clone()).await.unwrap();
            Self { app: app(&tokens), outbox, cookie: None }
        }

        fn code(&self) -> String {
            self.outbox.0.lock().unwrap().clone()
        }

        async fn get(&mut self, path: &str) -> Page {
            self.send(Request::get(path).header("accept", "text/html"), String::new()).await
        }

        async fn post(&mut self, path: &str, form: &str) -> Page {
            self.post_from("same-origin", path, form).await
        }

        async fn post_from(&mut self, site: &str, path: &str, form: &str) -> Page {
            let request = Request::post(path)
                .header("accept", "text/html")
                .header("sec-fetch-site", site)
                .header("content-type", "application/x-www-form-urlencoded");
            self.send(request, form.to_owned()).await
        }

        async fn send(&mut self, mut request: Builder, body: String) -> Page {
            if let Some(cookie) = &self.cookie {
                request = request.header("cookie", cookie);
            }
            let request = request.body(Body::from(body)).unwrap();
            let response = self.app.clone().oneshot(request).await.unwrap();
            if let Some(set) = response.headers().get("set-cookie") {
                let pair = set.to_str().unwrap().split(';').next().unwrap();
                self.cookie = (!pair.ends_with('=')).then(|| pair.to_owned());
            }
            let location = response.headers().get("location");
            let location = location.map_or("", |value| value.to_str().unwrap()).to_owned();
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            Page { status, location, body: String::from_utf8(body.to_vec()).unwrap() }
        }
    }

    const LOGIN: &str = "name=jane&password=correct-horse&next=%2Forders%3Fpage%3D2";

    #[tokio::test]
    async fn a_visitor_is_sent_to_the_login_and_back_to_the_page_they_wanted() {
        let mut browser = Browser::new().await;
        let wanted = browser.get("/orders?page=2").await;
        assert_eq!(wanted.status, 303);
        let form = browser.get(&wanted.location).await;
        assert!(form.body.contains("value=\"/orders?page=2\""), "{}", form.body);
        let code_form = browser.post("/login", LOGIN).await;
        assert!(code_form.body.contains("name=code"), "{}", code_form.body);
        assert_eq!(browser.get("/orders").await.status, 303, "the password alone logs nobody in");

        let form = format!("code={}&next=%2Forders%3Fpage%3D2", browser.code());
        let done = browser.post("/login/code", &form).await;
        assert_eq!((done.status, &*done.location), (303, "/orders?page=2"));
        let orders = browser.get("/orders?page=2").await;
        assert!(orders.body.contains("Orders of cus_1"), "{}", orders.body);
    }

    #[tokio::test]
    async fn a_wrong_password_and_a_wrong_code_are_asked_for_again() {
        let mut browser = Browser::new().await;
        let page = browser.post("/login", "name=jane&password=wrong&next=/orders").await;
        assert_eq!(page.status, 401);
        assert!(page.body.contains("name=password"), "{}", page.body);
        browser.post("/login", LOGIN).await;
        let wrong = if browser.code() == "000000" { "000001" } else { "000000" };
        let page = browser.post("/login/code", &format!("code={wrong}&next=/orders")).await;
        assert_eq!(page.status, 401);
        assert!(page.body.contains("name=code"), "{}", page.body);
        let right = format!("code={}&next=/orders", browser.code());
        assert_eq!(browser.post("/login/code", &right).await.location, "/orders");
    }

    #[tokio::test]
    async fn the_way_back_never_leads_to_another_site() {
        let mut browser = Browser::new().await;
        for next in ["https://evil.example", "//evil.example", "/%22%3E%3Cscript%3E"] {
            browser.cookie = None;
            let page = browser.get(&format!("/login?next={next}")).await;
            assert!(page.body.contains("value=\"/"), "{}", page.body);
            assert!(
                !page.body.contains("evil") && !page.body.contains("<script>"),
                "{}",
                page.body
            );
        }
    }

    #[tokio::test]
    async fn who_logs_out_is_a_visitor_again_and_so_is_a_copy_of_the_cookie() {
        let mut browser = Browser::new().await;
        browser.post("/login", LOGIN).await;
        let form = format!("code={}", browser.code());
        browser.post("/login/code", &form).await;
        assert!(browser.get("/").await.body.contains("Welcome back"));
        let copy = browser.cookie.clone();
        let page = browser.post("/logout", "").await;
        assert_eq!((page.status, &*page.location, &browser.cookie), (303, "/", &None));

        browser.cookie = copy;
        let front = browser.get("/").await;
        assert!(front.status == 200 && !front.body.contains("Welcome back"), "{}", front.body);
        assert_eq!(browser.cookie, None, "a stale cookie is removed");
        assert_eq!(browser.get("/orders").await.location, "/login?next=/orders");
    }

    #[tokio::test]
    async fn a_log_out_works_with_a_cookie_that_is_stale_and_without_one() {
        let mut browser = Browser::new().await;
        browser.post("/login", LOGIN).await;
        let form = format!("code={}", browser.code());
        browser.post("/login/code", &form).await;
        let stale = browser.cookie.clone();
        for cookie in [stale.clone(), stale, Some("__Host-session=x".to_owned()), None] {
            browser.cookie = cookie;
            let page = browser.post("/logout", "").await;
            assert_eq!((page.status, &*page.location, &browser.cookie), (303, "/", &None));
        }
    }

    #[tokio::test]
    async fn another_site_logs_nobody_in_or_out() {
        let mut browser = Browser::new().await;
        let page = browser.post_from("cross-site", "/login", LOGIN).await;
        assert_eq!((page.status, &browser.cookie), (403, &None));
        assert_eq!(browser.code(), "", "no code was sent");
        browser.post("/login", LOGIN).await;
        let code = format!("code={}", browser.code());
        browser.post("/login/code", &code).await;
        assert_eq!(browser.post_from("cross-site", "/logout", "").await.status, 403);
        assert!(browser.get("/").await.body.contains("Welcome back"));
    }

    #[tokio::test]
    async fn an_error_is_a_page() {
        let mut browser = Browser::new().await;
        let page = browser.post("/login/code", "code=123456").await;
        assert_eq!(page.status, 401, "nobody has typed a password");
        assert!(page.body.contains("<h1>That did not work</h1>"), "{}", page.body);
    }
}
