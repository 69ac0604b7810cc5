//! Events that this node published and sessions that it ended recently, to write them again if a failover loses
//! them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::service::model::authentication_token::SessionKey;
use crate::service::store::FeedEvent;
use crate::token::identifier::SessionId;

/// The maximum lag of a replica that is promoted.
const KEPT_FOR: Duration = Duration::from_secs(10 * 60);
/// The maximum number; the oldest are dropped first.
const MOST_KEPT: usize = 10_000;

/// The events that this node published and the sessions that it ended in the last ten minutes.
#[derive(Debug)]
pub(super) struct RecentEvents {
    recent: Mutex<Recent>,
    /// How often a store has lost writes.
    losses: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Recent {
    published: Log<FeedEvent>,
    /// Includes sessions without issued tokens, for which no event was published. Kept apart from the events, so
    /// that the end of many sessions drops no revocation.
    ended_sessions: Log<EndedSession>,
    /// The number of writes so far.
    count: u64,
}

/// A write that a store may have lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RecentWrite {
    Published(FeedEvent),
    /// A log-out was confirmed, and the session may be back.
    Ended(EndedSession),
}

/// An ended session. In a cluster, a lost write may have restored its record, but not that of its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EndedSession {
    pub(super) key: SessionKey,
    pub(super) id: SessionId,
}

impl RecentEvents {
    pub(super) fn new() -> Self {
        Self { recent: Mutex::default(), losses: watch::Sender::new(0) }
    }

    pub(super) fn add(&self, event: FeedEvent) {
        let recent = &mut *self.lock();
        recent.count += 1;
        recent.published.add(recent.count, event);
    }

    pub(super) fn add_ended_session(&self, session: EndedSession) {
        let recent = &mut *self.lock();
        recent.count += 1;
        recent.ended_sessions.add(recent.count, session);
    }

    /// Returns the writes that are still relevant, the latest last.
    pub(super) fn writes(&self, now: Timestamp) -> Vec<RecentWrite> {
        let recent = &mut *self.lock();
        recent.published.0.retain(|entry| entry.value.until() > now);
        let published = recent.published.0.iter();
        let published =
            published.map(|entry| (entry.number, RecentWrite::Published(entry.value.clone())));
        let ended = recent.ended_sessions.0.iter();
        let ended = ended.map(|entry| (entry.number, RecentWrite::Ended(entry.value.clone())));
        let mut writes: Vec<_> = published.chain(ended).collect();
        writes.sort_by_key(|(number, _)| *number);
        writes.into_iter().map(|(_, write)| write).collect()
    }

    /// Reports that a store may have lost the writes of the ten minutes before `heard_at`, when its feed was last
    /// read to its end, and those since. The outage in between may have taken longer.
    pub(super) fn report_loss(&self, heard_at: Option<Instant>) {
        self.report_loss_at(heard_at, Instant::now());
    }

    fn report_loss_at(&self, heard_at: Option<Instant>, now: Instant) {
        let heard_at = heard_at.unwrap_or(now);
        let mut recent = self.lock();
        recent.published.renew(heard_at, now);
        recent.ended_sessions.renew(heard_at, now);
        drop(recent);
        self.losses.send_modify(|losses| *losses += 1);
    }

    /// Changes with each loss that is reported from now on, and closes with the service.
    pub(super) fn watch_losses(&self) -> watch::Receiver<u64> {
        self.losses.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes of one kind, the oldest first.
#[derive(Debug)]
struct Log<T>(VecDeque<Entry<T>>);

#[derive(Debug)]
struct Entry<T> {
    /// When it was written, or written again.
    at: Instant,
    /// How many were written before it, of whatever kind.
    number: u64,
    value: T,
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Log<T> {
    fn add(&mut self, number: u64, value: T) {
        self.0.push_back(Entry { at: Instant::now(), number, value });
        if self.0.len() > MOST_KEPT {
            self.0.pop_front();
        }
    }

    /// Drops the writes that the store certainly still has. The rest is written again now.
    fn renew(&mut self, heard_at: Instant, now: Instant) {
        self.0.retain(|entry| heard_at.saturating_duration_since(entry.at) < KEPT_FOR);
        for entry in &mut self.0 {
            entry.at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::model::entity::EntityId;

    fn event(until: u64) -> FeedEvent {
        let until = Timestamp::from_secs(until);
        FeedEvent::EntityChanged { id: EntityId::machine("aa-1").unwrap(), until }
    }

    fn ended(id: &str) -> EndedSession {
        let id = SessionId::new(id).unwrap();
        EndedSession { key: SessionKey::from_bytes([1; 32]), id }
    }

    #[test]
    fn what_has_ended_is_forgotten_and_the_oldest_first() {
        let recent = RecentEvents::new();
        recent.add(event(10));
        recent.add(event(100));
        let published = |at: u64| recent.writes(Timestamp::from_secs(at));
        assert_eq!(published(10), [RecentWrite::Published(event(100))]);
        for until in 0..=MOST_KEPT as u64 {
            recent.add(event(until + 1));
        }
        let kept = recent.writes(Timestamp::MIN);
        assert_eq!(kept.len(), MOST_KEPT);
        assert_eq!(kept[0], RecentWrite::Published(event(2)));
    }

    #[test]
    fn writes_of_both_kinds_are_in_the_order_in_which_they_were_written() {
        let recent = RecentEvents::new();
        recent.add_ended_session(ended("sid-1"));
        recent.add(event(100));
        recent.add_ended_session(ended("sid-2"));
        recent.report_loss(None);
        recent.add(event(200));
        let expected = [
            RecentWrite::Ended(ended("sid-1")),
            RecentWrite::Published(event(100)),
            RecentWrite::Ended(ended("sid-2")),
            RecentWrite::Published(event(200)),
        ];
        assert_eq!(recent.writes(Timestamp::MIN), expected);
    }

    #[test]
    fn however_late_a_loss_is_found_what_was_written_before_the_feed_was_read_last_is_kept() {
        let recent = RecentEvents::new();
        let written_at = Instant::now();
        recent.add(event(10));
        recent.add_ended_session(ended("sid-1"));
        let both_are_there = |heard_after: Duration, found_after: Duration| {
            recent.report_loss_at(Some(written_at + heard_after), written_at + found_after);
            let writes = recent.writes(Timestamp::MIN);
            assert!(writes.is_empty() || writes.len() == 2, "{writes:?}");
            !writes.is_empty()
        };
        assert!(both_are_there(KEPT_FOR / 2, KEPT_FOR * 10));
        // It was written again at that time, and may be lost again.
        assert!(both_are_there(KEPT_FOR * 10, KEPT_FOR * 11));
        assert!(!both_are_there(KEPT_FOR * 13, KEPT_FOR * 13));
    }
}
