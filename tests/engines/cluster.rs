//! Several `token_server` processes that share an engine, with their data and their keys in it.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Mutex;

use countersign::store::{
    EntityStore, KeyStore, PostgresStore, RedisStore, SessionStore, SqliteStore,
};
use countersign::{
    Actor, Algorithm, CustomerId, KeyRing, NewSession, RequestContext, SealingKey, TokenService,
};
use http::Request;

use crate::servers::{EngineKind, EngineServer, postgres_url, redis_cluster_nodes};
use crate::support::programs::{Folder, TokenServer, example, free_address};
use crate::support::{AUDIENCE, Answer, ISSUER, Unanswered, random, try_send, unique};

const SEALING_KEY: [u8; 32] = [7; 32];

/// A store with nothing in it but what a test puts there, as nodes and as the test reach it.
pub struct Engine {
    /// What nodes get as `COUNTERSIGN_STORE`.
    location: String,
    /// For putting something there without asking a node.
    tokens: TokenService,
    _folder: Option<Folder>,
    _server: Option<EngineServer>,
}

impl Engine {
    /// A file.
    pub async fn sqlite() -> Self {
        let folder = Folder::new("nodes");
        let path = folder.path().join("tokens.sqlite");
        let store = SqliteStore::open(&path).await.unwrap();
        store.migrate().await.unwrap();
        let engine = Self::of(format!("sqlite:{}", path.display()), store).await;
        Self { _folder: Some(folder), ..engine }
    }

    /// A database of the tests' Postgres.
    pub async fn postgres() -> Self {
        let url = postgres_url();
        let (server, _) = url.rsplit_once('/').unwrap();
        let database = format!("nodes_{:x}", random());
        let pool = sqlx::PgPool::connect(&url).await.unwrap();
        let create = format!("CREATE DATABASE {database}");
        sqlx::query(sqlx::AssertSqlSafe(create)).execute(&pool).await.unwrap();
        Self::postgres_at(format!("{server}/{database}")).await
    }

    /// A server of a test's own.
    pub async fn at(server: &EngineServer) -> Self {
        match server.kind {
            EngineKind::Postgres | EngineKind::PgBouncer => Self::postgres_at(server.url()).await,
            EngineKind::Redis => Self::redis_at(server.url()).await,
        }
    }

    /// A database that is there.
    async fn postgres_at(url: String) -> Self {
        let store = PostgresStore::connect(&url).unwrap();
        store.migrate().await.unwrap();
        Self::of(url, store).await
    }

    /// A Redis server.
    pub async fn redis() -> Self {
        let server = EngineServer::redis();
        let engine = Self::at(&server).await;
        Self { _server: Some(server), ..engine }
    }

    /// A Redis server that is there.
    async fn redis_at(url: String) -> Self {
        let store = RedisStore::connect(&url).unwrap();
        store.migrate().await.unwrap();
        Self::of(url, store).await
    }

    /// The tests' Redis Cluster, with whatever else is there.
    pub async fn redis_cluster() -> Self {
        let nodes = redis_cluster_nodes();
        let urls = nodes.split(',').map(|node| format!("redis://{node}"));
        let store = RedisStore::connect_cluster(urls).unwrap();
        store.migrate().await.unwrap();
        Self::of(format!("redis-cluster://{nodes}"), store).await
    }

    async fn of(location: String, store: impl EntityStore + SessionStore + KeyStore) -> Self {
        let tokens = TokenService::builder()
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .keys(KeyRing::generate(Algorithm::EdDSA).unwrap())
            .sealing_key(SealingKey::from_bytes(SEALING_KEY))
            .store(store)
            .build()
            .unwrap();
        tokens.catch_up().await.unwrap();
        Self { location, tokens, _folder: None, _server: None }
    }

    pub fn location(&self) -> &str {
        &self.location
    }

    /// The same, for nodes that reach it at another address.
    pub fn through(self, from: SocketAddr, to: SocketAddr) -> Self {
        let location = self.location.replace(&from.to_string(), &to.to_string());
        assert_ne!(location, self.location);
        Self { location, ..self }
    }

    /// Starts a session, and answers its authentication token.
    pub async fn session(&self) -> String {
        // Of a customer of its own: nobody has as many as a test needs.
        let new = NewSession::of(CustomerId::new(unique("cus-")).unwrap());
        self.tokens
            .start_session(Actor::Host, new, &RequestContext::without_address())
            .await
            .unwrap()
            .token
            .expose()
            .to_owned()
    }
}

/// Nodes, each on an address that it keeps however often it is started.
pub struct Cluster {
    pub engine: Engine,
    pub addresses: Vec<SocketAddr>,
    servers: Vec<Mutex<Option<TokenServer>>>,
    seed: Option<String>,
    folder: Folder,
}

impl Cluster {
    pub fn start(nodes: usize, engine: Engine) -> Self {
        Self::with_seed(nodes, engine, None)
    }

    /// Nodes that load a seed whenever they start.
    pub fn with_seed(nodes: usize, engine: Engine, seed: Option<String>) -> Self {
        let folder = Folder::new("cluster");
        if let Some(seed) = &seed {
            folder.write("seed.json", seed);
        }
        let addresses = (0..nodes).map(|_| free_address()).collect();
        let servers = (0..nodes).map(|_| Mutex::default()).collect();
        let cluster = Self { engine, addresses, servers, seed, folder };
        for node in 0..nodes {
            cluster.restart(node);
        }
        cluster
    }

    /// Starts a node, which is killed first where it runs. Returns once it listens.
    pub fn restart(&self, node: usize) {
        let mut server = self.servers[node].lock().unwrap();
        drop(server.take());
        *server = Some(TokenServer::start_on(self.addresses[node], self.command()));
    }

    /// Starts one more node, on whose machine it is so many days later.
    pub fn start_ahead(&self, days: u32) -> TokenServer {
        let library = std::fs::read_dir("/usr/lib").unwrap().find_map(|folder| {
            let path = folder.unwrap().path().join("faketime/libfaketimeMT.so.1");
            path.exists().then_some(path)
        });
        let mut command = self.command();
        command
            .env("LD_PRELOAD", library.expect("Debian's faketime: scripts/test --install-only"))
            .env("FAKETIME", format!("+{days}d"))
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        TokenServer::start(command)
    }

    fn command(&self) -> Command {
        let mut command = example("token_server");
        command
            .env("COUNTERSIGN_STORE", &self.engine.location)
            .env("COUNTERSIGN_ISSUER", ISSUER)
            .env("COUNTERSIGN_AUDIENCE", AUDIENCE)
            .env("COUNTERSIGN_SEALING_KEY", base64_of(&SEALING_KEY))
            .env("COUNTERSIGN_OUTBOX", self.folder.path().join("outbox.jsonl"))
            .env("RUST_LOG", "warn,token_server=info");
        if self.seed.is_some() {
            command.env("COUNTERSIGN_SEED", self.folder.path().join("seed.json"));
        }
        command
    }

    /// Asks a node for a JWT in return for an authentication token.
    pub async fn exchange(&self, node: usize, token: &str) -> Result<Answer, Unanswered> {
        self.post_json(node, &format!("/authentication-tokens/{token}/exchange"), "{}").await
    }

    pub async fn post_json(
        &self,
        node: usize,
        path: &str,
        body: impl Into<String>,
    ) -> Result<Answer, Unanswered> {
        let request = Request::post(path).header("content-type", "application/json");
        try_send(self.addresses[node], request.body(body.into()).unwrap()).await
    }

    pub async fn post_form(
        &self,
        node: usize,
        path: &str,
        body: &str,
    ) -> Result<Answer, Unanswered> {
        let form = "application/x-www-form-urlencoded";
        let request = Request::post(path).header("content-type", form);
        try_send(self.addresses[node], request.body(body.to_owned()).unwrap()).await
    }

    pub async fn delete(&self, node: usize, path: &str) -> Result<Answer, Unanswered> {
        try_send(self.addresses[node], Request::delete(path).body("").unwrap()).await
    }

    /// Presents an access token to a node.
    pub async fn validate(&self, node: usize, token: &str) -> Result<Answer, Unanswered> {
        let request = Request::get("/protected").header("authorization", format!("Bearer {token}"));
        try_send(self.addresses[node], request.body("").unwrap()).await
    }
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
