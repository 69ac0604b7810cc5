//! All stores in Redis or Valkey: any number of machines, over one server or a cluster.

mod client;
mod connection;
mod entities;
mod entity_index;
mod feed;
mod keys;
mod names;
mod records;
mod session_lists;
mod sessions;
mod signing_keys;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use redis::Cmd;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::service::store::background_task::BackgroundTask;
use crate::service::store::feed::Notifier;
use crate::service::store::redis::client::{Acknowledgement, RedisClient, Script};
use crate::service::store::redis::connection::Servers;
use crate::service::store::redis::keys::RedisKeys;
use crate::service::store::redis::records::VersionedRecords;
use crate::service::store::redis::sessions::UsedUpSessions;
use crate::service::store::schema::is_incompatible;
use crate::service::store::{Store, StoreError};

/// The version of the keys and of what is under them.
const VERSION: u32 = 4;
const MAX_PREFIX_LEN: usize = 64;
/// How long replicas may be waited for: all writes share a connection, and wait with it.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Settings of a [`RedisStore`].
///
/// ```
/// use std::time::Duration;
/// use countersign::store::RedisOptions;
///
/// let options = RedisOptions::default()
///     .prefix("auth:")
///     .wait_for_replicas(1, Duration::from_millis(500));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RedisOptions {
    prefix: String,
    acknowledgement: Option<Acknowledgement>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self { prefix: "countersign:".to_owned(), acknowledgement: None }
    }
}

impl RedisOptions {
    /// Sets the prefix of each key: 1 to 64 bytes, without braces, which have a meaning in a cluster. Default:
    /// `countersign:`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Makes each write wait, by `WAIT`, until that many replicas have it. If they do not within `timeout`, the store
    /// is reported as unavailable, but the write may have been made. Default: no waiting.
    ///
    /// The timeout must be between 1 millisecond and 1 second: all writes share a connection and wait with it. Reads
    /// use another one.
    ///
    /// It reduces the writes that a failover can lose, but does not exclude a loss, since another replica may take
    /// over. For a cluster, use the servers' `min-replicas-to-write` instead.
    pub fn wait_for_replicas(mut self, replicas: u32, timeout: Duration) -> Self {
        self.acknowledgement = Some(Acknowledgement { replicas, timeout });
        self
    }
}

/// All stores in Redis, version 6.2 or later, or in Valkey, for any number of nodes.
///
/// Every change of a session or an entity is one script over one key, so it is atomic also in a
/// cluster, and is made once although it was sent twice. A registration takes three, since the name that
/// nobody else may have is under another key: who dies in between leaves it claimed for two seconds. What is answered is as durable as the
/// server makes it: `appendonly yes` with `appendfsync always` keeps every answered write over a
/// crash, `everysec` all but the last second's. A failover may lose what no replica has, and with
/// it bring a session back that was exchanged: see
/// [`wait_for_replicas`](RedisOptions::wait_for_replicas). Run it with `maxmemory-policy
/// noeviction`.
///
/// Listing sessions reads all sessions of the filter's customer or organization; listing entities reads one page.
///
/// The Redis user needs read and write access to the prefix, scripts (`EVAL`, `EVALSHA`), and `WAIT` if the store
/// waits for replicas. Allow `INFO` as well: without it, a node detects a failover only by the last revocation that
/// it has read, and misses the loss of its own revocation that was not read yet. Allow `TIME`, too: without it, a
/// node whose clock is ahead removes sessions and revocations too early.
///
/// Replies of a replica are not accepted, nor, for the feed, those of a primary with fewer replicas than its
/// `min-replicas-to-write`, which may have been replaced.
///
/// ```no_run
/// use countersign::store::RedisStore;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisStore::connect("redis://cache.example.com")?;
/// store.migrate().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisStore {
    inner: Arc<Inner>,
}

struct Inner {
    keys: RedisKeys,
    client: Arc<RedisClient>,
    records: VersionedRecords,
    claim_name: Script,
    confirm_name: Script,
    release_name: Script,
    keep_id: Script,
    get_time: Script,
    purge: Script,
    publish: Script,
    read_feed: Script,
    trim_feed: Script,
    used_up: Mutex<UsedUpSessions>,
    notifier: Arc<Notifier>,
    listening: BackgroundTask,
}

impl RedisStore {
    /// Creates a store in one server, such as `redis://user:password@host:port/database`. It connects at its first
    /// use. Call it within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if it is not a URL of a Redis server, or there is no runtime.
    pub fn connect(url: &str) -> Result<Self, Error> {
        Self::connect_with(url, RedisOptions::default())
    }

    /// Creates a store in one server with further settings: see [`RedisOptions`].
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect), and [`ErrorKind::Configuration`] for a prefix that is empty, longer than
    /// 64 bytes, or contains braces, which have a meaning in a cluster.
    pub fn connect_with(url: &str, options: RedisOptions) -> Result<Self, Error> {
        Self::new(Servers::single(url)?, options)
    }

    /// Creates a store in a cluster. Give the URLs of some of its servers; it finds the others through them.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect).
    pub fn connect_cluster<U: Into<String>>(
        urls: impl IntoIterator<Item = U>,
    ) -> Result<Self, Error> {
        Self::connect_cluster_with(urls, RedisOptions::default())
    }

    /// Creates a store in a cluster with further settings: see [`RedisOptions`].
    ///
    /// # Errors
    ///
    /// Those of [`connect_with`](Self::connect_with), and [`ErrorKind::Configuration`] if the options make writes
    /// wait for replicas.
    pub fn connect_cluster_with<U: Into<String>>(
        urls: impl IntoIterator<Item = U>,
        options: RedisOptions,
    ) -> Result<Self, Error> {
        if options.acknowledgement.is_some() {
            return Err(Error::configuration(
                "in a cluster, set min-replicas-to-write on the servers, not wait_for_replicas",
            ));
        }
        let urls: Vec<String> = urls.into_iter().map(Into::into).collect();
        Self::new(Servers::cluster(&urls)?, options)
    }

    fn new(servers: Servers, options: RedisOptions) -> Result<Self, Error> {
        let prefix = options.prefix;
        if prefix.is_empty() || prefix.len() > MAX_PREFIX_LEN || prefix.contains(['{', '}']) {
            return Err(Error::configuration("a prefix of keys is 1 to 64 bytes, without braces"));
        }
        let waits_well = |acknowledgement: &Acknowledgement| {
            (SHORTEST_WAIT..=LONGEST_WAIT).contains(&acknowledgement.timeout)
        };
        if !options.acknowledgement.as_ref().is_none_or(waits_well) {
            return Err(Error::configuration(
                "the timeout of wait_for_replicas must be 1 millisecond to 1 second",
            ));
        }
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Error::configuration(
                "a Redis store must be created within a tokio runtime",
            ));
        }
        let client = RedisClient::new(servers, options.acknowledgement).map_err(|error| {
            Error::configuration("a Redis server cannot be connected to like this")
                .with_source(error)
        })?;
        let client = Arc::new(client);
        Ok(Self {
            inner: Arc::new(Inner {
                keys: RedisKeys { prefix },
                records: VersionedRecords::new(Arc::clone(&client)),
                client,
                claim_name: Script::new(include_str!("scripts/claim_name.lua")),
                confirm_name: Script::new(include_str!("scripts/confirm_name.lua")),
                release_name: Script::new(include_str!("scripts/release_name.lua")),
                keep_id: Script::new(concat!(
                    include_str!("scripts/time.lua"),
                    include_str!("scripts/keep_id.lua")
                )),
                get_time: Script::new(concat!(
                    include_str!("scripts/time.lua"),
                    include_str!("scripts/get_time.lua")
                )),
                purge: Script::new(include_str!("scripts/purge.lua")),
                publish: Script::new(include_str!("scripts/publish.lua")),
                read_feed: Script::new(include_str!("scripts/read_feed.lua")),
                trim_feed: Script::new(include_str!("scripts/trim_feed.lua")),
                used_up: Mutex::default(),
                notifier: Arc::new(Notifier::new()),
                listening: BackgroundTask::default(),
            }),
        })
    }

    /// Marks the content under the prefix as that of this release. It writes nothing if it is current, and may run on
    /// several nodes at once. It logs a warning if the server may evict keys.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if the server is unreachable, [`ErrorKind::Configuration`] if its content is of a
    /// later release.
    pub async fn migrate(&self) -> Result<(), Error> {
        let found = self.mark_version().await.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "the Redis server cannot be set up")
                .with_source(error)
        })?;
        if is_incompatible(found.into(), VERSION.into()) {
            return Err(Error::configuration(
                "the content of the Redis server is of a later release",
            ));
        }
        self.warn_of_eviction().await;
        Ok(())
    }

    async fn mark_version(&self) -> Result<u32, StoreError> {
        let Inner { keys, client, .. } = &*self.inner;
        if let Some(found) = self.find_version().await?.filter(|found| *found >= VERSION) {
            return Ok(found);
        }
        let _is_first: bool = client.query(&Cmd::set_nx(keys.version(), VERSION)).await?;
        let found: u32 = client.read(&Cmd::get(keys.version())).await?;
        if found < VERSION {
            self.index_again().await?;
            if found < 3 {
                self.index_entities().await?;
            }
            client.query::<()>(&Cmd::set(keys.version(), VERSION)).await?;
        }
        Ok(found)
    }

    /// Returns the version of what is under the prefix; none where it was not marked.
    async fn find_version(&self) -> Result<Option<u32>, StoreError> {
        self.inner.client.read(&Cmd::get(self.inner.keys.version())).await
    }

    async fn warn_of_eviction(&self) {
        let client = &self.inner.client;
        if client.servers().are_a_cluster() {
            // Its servers answer each for itself.
            return;
        }
        // Not every user may ask.
        let memory: Result<String, _> = client.query(redis::cmd("INFO").arg("memory")).await;
        if memory.is_ok_and(|memory| may_evict(&memory)) {
            tracing::warn!(
                "redis store: the server evicts keys when memory is full, sessions and revocations may be lost; set \
                 maxmemory-policy to noeviction"
            );
        }
    }
}

#[async_trait]
impl Store for RedisStore {
    fn is_durable(&self) -> bool {
        true
    }

    async fn is_current(&self) -> Result<bool, StoreError> {
        let can_work_with =
            |found: u32| found >= VERSION && !is_incompatible(found.into(), VERSION.into());
        Ok(self.find_version().await?.is_some_and(can_work_with))
    }

    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        let Inner { client, keys, get_time, .. } = &*self.inner;
        let micros: Option<String> = client.run(get_time, &[&keys.version()], &[]).await?;
        let micros =
            micros.map(|micros| micros.parse().map_err(StoreError::corrupt)).transpose()?;
        Ok(micros.map(Timestamp::from_micros))
    }

    async fn read_sealing_check(&self) -> Result<Option<String>, StoreError> {
        self.inner.client.read(&Cmd::get(self.inner.keys.sealing_check())).await
    }

    async fn write_sealing_check(&self, check: &str) -> Result<(), StoreError> {
        self.inner.client.query(&Cmd::set(self.inner.keys.sealing_check(), check)).await
    }
}

/// Returns whether a server may throw out what it holds, by what it answers to `INFO memory`.
fn may_evict(memory: &str) -> bool {
    !memory.contains("\nmaxmemory:0\r") && !memory.contains("maxmemory_policy:noeviction")
}

/// Shows the prefix. What is under it is not known without asking.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("prefix", &self.inner.keys.prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_evict_where_its_memory_is_bounded_and_its_policy_lets_it() {
        let answer = |bytes: u32, policy: &str| {
            format!("# Memory\r\nmaxmemory:{bytes}\r\nmaxmemory_policy:{policy}\r\n")
        };
        assert!(may_evict(&answer(1_000_000, "allkeys-lru")));
        assert!(may_evict(&answer(1_000_000, "volatile-ttl")));
        assert!(!may_evict(&answer(1_000_000, "noeviction")));
        assert!(!may_evict(&answer(0, "allkeys-lru")));
    }
}
