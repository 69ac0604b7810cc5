//! All routes and layers under a mixed load, good requests and bad ones, for as long as it is asked to:
//! what was answered, how fast, and what became of the memory.
//!
//! ```text
//! cargo bench --bench soak                                                    in memory
//! scripts/servers run -- cargo bench --bench soak --all-features -- postgres  over a database
//! ```
//!
//! Ten minutes, unless `SOAK_SECONDS` says otherwise. It fails where an answer was not one of those
//! that its request may get. Sessions and tokens live for a minute here, so that what is kept comes to
//! a steady state that can be told from a leak.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a program that prints figures, and has nobody to tell its errors"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use countersign::store::PostgresStore;
use countersign::{
    Acl, Algorithm, Bearer, Entity, Grant, KeyRing, Password, Policy, SealingKey, TokenService,
    TokenServiceBuilder,
};
use hdrhistogram::Histogram;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const CALLERS: usize = 8;
const PASSWORD: &str = "correct horse battery staple";
const MINUTE: Duration = Duration::from_secs(60);
/// Room for some thousand tokens, which the first minute fills.
const TOKEN_CACHE: usize = 8 << 20;

#[tokio::main]
async fn main() {
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    let length = Duration::from_secs(seconds.unwrap_or(600));
    let store = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let tokens = service(store.as_deref()).await;
    let world = World::of(&tokens).await;
    let address = serve(&tokens).await;
    let housekeeping = tokio::spawn(tokens.run_housekeeping());

    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        callers.spawn(Caller::new(number, &world, address).run(begun + length));
    }
    println!("| minute | resident, MB |\n|---|---|");
    let mut every_minute = tokio::time::interval(MINUTE);
    let mut minute = 0;
    let mut seen = Seen::default();
    while !callers.is_empty() {
        tokio::select! {
            _ = every_minute.tick() => {
                println!("| {minute} | {:.1} |", resident_megabytes());
                minute += 1;
            }
            Some(done) = callers.join_next() => seen.add(done.unwrap()),
        }
    }
    println!("| end | {:.1} |", resident_megabytes());
    assert!(!housekeeping.is_finished(), "housekeeping goes on");
    seen.print(begun.elapsed());
}

async fn service(store: Option<&str>) -> TokenService {
    let policy = Policy::default()
        .session_lifetime(MINUTE)
        .exchanged_token_lifetime(MINUTE)
        .token_cache_bytes(TOKEN_CACHE);
    let builder = TokenService::builder()
        .issuer("https://auth.example.com")
        .audience("https://api.example.com")
        .keys(KeyRing::generate(Algorithm::EdDSA).unwrap())
        .sealing_key(SealingKey::from_bytes([7; 32]))
        .one_time_password_sender(Nowhere)
        .policy(policy);
    let tokens = over(builder, store).await.build().unwrap();
    tokens.catch_up().await.unwrap();
    tokens
}

async fn over(builder: TokenServiceBuilder, store: Option<&str>) -> TokenServiceBuilder {
    match store {
        None => builder,
        Some("postgres") => {
            let url = std::env::var("COUNTERSIGN_TEST_POSTGRES").expect("scripts/servers run -- …");
            let store = PostgresStore::connect(&url).unwrap();
            store.migrate().await.unwrap();
            builder.entities(store.clone()).sessions(store)
        }
        Some(other) => panic!("{other} is no store: none, or postgres"),
    }
}

/// Codes are sent to nobody: what they are is not to be known here.
#[derive(Debug)]
struct Nowhere;

#[async_trait::async_trait]
impl countersign::OneTimePasswordSender for Nowhere {
    async fn send(
        &self,
        _: countersign::OneTimePasswordMessage,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }
}

/// Who is registered, and what all callers know.
#[derive(Clone)]
struct World {
    manager: String,
}

impl World {
    async fn of(tokens: &TokenService) -> Self {
        let hash = tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
        for number in 0..CALLERS {
            // It may have been there before.
            let machine = Entity::entity(format!("aa-{number}")).unwrap().with_acl(orders());
            let _ = tokens.register(machine).await;
            let user = Entity::user(format!("user-{number}@example.com"), hash.clone()).unwrap();
            let _ = tokens.register(user).await;
        }
        let manager = tokens.issue(Grant::user("ops@example.com").acl(Acl::everything())).unwrap();
        Self { manager: manager.access_token.expose().to_owned() }
    }
}

fn orders() -> Acl {
    serde_json::from_value(acl()).unwrap()
}

fn acl() -> Value {
    json!([{"scope": {"productId": ["p1", "p2"]}, "permissions": ["GetOrders", "PostOrder"]}])
}

async fn serve(tokens: &TokenService) -> SocketAddr {
    let hello = async |Bearer(claims): Bearer| claims.subject().to_owned();
    let app = Router::new()
        .route(
            "/protected",
            get(hello)
                .route_layer(tokens.require("GetOrders").scope("productId", |_| Some("p1".into()))),
        )
        .layer(tokens.validate_layer())
        .merge(
            Router::new()
                .route("/session", get(hello).layer(tokens.validate_layer()))
                .layer(tokens.exchange_layer()),
        )
        .merge(tokens.router());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

/// What was answered to each sort of request, and how fast.
#[derive(Default)]
struct Seen(BTreeMap<&'static str, Answers>);

struct Answers {
    statuses: BTreeMap<u16, usize>,
    /// As large at the end as in the beginning.
    micros: Histogram<u64>,
    unexpected: usize,
}

impl Default for Answers {
    fn default() -> Self {
        let micros = Histogram::new_with_max(MINUTE.as_micros() as u64, 3).unwrap();
        Self { statuses: BTreeMap::new(), micros, unexpected: 0 }
    }
}

impl Seen {
    fn add(&mut self, other: Self) {
        for (sort, answers) in other.0 {
            let known = self.0.entry(sort).or_default();
            for (status, count) in answers.statuses {
                *known.statuses.entry(status).or_default() += count;
            }
            known.micros.add(answers.micros).unwrap();
            known.unexpected += answers.unexpected;
        }
    }

    fn print(&self, took: Duration) {
        println!("\n| request | count | answers | p50, ms | p99, ms | slowest, ms |");
        println!("|---|---|---|---|---|---|");
        let (mut all, mut unexpected) = (0, 0);
        for (sort, answers) in &self.0 {
            let at = |share: f64| answers.micros.value_at_quantile(share) as f64 / 1e3;
            let count = answers.micros.len();
            let statuses: Vec<_> = answers
                .statuses
                .iter()
                .map(|(status, count)| format!("{count} × {status}"))
                .collect();
            println!(
                "| {sort} | {count} | {} | {:.2} | {:.2} | {:.1} |",
                statuses.join(", "),
                at(0.5),
                at(0.99),
                at(1.0)
            );
            all += count;
            unexpected += answers.unexpected;
        }
        let rate = all as f64 / took.as_secs_f64();
        println!(
            "\n{all} requests, {rate:.0} a second; {unexpected} answers were not to be expected"
        );
        assert_eq!(unexpected, 0);
    }
}

/// Somebody who does all that can be done, in no order.
struct Caller {
    number: usize,
    world: World,
    address: SocketAddr,
    random: u64,
    /// Whoever it has started lately, and when.
    sessions: Vec<(String, Instant)>,
    secret: Option<String>,
    seen: Seen,
}

impl Caller {
    fn new(number: usize, world: &World, address: SocketAddr) -> Self {
        Self {
            number,
            world: world.clone(),
            address,
            random: 0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1),
            sessions: Vec::new(),
            secret: None,
            seen: Seen::default(),
        }
    }

    async fn run(mut self, until: Instant) -> Seen {
        let mut connection = connect(self.address).await;
        while Instant::now() < until {
            self.step(&mut connection).await;
        }
        self.seen
    }

    fn below(&mut self, end: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % end as u64) as usize
    }

    /// A session that has some seconds left to live.
    fn session(&mut self) -> Option<String> {
        self.sessions.retain(|(_, begun)| begun.elapsed() < Duration::from_secs(40));
        let count = self.sessions.len();
        if count == 0 {
            return None;
        }
        let at = self.below(count);
        Some(self.sessions[at].0.clone())
    }

    fn forget(&mut self, token: &str) {
        self.sessions.retain(|(known, _)| known != token);
    }

    async fn step(&mut self, connection: &mut Connection) {
        let manager = self.world.manager.clone();
        let manager = Some(manager.as_str());
        match self.below(1_000) {
            0..5 => {
                let body = json!({"username": format!("user-{}@example.com", self.number), "password": PASSWORD});
                self.ask(
                    connection,
                    "user's login",
                    post("/user/token/generate", None, &body),
                    &[200],
                )
                .await;
            }
            5..8 => {
                let body = json!({"username": "nobody@example.com", "password": "a guess"});
                self.ask(
                    connection,
                    "user's login, wrong",
                    post("/user/token/generate", None, &body),
                    &[401, 429],
                )
                .await;
            }
            8..180 => self.machine_login(connection).await,
            180..195 => {
                let body = json!({"id": "aa-unknown", "secret": "a guess"});
                self.ask(
                    connection,
                    "machine's login, wrong",
                    post("/entity/token/generate", None, &body),
                    &[401, 429],
                )
                .await;
            }
            195..197 => {
                let request = post("/entity/secret/reset", manager, &self.envelope());
                let answer = self.ask(connection, "secret reset", request, &[200]).await;
                self.secret = answer["secret"].as_str().map(str::to_owned);
            }
            197..310 => {
                let guarded = self.below(4) == 0;
                let body = json!({
                    "mode": "passwordless", "customerId": format!("cus_{}", self.number),
                    "otpRequired": guarded, "acl": acl(),
                });
                let request = post("/authentication-tokens", manager, &body);
                // Codes are throttled by their customer.
                let answer = self.ask(connection, "session started", request, &[201, 429]).await;
                if let Some(token) = answer["token"].as_str().filter(|_| !guarded) {
                    self.sessions.push((token.to_owned(), Instant::now()));
                }
            }
            310..420 => {
                let Some(token) = self.session() else { return };
                let path = format!("/authentication-tokens/{token}");
                self.ask(
                    connection,
                    "session looked at",
                    ask_for(Method::GET, &path, None),
                    &[200],
                )
                .await;
            }
            420..500 => {
                let Some(token) = self.session() else { return };
                let narrow =
                    json!([{"scope": {"productId": ["p1"]}, "permissions": ["GetOrders"]}]);
                let body = json!({"invalidate": false, "acl": narrow});
                let path = format!("/authentication-tokens/{token}/exchange");
                let answer = self
                    .ask(connection, "exchange that keeps", post(&path, None, &body), &[201])
                    .await;
                let jwt = answer["token"].as_str().unwrap_or_default().to_owned();
                let request = ask_for(Method::GET, "/protected", Some(&jwt));
                self.ask(connection, "new token, checked", request, &[200]).await;
            }
            500..560 => {
                let Some(token) = self.session() else { return };
                self.forget(&token);
                let path = format!("/authentication-tokens/{token}/exchange");
                self.ask(connection, "exchange", post(&path, None, &json!({})), &[201]).await;
                self.ask(connection, "exchange, again", post(&path, None, &json!({})), &[404])
                    .await;
            }
            560..580 => {
                let Some(token) = self.session() else { return };
                let wide = json!({"acl": [{"scope": {}, "permissions": ["*"]}]});
                let path = format!("/authentication-tokens/{token}/exchange");
                self.ask(connection, "exchange, too wide", post(&path, None, &wide), &[403]).await;
            }
            580..610 => {
                let Some(token) = self.session() else { return };
                self.forget(&token);
                let path = format!("/authentication-tokens/{token}");
                self.ask(connection, "logout", ask_for(Method::DELETE, &path, None), &[204]).await;
            }
            610..615 => {
                let path =
                    format!("/authentication-tokens?customerId=cus_{}&limit=10", self.number);
                self.ask(
                    connection,
                    "sessions listed",
                    ask_for(Method::GET, &path, manager),
                    &[200],
                )
                .await;
            }
            615..640 => {
                let request = ask_for(Method::GET, "/.well-known/jwks.json", None);
                self.ask(connection, "keys", request, &[200]).await;
            }
            640..700 => {
                let request = ask_for(Method::GET, "/protected", Some("mF_9.B5f-4.1JqM"));
                self.ask(connection, "bad token", request, &[401]).await;
            }
            700..780 => {
                let Some(token) = self.session() else { return };
                let request = ask_for(Method::GET, "/session", Some(&token));
                self.ask(connection, "exchange layer", request, &[200]).await;
            }
            780..800 => {
                let request = Request::post("/entity/token/generate")
                    .header("content-type", "application/json")
                    .body(Full::from("{\"id\": \"aa-1\", \"id\": \"aa-2\"}"));
                self.ask(connection, "malformed body", request.unwrap(), &[400]).await;
            }
            _ => {
                let request = ask_for(Method::GET, "/protected", manager);
                self.ask(connection, "known token, checked", request, &[200]).await;
            }
        }
    }

    fn envelope(&self) -> Value {
        json!({
            "ver": "1.0.0", "timestamp": "2026-01-01T00:00:00Z", "txnId": "t-1",
            "entityId": format!("aa-{}", self.number),
        })
    }

    async fn machine_login(&mut self, connection: &mut Connection) {
        let secret = match &self.secret {
            Some(secret) => secret.clone(),
            None => {
                let manager = self.world.manager.clone();
                let request = post("/entity/secret/read", Some(&manager), &self.envelope());
                let answer = self.ask(connection, "secret read", request, &[200]).await;
                answer["secret"].as_str().unwrap_or_default().to_owned()
            }
        };
        let body = json!({"id": format!("aa-{}", self.number), "secret": secret});
        self.secret = Some(secret);
        self.ask(
            connection,
            "machine's login",
            post("/entity/token/generate", None, &body),
            &[200],
        )
        .await;
    }

    async fn ask(
        &mut self,
        connection: &mut Connection,
        sort: &'static str,
        request: Request<Full<Bytes>>,
        expected: &[u16],
    ) -> Value {
        let begun = Instant::now();
        connection.ready().await.expect("it reads");
        let answer = connection.send_request(request).await.expect("it answers");
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("it answers").to_bytes();
        let micros = begun.elapsed().as_micros() as u64;
        let answers = self.seen.0.entry(sort).or_default();
        *answers.statuses.entry(status).or_default() += 1;
        answers.micros.saturating_record(micros);
        if !expected.contains(&status) {
            answers.unexpected += 1;
        }
        serde_json::from_slice(&body).unwrap_or_default()
    }
}

type Connection = SendRequest<Full<Bytes>>;

async fn connect(address: SocketAddr) -> Connection {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn post(path: &str, bearer: Option<&str>, body: &Value) -> Request<Full<Bytes>> {
    let mut request = Request::post(path).header("content-type", "application/json");
    if let Some(bearer) = bearer {
        request = request.header("authorization", format!("Bearer {bearer}"));
    }
    request.body(Full::from(body.to_string())).unwrap()
}

fn ask_for(method: Method, path: &str, bearer: Option<&str>) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(bearer) = bearer {
        request = request.header("authorization", format!("Bearer {bearer}"));
    }
    request.body(Full::default()).unwrap()
}

fn resident_megabytes() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096.0 / 1e6
}
