//! Sessions, and the indexes that they are found by.
//!
//! The record is the truth, and the indexes are derived from it: they are written before it and cleaned after
//! it, each by a command of its own, so whatever dies in between leaves an index entry that leads to
//! nothing. Whoever reads them looks at the records, and purging removes what is left over.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::try_join;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use redis::Cmd;
use tokio::task::JoinHandle;

use crate::clock::Timestamp;
use crate::service::model::authentication_token::SessionKey;
use crate::service::model::session::Session;
use crate::service::model::subject::Subject;
use crate::service::store::redis::RedisStore;
use crate::service::store::redis::keys::{EndIndexEntry, SubjectIndexEntry, text_of};
use crate::service::store::redis::records::{SessionFields, Taken, VersionedRecord};
use crate::service::store::{
    Cursor, FeedEvent, FeedPage, PageRequest, SessionFilter, SessionPage, SessionStore, StoreError,
    record,
};
use crate::token::identifier::SessionId;

/// How long the server keeps a session past its end, so that purging is what removes it.
const RETENTION_AFTER_EXPIRY: Duration = Duration::from_secs(3_600);
/// How many records are asked for at once.
pub(super) const AT_ONCE: usize = 64;
/// How long the index entries of a session that was used up are left.
const INDEXING_PAUSE: Duration = Duration::from_millis(20);

/// Sessions that were used up, whose index entries are still as of live ones, and who changes that.
#[derive(Default)]
pub(super) struct UsedUpSessions {
    /// Each with the time by which it was.
    sessions: Vec<(Session, Timestamp)>,
    indexing: Option<JoinHandle<()>>,
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
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Session>, StoreError> {
        let index = self.inner.keys.subject(subject);
        let mut found = Vec::new();
        let mut first = 0;
        // What leads to nothing, or to a later session, is passed over.
        while found.len() < limit {
            let last = first + AT_ONCE.cast_signed() - 1;
            let members: Vec<String> =
                self.inner.client.read(&Cmd::zrange(&index, first, last)).await?;
            if members.is_empty() {
                break;
            }
            let read = stream::iter(members)
                .map(|member| self.session_of_subject(member))
                .buffered(AT_ONCE);
            let read: Vec<Option<Session>> = read.try_collect().await?;
            found.extend(read.into_iter().flatten().filter(|s| s.created_at < before));
            first = last + 1;
        }
        found.truncate(limit);
        Ok(found)
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
        let (member, end) = (indexed.of_subject().to_member(), session.expires_at.as_micros());
        let due = Cmd::zadd(keys.ends(), indexed.to_member()?, due(session).as_micros());
        let subjects = std::iter::once(indexed.subject()).chain(indexed.starter.clone());
        let mut commands: Vec<Cmd> =
            subjects.map(|subject| Cmd::zadd(keys.subject(&subject), &member, end)).collect();
        commands
            .extend(self.listing(&indexed, session.created_at).filter(|_| !session.is_used_up()));
        // First what purging finds the others by.
        self.inner.client.query::<()>(&due).await?;
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
        let member = indexed.of_subject().to_member();
        let update = |index: String, score: Timestamp, member: &str| {
            let mut command = redis::cmd("ZADD");
            command.arg(index).arg("XX").arg(score.as_micros()).arg(member);
            command
        };
        let mut commands = vec![
            update(keys.ends(), due(session), &indexed.to_member()?),
            update(keys.subject(&indexed.subject()), session.expires_at, &member),
        ];
        if let Some(starter) = &indexed.starter {
            commands.push(update(keys.subject(starter), session.expires_at, &member));
        }
        if session.is_used_up() {
            commands.extend(self.unlisting(&indexed));
        }
        let keeping = self.keep_id(session, "", now);
        try_join(keeping, self.inner.client.query_all(&commands)).await.map(drop)
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
