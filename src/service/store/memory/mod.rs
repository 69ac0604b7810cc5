//! All stores in the memory of one process.

mod entity_table;
mod session_table;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::clock::Timestamp;
use crate::service::model::authentication_token::SessionKey;
use crate::service::model::entity::{Entity, EntityId};
use crate::service::model::key_schedule::KeySchedule;
use crate::service::model::session::Session;
use crate::service::model::subject::Subject;
use crate::service::store::memory::entity_table::EntityTable;
use crate::service::store::memory::session_table::{PURGE_LIMIT, SessionTable};
use crate::service::store::{
    Cursor, EntityStore, FeedEvent, FeedPage, KeyStore, PageRequest, SessionFilter, SessionPage,
    SessionStore, Store, StoreError, SubjectSessions,
};
use crate::token::claims::SubjectType;
use crate::token::identifier::{OrganizationId, SessionId};

/// All stores in the memory of one process: fast and atomic, but lost when the process exits.
///
/// It has no size limit, since a store must never drop live records. Sessions past their `kept_until` are removed
/// when the store is purged or other sessions are started. Clones share their content.
#[derive(Clone)]
pub struct MemoryStore {
    entities: Arc<Mutex<EntityTable>>,
    sessions: Arc<Mutex<SessionTable>>,
    feed: Arc<Feed>,
    keys: Arc<Mutex<Option<KeySchedule>>>,
    sealing_check: Arc<Mutex<Option<String>>>,
}

impl MemoryStore {
    /// Creates an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self {
            entities: Arc::default(),
            sessions: Arc::default(),
            feed: Arc::new(Feed::new()),
            keys: Arc::default(),
            sealing_check: Arc::default(),
        }
    }

    fn sealing_check(&self) -> MutexGuard<'_, Option<String>> {
        self.sealing_check.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keys(&self) -> MutexGuard<'_, Option<KeySchedule>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entities(&self) -> MutexGuard<'_, EntityTable> {
        self.entities.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> MutexGuard<'_, SessionTable> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn is_durable(&self) -> bool {
        false
    }

    async fn is_current(&self) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    async fn read_sealing_check(&self) -> Result<Option<String>, StoreError> {
        Ok(self.sealing_check().clone())
    }

    async fn write_sealing_check(&self, check: &str) -> Result<(), StoreError> {
        *self.sealing_check() = Some(check.to_owned());
        Ok(())
    }
}

#[async_trait]
impl KeyStore for MemoryStore {
    async fn get(&self) -> Result<Option<KeySchedule>, StoreError> {
        Ok(self.keys().clone())
    }

    async fn insert(&self, keys: KeySchedule) -> Result<(), StoreError> {
        let mut kept = self.keys();
        if kept.is_some() {
            return Err(StoreError::Conflict);
        }
        *kept = Some(keys);
        Ok(())
    }

    async fn replace(&self, keys: KeySchedule, expected_version: u64) -> Result<(), StoreError> {
        match &mut *self.keys() {
            Some(kept) if kept.version() == expected_version => {
                *kept = keys;
                Ok(())
            }
            _ => Err(StoreError::Conflict),
        }
    }
}

#[async_trait]
impl EntityStore for MemoryStore {
    async fn insert(&self, entity: Entity) -> Result<(), StoreError> {
        self.entities().insert(entity)
    }

    async fn get(&self, id: &EntityId) -> Result<Option<Entity>, StoreError> {
        let kept = self.entities().get(id);
        Ok(kept.map(Arc::unwrap_or_clone))
    }

    async fn replace(&self, entity: Entity, expected_version: u64) -> Result<(), StoreError> {
        self.entities().replace(entity, expected_version)
    }

    async fn list(
        &self,
        subject_type: SubjectType,
        organization: Option<&OrganizationId>,
        after: Option<&EntityId>,
        limit: usize,
    ) -> Result<Vec<Entity>, StoreError> {
        let listed = self.entities().list(subject_type, organization, after, limit);
        Ok(listed.into_iter().map(Arc::unwrap_or_clone).collect())
    }

    async fn remove(&self, id: &EntityId) -> Result<bool, StoreError> {
        Ok(self.entities().remove(id))
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn insert(&self, session: Session, now: Timestamp) -> Result<(), StoreError> {
        self.sessions().insert(session, now)
    }

    async fn get(&self, key: &SessionKey) -> Result<Option<Session>, StoreError> {
        let kept = self.sessions().get(key);
        Ok(kept.map(Arc::unwrap_or_clone))
    }

    async fn replace(
        &self,
        session: Session,
        expected_version: u64,
        _now: Timestamp,
    ) -> Result<(), StoreError> {
        self.sessions().replace(session, expected_version)
    }

    async fn take(
        &self,
        key: &SessionKey,
        expected_version: u64,
    ) -> Result<Option<Session>, StoreError> {
        let taken = self.sessions().take(key, expected_version)?;
        Ok(taken.map(Arc::unwrap_or_clone))
    }

    async fn list(
        &self,
        filter: &SessionFilter,
        page: &PageRequest,
        now: Timestamp,
    ) -> Result<SessionPage, StoreError> {
        let listed = self.sessions().list(filter, page, now);
        Ok(listed.into_page())
    }

    async fn remove(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        let removed = self.sessions().remove_by_id(id);
        Ok(removed.map(Arc::unwrap_or_clone))
    }

    async fn count(
        &self,
        subject: &Subject,
        now: Timestamp,
        up_to: usize,
    ) -> Result<usize, StoreError> {
        Ok(self.sessions().count(subject, now, up_to))
    }

    async fn of_subject(
        &self,
        subject: &Subject,
        after: &Cursor,
        limit: usize,
    ) -> Result<SubjectSessions, StoreError> {
        let (found, next) = self.sessions().of_subject(subject, after, limit);
        let sessions = found.into_iter().map(Arc::unwrap_or_clone).collect();
        Ok(SubjectSessions { sessions, next })
    }

    async fn publish(&self, event: FeedEvent) -> Result<(), StoreError> {
        self.feed.publish(event);
        Ok(())
    }

    async fn read_feed(&self, after: &Cursor, wait: Duration) -> Result<FeedPage, StoreError> {
        self.feed.read(after, wait).await
    }

    async fn purge_expired(&self, now: Timestamp) -> Result<u64, StoreError> {
        let purged = self.feed.purge(now);
        let ended = self.sessions().purge(now);
        Ok(purged + ended as u64)
    }
}

/// What was revoked, in order, each with its number.
struct Feed {
    log: Mutex<FeedLog>,
    /// The last number given out: who waits for more watches it.
    last: watch::Sender<u64>,
}

#[derive(Default)]
struct FeedLog {
    events: BTreeMap<u64, FeedEvent>,
    by_end: BTreeSet<(Timestamp, u64)>,
}

impl Feed {
    fn new() -> Self {
        Self { log: Mutex::default(), last: watch::Sender::new(0) }
    }

    fn publish(&self, event: FeedEvent) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        self.last.send_modify(|last| {
            *last += 1;
            log.by_end.insert((event.until(), *last));
            log.events.insert(*last, event);
        });
    }

    async fn read(&self, after: &Cursor, wait: Duration) -> Result<FeedPage, StoreError> {
        let after: u64 = match after.mark() {
            None => 0,
            Some(mark) => mark.parse().map_err(StoreError::corrupt)?,
        };
        let mut last = self.last.subscribe();
        let mut read = self.after(after);
        if read.0.is_empty() {
            // What was purged is nothing to wake for, so it is the last number that is waited on.
            let seen = read.1;
            let _ = tokio::time::timeout(wait, last.wait_for(|last| *last > seen)).await;
            read = self.after(after);
        }
        let next = Cursor::new(&read.1.to_string());
        Ok(FeedPage { events: read.0, next, is_complete: true, history_changed: false })
    }

    /// What has a greater number, and the last number given out.
    fn after(&self, after: u64) -> (Vec<FeedEvent>, u64) {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever follows is woken by each of them: what is long known is not gone through again.
        let newer = (Bound::Excluded(after), Bound::Unbounded);
        let events = log.events.range(newer).map(|(_, event)| event.clone()).collect();
        (events, after.max(*self.last.borrow()))
    }

    fn purge(&self, now: Timestamp) -> u64 {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = log.by_end.iter().take_while(|(end, _)| *end <= now).take(PURGE_LIMIT);
        let ended: Vec<(Timestamp, u64)> = ended.copied().collect();
        for entry in &ended {
            log.by_end.remove(entry);
            log.events.remove(&entry.1);
        }
        ended.len() as u64
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

/// How much it holds, and nothing of it.
impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("entities", &self.entities().len())
            .field("sessions", &self.sessions().len())
            .finish()
    }
}
