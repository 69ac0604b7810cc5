//! A customer's web page: name, password and one-time password, then orders, until they log out.
//!
//! ```text
//! cargo run --example customer_portal
//! ```
//!
//! Open <http://127.0.0.1:8080>, and log in as `jane@example.com` with the password
//! `correct-horse-battery-staple`. The code is printed to the terminal.
//!
//! | variable | what it is | without it |
//! |---|---|---|
//! | `COUNTERSIGN_LISTEN` | address and port | `127.0.0.1:8080` |
//! | `COUNTERSIGN_DEMO_PASSWORD` | Jane's password | the one above |
//! | `COUNTERSIGN_OUTBOX` | a file that codes are appended to as JSON lines | they are printed |
//!
//! What a customer holds is one cookie, which scripts cannot read: an authentication token. After the
//! password it is that of a session which waits for its code, and opens nothing. The right code ends that
//! session for a fresh one, whose token the cookie is from then on, and which an `ExchangeLayer` takes. Until
//! then the layer says what is missing.
//! `Secure` cookies need HTTPS, but for the loopback in Chromium and Firefox.
//!
//! Pages of other sites can do nothing in a customer's name: `SameSite=Strict` keeps the cookie from
//! them, and no browser sends JSON or a `DELETE` from them, or from a subdomain, without asking first.
//! Where forms are posted, an `ExchangeLayer` and an `IssueLayer` reject what another origin sends.

#![allow(clippy::print_stdout, reason = "a program talks to its terminal")]

use std::env;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;

use async_trait::async_trait;
use axum::extract::State;
use axum::middleware::map_response;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use countersign::cookies::{SameSite, SessionCookie};
use countersign::sessions::{CustomerLogin, OneTimePasswordMessage, OneTimePasswordSender};
use countersign::{
    Acl, AclEntry, Algorithm, AuthenticationToken, Bearer, CustomerId, Entity, Error, ErrorKind,
    KeyRing, Password, Rejection, RequestContext, TokenService,
};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, RETRY_AFTER, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

type Problem = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Problem> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let listen = env::var("COUNTERSIGN_LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(&listen).await?;
    let address = listener.local_addr()?;
    let tokens = TokenService::builder()
        .issuer(format!("http://{address}"))
        .audience(format!("http://{address}"))
        .keys(KeyRing::generate(Algorithm::EdDSA)?)
        .one_time_password_sender(Mailbox)
        .reject_with(reject)
        .build()?;
    register_jane(&tokens).await?;
    let housekeeping = tokens.start().await?;
    tracing::info!(%address, "open http://{address} and log in as jane@example.com");
    // With the peers' addresses, for throttling by them.
    let app = app(&tokens).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).await?;
    housekeeping.shutdown().await;
    Ok(())
}

async fn register_jane(tokens: &TokenService) -> Result<(), Problem> {
    let password = env::var("COUNTERSIGN_DEMO_PASSWORD");
    let password = password.unwrap_or_else(|_| "correct-horse-battery-staple".to_owned());
    let hash = tokens.hash_password(Password::new(password)?).await?;
    let may = AclEntry::anywhere(["GetOrders"])?;
    let jane = Entity::customer("jane@example.com", hash, CustomerId::new("cus_1")?, true)?
        .acl(Acl::new([may]))
        .custom_claims(json!({"name": "Jane"}))?;
    Ok(tokens.register(jane).await?)
}

fn app(tokens: &TokenService) -> Router {
    let file = |media: &'static str, text: &'static str| {
        get(move || async move { ([(CONTENT_TYPE, media)], text) })
    };
    let orders = get(orders)
        .route_layer(tokens.require_layer("GetOrders"))
        .route_layer(tokens.exchange_layer());
    Router::new()
        .route("/", get(|| async { Html(include_str!("portal.html")) }))
        .route("/portal.js", file("text/javascript; charset=utf-8", include_str!("portal.js")))
        .route("/portal.css", file("text/css; charset=utf-8", include_str!("portal.css")))
        .route("/session", post(log_in).delete(log_out))
        .route("/session/code", post(enter_code))
        .route("/orders", orders)
        .layer(map_response(guarded))
        .with_state(tokens.clone())
}

/// Nothing runs in the page but its own script, nothing frames it, and nobody keeps copies.
async fn guarded(mut response: Response) -> Response {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
                          connect-src 'self'; form-action 'none'; base-uri 'none'; \
                          frame-ancestors 'none'; require-trusted-types-for 'script'";
    let headers = response.headers_mut();
    headers.insert("content-security-policy", HeaderValue::from_static(POLICY));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[derive(Deserialize)]
struct Login {
    username: String,
    password: Password,
}

async fn log_in(
    State(tokens): State<TokenService>,
    context: RequestContext,
    Json(login): Json<Login>,
) -> Result<Response, Rejected> {
    let login = CustomerLogin::new(login.username, login.password);
    let started = tokens.log_in_customer(login, &context).await?;
    Ok(holding(&started.token))
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

async fn enter_code(
    State(tokens): State<TokenService>,
    context: RequestContext,
    headers: HeaderMap,
    Json(Code { code }): Json<Code>,
) -> Result<Response, Rejected> {
    let token = AuthenticationToken::from_text(held(&headers))?;
    let fresh = tokens.confirm_one_time_password(&token, code, &context).await?;
    Ok(holding(&fresh.token))
}

/// Whatever the cookie holds, nobody gets anything for it after this.
async fn log_out(
    State(tokens): State<TokenService>,
    context: RequestContext,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Rejection> {
    let removal = tokens.log_out_browser(&cookie(), &headers, &context).await?;
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, removal)]))
}

#[derive(Deserialize)]
struct Customer {
    name: String,
}

/// A real one asks a database for those of `claims.principal()`.
async fn orders(Bearer(claims): Bearer<Customer>) -> Json<Value> {
    let orders = json!([
        {"number": "A-1027", "item": "Teapot, blue", "placed": "2 June 2026", "total": "£34.00"},
        {"number": "A-1019", "item": "Six cups", "placed": "17 May 2026", "total": "£27.50"},
        {"number": "A-0988", "item": "Assam, 500 g", "placed": "3 April 2026", "total": "£12.90"},
    ]);
    Json(json!({"name": claims.custom.name, "orders": orders}))
}

const SESSION: &str = "__Host-session";

/// What an `ExchangeLayer` reads unless told, kept from other sites' links as well.
fn cookie() -> SessionCookie {
    SessionCookie::default().same_site(SameSite::Strict)
}

/// What the cookie holds; nothing, where there is none.
fn held(headers: &HeaderMap) -> &str {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).map(str::trim);
    pairs.find_map(|pair| pair.strip_prefix(SESSION)?.strip_prefix('=')).unwrap_or_default()
}

/// Has the browser hold this until it is closed.
fn holding(token: &AuthenticationToken) -> Response {
    let token = token.expose();
    let cookie = format!("{SESSION}={token}; Path=/; HttpOnly; Secure; SameSite=Strict");
    (StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response()
}

/// Says which step the page has to show.
fn reject(rejection: &Rejection, _: &Parts) -> (StatusCode, Json<Value>) {
    let step = match rejection.code() {
        "one-time-password-required" => Some("code"),
        _ if rejection.status().is_server_error() => None,
        _ => Some("login"),
    };
    let body = json!({"step": step, "detail": rejection.message()});
    (rejection.status(), Json(body))
}

/// An error as the page tells it to a customer.
struct Rejected(Error);

impl From<Error> for Rejected {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Rejected {
    fn into_response(self) -> Response {
        // 403, for a 401 has to name a scheme to try (RFC 9110 §15.5.2), and a form is none.
        let (status, detail) = match self.0.kind() {
            ErrorKind::InvalidCredentials => {
                (StatusCode::FORBIDDEN, "The e-mail address or the password is wrong.")
            }
            ErrorKind::InvalidFields => {
                (StatusCode::UNPROCESSABLE_ENTITY, "Please check what you have typed.")
            }
            ErrorKind::OneTimePasswordInvalid => (StatusCode::FORBIDDEN, "The code is wrong."),
            ErrorKind::NotFound => (StatusCode::GONE, "The login has ended. Please log in again."),
            ErrorKind::Throttled => {
                (StatusCode::TOO_MANY_REQUESTS, "That was tried too often. Wait a little.")
            }
            _ => {
                tracing::warn!(error = ?self.0, "a request is answered 503");
                (StatusCode::SERVICE_UNAVAILABLE, "Something went wrong. Try again later.")
            }
        };
        let mut response = (status, Json(json!({"detail": detail}))).into_response();
        if let Some(delay) = self.0.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, delay.as_secs().max(1).into());
        }
        response
    }
}

/// Where codes go; a real one sends an e-mail, as the example `email_code` does.
#[derive(Debug)]
struct Mailbox;

#[async_trait]
impl OneTimePasswordSender for Mailbox {
    async fn send(&self, message: OneTimePasswordMessage) -> Result<(), Problem> {
        let code = message.one_time_password.expose();
        let Some(path) = env::var_os("COUNTERSIGN_OUTBOX") else {
            println!("The code for {} is {code}.", message.customer_id);
            return Ok(());
        };
        let line = json!({"to": message.customer_id, "oneTimePassword": code});
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(file.write_all(format!("{line}\n").as_bytes())?)
    }
}
