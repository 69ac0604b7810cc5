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
        self.lock().published.add(event);
    }

    pub(super) fn add_ended_session(&self, session: EndedSession) {
        self.lock().ended_sessions.add(session);
    }

    /// Returns the events that are still relevant.
    pub(super) fn published(&self, now: Timestamp) -> Vec<FeedEvent> {
        let mut recent = self.lock();
        recent.published.0.retain(|(_, event)| event.until() > now);
        recent.published.values()
    }

    pub(super) fn ended_sessions(&self) -> Vec<EndedSession> {
        self.lock().ended_sessions.values()
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

/// Returns the writes with their times, the oldest first.
#[derive(Debug)]
struct Log<T>(VecDeque<(Instant, T)>);

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: Clone> Log<T> {
    fn add(&mut self, value: T) {
        self.0.push_back((Instant::now(), value));
        if self.0.len() > MOST_KEPT {
            self.0.pop_front();
        }
    }

    fn values(&self) -> Vec<T> {
        self.0.iter().map(|(_, value)| value.clone()).collect()
    }

    /// Drops the writes that the store certainly still has. The rest is written again now.
    fn renew(&mut self, heard_at: Instant, now: Instant) {
        self.0.retain(|(at, _)| heard_at.saturating_duration_since(*at) < KEPT_FOR);
        for (at, _) in &mut self.0 {
            *at = now;
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

    #[test]
    fn what_has_ended_is_forgotten_and_the_oldest_first() {
        let recent = RecentEvents::new();
        recent.add(event(10));
        recent.add(event(100));
        assert_eq!(recent.published(Timestamp::from_secs(10)), [event(100)]);
        for until in 0..=MOST_KEPT as u64 {
            recent.add(event(until + 1));
        }
        let kept = recent.published(Timestamp::MIN);
        assert_eq!((kept.len(), kept[0].clone()), (MOST_KEPT, event(2)));
    }

    #[test]
    fn however_late_a_loss_is_found_what_was_written_before_the_feed_was_read_last_is_kept() {
        let recent = RecentEvents::new();
        let id = SessionId::new("sid-1").unwrap();
        let session = EndedSession { key: SessionKey::from_bytes([1; 32]), id };
        let written_at = Instant::now();
        recent.add(event(10));
        recent.add_ended_session(session.clone());
        let both_are_there = |heard_after: Duration, found_after: Duration| {
            recent.report_loss_at(Some(written_at + heard_after), written_at + found_after);
            let ended = recent.ended_sessions();
            assert_eq!(ended.is_empty(), recent.published(Timestamp::MIN).is_empty());
            ended == std::slice::from_ref(&session)
        };
        assert!(both_are_there(KEPT_FOR / 2, KEPT_FOR * 10));
        // It was written again at that time, and may be lost again.
        assert!(both_are_there(KEPT_FOR * 10, KEPT_FOR * 11));
        assert!(!both_are_there(KEPT_FOR * 13, KEPT_FOR * 13));
    }
}
