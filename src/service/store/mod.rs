//! Storage traits for principals and sessions, and their contract. A third,
//! [`KeyStore`], is for nodes that share their signing keys.
//!
//! # Contract
//!
//! 1. **Every method is atomic.** Of any number of callers, on any number of nodes, that `insert` the same key, or
//!    `replace` or `take` the same version of a record, exactly one succeeds. The same holds for those that `insert`
//!    entities of one kind with the same [`distinct_name`](crate::Entity::distinct_name), whatever their ids.
//! 2. **`replace` never recreates a record.** If the record has been removed, a later `replace` fails with
//!    [`StoreError::Conflict`].
//! 3. **The time is an argument.** `get` does not check the expiry: it may return an expired session that has not
//!    been purged, and the service rejects it. A list contains only sessions before their
//!    [`expires_at`](crate::sessions::Session::expires_at). A store drops a session only after its
//!    [`kept_until`](crate::sessions::Session::kept_until), which is later if tokens issued from it are still valid.
//! 4. **A store never drops a live record.** A cache may. Purging uses the earlier of the time that is passed in and
//!    [the engine's own](Store::time), so that a node whose clock is ahead does not remove what other nodes rely on.
//! 5. **A confirmed write is durable** to the extent that the engine promises.
//! 6. **An outage is [`StoreError::Unavailable`]**, never a missing record.
//! 7. **`get` returns the current record**, on any node. Only an [`EntityCache`] reads copies.
//!
//! # What each engine promises
//!
//! | | in memory | SQLite | Postgres | Redis, Valkey |
//! |---|---|---|---|---|
//! | feature | `service` | `sqlite` | `postgres` | `redis` |
//! | for | one process | the processes of one machine | any number of nodes | any number of nodes; one server, one that sentinels watch, or a cluster |
//! | an answered write | gone with the process | on the disk: `synchronous=FULL` | on the disk, as long as `synchronous_commit` and `fsync` are on; a failover may lose what no standby has, and none where `synchronous_standby_names` names those that may take over | on the disk with `appendonly yes` and `appendfsync always`; with `everysec`, a crash may lose the last second; a failover may lose what no replica has |
//! | `replace` and `take` of one version | exactly once | exactly once | exactly once, as long as the server keeps what it answered | exactly once, as long as the server keeps what it answered: what a crash or a failover loses, it brings back, a session that was exchanged among it. `RedisOptions::wait_for_replicas` (`WAIT`) and, in a cluster, the servers' `min-replicas-to-write` narrow that and do not close it |
//! | after a crash, a failover or a restore that lost writes | | the feed is read again from its start, and nodes publish and end again what they revoked and logged out in their last ten minutes | the same | the same; a user without `INFO` notices it where its node's last entry is gone |
//! | a server that is no primary | | | is an outage | is an outage; for the feed, so is one with fewer replicas than `min-replicas-to-write` |
//! | of names that look alike, one is registered | always | always | always | unless a server stops for over two seconds between two steps of a registration, and for good before the last one |
//! | a revocation is heard elsewhere | at once, by its clones | within 25 ms and the time of a read | with its notification; within a second where that gets lost | with its entry of the stream; within a second where that is not heard |
//! | a pooler or proxy in front of it | | | a pooler in session mode; one in transaction mode with `PostgresOptions::transaction_pooler` | a proxy that leads to the primary |
//! | connections of a node | | six to the file | up to `max_connections` (16) + 3 | two, and one more with `wait_for_replicas`; in a cluster, to each server |
//! | run it with | | a local file system; `-wal` and `-shm` belong to the file | version 13 or later, UTF-8 | version 6.2 or later, `maxmemory-policy noeviction` |
//!
//! Connections are not encrypted unless the URL requests TLS: do so if the database is reached over a network. It takes
//! the feature `redis-tls`, with `rediss://`, or `postgres-tls`, with `sslmode=verify-full`.
//!
//! The suite in `store::conformance` (feature `conformance`) checks every store of this crate against this contract,
//! including races.

#[cfg(any(feature = "postgres", feature = "redis"))]
mod background_task;
mod cached;
mod entity_cache;
mod error;
mod memory;
mod query;
pub mod record;
mod shared;
mod subject_position;

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
pub use self::postgres::{PgPool, PostgresOptions, PostgresStore};
pub use self::query::{
    Cursor, FeedEvent, FeedPage, PageRequest, SessionFilter, SessionPage, SubjectSessions,
};
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

/// The methods that all stores have in common.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Returns whether the content outlives the process. A service over such a store needs a sealing key that does so
    /// too, and accepts tokens only while it receives the revocations of other nodes.
    fn is_durable(&self) -> bool;

    /// Returns whether the content is in the format of this release, so that a migration has nothing to do. It writes
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn is_current(&self) -> Result<bool, StoreError>;

    /// Returns the time of the engine's own clock, or `None` if it has none, as in memory. A service whose clock
    /// differs from it by more than the tolerance removes nothing from the store and rotates no keys.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn time(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Returns the text that [`write_sealing_check`](Self::write_sealing_check) wrote last, if any.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn read_sealing_check(&self) -> Result<Option<String>, StoreError>;

    /// Stores a text, in place of the previous one; an empty one counts as none. At its start, a service uses the
    /// text to check whether its sealing keys can open the content of the store.
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
    /// [`StoreError::Conflict`] if its id is already registered, or another entity of its kind has its
    /// [`distinct_name`](Entity::distinct_name).
    async fn insert(&self, entity: Entity) -> Result<(), StoreError>;

    /// Returns the entity with that id, if there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] and [`StoreError::Corrupt`].
    async fn get(&self, id: &EntityId) -> Result<Option<Entity>, StoreError>;

    /// Replaces an entity, if the stored one has `expected_version`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if the stored one has another version, or is gone.
    async fn replace(&self, entity: Entity, expected_version: u64) -> Result<(), StoreError>;

    /// Returns up to `limit` entities of a kind, in the order of their ids, which is that of the bytes of their
    /// [index texts](EntityId::to_index_text), starting after `after`, which is of this kind, and only those of one
    /// organization if one is given. Apart from a few that have changed concurrently, it reads only the records that it
    /// returns.
    ///
    /// A caller that starts without `after`, and continues with the last id until the list is empty, has seen every
    /// entity that existed throughout.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] and [`StoreError::Corrupt`].
    async fn list(
        &self,
        subject_type: SubjectType,
        organization: Option<&OrganizationId>,
        after: Option<&EntityId>,
        limit: usize,
    ) -> Result<Vec<Entity>, StoreError>;

    /// Removes the entity with that id, and returns whether it existed. Its [`distinct_name`](Entity::distinct_name)
    /// may then be used again.
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
    /// Stores a session until `session.kept_until()`. A store that expires records by itself may count from the
    /// earlier of `now`, which is the service's time, and its own time.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if its key is in use, and [`StoreError::Unavailable`].
    async fn insert(&self, session: Session, now: Timestamp) -> Result<(), StoreError>;

    /// Returns the session with that key, which may have expired.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] and [`StoreError::Corrupt`].
    async fn get(&self, key: &SessionKey) -> Result<Option<Session>, StoreError>;

    /// Replaces a session, if the stored one has `expected_version`. An exchange uses this to mark the session as
    /// used up or to move its expiry. Lists and counts are updated with it.
    ///
    /// If the response to a call is lost and the call is repeated, finding the record that it wrote counts as
    /// success: no two callers write the same record.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if the stored one has another version, or is gone.
    async fn replace(
        &self,
        session: Session,
        expected_version: u64,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Removes a session and returns it to exactly one caller; others get `None`. A log-out uses it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if the session exists with another version.
    async fn take(
        &self,
        key: &SessionKey,
        expected_version: u64,
    ) -> Result<Option<Session>, StoreError>;

    /// Removes the session with that public id, whatever its version, and returns it if it existed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] and [`StoreError::Corrupt`].
    async fn remove(&self, id: &SessionId) -> Result<Option<Session>, StoreError>;

    /// Returns sessions that have neither expired nor been used up, in the order of their
    /// [positions](SessionPosition), and their total number.
    ///
    /// The cost of a page depends on the sessions that it returns and skips, not on the total. Only sessions that end
    /// during the call may be missing.
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

    /// Returns the number of a subject's sessions that have not expired: for a customer, the customer's own; for
    /// other subjects, those that they have started. It counts up to `up_to` and reads no records. A session that was
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

    /// Returns a part of the sessions of a subject, as defined in [`count`](Self::count), including ended ones that are
    /// still kept, and the cursor of the next part. `limit` is not zero. It reads about `limit` records and no more than
    /// a few times as many, so a part may be shorter than `limit`, or empty, although there are more.
    ///
    /// The first part is that of [`Cursor::START`]. A caller that has read all parts has seen every session that was there
    /// throughout, at least once; but for those that were replaced meanwhile.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] and [`StoreError::Corrupt`].
    async fn of_subject(
        &self,
        subject: &Subject,
        after: &Cursor,
        limit: usize,
    ) -> Result<SubjectSessions, StoreError>;

    /// Publishes an event to all nodes, and keeps it until [`FeedEvent::until`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn publish(&self, event: FeedEvent) -> Result<(), StoreError>;

    /// Returns the events published after `after`, and waits up to `wait` for the first one.
    ///
    /// A reader that passes the cursor of the last page gets all events that it has missed; an event may be returned
    /// twice. [`Cursor::START`] reads all events that are kept. If there are too many for one deadline, the page is a
    /// part and says so. If the engine has lost the [history](FeedPage::history_changed) of the cursor, the page says
    /// so and starts at the beginning. An entry that cannot be read is no error and does not affect the others:
    /// [`record::read_event`] turns it into an event.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`].
    async fn read_feed(&self, after: &Cursor, wait: Duration) -> Result<FeedPage, StoreError>;

    /// Removes sessions whose `kept_until` and revocations whose end is no later than `now`, and returns their
    /// number. If [the engine's own time](Store::time) is earlier than `now`, it uses that.
    ///
    /// It may work in parts: call it again while it returns more than zero.
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
    /// Returns the current keys, if any were written.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] and [`StoreError::Corrupt`].
    async fn get(&self) -> Result<Option<KeySchedule>, StoreError>;

    /// Writes the first keys or, if a store has lost them, those that a node still knows. Their version need not be
    /// 1.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if there are keys already, and [`StoreError::Unavailable`].
    async fn insert(&self, keys: KeySchedule) -> Result<(), StoreError>;

    /// Replaces the keys, if the stored ones have `expected_version`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if the stored ones have another version, or are gone.
    async fn replace(&self, keys: KeySchedule, expected_version: u64) -> Result<(), StoreError>;
}
