//! The program of a node: an app over the crate's public API. What runs it sets its environment.

use std::env;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use countersign::builder::TokenServiceBuilder;
use countersign::policy::RotationSchedule;
use countersign::store::{Cached, EntityStore, KeyStore, PostgresStore, RedisStore, SessionStore};
use countersign::{
    Actor, Algorithm, Bearer, CustomerId, Entity, EntityId, Error, ErrorKind, ManagedKeys,
    NewSession, Organization, Policy, RequestContext, SealingKey, SubjectType, TokenService,
};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tracing_subscriber::filter::LevelFilter;

use crate::Problem;
use crate::checker::bounds::{
    CLOCK_TOLERANCE, JWKS_MAX_AGE, KEYS_REFRESH, PHANTOM_LIFETIME, STALENESS,
};

pub const LISTEN: &str = "CHAOS_LISTEN";
pub const STORE: &str = "CHAOS_STORE";

const SEALING_KEY: [u8; 32] = [7; 32];
const HOUR: Duration = Duration::from_secs(3_600);
/// Tokens and sessions outlive a run.
const TOKENS_LIVE: Duration = HOUR.saturating_mul(5);
const SESSIONS_LIVE: Duration = HOUR.saturating_mul(12);
const HOUSEKEEPING: Duration = Duration::from_secs(5);
const START_AGAIN: Duration = Duration::from_millis(200);

#[tokio::main]
pub async fn main() -> Result<(), Problem> {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let location = env::var(STORE)?;
    let address: SocketAddr = env::var(LISTEN)?.parse()?;
    if location.starts_with("postgres:") {
        let store = PostgresStore::connect(&location)?;
        until_available(|| store.migrate()).await?;
        serve(address, store).await
    } else {
        let store = RedisStore::connect(&location)?;
        until_available(|| store.migrate()).await?;
        serve(address, store).await
    }
}

async fn serve(
    address: SocketAddr,
    store: impl EntityStore + SessionStore + KeyStore + Clone,
) -> Result<(), Problem> {
    let builder = TokenService::builder()
        .issuer("https://auth.example.com")
        .audience("https://api.example.com")
        .keys(ManagedKeys::new(Algorithm::EdDSA));
    let tokens = configured(builder.store(store)).build()?;
    let _housekeeping = until_available(|| tokens.start()).await?;
    let listener = TcpListener::bind(address).await?;
    axum::serve(listener, app(&tokens)).await?;
    Ok(())
}

fn configured(builder: TokenServiceBuilder) -> TokenServiceBuilder {
    let schedule =
        RotationSchedule::default().clock_tolerance(CLOCK_TOLERANCE).refresh_interval(KEYS_REFRESH);
    let policy = Policy::default()
        .runtime(|runtime| {
            runtime.max_revocation_staleness(STALENESS).housekeeping_interval(HOUSEKEEPING)
        })
        .sessions(|sessions| sessions.lifetime(SESSIONS_LIVE))
        .tokens(|tokens| {
            tokens
                .exchanged_lifetime(TOKENS_LIVE)
                .phantom_lifetime(PHANTOM_LIFETIME)
                .rotation_schedule(schedule)
        })
        .http(|http| http.jwks_max_age(JWKS_MAX_AGE));
    builder
        .cache_entities(Cached::new)
        .sealing_key(SealingKey::from_bytes(SEALING_KEY))
        .policy(policy)
}

/// A supervisor would start the process again.
async fn until_available<T, F: Future<Output = Result<T, Error>>>(
    mut starting: impl FnMut() -> F,
) -> Result<T, Error> {
    loop {
        match starting().await {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                tracing::warn!(error = ?error, "node: start failed, trying again");
                tokio::time::sleep(START_AGAIN).await;
            }
            started => return started,
        }
    }
}

fn app(tokens: &TokenService) -> Router {
    let own = Router::new().route("/who-am-i", get(who_am_i)).route("/log-out", post(log_out));
    let page = Router::new().route("/page", get(who_am_i));
    Router::new()
        .route("/admin/{operation}", post(administer))
        .merge(own.layer(tokens.validate_layer()))
        .merge(page.layer(tokens.exchange_layer()))
        .with_state(tokens.clone())
        .merge(tokens.router())
}

async fn who_am_i(Bearer(caller): Bearer) -> Json<Value> {
    Json(json!({"sub": caller.principal().id()}))
}

async fn log_out(
    State(tokens): State<TokenService>,
    Bearer(caller): Bearer,
) -> Result<StatusCode, Error> {
    tokens.log_out(&caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What an administrator of the host would do. Nobody else reaches this port.
async fn administer(
    State(tokens): State<TokenService>,
    axum::extract::Path(operation): axum::extract::Path<String>,
    Json(body): Json<Value>,
) -> Result<Json<Value>, Error> {
    let id = body["id"].as_str().unwrap_or_default();
    let context = RequestContext::without_address();
    let mut outcome = json!({});
    match operation.as_str() {
        "start_session" => {
            let new = NewSession::of(CustomerId::new(id)?);
            let started = tokens.start_session(Actor::Host, new, &context).await?;
            outcome = json!({"token": started.token.expose()});
        }
        "register" => tokens.register(Entity::machine(id)?).await?,
        "reset_secret" => {
            let id = EntityId::machine(id)?;
            let issued = tokens.reset_secret(Actor::Host, &id, None, &context).await?;
            outcome = json!({"secret": issued.secret.expose()});
        }
        "revoke_customer" => revoke(&tokens, SubjectType::Customer, id).await?,
        "revoke_machine" => revoke(&tokens, SubjectType::Machine, id).await?,
        "disable" => tokens.disable_entity(&EntityId::machine(id)?).await?,
        "enable" => tokens.enable_entity(&EntityId::machine(id)?).await?,
        "rotate" => drop(tokens.rotate_keys().await?),
        "retire" => tokens.retire_key(id).await?,
        _ => return Err(Error::new(ErrorKind::NotFound, "no such operation")),
    }
    Ok(Json(outcome))
}

async fn revoke(tokens: &TokenService, kind: SubjectType, id: &str) -> Result<(), Error> {
    let principal = tokens.principal(kind, id, Organization::All);
    tokens.revoke_subject(&principal, tokens.now()).await.map(drop)
}
