//! The stores as the service calls them: each call has the policy's deadline, and is measured. Every use case may
//! read; only a [`Writer`](crate::service::writer) has [`WritingStores`], which write.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::service::detached::Detached;
use crate::service::model::authentication_token::SessionKey;
use crate::service::model::entity::{Entity, EntityId};
use crate::service::model::session::Session;
use crate::service::model::subject::Subject;
use crate::service::shared_clock::{SharedClock, SharedTime};
use crate::service::store::{
    Cursor, EntityCache, EntityStore, FeedEvent, FeedPage, KeySchedule, KeyStore, PageRequest,
    RecentEntity, SessionFilter, SessionPage, SessionStore, Store, StoreError, SubjectSessions,
};
use crate::service::telemetry;
use crate::token::claims::SubjectType;
use crate::token::identifier::{OrganizationId, SessionId};

const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The maximum number of attempts of a compare-and-set. Each failure is a conflict with another writer, and these
/// are few.
pub(super) const MAX_ATTEMPTS: usize = 64;

/// The outcome of a compare-and-set.
#[must_use]
pub(super) enum CompareAndSet<T> {
    Written(T),
    /// A conflict with another writer: read the record again.
    Conflict,
}

impl<T> CompareAndSet<T> {
    /// Returns the outcome of a write over a version.
    pub(super) fn of(outcome: Result<T, Error>) -> Result<Self, Error> {
        match outcome {
            Ok(value) => Ok(Self::Written(value)),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(Self::Conflict),
            Err(error) => Err(error),
        }
    }

    pub(super) fn map<U>(self, map: impl FnOnce(T) -> U) -> CompareAndSet<U> {
        match self {
            Self::Written(value) => CompareAndSet::Written(map(value)),
            Self::Conflict => CompareAndSet::Conflict,
        }
    }
}

/// Evaluates a block, which reads, changes and writes a record, until there is no conflict; at most [`MAX_ATTEMPTS`]
/// times. The block is the body of an `async` block whose output is a `Result<CompareAndSet<_>, Error>`.
///
/// It is a macro, since a future that borrows from an `async` closure is not known to be `Send`.
macro_rules! retry_on_conflict {
    ($attempt:block) => {
        'attempts: {
            for _ in 0..$crate::service::stores::MAX_ATTEMPTS {
                let outcome: Result<$crate::service::stores::CompareAndSet<_>, Error> =
                    async $attempt.await;
                match outcome {
                    Ok($crate::service::stores::CompareAndSet::Written(value)) => {
                        break 'attempts Ok(value);
                    }
                    Ok($crate::service::stores::CompareAndSet::Conflict) => {}
                    Err(error) => break 'attempts Err(error),
                }
            }
            Err($crate::service::stores::unavailable("too many writers of one record at once"))
        }
    };
}

pub(super) use retry_on_conflict;

/// The stores, for reading.
#[derive(Clone)]
pub(super) struct Stores {
    entities: Arc<dyn EntityStore>,
    /// The store of principals again, if it is a cache.
    cache: Option<Arc<dyn EntityCache>>,
    sessions: Arc<dyn SessionStore>,
    clock: Arc<SharedClock>,
    deadline: Duration,
}

/// The stores, for writing: only for work that runs to its end even if its caller disconnects.
pub(super) struct WritingStores {
    stores: Stores,
    _detached: Detached,
}

impl Stores {
    pub(super) fn new(
        entities: Arc<dyn EntityStore>,
        cache: Option<Arc<dyn EntityCache>>,
        sessions: Arc<dyn SessionStore>,
        clock: Arc<SharedClock>,
        deadline: Duration,
    ) -> Self {
        Self { entities, cache, sessions, clock, deadline }
    }

    /// Returns each store, with the name of its content.
    pub(super) fn all(&self) -> [(&'static str, &dyn Store); 2] {
        [("principals", &*self.entities), ("sessions", &*self.sessions)]
    }

    pub(super) async fn is_current(&self, store: &dyn Store) -> Result<bool, Error> {
        self.call("is_current", store.is_current()).await
    }

    pub(super) async fn read_sealing_check(
        &self,
        store: &dyn Store,
    ) -> Result<Option<String>, Error> {
        self.call("read_sealing_check", store.read_sealing_check()).await
    }

    pub(super) async fn get_keys(
        &self,
        store: &dyn KeyStore,
    ) -> Result<Option<KeySchedule>, Error> {
        self.call("get_keys", store.get()).await
    }

    /// Returns whether other nodes may publish revocations that this one has to apply.
    pub(super) fn are_shared(&self) -> bool {
        self.sessions.is_durable()
    }

    pub(super) async fn get_entity(&self, id: &EntityId) -> Result<Option<Entity>, Error> {
        let found = self.call("get_entity", self.entities.get(id)).await?;
        Ok(found.filter(|entity| is_registered_as(entity, id)))
    }

    /// Returns a principal, possibly from the cache, for callers that read the store before they reject.
    pub(super) async fn get_recent_entity(
        &self,
        id: &EntityId,
        now: Timestamp,
    ) -> Result<Option<RecentEntity>, Error> {
        let Some(cache) = &self.cache else {
            let entity = self.get_entity(id).await?;
            return Ok(entity.map(|entity| RecentEntity::just_read(entity, now)));
        };
        let found = self.call("get_recent_entity", cache.get_recent(id, now)).await?;
        Ok(found.filter(|recent| is_registered_as(&recent.entity, id)))
    }

    /// Drops the cached copy of a principal, if there is a cache.
    pub(super) fn invalidate(&self, id: &EntityId) {
        if let Some(cache) = &self.cache {
            cache.invalidate(id);
        }
    }

    pub(super) async fn list_entities(
        &self,
        subject_type: SubjectType,
        organization: Option<&OrganizationId>,
        after: Option<&EntityId>,
        limit: usize,
    ) -> Result<Vec<Entity>, Error> {
        let listing = self.entities.list(subject_type, organization, after, limit);
        self.call("list_entities", listing).await
    }

    pub(super) async fn get_session(&self, key: &SessionKey) -> Result<Option<Session>, Error> {
        self.call("get_session", self.sessions.get(key)).await
    }

    pub(super) async fn count_sessions(
        &self,
        subject: &Subject,
        now: Timestamp,
        up_to: usize,
    ) -> Result<usize, Error> {
        self.call("count_sessions", self.sessions.count(subject, now, up_to)).await
    }

    pub(super) async fn sessions_of_subject(
        &self,
        subject: &Subject,
        after: &Cursor,
        limit: usize,
    ) -> Result<SubjectSessions, Error> {
        let reading = self.sessions.of_subject(subject, after, limit);
        self.call("sessions_of_subject", reading).await
    }

    pub(super) async fn list_sessions(
        &self,
        filter: &SessionFilter,
        page: &PageRequest,
        now: Timestamp,
    ) -> Result<SessionPage, Error> {
        self.call("list_sessions", self.sessions.list(filter, page, now)).await
    }

    /// The feed, whose reads wait for longer than other calls.
    pub(super) async fn read_feed(
        &self,
        after: &Cursor,
        wait: Duration,
    ) -> Result<FeedPage, Error> {
        let reading = self.sessions.read_feed(after, wait);
        match tokio::time::timeout(self.deadline.saturating_add(wait), reading).await {
            Ok(answer) => answer.map_err(from_store),
            Err(_) => Err(out_of_reach().with_source("the feed took too long")),
        }
    }

    /// Returns the current time on this node's clock and on that of the engine that stores sessions.
    pub(super) async fn time(&self) -> Result<SharedTime, Error> {
        self.time_of(&*self.sessions).await
    }

    /// Returns the current time on this node's clock and on that of a store's engine.
    pub(super) async fn time_of(&self, store: &dyn Store) -> Result<SharedTime, Error> {
        let before = self.clock.now();
        let engine = self.call("time", store.time()).await?;
        Ok(self.clock.compare(before, engine))
    }

    pub(super) fn clock(&self) -> &Arc<SharedClock> {
        &self.clock
    }

    /// Calls a store with the deadline.
    async fn call<T>(
        &self,
        name: &'static str,
        calling: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Error> {
        let answering = async {
            match tokio::time::timeout(self.deadline, calling).await {
                Ok(answer) => answer.map_err(from_store),
                Err(_) => Err(out_of_reach().with_source("the store took too long")),
            }
        };
        telemetry::store_call(name, outcome, answering).await
    }
}

impl WritingStores {
    pub(super) fn new(stores: Stores, detached: Detached) -> Self {
        Self { stores, _detached: detached }
    }

    pub(super) async fn insert_entity(&self, entity: Entity) -> Result<(), Error> {
        self.call("insert_entity", self.stores.entities.insert(entity)).await
    }

    pub(super) async fn replace_entity(
        &self,
        entity: Entity,
        version: u64,
    ) -> Result<CompareAndSet<()>, Error> {
        CompareAndSet::of(
            self.call("replace_entity", self.stores.entities.replace(entity, version)).await,
        )
    }

    pub(super) async fn remove_entity(&self, id: &EntityId) -> Result<bool, Error> {
        self.call("remove_entity", self.stores.entities.remove(id)).await
    }

    pub(super) async fn insert_session(
        &self,
        session: Session,
        now: Timestamp,
    ) -> Result<(), Error> {
        let now = now.min(self.clock.earliest_now());
        self.call("insert_session", self.stores.sessions.insert(session, now)).await
    }

    pub(super) async fn replace_session(
        &self,
        session: Session,
        version: u64,
        now: Timestamp,
    ) -> Result<CompareAndSet<()>, Error> {
        let now = now.min(self.clock.earliest_now());
        CompareAndSet::of(
            self.call("replace_session", self.stores.sessions.replace(session, version, now)).await,
        )
    }

    pub(super) async fn take_session(
        &self,
        key: &SessionKey,
        version: u64,
    ) -> Result<CompareAndSet<Option<Session>>, Error> {
        CompareAndSet::of(self.call("take_session", self.stores.sessions.take(key, version)).await)
    }

    pub(super) async fn remove_session(&self, id: &SessionId) -> Result<Option<Session>, Error> {
        self.call("remove_session", self.stores.sessions.remove(id)).await
    }

    pub(super) async fn publish(&self, event: FeedEvent) -> Result<(), Error> {
        self.call("publish", self.stores.sessions.publish(event)).await
    }

    pub(super) async fn purge_expired(&self, now: Timestamp) -> Result<u64, Error> {
        self.call("purge_expired", self.stores.sessions.purge_expired(now)).await
    }

    pub(super) async fn write_sealing_check(
        &self,
        store: &dyn Store,
        check: &str,
    ) -> Result<(), Error> {
        self.call("write_sealing_check", store.write_sealing_check(check)).await
    }

    /// Writes the first shared signing keys.
    pub(super) async fn insert_keys(
        &self,
        store: &dyn KeyStore,
        keys: KeySchedule,
    ) -> Result<CompareAndSet<()>, Error> {
        CompareAndSet::of(self.call("insert_keys", store.insert(keys)).await)
    }

    pub(super) async fn replace_keys(
        &self,
        store: &dyn KeyStore,
        keys: KeySchedule,
        version: u64,
    ) -> Result<CompareAndSet<()>, Error> {
        CompareAndSet::of(self.call("replace_keys", store.replace(keys, version)).await)
    }
}

impl Deref for WritingStores {
    type Target = Stores;

    fn deref(&self) -> &Stores {
        &self.stores
    }
}

/// Returns whether a record is that of the requested principal. An older release stores one with an organization
/// under the name alone, and it must not be taken for the principal of the same name without an organization.
fn is_registered_as(entity: &Entity, id: &EntityId) -> bool {
    let is_same = entity.id() == id;
    if !is_same {
        tracing::error!(
            kind = %id.subject_type(),
            name = id.name(),
            "store: the record under an id is that of another principal, which is not found by it; remove the record, \
             and run no older release over this store"
        );
    }
    is_same
}

fn outcome<T>(answer: &Result<T, Error>) -> &'static str {
    answer.as_ref().map_or_else(|error| error.kind().as_str(), |_| "answered")
}

fn out_of_reach() -> Error {
    unavailable("the store is out of reach")
}

pub(super) fn unavailable(problem: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, problem).with_retry_after(RETRY_AFTER)
}

fn from_store(error: StoreError) -> Error {
    match error {
        StoreError::Conflict => {
            Error::new(ErrorKind::Conflict, "the record has changed or already exists")
        }
        StoreError::Unavailable(_) => out_of_reach().with_source(error),
        StoreError::Corrupt(_) => {
            Error::new(ErrorKind::Internal, "a stored record cannot be read").with_source(error)
        }
    }
}
