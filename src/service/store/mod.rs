//! Storage traits for principals and sessions, and their contract. A third,
//! [`KeyStore`], is for nodes that share their signing keys.
//!
//! # Contract
//!
//! 1. **Every verb is atomic.** Of any number of callers that `insert` one key, or `replace` or
//!    `take` one version of it, on any number of nodes, exactly one succeeds.
//!    The same holds for those that `insert` entities of one kind with one
//!    [`distinct_name`](crate::Entity::distinct_name), under whatever ids.
//! 2. **`replace` never resurrects.** What is gone stays gone: the late writer gets
//!    [`StoreError::Conflict`].
//! 3. **Time is passed in.** No store judges expiry in `get`: an expired
//!    session that has not been purged may be returned, and the service rejects it. A list has what is
//!    before [`expires_at`](crate::sessions::Session::expires_at) alone; a store drops a session only once it is
//!    past [`kept_until`](crate::sessions::Session::kept_until), which is later where tokens of it live on.
//! 4. **A store never drops what is live.** A cache may. What removes for good goes by the earlier of
//!    the time that is passed in and [the engine's own](Store::time): one node whose clock is ahead
//!    removes nothing of what the others rely on.
//! 5. **An answered write lasts** as long as the engine promises.
//! 6. **An outage is [`StoreError::Unavailable`]**, never an absent record.
//! 7. **`get` returns what is there now**, on any node. Copies are read by an [`EntityCache`] alone.
//!
//! # What each engine promises
//!
//! | | in memory | SQLite | Postgres | Redis, Valkey |
//! |---|---|---|---|---|
//! | feature | `service` | `sqlite` | `postgres` | `redis` |
//! | for | one process | the processes of one machine | any number of nodes | any number of nodes; one server or a cluster |
//! | an answered write | gone with the process | on the disk: `synchronous=FULL` | on the disk, as long as `synchronous_commit` and `fsync` are on; a failover may lose what no standby has, and none where `synchronous_standby_names` names those that may take over | on the disk with `appendonly yes` and `appendfsync always`; with `everysec`, a crash may lose the last second; a failover may lose what no replica has |
//! | `replace` and `take` of one version | exactly once | exactly once | exactly once, as long as the server keeps what it answered | exactly once, as long as the server keeps what it answered: what a crash or a failover loses, it brings back, a session that was exchanged among it. `RedisOptions::wait_for_replicas` (`WAIT`) and, in a cluster, the servers' `min-replicas-to-write` narrow that and do not close it |
//! | after a crash, a failover or a restore that lost writes | | the feed is read again from its start, and nodes publish and end again what they revoked and logged out in their last ten minutes | the same | the same; a user without `INFO` notices it where its node's last entry is gone |
//! | a server that is no primary | | | is an outage | is an outage; for the feed, so is one with fewer replicas than `min-replicas-to-write` |
//! | of names that look alike, one is registered | always | always | always | unless a server stops for over two seconds between two steps of a registration, and for good before the last one |
//! | a revocation is heard elsewhere | at once, by its clones | within 25 ms and the time of a read | with its notification; within a second where that gets lost, as behind a pooler that passes on none | with its entry of the stream; within a second where that is not heard |
//! | run it with | | a local file system; `-wal` and `-shm` belong to the file | version 13 or later, UTF-8 | version 6.2 or later, `maxmemory-policy noeviction` |
//!
//! Connections are in the clear unless the driver is built with TLS: where the database is reached
//! over a network, add `sqlx` with `tls-rustls-aws-lc-rs`, or `redis` with `tokio-rustls-comp`, to
//! the dependencies of the app, in the versions that this crate has, and ask for it in the URL.
//!
//! The suite in `store::conformance` (feature `conformance`) holds every store of this crate to
//! it, races included.

#[cfg(any(feature = "postgres", feature = "redis"))]
mod background_task;
mod cached;
mod entity_cache;
mod error;
mod memory;
mod query;
pub mod record;
mod shared;

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
mod feed;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
mod retry;
#[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
mod schema;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::service::model::entity::{Entity, EntityId};
use crate::service::model::session::Session;
use crate::token::claims::SubjectType;
use crate::token::identifier::{OrganizationId, SessionId};

pub use self::cached::Cached;
pub use self::entity_cache::{EntityCache, RecentEntity};
pub use self::error::StoreError;
pub use self::memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use self::postgres::{PgPool, PostgresStore};
pub use self::query::{Cursor, FeedEvent, FeedPage, PageRequest, SessionFilter, SessionPage};
#[cfg(feature = "redis")]
pub use self::redis::{RedisOptions, RedisStore};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use self::sql::TableNames;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteStore;
pub use crate::service::model::authentication_token::SessionKey;
pub use crate::service::model::key_schedule::{KeySchedule, RetiredKey, ScheduledKey};
pub use crate::service::model::revocation::{Revocation, RevocationTarget};
pub use crate::service::model::session_position::SessionPosition;
pub use crate::service::model::subject::Subject;

/// Returns where principals are kept unless the host says otherwise.
pub(super) fn default_entities() -> Arc<dyn EntityStore> {
    Arc::new(MemoryStore::new())
}

/// Returns where sessions are kept unless the host says otherwise.
pub(super) fn default_sessions() -> Arc<dyn SessionStore> {
    Arc::new(MemoryStore::new())
}

/// Returns where managed keys are kept unless the host says otherwise.
pub(super) fn default_keys() -> Arc<dyn KeyStore> {
    Arc::new(MemoryStore::new())
}

/// What every store has, whatever it stores.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Returns whether what it holds outlives the process. A service over one that does needs a
    /// sealing key that does, too, and accepts tokens only while it hears what other nodes revoke.
    fn is_durable(&self) -> bool;

    /// Returns whether what it holds has the form of this release, so that a migration has nothing
    /// to do. It writes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn is_current(&self) -> Result<bool, StoreError>;

    /// Returns the present by the engine's own clock; `None` where it has none, as in memory. A service
    /// whose clock differs from it by too much removes nothing from the store and changes no keys.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn time(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Returns the text that was written last by
    /// [`write_sealing_check`](Self::write_sealing_check); none where none was.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn read_sealing_check(&self) -> Result<Option<String>, StoreError>;

    /// Keeps a text, in the place of the one before it; an empty one is as good as none. A service finds out by it at its start whether
    /// its sealing keys open what the store holds.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn write_sealing_check(&self, check: &str) -> Result<(), StoreError>;
}

/// Stores registered principals. See the [module docs](self) for the contract.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no store of principals",
    label = "has to be an `EntityStore`",
    note = "`MemoryStore`, `SqliteStore`, `PostgresStore` and `RedisStore` are such stores, and so is an `Arc` of one",
    note = "for a store of your own, implement `EntityStore`, and run the suite of `store::conformance` on it"
)]
#[async_trait]
pub trait EntityStore: Store {
    /// Registers an entity.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] where its id is registered already, or another entity of its sort has
    /// its [`distinct_name`](Entity::distinct_name).
    async fn insert(&self, entity: Entity) -> Result<(), StoreError>;

    /// The entity of that id.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] and [`StoreError::Corrupt`].
    async fn get(&self, id: &EntityId) -> Result<Option<Entity>, StoreError>;

    /// Writes an entity over the one that is there, if that is still of `expected_version`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] where it is of another version, or gone.
    async fn replace(&self, entity: Entity, expected_version: u64) -> Result<(), StoreError>;

    /// Returns entities of a kind in the order of their names, which is that of their bytes: `limit` at
    /// most, none up to `after`, and of an organization alone where one is given. It reads no more records
    /// than it returns, but for a few that have changed meanwhile.
    ///
    /// Who begins without `after` and goes on from the last name, until there are none, has seen each
    /// entity that was there all the time.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] and [`StoreError::Corrupt`].
    async fn list(
        &self,
        subject_type: SubjectType,
        organization: Option<&OrganizationId>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entity>, StoreError>;

    /// Removes the entity of that id; returns whether it was there. Its
    /// [`distinct_name`](Entity::distinct_name) is free again.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn remove(&self, id: &EntityId) -> Result<bool, StoreError>;
}

/// Stores sessions and the feed of revocations. See the [module docs](self) for the contract.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no store of sessions",
    label = "has to be a `SessionStore`",
    note = "`MemoryStore`, `SqliteStore`, `PostgresStore` and `RedisStore` are such stores, and so is an `Arc` of one",
    note = "for a store of your own, implement `SessionStore`, and run the suite of `store::conformance` on it"
)]
#[async_trait]
pub trait SessionStore: Store {
    /// Keeps a session until `session.kept_until()`. A store that forgets by itself may count from the
    /// earlier of `now`, which is the service's time, and its own.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] where its key is taken, and [`StoreError::Unavailable`].
    async fn insert(&self, session: Session, now: Timestamp) -> Result<(), StoreError>;

    /// The session of that key, which may have expired.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] and [`StoreError::Corrupt`].
    async fn get(&self, key: &SessionKey) -> Result<Option<Session>, StoreError>;

    /// Writes a session over the one that is there, if that is still of `expected_version`. An exchange
    /// uses it up by this, or moves its end. What lists and counts go by changes with it.
    ///
    /// A call that is made again because its answer was lost, and finds the record that it wrote, has
    /// succeeded: no two callers write the same record.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] where it is of another version, or gone.
    async fn replace(
        &self,
        session: Session,
        expected_version: u64,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Removes a session and returns it to one caller: `None` for everybody else. A log-out ends it by
    /// this.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] where it is there and of another version.
    async fn take(
        &self,
        key: &SessionKey,
        expected_version: u64,
    ) -> Result<Option<Session>, StoreError>;

    /// Removes the session of that public id, whatever its version; returns it where it was there.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] and [`StoreError::Corrupt`].
    async fn remove(&self, id: &SessionId) -> Result<Option<Session>, StoreError>;

    /// Returns sessions that have not expired and were not used up, in the order of their
    /// [positions](SessionPosition), and how many there are.
    ///
    /// A page costs what it returns and skips, however many sessions there are. Only sessions that end while it is
    /// read may be missing from it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] and [`StoreError::Corrupt`].
    async fn list(
        &self,
        filter: &SessionFilter,
        page: &PageRequest,
        now: Timestamp,
    ) -> Result<SessionPage, StoreError>;

    /// Returns how many sessions of a subject have not expired: of a customer their own, of others
    /// those that they have started. It counts no further than `up_to`, and reads no record. One that was
    /// used up a moment ago may still be counted.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn count(
        &self,
        subject: &Subject,
        now: Timestamp,
        up_to: usize,
    ) -> Result<usize, StoreError>;

    /// Returns sessions of a subject, in the sense of [`count`](Self::count), that were created before
    /// an instant, those included that have ended and are kept: `limit` at most, which is not zero. Who
    /// removes them and asks again until there are none has seen all.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] and [`StoreError::Corrupt`].
    async fn of_subject(
        &self,
        subject: &Subject,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Session>, StoreError>;

    /// Publishes an event to all nodes, and keeps it until [`FeedEvent::until`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn publish(&self, event: FeedEvent) -> Result<(), StoreError>;

    /// Returns what was published after `after`, and waits up to `wait` for the first event.
    ///
    /// A reader that passes the cursor of the last page gets all that it missed; the same event may
    /// come twice. [`Cursor::START`] reads all events that are kept. Where that is more than can be
    /// read well within a deadline, the page is a part and says so. So does one whose engine has lost the
    /// [history](FeedPage::history_changed) that the cursor is of: it has all from the start. An entry that cannot
    /// be read is no error, and keeps no other one from being read: [`record::read_event`] makes an event of it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn read_feed(&self, after: &Cursor, wait: Duration) -> Result<FeedPage, StoreError>;

    /// Removes sessions that are to be kept no longer than until `now`, and revocations that ended by
    /// then; returns how many. Where [the engine's own time](Store::time) is earlier than `now`, it goes
    /// by that.
    ///
    /// It may do so in parts: a caller that gets more than zero calls again.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn purge_expired(&self, now: Timestamp) -> Result<u64, StoreError>;
}

/// The signing keys that nodes share: one record. See the [module docs](self) for the contract.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no store of signing keys",
    label = "has to be a `KeyStore`",
    note = "`MemoryStore`, `SqliteStore`, `PostgresStore` and `RedisStore` are such stores, and so is an `Arc` of one"
)]
#[async_trait]
pub trait KeyStore: Store {
    /// The keys as they are now; none where none were written yet.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] and [`StoreError::Corrupt`].
    async fn get(&self) -> Result<Option<KeySchedule>, StoreError>;

    /// Writes the first ones, or, where a store has lost them, those that a node still knows. They
    /// bring their version, which need not be 1.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] where there are some, and [`StoreError::Unavailable`].
    async fn insert(&self, keys: KeySchedule) -> Result<(), StoreError>;

    /// Writes keys over those that are there, if these are still of `expected_version`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] where they are of another version, or gone.
    async fn replace(&self, keys: KeySchedule, expected_version: u64) -> Result<(), StoreError>;
}
