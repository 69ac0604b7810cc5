//! A token service as a server of its own, to deploy as it is or to start from.
//!
//! ```text
//! COUNTERSIGN_SEED=seed.json cargo run --example token_server
//! curl -d 'username=ops@example.com' -d 'password=…' http://127.0.0.1:8080/user/token/generate
//! ```
//!
//! `README.md` beside this file has the settings, all of them environment variables, a seed, and more
//! curl lines.

mod health;
mod metrics;
mod outbox;
mod routes;
mod seed;
mod serve;
mod settings;
mod stores;

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;

use axum::Router;
use countersign::store::Cached;
use countersign::{
    Algorithm, Housekeeping, KeyRing, ManagedKeys, Policy, TokenService, TrustedProxies,
};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::outbox::Outbox;
use crate::routes::Routing;
use crate::seed::Seed;
use crate::serve::{Limits, serve};
use crate::settings::{
    address, reads_forwarded, sealing_keys, seconds, setting, signing_algorithm, signing_key,
};
use crate::stores::Stores;

/// Prometheus needs one or two.
const METRICS_CONNECTIONS: usize = 16;

type Problem = Box<dyn StdError + Send + Sync>;

/// All that is needed to serve.
struct Server {
    housekeeping: Housekeeping,
    limits: Limits,
    /// Each with what is served there.
    listeners: Vec<(TcpListener, Router, Limits)>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let directives = std::env::var("RUST_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = directives.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(log).with(filter).init();
    // Also while a store does not respond: the first process of a container is not ended by a signal that it ignores.
    let mut told_to_end = pin!(told_to_end());
    let server = tokio::select! {
        server = set_up() => server,
        () = &mut told_to_end => return ExitCode::SUCCESS,
    };
    match server {
        Ok(server) => {
            server.run(told_to_end).await;
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("token_server: {problem}");
            ExitCode::from(2)
        }
    }
}

impl Server {
    async fn run(self, told_to_end: impl Future<Output = ()>) {
        let Self { housekeeping, limits, listeners } = self;
        let (stop, stopped) = watch::channel(());
        let mut serving = Vec::new();
        for (listener, app, limits) in listeners {
            let mut stopped = stopped.clone();
            let stopping = async move {
                let _ = stopped.changed().await;
            };
            serving.push(tokio::spawn(serve(listener, app, limits, stopping)));
        }
        told_to_end.await;
        drop(stop);
        for serving in serving {
            let _ = serving.await;
        }
        // Log-outs that run on though their client hung up, and the feed.
        if tokio::time::timeout(limits.shutdown_timeout, housekeeping.shutdown()).await.is_err() {
            tracing::warn!("shutdown: writes under way took too long, they are given up");
        }
    }
}

async fn told_to_end() {
    let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    match (terminate, interrupt) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        // Then signals do what they do to any process.
        _ => std::future::pending().await,
    }
}

async fn set_up() -> Result<Server, Problem> {
    let routing = Routing::from_settings()?;
    let limits = Limits::from_settings()?;
    let mut listeners = Vec::new();
    if let Some(address) = address("COUNTERSIGN_METRICS_LISTEN")? {
        let app = metrics::install()
            .map_err(|problem| format!("COUNTERSIGN_METRICS_LISTEN: {problem}"))?;
        let listener = listen("COUNTERSIGN_METRICS_LISTEN", address).await?;
        tracing::info!(at = %listener.local_addr()?, "serving metrics");
        let limits = limits.max_connections(METRICS_CONNECTIONS);
        listeners.push((listener, app, limits));
    }
    let stores = open("COUNTERSIGN_STORE").await?;
    let sessions = open("COUNTERSIGN_SESSION_STORE").await?.or_else(|| stores.clone());
    let stores = stores.unwrap_or_else(Stores::in_memory);
    let sessions = sessions.unwrap_or_else(|| stores.clone()).sessions;
    let sealing_keys = sealing_keys()?;
    let (given_key, algorithm) = (signing_key()?, signing_algorithm()?);
    let seed = setting("COUNTERSIGN_SEED")?.map(|path| Seed::read(&path)).transpose()?;
    let sessions_last = sessions.is_durable();
    if given_key.is_some() && algorithm.is_some() {
        return Err("COUNTERSIGN_SIGNING_ALGORITHM is of keys that the server makes, and \
                    COUNTERSIGN_SIGNING_KEY is given"
            .into());
    }
    if sealing_keys.is_empty() && (sessions_last || stores.entities.is_durable()) {
        return Err("COUNTERSIGN_SEALING_KEY is missing: a store that lasts needs one, as \
                    `openssl rand -base64 32` prints it"
            .into());
    }
    let seeds_sessions = seed.as_ref().is_some_and(Seed::has_sessions);
    if seeds_sessions && sessions_last && !stores.entities.is_durable() {
        // What marks them as loaded would be gone with the process.
        return Err("COUNTERSIGN_SEED: sessions that last need entities that do".into());
    }
    let given_address = address("COUNTERSIGN_LISTEN")?;
    let given_address = given_address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)));
    let listener = listen("COUNTERSIGN_LISTEN", given_address).await?;
    let address = listener.local_addr()?;
    let issuer = setting("COUNTERSIGN_ISSUER")?
        .unwrap_or_else(|| format!("http://{address}{}", routing.mount));
    let audience = setting("COUNTERSIGN_AUDIENCE")?.unwrap_or_else(|| issuer.clone());
    let builder = TokenService::builder().issuer(issuer).audience(audience);
    let mut builder = match given_key {
        Some(key) => builder.keys(KeyRing::new(key)),
        None => {
            let algorithm = algorithm.unwrap_or(Algorithm::EdDSA);
            builder.keys(ManagedKeys::new(algorithm).store(stores.keys))
        }
    };
    builder = builder.entity_store(stores.entities).session_store(sessions).policy(policy()?);
    if stores.are_remote {
        builder = builder.cache_entities(Cached::new);
    }
    for key in sealing_keys {
        builder = builder.sealing_key(key);
    }
    if let Some(path) = setting("COUNTERSIGN_OUTBOX")? {
        builder = builder.one_time_password_sender(Outbox::open(Path::new(&path))?);
    }
    let tokens = builder.build().map_err(|error| chain(&error))?;
    let starting = tokens.start().await;
    let housekeeping = starting.map_err(|error| format!("COUNTERSIGN_STORE: {}", chain(&error)))?;
    if let Some(seed) = seed {
        let loading = seed.load(&tokens, sessions_last).await;
        loading.map_err(|problem| format!("COUNTERSIGN_SEED: {}", chain(&*problem)))?;
    }
    tracing::info!(%address, issuer = tokens.issuer(), "serving");
    let app = routing.app(&tokens).merge(health::routes(&tokens));
    listeners.push((listener, app, limits));
    Ok(Server { housekeeping, limits, listeners })
}

fn policy() -> Result<Policy, Problem> {
    let staleness = seconds("COUNTERSIGN_MAX_REVOCATION_STALENESS", 60)?;
    let policy = Policy::default().runtime(|runtime| runtime.max_revocation_staleness(staleness));
    Ok(match setting("COUNTERSIGN_TRUSTED_PROXIES")? {
        Some(networks) => {
            let mut proxies = TrustedProxies::networks(networks.split(','))
                .map_err(|error| format!("COUNTERSIGN_TRUSTED_PROXIES: {error}"))?;
            if reads_forwarded()? {
                proxies = proxies.forwarded_header();
            }
            policy.http(|http| http.trusted_proxies(proxies))
        }
        None => policy,
    })
}

async fn open(name: &str) -> Result<Option<Stores>, Problem> {
    let Some(location) = setting(name)? else { return Ok(None) };
    let stores = Stores::open(&location).await;
    Ok(Some(stores.map_err(|problem| format!("{name} {problem}"))?))
}

async fn listen(name: &str, address: SocketAddr) -> Result<TcpListener, Problem> {
    let listening = TcpListener::bind(address).await;
    Ok(listening.map_err(|error| format!("{name}: {address} cannot be listened on: {error}"))?)
}

/// Returns what went wrong, with each cause that adds something. None of them quotes a secret.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}
