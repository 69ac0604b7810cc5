//! The lists of live sessions, each a sorted set by age, and what keeps them right as sessions end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use redis::Cmd;

use crate::clock::Timestamp;
use crate::service::model::session::Session;
use crate::service::store::redis::keys::{EndIndexEntry, ListEntry};
use crate::service::store::redis::sessions::{AT_ONCE, ScoredEntry, due};
use crate::service::store::redis::{Inner, RedisStore};
use crate::service::store::{PageRequest, SessionFilter, SessionPage, Store as _, StoreError};

/// How many sessions one call ends.
const ENDED_AT_ONCE: isize = 1_000;
/// How long a list waits for more than that.
const PATIENCE: Duration = Duration::from_secs(2);

/// The members of a list, each with its score as the server writes it: when its session was created, in microseconds.
type Members = Vec<(String, String)>;

impl RedisStore {
    /// Reads a page of a list, past the entries that lead to no live session.
    pub(super) async fn read_list(
        &self,
        filter: &SessionFilter,
        page: &PageRequest,
        now: Timestamp,
    ) -> Result<SessionPage, StoreError> {
        self.end_all_due(now).await?;
        let list = self.inner.keys.list(filter);
        // Before what is in it, so that each of the dead that are found below is counted here.
        let listed: usize = self.inner.client.read(&Cmd::zcard(&list)).await?;
        let mut members = match &page.after {
            None => self.members_at(&list, page.offset, page.limit).await?,
            Some(after) => {
                let (created_at, id) =
                    (after.created_at.as_micros().to_string(), after.id.as_str());
                let most = page.offset.saturating_add(page.limit);
                let found = self.members_behind(&list, &created_at, id, most).await?;
                found.into_iter().skip(page.offset).collect()
            }
        };
        let (mut sessions, mut dead) = (Vec::new(), 0);
        while let Some((last, created_at)) = members.last().cloned() {
            let reading = members.into_iter().map(|(member, _)| self.listed_session(member));
            let mut read = stream::iter(reading).buffered(AT_ONCE);
            while let Some(session) = read.try_next().await? {
                match session.filter(|session| is_live(session, now)) {
                    Some(session) => sessions.push(session),
                    None => dead += 1,
                }
            }
            let missing = page.limit - sessions.len();
            let id = ListEntry::parse(&last).map_or(last, |entry| entry.id);
            members = self.members_behind(&list, &created_at, &id, missing).await?;
        }
        let total = listed.saturating_sub(dead).max(sessions.len());
        Ok(SessionPage { sessions, total })
    }

    /// Takes what has expired out of the lists, so that their sizes are right. Where there is more of it than can be taken
    /// out in a moment, that goes on beside the caller, which passes over the rest.
    async fn end_all_due(&self, now: Timestamp) -> Result<(), StoreError> {
        let now = self.no_later_than_the_server(now).await?;
        if !self.end_some_due(now).await {
            return Ok(());
        }
        let (store, ending) = (self.clone(), Arc::clone(&self.inner.ending));
        let going_on = async move {
            let only_one = ending.lock_owned().await;
            let ending_all = async move {
                let _only_one = only_one;
                while store.end_some_due(now).await {}
            };
            let _ = tokio::spawn(ending_all).await;
        };
        let _ = tokio::time::timeout(PATIENCE, going_on).await;
        Ok(())
    }

    /// Ends a part of what is due; returns whether there may be more.
    async fn end_some_due(&self, now: Timestamp) -> bool {
        match self.end_due(now).await {
            Ok(ended) => ended == ENDED_AT_ONCE.unsigned_abs() as u64,
            Err(error) => {
                tracing::debug!(%error, "redis store: an expired session is left for purging");
                false
            }
        }
    }

    /// Returns the earlier of a caller's time and the server's: a caller whose clock is ahead ends nothing.
    pub(super) async fn no_later_than_the_server(
        &self,
        now: Timestamp,
    ) -> Result<Timestamp, StoreError> {
        Ok(self.time().await?.map_or(now, |time| time.min(now)))
    }

    async fn members_at(
        &self,
        list: &str,
        first: usize,
        most: usize,
    ) -> Result<Members, StoreError> {
        if most == 0 {
            return Ok(Members::new());
        }
        let last = first.saturating_add(most) - 1;
        let mut command = redis::cmd("ZRANGE");
        command.arg(list).arg(first).arg(last).arg("WITHSCORES");
        self.inner.client.read(&command).await
    }

    /// Returns the next members behind a position.
    async fn members_behind(
        &self,
        list: &str,
        created_at: &str,
        id: &str,
        most: usize,
    ) -> Result<Members, StoreError> {
        if most == 0 {
            return Ok(Members::new());
        }
        let client = &self.inner.client;
        let of_that_instant = Cmd::zrangebyscore_withscores(list, created_at, created_at);
        let mut members: Members = client.read(&of_that_instant).await?;
        members.retain(|(member, _)| {
            ListEntry::parse(member).is_none_or(|entry| entry.id.as_str() > id)
        });
        let later = format!("({created_at}");
        let later = Cmd::zrangebyscore_limit_withscores(
            list,
            later,
            "+inf",
            0,
            most.saturating_sub(members.len()).cast_signed(),
        );
        let later: Members = client.read(&later).await?;
        members.extend(later);
        members.truncate(most);
        Ok(members)
    }

    async fn listed_session(&self, member: String) -> Result<Option<Session>, StoreError> {
        match ListEntry::parse(&member) {
            Some(entry) => self.indexed_session(&entry.key, &entry.id).await,
            None => Ok(None),
        }
    }

    /// Returns the entries of a session in its lists.
    pub(super) fn listing(
        &self,
        indexed: &EndIndexEntry,
        created_at: Timestamp,
    ) -> impl Iterator<Item = ScoredEntry> {
        let member = indexed.listed().to_member();
        let lists = indexed.filters().map(|filter| self.inner.keys.list(&filter));
        lists.map(move |index| ScoredEntry { index, score: created_at, member: member.clone() })
    }

    /// Returns the commands that take a session out of its lists.
    pub(super) fn unlisting(&self, indexed: &EndIndexEntry) -> impl Iterator<Item = Cmd> {
        let member = indexed.listed().to_member();
        let lists = indexed.filters().map(|filter| self.inner.keys.list(&filter));
        lists.map(move |list| Cmd::zrem(list, &member))
    }

    /// Takes sessions that have expired out of the lists, and removes those that are to be kept no longer: a part
    /// of them. Returns how many.
    pub(super) async fn end_due(&self, now: Timestamp) -> Result<u64, StoreError> {
        let due = Cmd::zrangebyscore_limit(
            self.inner.keys.ends(),
            "-inf",
            now.as_micros(),
            0,
            ENDED_AT_ONCE,
        );
        let due: Vec<String> = self.inner.client.read(&due).await?;
        let found = u64::try_from(due.len()).unwrap_or(u64::MAX);
        let ending = stream::iter(due).map(|member| self.end(member, now));
        let ended: Vec<Result<(), StoreError>> = ending.buffer_unordered(AT_ONCE).collect().await;
        // All that can be ended is, although one of them cannot.
        ended.into_iter().collect::<Result<(), _>>()?;
        Ok(found)
    }

    /// Removes a session and its index entries if it has ended, and takes it out of the lists if it has expired.
    async fn end(&self, member: String, now: Timestamp) -> Result<(), StoreError> {
        let Inner { keys, client, purge, .. } = &*self.inner;
        let Some(indexed) = EndIndexEntry::parse(&member) else {
            tracing::warn!(
                "redis store: an entry of the expiry index names no session, it is removed"
            );
            return client.query(&Cmd::zrem(keys.ends(), member)).await;
        };
        let (key, id) = (keys.session(&indexed.key), indexed.session_id.as_str());
        let arguments = [id.to_owned(), now.as_micros().to_string()];
        let later: Option<u64> = client.run(purge, &[&key], &arguments).await?;
        let Some(later) = later else {
            return self.clean(&indexed).await;
        };
        let session = self.indexed_session(&indexed.key, id).await?;
        let next = match &session {
            // It was given more time, and the index was not told, or by a node whose clock is behind.
            Some(session) if !session.is_used_up() && due(session) > now => {
                let listing = self.listing(&indexed, session.created_at);
                try_join_all(listing.map(|entry| self.add_entry(entry))).await?;
                due(session)
            }
            _ => {
                client.query_all(&self.unlisting(&indexed).collect::<Vec<_>>()).await?;
                Timestamp::from_micros(later)
            }
        };
        self.move_entry(ScoredEntry { index: keys.ends(), score: next, member }).await
    }
}

fn is_live(session: &Session, now: Timestamp) -> bool {
    !session.is_used_up() && session.expires_at > now
}
