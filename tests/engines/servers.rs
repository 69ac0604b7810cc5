//! The engines that tests run against, and servers of a test's own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use countersign::store::{PgPool, PostgresStore, RedisOptions, RedisStore, TableNames};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::proxy::Proxy;
use crate::support::durable::MINUTE;
use crate::support::programs::{example, free_address};
use crate::support::unique;

/// What `scripts/servers run` tells of the servers that it has started.
#[track_caller]
fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} has to be set: run scripts/test, or \
             scripts/servers run -- cargo test --all-features"
        )
    })
}

/// The tests' Postgres.
#[track_caller]
pub fn postgres_url() -> String {
    setting("COUNTERSIGN_TEST_POSTGRES")
}

/// Nodes over a schema of a test's own, each with a pool of its own.
pub struct Postgres {
    pub names: TableNames,
    pub schema: String,
}

impl Postgres {
    pub async fn new() -> Self {
        let schema = unique("t");
        let database = Self { names: TableNames::default().schema(&schema), schema };
        database.node().await.migrate().await.unwrap();
        database
    }

    pub async fn pool() -> PgPool {
        PgPool::connect(&postgres_url()).await.unwrap()
    }

    pub async fn node(&self) -> PostgresStore {
        PostgresStore::new(Self::pool().await, &self.names).unwrap()
    }
}

/// A node over the tests' Redis, with keys that begin with a prefix of a test's own.
#[track_caller]
pub fn redis_node(prefix: &str) -> RedisStore {
    let options = RedisOptions::default().prefix(prefix);
    RedisStore::connect_with(&setting("COUNTERSIGN_TEST_REDIS"), options).unwrap()
}

/// The nodes of the tests' Redis Cluster, separated by commas.
#[track_caller]
pub fn redis_cluster_nodes() -> String {
    setting("COUNTERSIGN_TEST_REDIS_CLUSTER")
}

/// A node over the tests' Redis Cluster, with keys that begin with a prefix of a test's own.
#[track_caller]
pub fn redis_cluster_node(prefix: &str) -> RedisStore {
    let nodes = redis_cluster_nodes();
    let urls = nodes.split(',').map(|node| format!("redis://{node}"));
    RedisStore::connect_cluster_with(urls, RedisOptions::default().prefix(prefix)).unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    Postgres,
    /// A pooler in transaction mode, in front of a Postgres server.
    PgBouncer,
    Redis,
}

/// A server of a test's own, which it may stop and start, and which is stopped with it.
pub struct EngineServer {
    pub kind: EngineKind,
    pub folder: PathBuf,
    pub address: SocketAddr,
    /// How it is started.
    verb: &'static str,
    options: Vec<String>,
}

impl EngineServer {
    #[track_caller]
    pub fn postgres() -> Self {
        Self::start_new(EngineKind::Postgres, "start", &[])
    }

    /// A pooler in front of the tests' Postgres.
    #[track_caller]
    pub fn pooler() -> Self {
        let url = postgres_url();
        let (_, port) = url.rsplit_once('/').unwrap().0.rsplit_once(':').unwrap();
        Self::start_new(EngineKind::PgBouncer, "start", &[port])
    }

    /// A pooler in front of this Postgres server.
    #[track_caller]
    pub fn own_pooler(&self) -> Self {
        Self::start_new(EngineKind::PgBouncer, "start", &[&self.address.port().to_string()])
    }

    /// A standby of this Postgres server, which replicates asynchronously.
    #[track_caller]
    pub fn standby(&self) -> Self {
        let primary = self.address.port().to_string();
        Self::start_new(EngineKind::Postgres, "standby", &[&primary])
    }

    /// A sentinel of this Redis server, which is the primary of the service `countersign`.
    #[track_caller]
    pub fn sentinel(&self) -> Self {
        let primary = self.address.port().to_string();
        Self::start_new(EngineKind::Redis, "sentinel", &[&primary])
    }

    #[track_caller]
    pub fn redis() -> Self {
        Self::redis_with(&[])
    }

    /// A Redis server with options of `redis-server`.
    #[track_caller]
    pub fn redis_with(options: &[&str]) -> Self {
        Self::start_new(EngineKind::Redis, "start", options)
    }

    #[track_caller]
    fn start_new(kind: EngineKind, verb: &'static str, options: &[&str]) -> Self {
        let folder = PathBuf::from(setting("COUNTERSIGN_TEST_FOLDER")).join(unique("server-"));
        let options: Vec<_> = options.iter().map(|&option| option.to_owned()).collect();
        // Another process may get to a free port first.
        for _ in 0..5 {
            let (folder, options) = (folder.clone(), options.clone());
            let server = Self { kind, folder, address: free_address(), verb, options };
            if server.try_start() {
                return server;
            }
        }
        panic!("no {kind:?} server could be started in {}", folder.display());
    }

    /// Starts it again, with the data that it had. Returns when it can be used.
    #[track_caller]
    pub fn start(&self) {
        assert!(self.try_start(), "the {:?} server did not start again", self.kind);
    }

    fn try_start(&self) -> bool {
        let port = self.address.port().to_string();
        self.script(self.verb).arg(port).args(&self.options).status().unwrap().success()
    }

    /// As a crash would. Returns when it is gone.
    #[track_caller]
    pub fn stop(&self) {
        assert!(self.script("stop").status().unwrap().success());
    }

    /// Shuts this Postgres server down, as an administrator would. Returns when it is gone.
    #[track_caller]
    pub fn shut_down(&self) {
        assert!(self.script("shut-down").status().unwrap().success());
    }

    fn script(&self, verb: &str) -> Command {
        let kind = match self.kind {
            EngineKind::Postgres => "postgres",
            EngineKind::PgBouncer => "pgbouncer",
            EngineKind::Redis => "redis",
        };
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/servers"));
        command.args([kind, verb]).arg(&self.folder);
        command
    }

    pub fn url(&self) -> String {
        match self.kind {
            EngineKind::Postgres | EngineKind::PgBouncer => {
                format!("postgres://countersign@{}/countersign", self.address)
            }
            EngineKind::Redis => format!("redis://{}", self.address),
        }
    }

    /// Carries statements out in this Postgres server, one after the other.
    pub async fn sql(&self, statements: &str) {
        let mut connection = PgConnection::connect(&self.url()).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await.unwrap();
    }

    /// Has this standby receive nothing more: its primary may go on.
    pub async fn cut_off(&self) {
        self.sql("ALTER SYSTEM SET primary_conninfo = ''").await;
        self.sql("SELECT pg_reload_conf()").await;
        let is_receiving = "SELECT EXISTS (SELECT 1 FROM pg_stat_wal_receiver)";
        self.until(is_receiving, false).await;
    }

    /// Waits until this standby has all that its primary has now.
    pub async fn catch_up_with(&self, primary: &Self) {
        let mut connection = PgConnection::connect(&primary.url()).await.unwrap();
        let position = sqlx::query_scalar("SELECT pg_current_wal_lsn()::text");
        let position: String = position.fetch_one(&mut connection).await.unwrap();
        self.until(&format!("SELECT pg_last_wal_replay_lsn() >= '{position}'"), true).await;
    }

    /// Makes this standby a primary. Returns once it is one.
    pub async fn promote(&self) {
        self.sql("SELECT pg_promote()").await;
        self.until("SELECT pg_is_in_recovery()", false).await;
    }

    /// Waits until a question to this Postgres server has an answer.
    pub async fn until(&self, question: &str, answer: bool) {
        let waiting = async {
            let mut connection = PgConnection::connect(&self.url()).await.unwrap();
            loop {
                let asking = sqlx::query_scalar::<_, bool>(AssertSqlSafe(question));
                if asking.fetch_one(&mut connection).await.unwrap() == answer {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(MINUTE, waiting).await.unwrap_or_else(|_| panic!("{question}"));
    }

    /// A store in this Redis server.
    pub fn redis_node(&self) -> RedisStore {
        RedisStore::connect(&self.url()).unwrap()
    }

    /// A command of this Redis server's administrator.
    pub async fn redis_command<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        let client = redis::Client::open(self.url()).unwrap();
        // It may be asked for much, beside everything else that runs.
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(MINUTE));
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = connecting.await.unwrap();
        let mut line = redis::cmd(command[0]);
        line.arg(&command[1..]).query_async(&mut connection).await.unwrap()
    }
}

impl Proxy {
    /// A store in the Redis server that this leads to.
    pub fn redis_node(&self) -> RedisStore {
        RedisStore::connect(&format!("redis://{}", self.address)).unwrap()
    }

    /// The URL of what this leads to, by way of it.
    pub fn url_of(&self, server: &EngineServer) -> String {
        server.url().replace(&server.address.to_string(), &self.address.to_string())
    }
}

impl Drop for EngineServer {
    fn drop(&mut self) {
        let _ = self.script("stop").status();
    }
}

/// A token server over a store that lasts.
pub fn token_server_over(store: &str) -> Command {
    let mut command = example("token_server");
    command.env("COUNTERSIGN_STORE", store).env("COUNTERSIGN_SEALING_KEY", "A".repeat(43) + "=");
    command
}
