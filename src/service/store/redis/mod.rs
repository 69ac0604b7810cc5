//! All stores in Redis or Valkey: any number of machines, over one server or a cluster.

mod client;
mod connection;
mod entities;
mod entity_index;
mod feed;
mod keys;
mod names;
mod options;
mod records;
mod sentinel;
mod session_lists;
mod sessions;
mod signing_keys;
mod tls;

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use redis::Cmd;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::service::store::background_task::BackgroundTask;
use crate::service::store::feed::Notifier;
use crate::service::store::redis::client::{RedisClient, Script};
use crate::service::store::redis::connection::Servers;
use crate::service::store::redis::keys::RedisKeys;
use crate::service::store::redis::records::VersionedRecords;
use crate::service::store::redis::sessions::UsedUpSessions;
use crate::service::store::schema::is_incompatible;
use crate::service::store::{Store, StoreError};

pub use self::options::RedisOptions;

/// The version of the keys and of what is under them.
const VERSION: u32 = 1_000;

/// All stores in Redis, version 6.2 or later, or in Valkey, for any number of nodes.
///
/// Every change of a session or an entity is one script over one key, so it is atomic also in a
/// cluster, and takes effect once even if it is sent twice. A registration is three scripts, since the name, which
/// must be unique, is under another key: if a node crashes between them, the name stays claimed for two seconds.
///
/// A confirmed write is as durable as the server makes it: with `appendonly yes`, `appendfsync always` keeps every
/// confirmed write over a crash, and `everysec` all but those of the last second. A failover may lose writes that no
/// replica has, and so restore a session that was exchanged: see
/// [`wait_for_replicas`](RedisOptions::wait_for_replicas). Run it with `maxmemory-policy
/// noeviction`.
///
/// If its memory is full, starting a session and registering a principal fail with [`ErrorKind::Unavailable`]. Existing
/// records can still be read, changed and removed, and revocations are still stored: each takes some 300 bytes above
/// `maxmemory` until it ends. Leave room for them.
///
/// If many thousands of sessions have just expired at once, a list of sessions may count some of them.
///
/// The Redis user needs read and write access to the prefix, scripts (`EVAL`, `EVALSHA`), and `WAIT` if the store
/// waits for replicas. Allow `INFO` as well: without it, a node detects a failover only if the last revocation that it
/// has read is lost, and does not detect the loss of one that it has published and not read yet. Allow `TIME`, too:
/// without it, a node whose clock is ahead removes sessions and revocations too early.
///
/// A node rejects the replies of a replica. It also does not read the feed from a primary with fewer replicas than the
/// primary's `min-replicas-to-write`, since another primary may have replaced it.
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
    index: Script,
    get_time: Script,
    purge: Script,
    publish: Script,
    read_feed: Script,
    trim_feed: Script,
    used_up: Mutex<UsedUpSessions>,
    /// Held by the one that takes many sessions out of the lists.
    ending: Arc<tokio::sync::Mutex<()>>,
    notifier: Arc<Notifier>,
    listening: BackgroundTask,
}

impl RedisStore {
    /// Creates a store in one server, such as `redis://user:password@host:port/database`. It connects at its first
    /// use. Call it within a tokio runtime.
    ///
    /// - `rediss://` uses TLS, with the feature `redis-tls`. The certificate has to be for the host, and of an authority
    ///   that the system trusts, or that is in the file that the environment variable `SSL_CERT_FILE` names. Client
    ///   certificates are not supported.
    /// - `unix:///path/of/the/socket?user=name&pass=password&db=0` uses a socket of this machine.
    ///
    /// `valkey://`, `valkeys://`, `redis+unix://` and `valkey+unix://` mean the same.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if it is not a URL of a Redis server, or asks for TLS without the feature; or there
    /// is no runtime.
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

    /// Creates a store in the primary of a service that sentinels watch. It follows a failover.
    ///
    /// Give the URLs of some sentinels, and a URL whose host is the name of the service, with the user, password and
    /// database of the primary; with `rediss://`, the primary is connected to by TLS. The Redis user needs `ROLE`, too.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), countersign::Error> {
    /// use countersign::store::RedisStore;
    ///
    /// let sentinels = ["redis://10.0.0.1:26379", "redis://10.0.0.2:26379", "redis://10.0.0.3:26379"];
    /// let store = RedisStore::connect_sentinel(sentinels, "redis://user:password@mymaster")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect).
    pub fn connect_sentinel<U: Into<String>>(
        sentinels: impl IntoIterator<Item = U>,
        service: &str,
    ) -> Result<Self, Error> {
        Self::connect_sentinel_with(sentinels, service, RedisOptions::default())
    }

    /// Creates a store in the primary of a service that sentinels watch, with further settings: see [`RedisOptions`].
    ///
    /// # Errors
    ///
    /// Those of [`connect_with`](Self::connect_with).
    pub fn connect_sentinel_with<U: Into<String>>(
        sentinels: impl IntoIterator<Item = U>,
        service: &str,
        options: RedisOptions,
    ) -> Result<Self, Error> {
        let sentinels: Vec<String> = sentinels.into_iter().map(Into::into).collect();
        Self::new(Servers::of_sentinels(&sentinels, service)?, options)
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
        options.check()?;
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
                keys: RedisKeys { prefix: options.prefix },
                records: VersionedRecords::new(Arc::clone(&client)),
                client,
                claim_name: Script::new(include_str!("scripts/claim_name.lua")),
                confirm_name: Script::new(include_str!("scripts/confirm_name.lua")),
                release_name: Script::new(include_str!("scripts/release_name.lua")),
                keep_id: Script::new(concat!(
                    include_str!("scripts/time.lua"),
                    include_str!("scripts/keep_id.lua")
                )),
                index: Script::new(include_str!("scripts/index.lua")),
                get_time: Script::new(concat!(
                    include_str!("scripts/time.lua"),
                    include_str!("scripts/get_time.lua")
                )),
                purge: Script::new(include_str!("scripts/purge.lua")),
                publish: Script::new(include_str!("scripts/publish.lua")),
                read_feed: Script::new(include_str!("scripts/read_feed.lua")),
                trim_feed: Script::new(include_str!("scripts/trim_feed.lua")),
                used_up: Mutex::default(),
                ending: Arc::default(),
                notifier: Arc::new(Notifier::new()),
                listening: BackgroundTask::default(),
            }),
        })
    }

    /// Marks the content under the prefix with the version of this release, if it has no mark. It writes nothing if it
    /// has one, and may run on several nodes at once. It logs a warning if the server may evict keys.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if the server is unreachable, [`ErrorKind::Configuration`] if a release that this
    /// one is not compatible with has written the content.
    pub async fn migrate(&self) -> Result<(), Error> {
        let found = self.mark_version().await.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "the Redis server cannot be set up")
                .with_source(error)
        })?;
        if !is_readable(found) {
            return Err(Error::configuration(format!(
                "the content of the Redis server is of version {found}, and this release reads {VERSION}: give it \
                 another prefix of keys, or the release that wrote it"
            )));
        }
        self.warn_of_eviction().await;
        Ok(())
    }

    /// Returns the version of what is under the prefix, and marks it where it was not. It only reads what is marked: a
    /// server whose memory is full is joined.
    async fn mark_version(&self) -> Result<u32, StoreError> {
        if let Some(found) = self.find_version().await? {
            return Ok(found);
        }
        let Inner { keys, client, .. } = &*self.inner;
        // Another node may have been faster.
        let _is_first: bool = client.query(&Cmd::set_nx(keys.version(), VERSION)).await?;
        Ok(self.find_version().await?.unwrap_or(VERSION))
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
        Ok(self.find_version().await?.is_some_and(is_readable))
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

/// Returns whether this release works with what is of a version.
fn is_readable(version: u32) -> bool {
    let (found, known) = (u64::from(version), u64::from(VERSION));
    !is_incompatible(found, known) && !is_incompatible(known, found)
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
