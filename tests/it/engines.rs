//! The engines that tests run against, and servers of a test's own.

use std::path::PathBuf;

use countersign::AuthenticationToken;
use countersign::store::postgres::PgPool;
use countersign::store::redis::RedisOptions;
use countersign::store::{PostgresStore, RedisStore, SqliteStore, TableNames};

/// The tests' Postgres.
#[track_caller]
pub fn postgres_url() -> String {
    std::env::var("COUNTERSIGN_TEST_POSTGRES").expect(
        "COUNTERSIGN_TEST_POSTGRES has to name a Postgres database: run scripts/test, or \
         scripts/servers run -- cargo test --all-features",
    )
}

pub fn unique(prefix: &str) -> String {
    let token = AuthenticationToken::generate().unwrap();
    let tail: String = token.expose().bytes().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{prefix}{}", &tail[..24])
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
pub fn redis(prefix: &str) -> RedisStore {
    let url = std::env::var("COUNTERSIGN_TEST_REDIS").expect(
        "COUNTERSIGN_TEST_REDIS has to name a Redis server: run scripts/test, or scripts/servers \
         run -- cargo test --all-features",
    );
    RedisStore::connect_with(&url, RedisOptions::default().prefix(prefix)).unwrap()
}

/// The nodes of the tests' Redis Cluster, separated by commas.
#[track_caller]
pub fn redis_cluster_nodes() -> String {
    std::env::var("COUNTERSIGN_TEST_REDIS_CLUSTER").expect(
        "COUNTERSIGN_TEST_REDIS_CLUSTER has to name a Redis Cluster: run scripts/test, or \
         scripts/servers run -- cargo test --all-features",
    )
}

/// The same, over the tests' Redis Cluster.
#[track_caller]
pub fn redis_cluster(prefix: &str) -> RedisStore {
    let nodes = redis_cluster_nodes();
    let urls = nodes.split(',').map(|node| format!("redis://{node}"));
    RedisStore::connect_cluster_with(urls, RedisOptions::default().prefix(prefix)).unwrap()
}

/// A file of a test's own, removed with it.
pub struct File(pub PathBuf);

impl File {
    pub fn new() -> Self {
        let folder = std::env::temp_dir().join(unique("countersign-"));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    pub fn path(&self) -> PathBuf {
        self.0.join("tokens.sqlite")
    }

    pub async fn node(&self) -> SqliteStore {
        let store = SqliteStore::open(self.path()).await.unwrap();
        store.migrate().await.unwrap();
        store
    }

    /// All that is on the disk.
    pub fn bytes(&self) -> Vec<u8> {
        let files = std::fs::read_dir(&self.0).unwrap();
        files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A Redis server of a test's own, which it may stop and start, and which is stopped with it.
pub struct RedisServer {
    pub folder: PathBuf,
    pub port: u16,
}

impl RedisServer {
    #[track_caller]
    pub fn start(options: &[&str]) -> Self {
        let folder = std::env::var("COUNTERSIGN_TEST_FOLDER").expect(
            "COUNTERSIGN_TEST_FOLDER has to name a folder for servers: run scripts/test, or \
             scripts/servers run -- cargo test --all-features",
        );
        let folder = PathBuf::from(folder).join(unique("redis-"));
        for _ in 0..5 {
            // Free for the moment: another process may get to it first.
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            drop(listener);
            let server = Self { folder: folder.clone(), port };
            if server.try_start(options) {
                return server;
            }
        }
        panic!("no Redis server could be started in {}", folder.display());
    }

    /// Starts it again, with the data that it had.
    #[track_caller]
    pub fn start_again(&self, options: &[&str]) {
        assert!(self.try_start(options), "the Redis server did not start again");
    }

    fn try_start(&self, options: &[&str]) -> bool {
        let port = self.port.to_string();
        servers(&["redis", "start", self.folder.to_str().unwrap(), &port], options)
    }

    /// Stops it as a crash would.
    pub fn stop(&self) {
        assert!(servers(&["redis", "stop", self.folder.to_str().unwrap()], &[]));
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn node(&self) -> RedisStore {
        RedisStore::connect(&self.url()).unwrap()
    }

    /// A command of an administrator.
    pub async fn command<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut line = redis::cmd(command[0]);
        line.arg(&command[1..]).query_async(&mut connection).await.unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        servers(&["redis", "stop", self.folder.to_str().unwrap()], &[]);
    }
}

fn servers(arguments: &[&str], options: &[&str]) -> bool {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts/servers");
    let mut command = std::process::Command::new(script);
    let output = command.args(arguments).args(options).output().unwrap();
    output.status.success()
}
