//! All stores in the memory of one process.

use std::collections::VecDeque;
use std::fmt;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use moka::Expiry;
use moka::future::Cache;
use moka::ops::compute::{CompResult, Op};
use tokio::sync::watch;

use crate::clock::Timestamp;
use crate::service::model::entity::{Entity, EntityId};
use crate::service::model::key_schedule::KeySchedule;
use crate::service::model::session::{Session, SessionKey};
use crate::service::store::{
    Cursor, EntityStore, FeedEvent, FeedPage, KeyStore, Page, SessionFilter, SessionPage,
    SessionStore, StoreError,
};
use crate::token::identifier::{CustomerId, SessionId};

/// How much longer than its life an ended session is stored: moka has a clock of its own, and the
/// service's may run a little slower.
const RETENTION_AFTER_EXPIRY: Duration = Duration::from_secs(60);

/// All stores in the memory of one process: fast, atomic, and gone with it.
///
/// It has no limit of size, since a store must never drop what is live; sessions leave it when
/// they have ended. Clones share what they hold.
#[derive(Clone)]
pub struct MemoryStore {
    entities: Cache<EntityId, Entity>,
    sessions: Cache<SessionKey, StoredSession>,
    feed: Arc<Feed>,
    keys: Arc<Mutex<Option<KeySchedule>>>,
}

/// A session, and for how long moka has to keep it from when it was written.
#[derive(Clone)]
struct StoredSession {
    session: Arc<Session>,
    remaining: Duration,
}

impl StoredSession {
    fn new(session: Session, now: Timestamp) -> Self {
        let remaining = session.kept_until().saturating_since(now) + RETENTION_AFTER_EXPIRY;
        Self { session: Arc::new(session), remaining }
    }
}

struct UntilSessionEnds;

impl Expiry<SessionKey, StoredSession> for UntilSessionEnds {
    fn expire_after_create(
        &self,
        _: &SessionKey,
        stored: &StoredSession,
        _: Instant,
    ) -> Option<Duration> {
        Some(stored.remaining)
    }

    fn expire_after_update(
        &self,
        _: &SessionKey,
        stored: &StoredSession,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(stored.remaining)
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self {
            entities: Cache::builder().build(),
            sessions: Cache::builder().expire_after(UntilSessionEnds).build(),
            feed: Arc::new(Feed::new()),
            keys: Arc::default(),
        }
    }

    fn keys(&self) -> MutexGuard<'_, Option<KeySchedule>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a session where `wanted` says so of what is there at that moment.
    async fn remove_session_if(
        &self,
        key: &SessionKey,
        wanted: impl FnOnce(&Session) -> bool,
    ) -> Option<Session> {
        let removal = self.sessions.entry_by_ref(key).and_compute_with(|entry| {
            let remove = entry.is_some_and(|entry| wanted(&entry.value().session));
            ready(if remove { Op::Remove } else { Op::Nop })
        });
        match removal.await {
            CompResult::Removed(entry) => Some(Arc::unwrap_or_clone(entry.into_value().session)),
            _ => None,
        }
    }

    /// Removes all sessions that `wanted` says so of. It looks at each: there is no index.
    async fn remove_sessions_if(&self, wanted: impl Fn(&Session) -> bool) -> Vec<Session> {
        let keys: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, kept)| wanted(&kept.session))
            .map(|(key, _)| *key)
            .collect();
        let mut removed = Vec::with_capacity(keys.len());
        for key in keys {
            removed.extend(self.remove_session_if(&key, &wanted).await);
        }
        removed
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

    fn is_durable(&self) -> bool {
        false
    }
}

#[async_trait]
impl EntityStore for MemoryStore {
    async fn insert(&self, entity: Entity) -> Result<(), StoreError> {
        let entry = self.entities.entry(entity.id().clone());
        let insertion = entry.and_compute_with(|there| {
            ready(if there.is_some() { Op::Nop } else { Op::Put(entity) })
        });
        match insertion.await {
            CompResult::Inserted(_) => Ok(()),
            _ => Err(StoreError::Conflict),
        }
    }

    async fn get(&self, id: &EntityId) -> Result<Option<Entity>, StoreError> {
        Ok(self.entities.get(id).await)
    }

    async fn replace(&self, entity: Entity, expected_version: u64) -> Result<(), StoreError> {
        let entry = self.entities.entry(entity.id().clone());
        let replacement = entry.and_compute_with(|there| {
            let current = there.is_some_and(|there| there.value().version() == expected_version);
            ready(if current { Op::Put(entity) } else { Op::Nop })
        });
        match replacement.await {
            CompResult::ReplacedWith(_) => Ok(()),
            _ => Err(StoreError::Conflict),
        }
    }

    async fn remove(&self, id: &EntityId) -> Result<bool, StoreError> {
        // Not `Cache::remove`: it does not wait for a replacement that is under way, which would
        // then bring the entity back.
        let removal = self.entities.entry_by_ref(id).and_compute_with(|_| ready(Op::Remove));
        Ok(matches!(removal.await, CompResult::Removed(_)))
    }

    fn is_durable(&self) -> bool {
        false
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn insert(&self, session: Session, now: Timestamp) -> Result<(), StoreError> {
        let entry = self.sessions.entry(session.key());
        let insertion = entry.and_compute_with(|there| {
            ready(if there.is_some() { Op::Nop } else { Op::Put(StoredSession::new(session, now)) })
        });
        match insertion.await {
            CompResult::Inserted(_) => Ok(()),
            _ => Err(StoreError::Conflict),
        }
    }

    async fn get(&self, key: &SessionKey) -> Result<Option<Session>, StoreError> {
        Ok(self.sessions.get(key).await.map(|kept| Arc::unwrap_or_clone(kept.session)))
    }

    async fn replace(
        &self,
        session: Session,
        expected_version: u64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let entry = self.sessions.entry(session.key());
        let replacement = entry.and_compute_with(|there| {
            let current =
                there.is_some_and(|there| there.value().session.version() == expected_version);
            ready(if current { Op::Put(StoredSession::new(session, now)) } else { Op::Nop })
        });
        match replacement.await {
            CompResult::ReplacedWith(_) => Ok(()),
            _ => Err(StoreError::Conflict),
        }
    }

    async fn take(
        &self,
        key: &SessionKey,
        expected_version: u64,
    ) -> Result<Option<Session>, StoreError> {
        let mut stale = false;
        let taken = self.remove_session_if(key, |session| {
            stale = session.version() != expected_version;
            !stale
        });
        let taken = taken.await;
        if stale { Err(StoreError::Conflict) } else { Ok(taken) }
    }

    async fn list(
        &self,
        filter: &SessionFilter,
        page: Page,
        now: Timestamp,
    ) -> Result<SessionPage, StoreError> {
        let mut sessions: Vec<_> = self
            .sessions
            .iter()
            .map(|(_, kept)| kept.session)
            .filter(|session| session.expires_at() > now && filter.matches(session))
            .collect();
        sessions.sort_by_key(|session| (session.created_at(), session.key()));
        let total = sessions.len();
        let part = sessions.into_iter().skip(page.offset).take(page.limit);
        let sessions = part.map(Arc::unwrap_or_clone).collect();
        Ok(SessionPage { sessions, total })
    }

    async fn remove(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        let wanted = |session: &Session| session.id() == id;
        Ok(self.remove_sessions_if(wanted).await.pop())
    }

    async fn remove_subject(
        &self,
        customer_id: &CustomerId,
        before: Timestamp,
    ) -> Result<Vec<Session>, StoreError> {
        let theirs = |session: &Session| {
            session.customer_id() == customer_id && session.created_at() < before
        };
        Ok(self.remove_sessions_if(theirs).await)
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
        let ended = self.remove_sessions_if(|session| session.kept_until() <= now).await;
        Ok(purged + ended.len() as u64)
    }

    fn is_durable(&self) -> bool {
        false
    }
}

/// What was revoked, in order, each with its number.
struct Feed {
    log: Mutex<VecDeque<(u64, FeedEvent)>>,
    /// The last number given out: who waits for more watches it.
    last: watch::Sender<u64>,
}

impl Feed {
    fn new() -> Self {
        Self { log: Mutex::default(), last: watch::Sender::new(0) }
    }

    fn publish(&self, event: FeedEvent) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        self.last.send_modify(|last| {
            *last += 1;
            log.push_back((*last, event));
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
        Ok(FeedPage { events: read.0, next: Cursor::new(&read.1.to_string()), is_complete: true })
    }

    /// What has a greater number, and the last number given out.
    fn after(&self, after: u64) -> (Vec<FeedEvent>, u64) {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever follows is woken by each of them: what is long known is not gone through again.
        let newer = log.partition_point(|(number, _)| *number <= after);
        let events = log.range(newer..).map(|(_, event)| event.clone()).collect();
        (events, after.max(*self.last.borrow()))
    }

    fn purge(&self, now: Timestamp) -> u64 {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let before = log.len();
        log.retain(|(_, event)| event.until() > now);
        (before - log.len()) as u64
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
            .field("entities", &self.entities.entry_count())
            .field("sessions", &self.sessions.entry_count())
            .finish()
    }
}
