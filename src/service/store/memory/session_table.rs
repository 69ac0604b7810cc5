//! Sessions in memory, and what they are found by. All of it is behind one lock, and no step looks at
//! more than it returns, skips or removes.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::service::model::authentication_token::SessionKey;
use crate::service::model::session::Session;
use crate::service::model::subject::Subject;
use crate::service::store::subject_position::SubjectPosition;
use crate::service::store::{
    Cursor, PageRequest, SessionFilter, SessionPage, SessionPosition, StoreError,
};
use crate::token::identifier::SessionId;

/// How many sessions one call purges, so that others need not wait for long.
pub(super) const PURGE_LIMIT: usize = 1_000;
/// How many an insert purges, for a host that does no housekeeping: more than it adds.
const PURGED_BY_INSERT: usize = 2;
/// Clocks of those who share a store may differ: what another takes for ended may be live here.
const RETENTION_AFTER_END: Duration = Duration::from_secs(60);

/// Keys of sessions, in the order of an instant.
type Ordered = BTreeSet<(Timestamp, SessionKey)>;

#[derive(Default)]
pub(super) struct SessionTable {
    sessions: HashMap<SessionKey, Arc<Session>>,
    ids: HashMap<SessionId, SessionKey>,
    /// What each filter lists: sessions that were neither used up nor found to have expired.
    lists: HashMap<SessionFilter, BTreeSet<SessionPosition>>,
    /// The sessions that are listed, by when they expire.
    by_expiry: Ordered,
    /// By when they are to be dropped.
    by_end: Ordered,
    subjects: HashMap<Subject, SubjectIndex>,
}

/// The sessions of a subject, or those that it has started, by when they end.
#[derive(Default)]
struct SubjectIndex {
    live: Ordered,
    /// Those that were used up, and those that a count has found to have ended: each is passed over
    /// once, however often the others are counted. They are behind all that are live.
    ended: Ordered,
}

impl SubjectIndex {
    fn is_empty(&self) -> bool {
        self.live.is_empty() && self.ended.is_empty()
    }
}

impl SessionTable {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn insert(&mut self, session: Session, now: Timestamp) -> Result<(), StoreError> {
        if self.sessions.contains_key(&session.key) {
            return Err(StoreError::Conflict);
        }
        self.purge_some(now - RETENTION_AFTER_END, PURGED_BY_INSERT);
        self.add(session);
        Ok(())
    }

    pub(super) fn get(&self, key: &SessionKey) -> Option<Arc<Session>> {
        self.sessions.get(key).cloned()
    }

    pub(super) fn replace(
        &mut self,
        session: Session,
        expected_version: u64,
    ) -> Result<(), StoreError> {
        match self.sessions.get_mut(&session.key) {
            Some(kept) if kept.version != expected_version => Err(StoreError::Conflict),
            Some(kept) if is_found_alike(kept, &session) => {
                *kept = Arc::new(session);
                Ok(())
            }
            Some(_) => {
                self.remove(&session.key);
                self.add(session);
                Ok(())
            }
            None => Err(StoreError::Conflict),
        }
    }

    pub(super) fn take(
        &mut self,
        key: &SessionKey,
        expected_version: u64,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        match self.sessions.get(key) {
            Some(kept) if kept.version != expected_version => Err(StoreError::Conflict),
            _ => Ok(self.remove(key)),
        }
    }

    pub(super) fn remove_by_id(&mut self, id: &SessionId) -> Option<Arc<Session>> {
        let key = *self.ids.get(id)?;
        self.remove(&key)
    }

    pub(super) fn list(
        &mut self,
        filter: &SessionFilter,
        page: &PageRequest,
        now: Timestamp,
    ) -> Listed {
        self.unlist_expired(now);
        let Some(listed) = self.lists.get(filter) else { return Listed::default() };
        let begin = page.after.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let positions = listed.range((begin, Bound::Unbounded)).skip(page.offset).take(page.limit);
        let keys = positions.filter_map(|position| self.ids.get(&position.id));
        let sessions = keys.filter_map(|key| self.sessions.get(key)).cloned().collect();
        Listed { sessions, total: listed.len() }
    }

    /// Takes those that have expired out of the lists, each of them once.
    fn unlist_expired(&mut self, now: Timestamp) {
        while let Some((_, key)) = self.by_expiry.first().filter(|(end, _)| *end <= now).copied() {
            match self.sessions.get(&key).cloned() {
                Some(session) => self.unlist(&session),
                None => drop(self.by_expiry.pop_first()),
            }
        }
    }

    pub(super) fn count(&mut self, subject: &Subject, now: Timestamp, up_to: usize) -> usize {
        let Some(SubjectIndex { live, ended }) = self.subjects.get_mut(subject) else {
            return 0;
        };
        while let Some((_, key)) = live.first().filter(|(end, _)| *end <= now).copied() {
            live.pop_first();
            ended.insert((Timestamp::MAX, key));
        }
        live.len().min(up_to)
    }

    pub(super) fn of_subject(
        &self,
        subject: &Subject,
        after: &Cursor,
        limit: usize,
    ) -> (Vec<Arc<Session>>, Option<Cursor>) {
        let Some(SubjectIndex { live, ended }) = self.subjects.get(subject) else {
            return (Vec::new(), None);
        };
        let position = SubjectPosition::of(after).map(|position| (position.end, position.key));
        let begin = position.map_or(Bound::Unbounded, Bound::Excluded);
        let range = (begin, Bound::Unbounded);
        let found: Vec<_> = live.range(range).chain(ended.range(range)).take(limit).collect();
        let last = found.last().filter(|_| found.len() == limit);
        let next = last.map(|(end, key)| SubjectPosition { end: *end, key: *key }.to_cursor());
        let sessions = found.iter().filter_map(|(_, key)| self.sessions.get(key)).cloned();
        (sessions.collect(), next)
    }

    /// Removes a part of what is to be kept no longer; returns how much.
    pub(super) fn purge(&mut self, now: Timestamp) -> usize {
        self.purge_some(now, PURGE_LIMIT)
    }

    fn purge_some(&mut self, now: Timestamp, limit: usize) -> usize {
        let ended = self.by_end.iter().take_while(|(end, _)| *end <= now).take(limit);
        let ended: Vec<SessionKey> = ended.map(|(_, key)| *key).collect();
        for key in &ended {
            self.remove(key);
        }
        ended.len()
    }

    fn add(&mut self, session: Session) {
        let key = session.key;
        self.ids.insert(session.id.clone(), key);
        self.by_end.insert((session.kept_until(), key));
        if !session.is_used_up() {
            self.by_expiry.insert((session.expires_at, key));
            for filter in filters_of(&session) {
                self.lists.entry(filter).or_default().insert(session.position());
            }
        }
        for subject in subjects_of(&session) {
            let theirs = self.subjects.entry(subject).or_default();
            if session.is_used_up() {
                theirs.ended.insert((Timestamp::MAX, key));
            } else {
                theirs.live.insert((session.expires_at, key));
            }
        }
        self.sessions.insert(key, Arc::new(session));
    }

    fn unlist(&mut self, session: &Session) {
        if !self.by_expiry.remove(&(session.expires_at, session.key)) {
            return;
        }
        for filter in filters_of(session) {
            if let Some(listed) = self.lists.get_mut(&filter) {
                listed.remove(&session.position());
                if listed.is_empty() {
                    self.lists.remove(&filter);
                }
            }
        }
    }

    fn remove(&mut self, key: &SessionKey) -> Option<Arc<Session>> {
        let session = self.sessions.remove(key)?;
        self.unlist(&session);
        // The id may be that of another session by now.
        if self.ids.get(&session.id) == Some(key) {
            self.ids.remove(&session.id);
        }
        self.by_end.remove(&(session.kept_until(), *key));
        for subject in subjects_of(&session) {
            if let Some(theirs) = self.subjects.get_mut(&subject) {
                theirs.live.remove(&(session.expires_at, *key));
                theirs.ended.remove(&(Timestamp::MAX, *key));
                if theirs.is_empty() {
                    self.subjects.remove(&subject);
                }
            }
        }
        Some(session)
    }
}

/// A part of a list, before its sessions are copied.
#[derive(Default)]
pub(super) struct Listed {
    sessions: Vec<Arc<Session>>,
    total: usize,
}

impl Listed {
    pub(super) fn into_page(self) -> SessionPage {
        let sessions = self.sessions.into_iter().map(Arc::unwrap_or_clone).collect();
        SessionPage { sessions, total: self.total }
    }
}

fn subjects_of(session: &Session) -> impl Iterator<Item = Subject> {
    std::iter::once(session.subject()).chain(session.started_by().cloned())
}

fn filters_of(session: &Session) -> impl Iterator<Item = SessionFilter> + use<> {
    SessionFilter::matching(&session.customer_id, session.organization_id.as_ref())
}

/// Returns whether two writings of a session are found by the same.
fn is_found_alike(a: &Session, b: &Session) -> bool {
    a.id == b.id
        && a.created_at == b.created_at
        && a.expires_at == b.expires_at
        && a.kept_until() == b.kept_until()
        && a.is_used_up() == b.is_used_up()
        && a.organization_id == b.organization_id
        && a.customer_id == b.customer_id
        && a.started_by() == b.started_by()
}
