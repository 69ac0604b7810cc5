//! A token service as a server of its own, to deploy as it is or to start from.
//!
//! ```text
//! COUNTERSIGN_SEED=seed.json cargo run --example token_server
//! curl -d 'username=ops@example.com' -d 'password=…' http://127.0.0.1:8080/user/token/generate
//! ```
//!
//! `README.md` beside this file has the settings, all of them environment variables, a seed, and more
//! curl lines.

#![allow(clippy::print_stderr, reason = "a program talks to its terminal")]

mod routes;

use std::env;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use countersign::entities::{Credential, PasswordHash};
use countersign::jose::SigningKey;
use countersign::policy::PasswordCost;
use countersign::sessions::{OneTimePasswordMessage, OneTimePasswordSender};
use countersign::store::{EntityStore, KeyStore, MemoryStore, SessionStore};
use countersign::{
    Acl, Actor, Algorithm, AuthenticationToken, CustomerId, Entity, EntityId, ErrorKind,
    Housekeeping, KeyRing, ManagedKeys, NewSession, Organization, OrganizationId, Password, Policy,
    RequestContext, SealingKey, Secret, TokenService, TrustedProxies,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::signal;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::routes::Routing;

type Problem = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let directives = std::env::var("RUST_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = directives.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(log).with(filter).init();
    let (listener, tokens, routing, housekeeping) = match set_up().await {
        Ok(ready) => ready,
        Err(problem) => {
            eprintln!("token_server: {problem}");
            return ExitCode::from(2);
        }
    };
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, issuer = tokens.issuer(), "serving");
    }
    // With the peers' addresses, for throttling by them.
    let app = routing.app(&tokens).into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, app).with_graceful_shutdown(shutdown()).await;
    housekeeping.shutdown().await;
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("token_server: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn shutdown() {
    let interrupt = async {
        let _ = signal::ctrl_c().await;
    };
    let terminate = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}

async fn set_up() -> Result<(TcpListener, TokenService, Routing, Housekeeping), Problem> {
    let routing = Routing::from_settings()?;
    let address = setting("COUNTERSIGN_LISTEN")?.unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let address: SocketAddr =
        address.parse().map_err(|_| "COUNTERSIGN_LISTEN must be an address and a port")?;
    let store = setting("COUNTERSIGN_STORE")?.unwrap_or_else(|| "memory:".to_owned());
    let stores =
        Stores::open(&store).await.map_err(|error| format!("COUNTERSIGN_STORE {error}"))?;
    let session_stores = match setting("COUNTERSIGN_SESSION_STORE")? {
        Some(store) => Stores::open(&store)
            .await
            .map_err(|error| format!("COUNTERSIGN_SESSION_STORE {error}"))?,
        None => stores.clone(),
    };
    let given_key =
        setting("COUNTERSIGN_SIGNING_KEY")?.map(|path| signing_key(&path)).transpose()?;
    let algorithm =
        setting("COUNTERSIGN_SIGNING_ALGORITHM")?.map(|name| algorithm(&name)).transpose()?;
    if given_key.is_some() && algorithm.is_some() {
        return Err("COUNTERSIGN_SIGNING_ALGORITHM is of keys that the server makes, and \
                    COUNTERSIGN_SIGNING_KEY is given"
            .into());
    }
    let seed = setting("COUNTERSIGN_SEED")?.map(|path| read_seed(&path)).transpose()?;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("COUNTERSIGN_LISTEN: {address} cannot be listened on: {error}"))?;
    let issuer = match setting("COUNTERSIGN_ISSUER")? {
        Some(issuer) => issuer,
        None => format!("http://{}{}", listener.local_addr()?, routing.mount),
    };
    let audience = setting("COUNTERSIGN_AUDIENCE")?.unwrap_or_else(|| issuer.clone());
    let mut policy = Policy::default();
    if let Some(networks) = setting("COUNTERSIGN_TRUSTED_PROXIES")? {
        let proxies = TrustedProxies::networks(networks.split(','))
            .map_err(|error| format!("COUNTERSIGN_TRUSTED_PROXIES: {error}"))?;
        policy = policy.http(|http| http.trusted_proxies(proxies));
    }
    let sessions_last = session_stores.sessions.is_durable();
    let seeds_sessions = seed.as_ref().is_some_and(|seed| !seed.sessions.is_empty());
    if seeds_sessions && sessions_last && !stores.entities.is_durable() {
        // What marks them as loaded would be gone with the process.
        return Err("COUNTERSIGN_SEED: sessions that last need entities that do".into());
    }
    let builder = TokenService::builder().issuer(issuer).audience(audience);
    let mut builder = match given_key {
        Some(key) => builder.keys(KeyRing::new(key)),
        None => {
            let algorithm = algorithm.unwrap_or(Algorithm::EdDSA);
            builder.keys(ManagedKeys::new(algorithm).store(stores.keys))
        }
    };
    builder =
        builder.entity_store(stores.entities).session_store(session_stores.sessions).policy(policy);
    #[cfg(any(feature = "postgres", feature = "redis"))]
    if stores.are_remote {
        builder = builder.cache_entities(countersign::store::Cached::new);
    }
    if let Some(key) = setting("COUNTERSIGN_SEALING_KEY")? {
        let key = SealingKey::from_base64(&key)
            .map_err(|error| format!("COUNTERSIGN_SEALING_KEY: {error}"))?;
        builder = builder.sealing_key(key);
    }
    if let Some(path) = setting("COUNTERSIGN_OUTBOX")? {
        builder = builder.one_time_password_sender(Outbox::open(path.into())?);
    }
    let tokens = builder.build()?;
    let housekeeping = tokens.start().await.map_err(|error| format!("the store: {error}"))?;
    if let Some(seed) = seed {
        let problem = |error| format!("COUNTERSIGN_SEED: {error}");
        for session in seed.load_principals(&tokens).await.map_err(problem)? {
            let loading = if sessions_last {
                session.load_once(&tokens).await
            } else {
                session.load(&tokens).await
            };
            loading.map_err(|error| problem(error.into()))?;
        }
    }
    Ok((listener, tokens, routing, housekeeping))
}

/// The stores of one engine.
#[derive(Clone)]
struct Stores {
    entities: Arc<dyn EntityStore>,
    /// Whether they are over a network: a machine's login is no read of the engine then, most of the
    /// time.
    #[cfg(any(feature = "postgres", feature = "redis"))]
    are_remote: bool,
    sessions: Arc<dyn SessionStore>,
    keys: Arc<dyn KeyStore>,
}

impl Stores {
    fn new(store: impl EntityStore + SessionStore + KeyStore + Clone) -> Self {
        Self {
            entities: Arc::new(store.clone()),
            #[cfg(any(feature = "postgres", feature = "redis"))]
            are_remote: false,
            sessions: Arc::new(store.clone()),
            keys: Arc::new(store),
        }
    }

    /// Opens a store, and makes its tables where they are not there.
    async fn open(location: &str) -> Result<Self, Problem> {
        if location == "memory:" {
            return Ok(Self::new(MemoryStore::new()));
        }
        #[cfg(feature = "sqlite")]
        if let Some(path) = location.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
            let store = countersign::store::SqliteStore::open(path)
                .await
                .map_err(|error| reason(&error))?;
            store.migrate().await.map_err(|error| reason(&error))?;
            return Ok(Self::new(store));
        }
        #[cfg(feature = "postgres")]
        if location.starts_with("postgres://") || location.starts_with("postgresql://") {
            let store = countersign::store::PostgresStore::connect(location)
                .map_err(|error| reason(&error))?;
            store.migrate().await.map_err(|error| reason(&error))?;
            return Ok(Self::over_a_network(store));
        }
        #[cfg(feature = "redis")]
        if location.starts_with("redis://") {
            let store = countersign::store::RedisStore::connect(location);
            return Self::of_redis(store.map_err(|error| reason(&error))?).await;
        }
        #[cfg(feature = "redis")]
        if let Some(nodes) = location.strip_prefix("redis-cluster://") {
            let urls = nodes.split(',').map(|node| format!("redis://{node}"));
            let store = countersign::store::RedisStore::connect_cluster(urls);
            return Self::of_redis(store.map_err(|error| reason(&error))?).await;
        }
        Err("must be memory:, or, with the feature, sqlite:PATH, postgres://…, redis://… or \
             redis-cluster://…"
            .into())
    }
}

#[cfg(feature = "redis")]
impl Stores {
    async fn of_redis(store: countersign::store::RedisStore) -> Result<Self, Problem> {
        store.migrate().await.map_err(|error| reason(&error))?;
        Ok(Self::over_a_network(store))
    }
}

#[cfg(any(feature = "postgres", feature = "redis"))]
impl Stores {
    fn over_a_network(store: impl EntityStore + SessionStore + KeyStore + Clone) -> Self {
        Self { are_remote: true, ..Self::new(store) }
    }
}

/// What went wrong, with what made it so.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
fn reason(error: &countersign::Error) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

fn setting(name: &str) -> Result<Option<String>, Problem> {
    match env::var(name) {
        Ok(value) if value.trim().is_empty() => Err(format!("{name} is empty").into()),
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(format!("{name} is not UTF-8").into()),
    }
}

/// What others can check by the published keys: of a shared secret none is published.
fn algorithm(name: &str) -> Result<Algorithm, Problem> {
    let algorithm = name.parse().ok().filter(|algorithm| *algorithm != Algorithm::HS256);
    Ok(algorithm.ok_or("COUNTERSIGN_SIGNING_ALGORITHM must be EdDSA, ES256 or RS256")?)
}

/// A private JWK, or a private key in PEM: its algorithm follows from its kind.
fn signing_key(path: &str) -> Result<SigningKey, Problem> {
    let problem = |error: &dyn std::fmt::Display| format!("COUNTERSIGN_SIGNING_KEY: {error}");
    let bytes = fs::read(path).map_err(|error| problem(&error))?;
    if bytes.trim_ascii_start().starts_with(b"{") {
        return Ok(SigningKey::from_jwk(&bytes).map_err(|error| problem(&error))?);
    }
    let key = countersign::jose::PrivateKey::from_pem(&bytes).map_err(|error| problem(&error))?;
    let key = SigningKey::new(&key, &countersign::jose::DefaultProvider);
    Ok(key.map_err(|error| problem(&error))?)
}

/// Appends one-time passwords to a file, where a real one would send an e-mail.
#[derive(Debug)]
struct Outbox {
    file: Mutex<fs::File>,
}

impl Outbox {
    fn open(path: PathBuf) -> Result<Self, Problem> {
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|error| format!("COUNTERSIGN_OUTBOX: {error}"))?;
        Ok(Self { file: Mutex::new(file) })
    }
}

#[async_trait]
impl OneTimePasswordSender for Outbox {
    async fn send(&self, message: OneTimePasswordMessage) -> Result<(), Problem> {
        let line = json!({
            "to": message.customer_id,
            "sid": message.session_id,
            "oneTimePassword": message.one_time_password.expose(),
            "expiresAt": message.expires_at.to_string(),
        });
        let mut file = self.file.lock().map_err(|_| "the outbox is broken")?;
        file.write_all(format!("{line}\n").as_bytes())?;
        Ok(())
    }
}

/// Who is there from the start. Loading it twice changes nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seed {
    #[serde(default)]
    users: Vec<User>,
    #[serde(default)]
    entities: Vec<Machine>,
    #[serde(default)]
    customers: Vec<Customer>,
    #[serde(default)]
    sessions: Vec<KnownSession>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct User {
    username: String,
    password: String,
    organization_id: Option<OrganizationId>,
    #[serde(default)]
    custom_claims: Map<String, Value>,
    #[serde(default)]
    acl: Acl,
    #[serde(default)]
    disabled: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Machine {
    id: String,
    secret: Option<String>,
    secret_expiry_days: Option<u64>,
    organization_id: Option<OrganizationId>,
    #[serde(default)]
    custom_claims: Map<String, Value>,
    #[serde(default)]
    acl: Acl,
    #[serde(default)]
    disabled: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Customer {
    username: String,
    password: String,
    customer_id: CustomerId,
    #[serde(default)]
    otp_required: bool,
    organization_id: Option<OrganizationId>,
    #[serde(default)]
    acl: Acl,
    #[serde(default)]
    disabled: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KnownSession {
    token: String,
    customer_id: CustomerId,
    #[serde(default)]
    otp_required: bool,
    expires_in_seconds: Option<u64>,
    organization_id: Option<OrganizationId>,
    #[serde(default)]
    acl: Acl,
    #[serde(default)]
    custom_claims: Map<String, Value>,
}

fn read_seed(path: &str) -> Result<Seed, Problem> {
    let text = fs::read(path).map_err(|error| format!("COUNTERSIGN_SEED: {path}: {error}"))?;
    serde_json::from_slice(&text).map_err(|error| {
        // serde quotes the names of unknown fields, and values of a wrong type: these may be
        // secrets, so of them only the place is told.
        let text = error.to_string();
        let place = format!("at line {} column {}", error.line(), error.column());
        if text.starts_with("invalid") {
            format!("COUNTERSIGN_SEED: a value of a wrong form {place}").into()
        } else {
            format!("COUNTERSIGN_SEED: {text}").into()
        }
    })
}

impl Seed {
    /// Registers who is in it. Answers the sessions, which are still to be loaded.
    async fn load_principals(self, tokens: &TokenService) -> Result<Vec<KnownSession>, Problem> {
        for user in self.users {
            let hash = hash(user.password).await?;
            let entity = Entity::user(user.username, hash)?
                .acl(user.acl)
                .custom_claims(user.custom_claims)?
                .organization(organization(user.organization_id))
                .disabled(user.disabled);
            register(tokens, entity).await?;
        }
        for machine in self.entities {
            machine.load(tokens).await?;
        }
        for customer in self.customers {
            let hash = hash(customer.password).await?;
            let (name, id) = (customer.username, customer.customer_id);
            let entity = Entity::customer(name, hash, id, customer.otp_required)?
                .acl(customer.acl)
                .organization(organization(customer.organization_id))
                .disabled(customer.disabled);
            register(tokens, entity).await?;
        }
        Ok(self.sessions)
    }
}

impl KnownSession {
    /// For a store that lasts, where one that was used up must not come back.
    async fn load_once(self, tokens: &TokenService) -> Result<(), countersign::Error> {
        let token = AuthenticationToken::from_text(&self.token)?;
        if register(tokens, mark_of(&token)?).await? { self.load(tokens).await } else { Ok(()) }
    }

    async fn load(self, tokens: &TokenService) -> Result<(), countersign::Error> {
        let mut new = NewSession::of(self.customer_id)
            .organization(organization(self.organization_id))
            .otp_required(self.otp_required)
            .acl(self.acl)
            .custom_claims(self.custom_claims)?
            .dangerous_token(AuthenticationToken::from_text(&self.token)?);
        if let Some(seconds) = self.expires_in_seconds {
            new = new.lifetime(Duration::from_secs(seconds));
        }
        match tokens.start_session(Actor::Host, new, &RequestContext::without_address()).await {
            Err(error) if error.kind() != ErrorKind::Conflict => Err(error),
            // Or it is there already.
            _ => Ok(()),
        }
    }
}

/// A seed that names no organization is of all.
fn organization(id: Option<OrganizationId>) -> Organization {
    id.map_or(Organization::All, Organization::One)
}

/// Keeps in mind that a session was loaded, as an entity that nobody can be.
fn mark_of(token: &AuthenticationToken) -> Result<Entity, countersign::Error> {
    let key = token.key();
    let digest: String = key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Entity::machine(format!("seeded-session-{digest}"))?.disabled(true))
}

impl Machine {
    async fn load(self, tokens: &TokenService) -> Result<(), countersign::Error> {
        let id = EntityId::machine(&self.id)?;
        let entity = Entity::machine(self.id)?
            .acl(self.acl)
            .custom_claims(self.custom_claims)?
            .organization(organization(self.organization_id))
            .disabled(self.disabled);
        let is_new = register(tokens, entity).await?;
        match self.secret {
            // A secret that was reset since stays reset.
            Some(secret) if is_new => {
                let secret = Secret::dangerous_from_text(secret)?;
                tokens.import_secret(&id, &secret, self.secret_expiry_days).await
            }
            _ => Ok(()),
        }
    }
}

/// Whoever writes the seed answers for its passwords: they are not held to the policy.
async fn hash(password: String) -> Result<PasswordHash, Problem> {
    let password = Password::new(password)?;
    let hashing = move || PasswordHash::create(&password, PasswordCost::default());
    Ok(tokio::task::spawn_blocking(hashing).await??)
}

/// Returns whether it is new. What is stored stays as it is, and where the seed differs from it, that is
/// logged. A principal that the seed disables and the store does not is an error.
async fn register(tokens: &TokenService, entity: Entity) -> Result<bool, countersign::Error> {
    let registered = tokens.register(entity.clone()).await;
    let Err(conflict) = registered else { return Ok(true) };
    if conflict.kind() != ErrorKind::Conflict {
        return Err(conflict);
    }
    let id = entity.id();
    let Some(stored) = tokens.find_entity(id).await? else {
        let problem = format!("{id} cannot be registered: {conflict}");
        return Err(countersign::Error::new(ErrorKind::Configuration, problem));
    };
    if entity.is_disabled() && !stored.is_disabled() {
        let problem = format!("COUNTERSIGN_SEED: {id} is disabled there, and not in the store");
        return Err(countersign::Error::new(ErrorKind::Configuration, problem));
    }
    let customer = |entity: &Entity| match entity.credential() {
        Credential::Customer { customer_id, otp_required, .. } => {
            Some((customer_id.clone(), *otp_required))
        }
        _ => None,
    };
    let differing = [
        ("acl", entity.acl != stored.acl),
        ("customClaims", entity.custom_claims != stored.custom_claims),
        ("organizationId", entity.organization_id() != stored.organization_id()),
        ("customerId or otpRequired", customer(&entity) != customer(&stored)),
        ("disabled", entity.is_disabled() != stored.is_disabled()),
    ];
    let differing: Vec<_> = differing.iter().filter(|(_, differs)| *differs).collect();
    if !differing.is_empty() {
        let fields: Vec<_> = differing.iter().map(|(field, _)| *field).collect();
        tracing::warn!(
            "seed: {id} differs from what is stored in {}, and what is stored applies; remove it \
             from the store, or have the seed say the same",
            fields.join(", ")
        );
    }
    Ok(false)
}
