//! All routes and layers under a mixed load, good requests and bad ones, for as long as it is asked to:
//! what was answered, how fast, and what became of the memory.
//!
//! ```text
//! cargo bench -p countersign-benches --features engines --bench soak                in memory
//! scripts/servers run -- \
//!     cargo bench -p countersign-benches --features engines --bench soak -- postgres   over a database
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
    unreachable_pub,
    reason = "a program that prints figures, and has nobody to tell its errors"
)]

mod actions;
mod report;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use countersign::builder::TokenServiceBuilder;
use countersign::store::PostgresStore;
use countersign::{
    Acl, Algorithm, Bearer, Entity, Grant, KeyRing, Password, Policy, SealingKey, TokenService,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::actions::RequestContext;
use crate::report::{Report, resident_megabytes};

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
    let housekeeping = tokens.start().await.unwrap();

    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let world = world.clone();
        callers.spawn(async move {
            RequestContext::connect(number, world, address).await.run(begun + length).await
        });
    }
    println!("| minute | resident, MB |\n|---|---|");
    let mut every_minute = tokio::time::interval(MINUTE);
    let mut minute = 0;
    let mut report = Report::default();
    while !callers.is_empty() {
        tokio::select! {
            _ = every_minute.tick() => {
                println!("| {minute} | {:.1} |", resident_megabytes());
                minute += 1;
            }
            Some(done) = callers.join_next() => report.add(done.unwrap()),
        }
    }
    println!("| end | {:.1} |", resident_megabytes());
    housekeeping.shutdown().await;
    report.print(begun.elapsed());
}

async fn service(store: Option<&str>) -> TokenService {
    let policy = Policy::default()
        .sessions(|sessions| sessions.lifetime(MINUTE).max_per_customer(usize::MAX))
        .tokens(|tokens| tokens.exchanged_lifetime(MINUTE).cache_bytes(TOKEN_CACHE));
    let builder = TokenService::builder()
        .issuer("https://auth.example.com")
        .audience("https://api.example.com")
        .keys(KeyRing::generate(Algorithm::EdDSA).unwrap())
        .sealing_key(SealingKey::from_bytes([7; 32]))
        .one_time_password_sender(Nowhere)
        .policy(policy);
    over(builder, store).await.build().unwrap()
}

async fn over(builder: TokenServiceBuilder, store: Option<&str>) -> TokenServiceBuilder {
    match store {
        None => builder,
        Some("postgres") => {
            let url = std::env::var("COUNTERSIGN_TEST_POSTGRES").expect("scripts/servers run -- …");
            let store = PostgresStore::connect(&url).unwrap();
            store.migrate().await.unwrap();
            builder.store(store)
        }
        Some(other) => panic!("{other} is no store: none, or postgres"),
    }
}

/// Codes are sent to nobody: what they are is not to be known here.
#[derive(Debug)]
struct Nowhere;

#[async_trait::async_trait]
impl countersign::sessions::OneTimePasswordSender for Nowhere {
    async fn send(
        &self,
        _: countersign::sessions::OneTimePasswordMessage,
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
            let machine = Entity::machine(machine(number)).unwrap().acl(orders());
            let _ = tokens.register(machine).await;
            let user = Entity::user(user(number), hash.clone()).unwrap();
            let _ = tokens.register(user).await;
        }
        let manager =
            tokens.issue(Grant::user("ops@example.com").acl(Acl::everything())).await.unwrap();
        Self { manager: manager.access_token.expose().to_owned() }
    }
}

/// The id of a caller's machine.
fn machine(number: usize) -> String {
    format!("aa-{number}")
}

/// The name of a caller's user.
fn user(number: usize) -> String {
    format!("user-{number}@example.com")
}

fn orders() -> Acl {
    serde_json::from_value(acl()).unwrap()
}

fn acl() -> Value {
    json!([{"scope": {"productId": ["p1", "p2"]}, "permissions": ["GetOrders", "PostOrder"]}])
}

async fn serve(tokens: &TokenService) -> SocketAddr {
    let hello = async |Bearer(claims): Bearer| claims.principal().id().to_owned();
    let app = Router::new()
        .route(
            "/protected",
            get(hello).route_layer(
                tokens.require_layer("GetOrders").scope("productId", |_| Some("p1".into())),
            ),
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
