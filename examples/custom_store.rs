//! A store of one's own: a template, whose tables are to become those of an engine.
//!
//! ```text
//! cargo run --features conformance --example custom_store    # the suite, then a login over it
//! cargo test --features conformance --example custom_store
//! ```
//!
//! Records are kept as the text that `store::record` makes of them, beside what they are found by.
//! The lock stands for a transaction: what a verb does while it holds it, an engine has to do in
//! one statement or one transaction. What is easy to get wrong:
//!
//! - **`take` is one step.** To read the session and then delete it lets two callers have it. In SQL:
//!   `DELETE … WHERE key = $1 AND version = $2 RETURNING …`, and where that gives nothing, a look
//!   whether the session is there tells `Conflict` from `None`.
//! - **`replace` compares the version, and never inserts.** In SQL: `UPDATE … WHERE key = $1 AND
//!   version = $2`, and no row is `Conflict`. An upsert brings back what somebody else has removed.
//!   The version to keep is that of the record; a store counts nothing itself.
//! - **A distinct name is of one entity.** In SQL: a column that may be null, a unique index over sort and
//!   name, and the same `ON CONFLICT DO NOTHING`. To look first and then insert lets two in.
//! - **The feed's order is that in which entries can be seen.** A number out of a sequence is given
//!   before the commit: who has read up to 8 while 7 was under way never reads 7. Take a lock for
//!   publishing, or order by what the engine gives at the commit.

#![allow(clippy::print_stdout, reason = "a program talks to its terminal")]

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use countersign::sessions::Session;
use countersign::store::{
    Cursor, EntityStore, FeedEvent, FeedPage, KeySchedule, KeyStore, PageRequest, SessionFilter,
    SessionKey, SessionPage, SessionStore, Store, StoreError, Subject, SubjectSessions,
    conformance, record,
};
use countersign::{
    Algorithm, Entity, EntityId, ManagedKeys, OrganizationId, Password, SessionId, SubjectType,
    Timestamp, TokenService,
};
use http::{Request, StatusCode};
use tokio::sync::watch;
use tower::ServiceExt as _;

/// All three stores. Whoever shares it holds it in an `Arc`.
#[derive(Default)]
struct TableStore {
    tables: Mutex<Tables>,
    /// The number of the last revocation, for those who wait for the next.
    last_published: watch::Sender<u64>,
}

#[derive(Default)]
struct Tables {
    sealing_check: Option<String>,
    entities: BTreeMap<EntityId, Row>,
    /// `UNIQUE (subject_type, distinct_name)`
    distinct_names: BTreeSet<(SubjectType, String)>,
    sessions: BTreeMap<SessionKey, Row>,
    /// One row at most.
    keys: BTreeMap<(), Row>,
    revocations: BTreeMap<u64, (Timestamp, String)>,
}

/// A record, and the version that whoever changes it has to know.
struct Row {
    version: u64,
    text: String,
}

impl Row {
    fn of_entity(entity: &Entity) -> Result<Self, StoreError> {
        Ok(Self { version: entity.version(), text: record::write_entity(entity)? })
    }

    fn of_session(session: &Session) -> Result<Self, StoreError> {
        Ok(Self { version: session.version(), text: record::write_session(session)? })
    }

    fn of_keys(keys: &KeySchedule) -> Result<Self, StoreError> {
        Ok(Self { version: keys.version(), text: record::write_keys(keys)? })
    }
}

/// `INSERT … ON CONFLICT DO NOTHING`
fn insert<K: Ord>(table: &mut BTreeMap<K, Row>, key: K, row: Row) -> Result<(), StoreError> {
    match table.entry(key) {
        Entry::Vacant(place) => {
            place.insert(row);
            Ok(())
        }
        Entry::Occupied(_) => Err(StoreError::Conflict),
    }
}

/// `UPDATE … WHERE key = … AND version = …`
fn replace<K: Ord>(
    table: &mut BTreeMap<K, Row>,
    key: &K,
    row: Row,
    expected_version: u64,
) -> Result<(), StoreError> {
    match table.get_mut(key) {
        Some(there) if there.version == expected_version => {
            *there = row;
            Ok(())
        }
        _ => Err(StoreError::Conflict),
    }
}

impl Tables {
    /// It reads them all; a database has a column for each thing that is asked, and an index.
    fn sessions(&self, wanted: impl Fn(&Session) -> bool) -> Result<Vec<Session>, StoreError> {
        let sessions = self.sessions.values().map(|row| record::read_session(&row.text));
        sessions.filter(|read| read.as_ref().map_or(true, &wanted)).collect()
    }

    fn remove_sessions(
        &mut self,
        wanted: impl Fn(&Session) -> bool,
    ) -> Result<Vec<Session>, StoreError> {
        let removed = self.sessions(wanted)?;
        for session in &removed {
            self.sessions.remove(&session.key());
        }
        Ok(removed)
    }
}

/// In SQL: a column for each of the two, with `Subject::to_index_text`.
fn is_of(session: &Session, subject: &Subject) -> bool {
    session.subject() == *subject || session.started_by() == Some(subject)
}

/// In SQL: a column, null where there is none.
fn distinct_name(entity: &Entity) -> Option<(SubjectType, String)> {
    let name = entity.distinct_name()?;
    Some((entity.id().subject_type(), name.into_owned()))
}

impl TableStore {
    fn tables(&self) -> Result<MutexGuard<'_, Tables>, StoreError> {
        self.tables.lock().map_err(|_| StoreError::unavailable("a writer has panicked"))
    }
}

#[async_trait]
impl Store for TableStore {
    fn is_durable(&self) -> bool {
        false
    }

    async fn is_current(&self) -> Result<bool, StoreError> {
        // Whether the tables are there, in the form that this release of the store knows.
        Ok(true)
    }

    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        // The clock of the engine, in SQL: `clock_timestamp()`. A table in memory has none.
        Ok(None)
    }

    async fn read_sealing_check(&self) -> Result<Option<String>, StoreError> {
        Ok(self.tables()?.sealing_check.clone())
    }

    async fn write_sealing_check(&self, check: &str) -> Result<(), StoreError> {
        self.tables()?.sealing_check = Some(check.to_owned());
        Ok(())
    }
}

#[async_trait]
impl EntityStore for TableStore {
    async fn insert(&self, entity: Entity) -> Result<(), StoreError> {
        let mut tables = self.tables()?;
        let name = distinct_name(&entity);
        if name.as_ref().is_some_and(|name| tables.distinct_names.contains(name)) {
            return Err(StoreError::Conflict);
        }
        insert(&mut tables.entities, entity.id().clone(), Row::of_entity(&entity)?)?;
        tables.distinct_names.extend(name);
        Ok(())
    }

    async fn get(&self, id: &EntityId) -> Result<Option<Entity>, StoreError> {
        let tables = self.tables()?;
        tables.entities.get(id).map(|row| record::read_entity(&row.text)).transpose()
    }

    async fn replace(&self, entity: Entity, expected_version: u64) -> Result<(), StoreError> {
        let row = Row::of_entity(&entity)?;
        replace(&mut self.tables()?.entities, entity.id(), row, expected_version)
    }

    async fn list(
        &self,
        subject_type: SubjectType,
        organization: Option<&OrganizationId>,
        after: Option<&EntityId>,
        limit: usize,
    ) -> Result<Vec<Entity>, StoreError> {
        let tables = self.tables()?;
        let is_wanted = |entity: &Entity| {
            let id = entity.id();
            id.subject_type() == subject_type
                && after.is_none_or(|after| id > after)
                && organization.is_none_or(|one| entity.organization_id() == Some(one))
        };
        // In SQL: an index over sort and the ids' `to_index_text`, and one with the organization before that. Both
        // compare texts by their bytes, which is the order of this map.
        let entities = tables.entities.values().map(|row| record::read_entity(&row.text));
        entities.filter(|read| read.as_ref().map_or(true, is_wanted)).take(limit).collect()
    }

    async fn remove(&self, id: &EntityId) -> Result<bool, StoreError> {
        let mut tables = self.tables()?;
        let Some(row) = tables.entities.remove(id) else { return Ok(false) };
        if let Some(name) = distinct_name(&record::read_entity(&row.text)?) {
            tables.distinct_names.remove(&name);
        }
        Ok(true)
    }
}

#[async_trait]
impl SessionStore for TableStore {
    async fn insert(&self, session: Session, _: Timestamp) -> Result<(), StoreError> {
        insert(&mut self.tables()?.sessions, session.key(), Row::of_session(&session)?)
    }

    async fn get(&self, key: &SessionKey) -> Result<Option<Session>, StoreError> {
        let tables = self.tables()?;
        tables.sessions.get(key).map(|row| record::read_session(&row.text)).transpose()
    }

    async fn replace(
        &self,
        session: Session,
        expected_version: u64,
        _: Timestamp,
    ) -> Result<(), StoreError> {
        let row = Row::of_session(&session)?;
        replace(&mut self.tables()?.sessions, &session.key(), row, expected_version)
    }

    async fn take(
        &self,
        key: &SessionKey,
        expected_version: u64,
    ) -> Result<Option<Session>, StoreError> {
        match self.tables()?.sessions.entry(*key) {
            Entry::Vacant(_) => Ok(None),
            Entry::Occupied(there) if there.get().version != expected_version => {
                Err(StoreError::Conflict)
            }
            Entry::Occupied(there) => record::read_session(&there.remove().text).map(Some),
        }
    }

    async fn remove(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        Ok(self.tables()?.remove_sessions(|session| session.id() == id)?.pop())
    }

    async fn list(
        &self,
        filter: &SessionFilter,
        page: &PageRequest,
        now: Timestamp,
    ) -> Result<SessionPage, StoreError> {
        let is_live = |session: &Session| session.expires_at() > now;
        let mut sessions =
            self.tables()?.sessions(|session| is_live(session) && filter.matches(session))?;
        // By the id, too: a page must not change places with the next.
        sessions.sort_by_key(Session::position);
        let total = sessions.len();
        let is_before =
            |session: &Session| page.after.as_ref().is_some_and(|at| session.position() <= *at);
        let rest = sessions.into_iter().skip_while(is_before);
        let sessions = rest.skip(page.offset).take(page.limit).collect();
        Ok(SessionPage { sessions, total })
    }

    async fn count(
        &self,
        subject: &Subject,
        now: Timestamp,
        up_to: usize,
    ) -> Result<usize, StoreError> {
        let live = |s: &Session| is_of(s, subject) && s.expires_at() > now;
        Ok(self.tables()?.sessions(live)?.len().min(up_to))
    }

    async fn of_subject(
        &self,
        subject: &Subject,
        after: &Cursor,
        limit: usize,
    ) -> Result<SubjectSessions, StoreError> {
        // In the order of their keys: in SQL, `AND key > $2 ORDER BY key LIMIT $3`.
        let mark = |s: &Session| s.key().as_bytes().map(|byte| format!("{byte:02x}")).concat();
        let is_later = |s: &Session| after.mark().is_none_or(|after| *mark(s) > *after);
        let mut sessions = self.tables()?.sessions(|s| is_of(s, subject) && is_later(s))?;
        sessions.truncate(limit);
        let last = sessions.last().filter(|_| sessions.len() == limit);
        let next = last.map(|last| Cursor::new(&mark(last)));
        Ok(SubjectSessions { sessions, next })
    }

    async fn publish(&self, revocation: FeedEvent) -> Result<(), StoreError> {
        let text = record::write_event(&revocation)?;
        let mut tables = self.tables()?;
        // Numbered and there to be read in one step.
        let number = *self.last_published.borrow() + 1;
        tables.revocations.insert(number, (revocation.until(), text));
        self.last_published.send_replace(number);
        Ok(())
    }

    async fn read_feed(&self, after: &Cursor, wait: Duration) -> Result<FeedPage, StoreError> {
        let after: u64 = match after.mark() {
            None => 0,
            Some(mark) => mark.parse().map_err(StoreError::corrupt)?,
        };
        let mut last_published = self.last_published.subscribe();
        let _ = tokio::time::timeout(wait, last_published.wait_for(|last| *last > after)).await;
        let tables = self.tables()?;
        let newer = tables.revocations.range((Excluded(after), Unbounded));
        let revocations =
            newer.map(|(number, (_, text))| record::read_event(text, &number.to_string()));
        let revocations = revocations.collect();
        // What was purged is behind the reader, too.
        let next = after.max(*self.last_published.borrow());
        Ok(FeedPage {
            events: revocations,
            next: Cursor::new(&next.to_string()),
            is_complete: true,
            // Nothing gets lost while the process runs.
            history_changed: false,
        })
    }

    async fn purge_expired(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut tables = self.tables()?;
        let sessions = tables.remove_sessions(|session| session.kept_until() <= now)?.len();
        let before = tables.revocations.len();
        tables.revocations.retain(|_, (until, _)| *until > now);
        Ok((sessions + before - tables.revocations.len()) as u64)
    }
}

#[async_trait]
impl KeyStore for TableStore {
    async fn get(&self) -> Result<Option<KeySchedule>, StoreError> {
        let tables = self.tables()?;
        tables.keys.get(&()).map(|row| record::read_keys(&row.text)).transpose()
    }

    async fn insert(&self, keys: KeySchedule) -> Result<(), StoreError> {
        insert(&mut self.tables()?.keys, (), Row::of_keys(&keys)?)
    }

    async fn replace(&self, keys: KeySchedule, expected_version: u64) -> Result<(), StoreError> {
        replace(&mut self.tables()?.keys, &(), Row::of_keys(&keys)?, expected_version)
    }
}

/// Nothing of what it holds: hashes and sealed secrets are nobody's to read.
impl fmt::Debug for TableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableStore").finish_non_exhaustive()
    }
}

type Problem = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Problem> {
    // A rule that is broken panics, and is named.
    let store = Arc::new(TableStore::default());
    conformance::check_entity_store(store.clone()).await;
    println!("EntityStore: it keeps every rule.");
    conformance::check_session_store(store.clone()).await;
    println!("SessionStore: it keeps every rule.");
    conformance::check_key_store(store).await;
    println!("KeyStore: it keeps every rule.");

    let status = log_in_over(Arc::new(TableStore::default())).await?;
    println!("A login over it was answered {status}.");
    Ok(())
}

/// The answer to a user's login at a service that keeps everything in `store`.
async fn log_in_over(store: Arc<TableStore>) -> Result<StatusCode, Problem> {
    let tokens = TokenService::builder()
        .issuer("https://auth.example.com")
        .audience("https://api.example.com")
        .keys(ManagedKeys::new(Algorithm::EdDSA))
        .store(store)
        .build()?;
    let _housekeeping = tokens.start().await?;
    let hash = tokens.hash_password(Password::new("correct-horse-battery-staple")?).await?;
    tokens.register(Entity::user("jane@example.com", hash)?).await?;

    let app: Router = tokens.router();
    let login = "username=jane%40example.com&password=correct-horse-battery-staple";
    let request = Request::post("/user/token/generate")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(login))?;
    Ok(app.oneshot(request).await?.status())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_store_keeps_every_rule_of_the_contract() {
        let store = Arc::new(TableStore::default());
        conformance::check_entity_store(store.clone()).await;
        conformance::check_session_store(store.clone()).await;
        conformance::check_key_store(store).await;
    }

    #[tokio::test]
    async fn a_user_logs_in_over_it() {
        let status = log_in_over(Arc::new(TableStore::default())).await;
        assert_eq!(status.unwrap(), StatusCode::OK);
    }
}
