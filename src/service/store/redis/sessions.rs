//! Sessions, and the indexes that they are found by.
//!
//! The record is the truth, and the indexes are derived from it: they are written before it and cleaned after
//! it, each by a command of its own, so whatever dies in between leaves an index entry that leads to
//! nothing. Whoever reads them looks at the records, and purging removes what is left over.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{try_join, try_join_all, try_join3};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use redis::Cmd;
use tokio::task::JoinHandle;

use crate::clock::Timestamp;
use crate::service::model::authentication_token::SessionKey;
use crate::service::model::session::Session;
use crate::service::model::subject::Subject;
use crate::service::store::redis::RedisStore;
use crate::service::store::redis::keys::{EndIndexEntry, RedisKeys, SubjectIndexEntry, text_of};
use crate::service::store::redis::records::{SessionFields, Taken, VersionedRecord};
use crate::service::store::{
    Cursor, FeedEvent, FeedPage, PageRequest, SessionFilter, SessionPage, SessionStore, StoreError,
    SubjectSessions, record,
};
use crate::token::identifier::SessionId;

/// How long the server keeps a session past its end, so that purging is what removes it.
const RETENTION_AFTER_EXPIRY: Duration = Duration::from_secs(3_600);
/// How many records are asked for at once.
pub(super) const AT_ONCE: usize = 64;
/// The cursor of a scan that begins, and of one that has ended.
const SCAN_START: &str = "0";
/// How long the index entries of a session that was used up are left.
const INDEXING_PAUSE: Duration = Duration::from_millis(20);

/// Sessions that were used up, whose index entries are still as of live ones, and who changes that.
#[derive(Default)]
pub(super) struct UsedUpSessions {
    /// Each with the time by which it was.
    sessions: Vec<(Session, Timestamp)>,
    indexing: Option<JoinHandle<()>>,
}

/// An entry of an index, and what it is ordered by there.
pub(super) struct ScoredEntry {
    pub(super) index: String,
    pub(super) score: Timestamp,
    pub(super) member: String,
}

impl ScoredEntry {
    /// Returns the entry by what is next to be done about a session.
    fn due(
        keys: &RedisKeys,
        session: &Session,
        indexed: &EndIndexEntry,
    ) -> Result<Self, StoreError> {
        Ok(Self { index: keys.ends(), score: due(session), member: indexed.to_member()? })
    }

    /// Returns the entries by whose a session is and who has started it.
    fn of_subjects(
        keys: &RedisKeys,
        session: &Session,
        indexed: &EndIndexEntry,
    ) -> impl Iterator<Item = Self> {
        let (score, member) = (session.expires_at, indexed.of_subject().to_member());
        let subjects = std::iter::once(indexed.subject()).chain(indexed.starter.clone());
        let indexes = subjects.map(|subject| keys.subject(&subject)).collect::<Vec<_>>();
        indexes.into_iter().map(move |index| Self { index, score, member: member.clone() })
    }

    fn add(&self) -> Cmd {
        Cmd::zadd(&self.index, &self.member, self.score.as_micros())
    }
}

#[async_trait]
impl SessionStore for RedisStore {
    async fn insert(&self, session: Session, now: Timestamp) -> Result<(), StoreError> {
        let record = self.session_record(&session, now)?;
        self.index(&session, now).await?;
        let inserted = self.inner.records.insert(&record).await;
        if matches!(inserted, Err(StoreError::Conflict)) {
            self.unindex_loser(&session).await;
        }
        inserted
    }

    async fn get(&self, key: &SessionKey) -> Result<Option<Session>, StoreError> {
        let record = self.inner.records.get(&self.inner.keys.session(&text_of(key))).await?;
        record.as_deref().map(record::read_session).transpose()
    }

    async fn replace(
        &self,
        session: Session,
        expected_version: u64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let record = self.session_record(&session, now)?;
        let end = self.inner.records.replace(&record, expected_version).await?;
        if session.is_used_up() {
            self.index_later(session, now);
        } else if session.latest_end.is_some() || end != Some(session.kept_until().as_micros()) {
            // Its end may have moved, although it is kept for as long as before.
            self.update_index(&session, now).await?;
        }
        Ok(())
    }

    async fn take(
        &self,
        key: &SessionKey,
        expected_version: u64,
    ) -> Result<Option<Session>, StoreError> {
        let key = self.inner.keys.session(&text_of(key));
        self.take_and_clean(&key, Some(expected_version), None).await
    }

    async fn remove(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        let key: Option<String> =
            self.inner.client.read(&Cmd::get(self.inner.keys.session_id(id))).await?;
        let Some(key) = key else { return Ok(None) };
        self.take_and_clean(&self.inner.keys.session(&key), None, Some(id.as_str())).await
    }

    async fn list(
        &self,
        filter: &SessionFilter,
        page: &PageRequest,
        now: Timestamp,
    ) -> Result<SessionPage, StoreError> {
        self.read_list(filter, page, now).await
    }

    async fn count(
        &self,
        subject: &Subject,
        now: Timestamp,
        up_to: usize,
    ) -> Result<usize, StoreError> {
        let live = format!("({}", now.as_micros());
        let counting = Cmd::zcount(self.inner.keys.subject(subject), live, "+inf");
        let live: usize = self.inner.client.read(&counting).await?;
        Ok(live.min(up_to))
    }

    async fn of_subject(
        &self,
        subject: &Subject,
        after: &Cursor,
        limit: usize,
    ) -> Result<SubjectSessions, StoreError> {
        // What its own position names would have to be there still. The server's cursor names a part of its table.
        let index = self.inner.keys.subject(subject);
        let mut scan = redis::cmd("ZSCAN");
        scan.arg(index).arg(after.mark().unwrap_or(SCAN_START)).arg("COUNT").arg(limit);
        let (next, members): (String, Vec<(String, String)>) =
            self.inner.client.read(&scan).await?;
        let reading = members.into_iter().map(|(member, _)| self.session_of_subject(member));
        let read = stream::iter(reading).buffer_unordered(AT_ONCE);
        let read: Vec<Option<Session>> = read.try_collect().await?;
        let next = (next != SCAN_START).then(|| Cursor::new(&next));
        Ok(SubjectSessions { sessions: read.into_iter().flatten().collect(), next })
    }

    async fn publish(&self, event: FeedEvent) -> Result<(), StoreError> {
        self.append_to_feed(&event).await?;
        self.inner.notifier.notify();
        Ok(())
    }

    async fn read_feed(&self, after: &Cursor, wait: Duration) -> Result<FeedPage, StoreError> {
        self.wait_for_news(after, wait).await
    }

    async fn purge_expired(&self, now: Timestamp) -> Result<u64, StoreError> {
        let now = self.no_later_than_the_server(now).await?;
        let found = self.end_due(now).await;
        let trimmed = self.trim_feed(now).await?;
        Ok(found? + trimmed)
    }
}

impl RedisStore {
    fn session_record<'a>(
        &self,
        session: &'a Session,
        now: Timestamp,
    ) -> Result<VersionedRecord<'a>, StoreError> {
        Ok(VersionedRecord {
            key: self.inner.keys.session(&text_of(&session.key)),
            version: session.version,
            text: record::write_session(session)?,
            id: session.id.as_str().into(),
            session: Some(SessionFields {
                end: session.kept_until().as_micros(),
                keep_until: server_keeps_until(session).as_micros(),
                now: now.as_micros(),
            }),
        })
    }

    /// Removes the index entries of a session whose key another one has, unless that is the same session.
    async fn unindex_loser(&self, session: &Session) {
        let indexed = EndIndexEntry::of(session);
        let same = self.indexed_session(&indexed.key, session.id.as_str()).await;
        if matches!(same, Ok(None)) {
            self.clean_or_leave(&indexed).await;
        }
    }

    async fn index(&self, session: &Session, now: Timestamp) -> Result<(), StoreError> {
        let keys = &self.inner.keys;
        let indexed = EndIndexEntry::of(session);
        let due = ScoredEntry::due(keys, session, &indexed)?;
        let listing = self.listing(&indexed, session.created_at).filter(|_| !session.is_used_up());
        let entries = ScoredEntry::of_subjects(keys, session, &indexed).chain(listing);
        let commands: Vec<Cmd> = entries.map(|entry| entry.add()).collect();
        // First what purging finds the others by.
        self.inner.client.query::<()>(&due.add()).await?;
        let keeping = self.keep_id(session, &indexed.key, now);
        try_join(keeping, self.inner.client.query_all(&commands)).await.map(drop)
    }

    /// Keeps the key of a session under its id; without one, what is there for longer.
    async fn keep_id(
        &self,
        session: &Session,
        key: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let id = self.inner.keys.session_id(&session.id);
        let keep_until = server_keeps_until(session).as_micros().to_string();
        let arguments = [key.to_owned(), keep_until, now.as_micros().to_string()];
        self.inner.client.run(&self.inner.keep_id, &[&id], &arguments).await
    }

    /// Updates the index entries of a session that was written again, and removes those that a used-up
    /// session has no more. Where they are gone, as after a log-out, none is made.
    async fn update_index(&self, session: &Session, now: Timestamp) -> Result<(), StoreError> {
        let keys = &self.inner.keys;
        let indexed = EndIndexEntry::of(session);
        let due = ScoredEntry::due(keys, session, &indexed)?;
        let entries = ScoredEntry::of_subjects(keys, session, &indexed).chain([due]);
        let updating = entries.map(|entry| self.move_entry(entry));
        let unlisting = self.unlisting(&indexed).filter(|_| session.is_used_up());
        let unlisting: Vec<Cmd> = unlisting.collect();
        let unlisting = self.inner.client.query_all(&unlisting);
        try_join3(self.keep_id(session, "", now), try_join_all(updating), unlisting).await.map(drop)
    }

    /// Adds an entry to an index, also where the server's memory is full.
    pub(super) async fn add_entry(&self, entry: ScoredEntry) -> Result<(), StoreError> {
        let arguments = [entry.score.as_micros().to_string(), entry.member];
        self.inner.client.run(&self.inner.index, &[&entry.index], &arguments).await
    }

    /// Changes the score of an entry that is in an index, also where the server's memory is full.
    pub(super) async fn move_entry(&self, entry: ScoredEntry) -> Result<(), StoreError> {
        let arguments = ["XX".to_owned(), entry.score.as_micros().to_string(), entry.member];
        self.inner.client.run(&self.inner.index, &[&entry.index], &arguments).await
    }

    /// Removes the index entries of a session that is gone, that by its end last: where this dies halfway,
    /// purging finds the rest.
    pub(super) async fn clean(&self, indexed: &EndIndexEntry) -> Result<(), StoreError> {
        let (keys, client) = (&self.inner.keys, &self.inner.client);
        let member = indexed.of_subject().to_member();
        let mut commands = vec![
            Cmd::del(keys.session_id(&indexed.session_id)),
            Cmd::zrem(keys.subject(&indexed.subject()), &member),
        ];
        if let Some(starter) = &indexed.starter {
            commands.push(Cmd::zrem(keys.subject(starter), &member));
        }
        commands.extend(self.unlisting(indexed));
        client.query_all(&commands).await?;
        client.query(&Cmd::zrem(keys.ends(), indexed.to_member()?)).await
    }

    async fn take_and_clean(
        &self,
        key: &str,
        version: Option<u64>,
        id: Option<&str>,
    ) -> Result<Option<Session>, StoreError> {
        let taken = self.take_session(key, version, id).await?;
        if let Some(session) = &taken {
            self.clean_or_leave(&EndIndexEntry::of(session)).await;
        }
        Ok(taken)
    }

    async fn take_session(
        &self,
        key: &str,
        version: Option<u64>,
        id: Option<&str>,
    ) -> Result<Option<Session>, StoreError> {
        match self.inner.records.take(key, version, id).await? {
            Taken::Record { text, .. } => record::read_session(&text).map(Some),
            Taken::Nothing => Ok(None),
            Taken::OtherVersion => Err(StoreError::Conflict),
        }
    }

    /// Changes the index entries of a session with those of others, in a little while: who used it up
    /// does not wait for that, nor for the thread that would do it at once.
    fn index_later(&self, session: Session, now: Timestamp) {
        let mut used_up = self.used_up();
        used_up.sessions.push((session, now));
        if used_up.indexing.as_ref().is_none_or(JoinHandle::is_finished) {
            used_up.indexing = Some(tokio::spawn(self.clone().index_all_used_up()));
        }
    }

    async fn index_all_used_up(self) {
        loop {
            tokio::time::sleep(INDEXING_PAUSE).await;
            let sessions = std::mem::take(&mut self.used_up().sessions);
            let indexing = stream::iter(sessions).map(async |(session, now)| {
                if let Err(error) = self.update_index(&session, now).await {
                    tracing::debug!(%error, "index entries of a used session are left for purging");
                }
            });
            indexing.buffer_unordered(AT_ONCE).collect::<()>().await;
            let mut used_up = self.used_up();
            if used_up.sessions.is_empty() {
                used_up.indexing = None;
                return;
            }
        }
    }

    fn used_up(&self) -> MutexGuard<'_, UsedUpSessions> {
        self.inner.used_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn clean_or_leave(&self, indexed: &EndIndexEntry) {
        if let Err(error) = self.clean(indexed).await {
            tracing::debug!(%error, "index entries of a session are left for purging");
        }
    }

    async fn session_of_subject(&self, member: String) -> Result<Option<Session>, StoreError> {
        let Some(entry) = SubjectIndexEntry::parse(&member) else { return Ok(None) };
        self.indexed_session(&entry.key, &entry.id).await
    }

    /// Returns the session that an index entry leads to.
    pub(super) async fn indexed_session(
        &self,
        key: &str,
        id: &str,
    ) -> Result<Option<Session>, StoreError> {
        let record = self.inner.records.get(&self.inner.keys.session(key)).await?;
        let session =
            record.and_then(|text| record::readable("session", &text, record::read_session));
        Ok(session.filter(|session| session.id.as_str() == id))
    }
}

/// Until when the server is to keep a session.
fn server_keeps_until(session: &Session) -> Timestamp {
    session.kept_until() + RETENTION_AFTER_EXPIRY
}

/// Returns when something is next to be done about a session: at its expiry it leaves the lists, at its end the store.
pub(super) fn due(session: &Session) -> Timestamp {
    if session.is_used_up() { session.kept_until() } else { session.expires_at }
}
