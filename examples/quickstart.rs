//! A token service in memory with a demo user, entity and customer, and the lines to try it.
//!
//! ```text
//! cargo run --example quickstart             # prints curl lines, then serves
//! cargo run --example quickstart -- --walk   # makes those calls itself and checks the answers
//! ```
//!
//! It listens on `127.0.0.1:8080`, or where `COUNTERSIGN_LISTEN` says.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its terminal")]

use std::net::SocketAddr;
use std::process::ExitCode;

use async_trait::async_trait;
use axum::routing::get;
use axum::{Json, Router};
use countersign::sessions::{OneTimePasswordMessage, OneTimePasswordSender};
use countersign::{
    Acl, AclEntry, Actor, Algorithm, Bearer, CustomerId, Entity, EntityId, KeyRing, NewSession,
    Password, RequestContext, Secret, TokenService,
};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

type Problem = Box<dyn std::error::Error + Send + Sync>;

const USERNAME: &str = "ops@example.com";
const PASSWORD: &str = "correct-horse-battery-staple";
const ENTITY: &str = "aa-1";
const CUSTOMER: &str = "cus_1";
const CUSTOMER_NAME: &str = "jane@example.com";

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("quickstart: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Problem> {
    let walking = std::env::args().any(|argument| argument == "--walk");
    let wanted = std::env::var("COUNTERSIGN_LISTEN");
    let default = if walking { "127.0.0.1:0" } else { "127.0.0.1:8080" };
    let listener = TcpListener::bind(wanted.as_deref().unwrap_or(default)).await?;
    let address = listener.local_addr()?;

    let tokens = TokenService::builder()
        .issuer(format!("http://{address}"))
        .audience("https://api.example.com")
        .keys(KeyRing::generate(Algorithm::EdDSA)?)
        .one_time_password_sender(Terminal)
        .build()?;
    let demo = Demo::register(&tokens).await?;
    let app = Router::new()
        .route("/session", get(claims).route_layer(tokens.exchange_layer()))
        .route("/protected", get(claims).route_layer(tokens.validate_layer()))
        .merge(tokens.router())
        // With the peers' addresses, for throttling by them.
        .into_make_service_with_connect_info::<SocketAddr>();
    let _housekeeping = tokens.start().await?;

    if walking {
        let serving = tokio::spawn(async move { axum::serve(listener, app).await });
        let walked = demo.walk(address).await;
        serving.abort();
        walked
    } else {
        demo.print_curl_lines(address);
        Ok(axum::serve(listener, app).await?)
    }
}

async fn claims(Bearer(claims): Bearer) -> Json<Value> {
    Json(json!(**claims.validated()))
}

/// Prints one-time passwords, where a real one would send an e-mail.
#[derive(Debug)]
struct Terminal;

#[async_trait]
impl OneTimePasswordSender for Terminal {
    async fn send(&self, message: OneTimePasswordMessage) -> Result<(), Problem> {
        println!("(to {}: {})", message.customer_id, message.one_time_password.expose());
        Ok(())
    }
}

/// What the demo's callers know.
struct Demo {
    entity_secret: String,
    user_token: String,
    /// For the layer, for an exchange, for a narrowed exchange, and for logging out.
    authentication_tokens: [String; 4],
    /// Of a session that asks for a one-time password.
    guarded_token: String,
}

impl Demo {
    async fn register(tokens: &TokenService) -> Result<Self, Problem> {
        let managing =
            AclEntry::new([("entityId", [ENTITY])], ["ReadEntitySecret", "ResetEntitySecret"])?;
        let starting = AclEntry::new(
            [("customerId", [CUSTOMER])],
            ["PostAuthenticationToken", "GetAuthenticationTokenCollection"],
        )?;
        let password = tokens.hash_password(Password::new(PASSWORD)?).await?;
        let user = Entity::user(USERNAME, password.clone())?;
        tokens.register(user.acl(Acl::new([managing, starting]))).await?;
        let customer_id = CustomerId::new(CUSTOMER)?;
        tokens.register(Entity::customer(CUSTOMER_NAME, password, customer_id, false)?).await?;
        tokens.register(Entity::machine(ENTITY)?).await?;
        let secret = Secret::generate()?;
        tokens.import_secret(&EntityId::machine(ENTITY)?, &secret, None).await?;
        let login = tokens
            .issue_user_token(
                USERNAME,
                Password::new(PASSWORD)?,
                &RequestContext::without_address(),
            )
            .await?;

        let mut authentication_tokens = Vec::new();
        for _ in 0..4 {
            let shopping =
                AclEntry::new([("productId", ["prod_1", "prod_2"])], ["GetOrders", "PostOrder"])?;
            let session = NewSession::of(CustomerId::new(CUSTOMER)?).acl(Acl::new([shopping]));
            let started = tokens
                .start_session(Actor::Host, session, &RequestContext::without_address())
                .await?;
            authentication_tokens.push(started.token.expose().to_owned());
        }
        let authentication_tokens =
            authentication_tokens.try_into().map_err(|_| "four sessions were started")?;
        let guarded = NewSession::of(CustomerId::new(CUSTOMER)?).otp_required(true);
        let guarded =
            tokens.start_session(Actor::Host, guarded, &RequestContext::without_address()).await?;
        Ok(Self {
            entity_secret: secret.expose().to_owned(),
            user_token: login.access_token.expose().to_owned(),
            authentication_tokens,
            guarded_token: guarded.token.expose().to_owned(),
        })
    }

    /// Every route, in an order in which each call works once as printed.
    fn calls(&self) -> Vec<Call> {
        let json = Some("application/json");
        let form = Some("application/x-www-form-urlencoded");
        let secret_request = json!({
            "ver": "1.0.0",
            "timestamp": "2024-07-16T11:33:34.509Z",
            "txnId": "f35761ac-4a18-11e8-96ff-0277a9fbfedc",
            "entityId": ENTITY,
            "secretExpiryDays": 100,
        })
        .to_string();
        let narrowed = json!({
            "acl": [{"scope": {"productId": ["prod_1"]}, "permissions": ["GetOrders"]}],
        })
        .to_string();
        let [for_layer, plain, for_narrowing, to_end] = &self.authentication_tokens;
        let exchange = |token: &str| format!("/authentication-tokens/{token}/exchange");
        let single = |token: &str| format!("/authentication-tokens/{token}");
        let code = |token: &str| format!("/authentication-tokens/{token}/one-time-password");
        let listing = format!("/authentication-tokens?customerId={CUSTOMER}&limit=2");
        let user = Some(self.user_token.clone());
        let call = Call::new;
        vec![
            call("A user logs in", "/user/token/generate", None)
                .posts(form, format!("username={USERNAME}&password={PASSWORD}"))
                .expects(StatusCode::OK, &["accessToken", "expiresIn", "txnId"]),
            call("An entity logs in", "/entity/token/generate", None)
                .posts(form, format!("id={ENTITY}&secret={}", self.entity_secret))
                .expects(StatusCode::OK, &["accessToken", "expiresIn", "txnId"]),
            call("The user reads the entity's secret", "/entity/secret/read", user.clone())
                .posts(json, secret_request.clone())
                .expects(StatusCode::OK, &["secret", "expiresOn", "expirationDate"]),
            call("The user resets it", "/entity/secret/reset", user.clone())
                .posts(json, secret_request)
                .expects(StatusCode::OK, &["secret", "expiresOn", "expirationDate"]),
            call("The old secret has ended", "/entity/token/generate", None)
                .posts(form, format!("id={ENTITY}&secret={}", self.entity_secret))
                .expects(StatusCode::UNAUTHORIZED, &["errorCode", "errorMsg"]),
            call("A customer's token is exchanged for a JWT", &exchange(plain), None)
                .posts(None, String::new())
                .expects(StatusCode::CREATED, &["id", "token", "acl", "expiredTime"]),
            call("But only once", &exchange(plain), None)
                .posts(None, String::new())
                .expects(StatusCode::NOT_FOUND, &["type", "title", "status"]),
            call("Asking for more than it holds uses nothing up", &exchange(for_narrowing), None)
                .posts(json, json!({"acl": [{"scope": {}, "permissions": ["*"]}]}).to_string())
                .expects(StatusCode::FORBIDDEN, &["type", "title", "status"]),
            call("Narrowed to one product", &exchange(for_narrowing), None)
                .posts(json, narrowed)
                .expects(StatusCode::CREATED, &["id", "token", "acl", "expiredTime"]),
            call("A customer logs in", "/authentication-tokens", None)
                .posts(json, json!({"username": CUSTOMER_NAME, "password": PASSWORD}).to_string())
                .expects(StatusCode::CREATED, &["token", "customerId", "expiredTime"]),
            call("The user vouches for one", "/authentication-tokens", user.clone())
                .posts(json, json!({"mode": "passwordless", "customerId": CUSTOMER}).to_string())
                .expects(StatusCode::CREATED, &["token", "customerId", "expiredTime"]),
            call("And lists the customer's sessions", &listing, user.clone())
                .expects(StatusCode::OK, &[]),
            call("A token is looked at", &single(to_end), None)
                .expects(StatusCode::OK, &["customerId", "otpRequired", "expiredTime"]),
            call("The customer logs out", &single(to_end), None)
                .deletes()
                .expects(StatusCode::NO_CONTENT, &[]),
            call("This session asks for a code", &exchange(&self.guarded_token), None)
                .posts(None, String::new())
                .expects(StatusCode::UNAUTHORIZED, &["type", "title", "status"]),
            call("Which is sent again, but not at once", &code(&self.guarded_token), None)
                .posts(None, String::new())
                .expects(StatusCode::TOO_MANY_REQUESTS, &["type", "title", "status"]),
            call("The public keys", "/.well-known/jwks.json", None)
                .expects(StatusCode::OK, &["keys"]),
            call("A route behind ValidateLayer", "/protected", user)
                .expects(StatusCode::OK, &["iss", "sub", "acl"]),
            call("A route behind ExchangeLayer", "/session", Some(for_layer.clone()))
                .expects(StatusCode::OK, &["iss", "sub", "acl"]),
            call("Without a token", "/protected", None)
                .expects(StatusCode::UNAUTHORIZED, &["type", "title", "status"]),
        ]
    }

    fn print_curl_lines(&self, address: SocketAddr) {
        println!("Serving on http://{address}. Try, one after the other:\n");
        for call in self.calls() {
            println!("# {}\n{}\n", call.title, call.curl_line(address));
        }
        println!("# Ctrl-C ends it.");
    }

    async fn walk(&self, address: SocketAddr) -> Result<(), Problem> {
        let calls = self.calls();
        let count = calls.len();
        for call in calls {
            call.make(address).await?;
        }
        println!("All {count} answers were as documented.");
        Ok(())
    }
}

/// One request, and what its answer has to be.
struct Call {
    title: String,
    path: String,
    bearer: Option<String>,
    method: &'static str,
    body: Option<(Option<&'static str>, String)>,
    status: StatusCode,
    members: &'static [&'static str],
}

impl Call {
    fn new(title: &str, path: &str, bearer: Option<String>) -> Self {
        let (title, path) = (title.to_owned(), path.to_owned());
        let status = StatusCode::OK;
        Self { title, path, bearer, method: "GET", body: None, status, members: &[] }
    }

    fn deletes(mut self) -> Self {
        self.method = "DELETE";
        self
    }

    fn posts(mut self, content_type: Option<&'static str>, body: String) -> Self {
        self.body = Some((content_type, body));
        self.method = "POST";
        self
    }

    fn expects(mut self, status: StatusCode, members: &'static [&'static str]) -> Self {
        (self.status, self.members) = (status, members);
        self
    }

    fn curl_line(&self, address: SocketAddr) -> String {
        let mut line = String::from("curl -i");
        match &self.body {
            Some((Some("application/json"), body)) => {
                line += &format!(" -H 'Content-Type: application/json' -d '{body}'");
            }
            Some((_, body)) if body.is_empty() => line += " -X POST",
            Some((_, body)) => line += &format!(" -d '{body}'"),
            None if self.method != "GET" => line += &format!(" -X {}", self.method),
            None => {}
        }
        if let Some(token) = &self.bearer {
            line += &format!(" -H 'Authorization: Bearer {token}'");
        }
        line + &format!(" 'http://{address}{}'", self.path)
    }

    async fn make(&self, address: SocketAddr) -> Result<(), Problem> {
        let method = self.method;
        let mut request =
            Request::builder().method(method).uri(&self.path).header("host", address.to_string());
        let mut body = String::new();
        if let Some((content_type, text)) = &self.body {
            body.clone_from(text);
            if let Some(content_type) = content_type {
                request = request.header("content-type", *content_type);
            }
        }
        if let Some(token) = &self.bearer {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        println!("# {}\n> {method} {}", self.title, shorten(&self.path));
        if !body.is_empty() {
            println!("> {}", shorten(&body));
        }

        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driving = tokio::spawn(connection);
        let response = sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
        let status = response.status();
        let text = response.into_body().collect().await?.to_bytes();
        driving.abort();
        println!("< {status}\n< {}\n", shorten(&String::from_utf8_lossy(&text)));

        if status != self.status {
            return Err(format!("{}: {status} instead of {}", self.title, self.status).into());
        }
        if self.members.is_empty() {
            return Ok(());
        }
        let answer: Value = serde_json::from_slice(&text)?;
        match self.members.iter().find(|member| answer.get(**member).is_none()) {
            Some(missing) => Err(format!("{}: the answer has no {missing}", self.title).into()),
            None => Ok(()),
        }
    }
}

/// Cuts whatever is long enough to be a secret: it is not to stay in a terminal's history.
fn shorten(text: &str) -> String {
    let is_secret = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let mut shortened = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_secret(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        match word.get(..6) {
            Some(head) if word.len() >= 40 => shortened += &format!("{head}…"),
            _ => shortened += word,
        }
        let next = after.find(is_secret).unwrap_or(after.len());
        let (between, after) = after.split_at(next);
        shortened += between;
        rest = after;
    }
    shortened.replace(PASSWORD, "corr…")
}
