//! Opening the stores.

use std::sync::Arc;

use countersign::store::{EntityStore, KeyStore, MemoryStore, SessionStore};

use crate::Problem;
#[cfg(feature = "postgres")]
use crate::settings::{count, setting};

/// The stores of one engine.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) entities: Arc<dyn EntityStore>,
    pub(crate) sessions: Arc<dyn SessionStore>,
    pub(crate) keys: Arc<dyn KeyStore>,
    /// Whether they are over a network: a machine's login is no read of the engine then, most of the time.
    pub(crate) are_remote: bool,
}

impl Stores {
    /// Opens a store, and makes its tables where they are not there.
    pub(crate) async fn open(location: &str) -> Result<Self, Problem> {
        let scheme = location.split(':').next().unwrap_or_default();
        match scheme {
            "memory" if location == "memory:" => Ok(Self::in_memory()),
            "sqlite" => sqlite(location).await,
            "postgres" | "postgresql" => postgres(location).await,
            "redis" | "rediss" | "unix" | "redis+unix" | "redis-cluster" | "rediss-cluster"
            | "redis-sentinel" | "rediss-sentinel" => redis(location, scheme).await,
            _ => Err("must be memory:, sqlite:PATH, postgres://…, redis://…, rediss://…, \
                      unix://…, redis-cluster://… or redis-sentinel://…"
                .into()),
        }
    }

    pub(crate) fn in_memory() -> Self {
        Self::new(MemoryStore::new())
    }

    fn new(store: impl EntityStore + SessionStore + KeyStore + Clone) -> Self {
        Self {
            entities: Arc::new(store.clone()),
            sessions: Arc::new(store.clone()),
            keys: Arc::new(store),
            are_remote: false,
        }
    }
}

#[cfg(feature = "sqlite")]
async fn sqlite(location: &str) -> Result<Stores, Problem> {
    let path = location.strip_prefix("sqlite:").unwrap_or_default();
    if path.is_empty() {
        return Err("must be sqlite:PATH".into());
    }
    let store =
        countersign::store::SqliteStore::open(path).await.map_err(|error| crate::chain(&error))?;
    store.migrate().await.map_err(|error| crate::chain(&error))?;
    Ok(Stores::new(store))
}

#[cfg(feature = "postgres")]
async fn postgres(location: &str) -> Result<Stores, Problem> {
    use countersign::store::{PostgresOptions, PostgresStore};

    let connections = count("COUNTERSIGN_POSTGRES_CONNECTIONS", 16)?;
    let connections = u32::try_from(connections).unwrap_or(u32::MAX);
    let mut options = PostgresOptions::default().max_connections(connections);
    if let Some(direct) = setting("COUNTERSIGN_POSTGRES_DIRECT")? {
        options = options.transaction_pooler(direct);
    }
    let store = PostgresStore::connect_with(location, options);
    let store = store.map_err(|error| crate::chain(&error))?;
    store.migrate().await.map_err(|error| crate::chain(&error))?;
    Ok(Stores { are_remote: true, ..Stores::new(store) })
}

#[cfg(feature = "redis")]
async fn redis(location: &str, scheme: &str) -> Result<Stores, Problem> {
    use countersign::store::RedisStore;

    let rest = location.split_once("://").map_or("", |(_, rest)| rest);
    let scheme_of_each = if scheme.starts_with("rediss") { "rediss" } else { "redis" };
    let urls = |hosts: &str| -> Vec<String> {
        hosts.split(',').map(|host| format!("{scheme_of_each}://{host}")).collect()
    };
    let store = match scheme {
        "redis-cluster" | "rediss-cluster" => RedisStore::connect_cluster(urls(rest)),
        "redis-sentinel" | "rediss-sentinel" => {
            let (service, sentinels) = rest
                .split_once('?')
                .ok_or("must name its sentinels: redis-sentinel://SERVICE?HOST:PORT,…")?;
            RedisStore::connect_sentinel(urls(sentinels), &format!("{scheme_of_each}://{service}"))
        }
        _ => RedisStore::connect(location),
    };
    let store = store.map_err(|error| crate::chain(&error))?;
    store.migrate().await.map_err(|error| crate::chain(&error))?;
    Ok(Stores { are_remote: true, ..Stores::new(store) })
}

#[cfg(not(feature = "sqlite"))]
async fn sqlite(_: &str) -> Result<Stores, Problem> {
    Err("is sqlite:…, and this program was built without the feature sqlite".into())
}

#[cfg(not(feature = "postgres"))]
async fn postgres(_: &str) -> Result<Stores, Problem> {
    Err("is postgres://…, and this program was built without the feature postgres".into())
}

#[cfg(not(feature = "redis"))]
async fn redis(_: &str, scheme: &str) -> Result<Stores, Problem> {
    Err(format!("is {scheme}://…, and this program was built without the feature redis").into())
}
