//! What this node published lately, to be published again where a store loses it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::service::store::FeedEvent;

/// How far a standby that takes over may be behind.
const KEPT_FOR: Duration = Duration::from_secs(10 * 60);
/// The oldest are forgotten first.
const MOST_KEPT: usize = 10_000;

/// The events that this node published in the last ten minutes.
#[derive(Debug)]
pub(super) struct RecentEvents {
    events: Mutex<VecDeque<(Instant, FeedEvent)>>,
    /// How often a store has lost what it held.
    losses: watch::Sender<u64>,
}

impl RecentEvents {
    pub(super) fn new() -> Self {
        Self { events: Mutex::default(), losses: watch::Sender::new(0) }
    }

    pub(super) fn add(&self, event: FeedEvent) {
        let mut events = self.lock();
        events.push_back((Instant::now(), event));
        if events.len() > MOST_KEPT {
            events.pop_front();
        }
    }

    /// Returns those that still matter.
    pub(super) fn get(&self, now: Timestamp) -> Vec<FeedEvent> {
        self.get_at(now, Instant::now())
    }

    fn get_at(&self, now: Timestamp, instant: Instant) -> Vec<FeedEvent> {
        let mut events = self.lock();
        let is_recent = |added: Instant| instant.saturating_duration_since(added) < KEPT_FOR;
        events.retain(|(added, event)| is_recent(*added) && event.until() > now);
        events.iter().map(|(_, event)| event.clone()).collect()
    }

    /// Says that a store may have lost them.
    pub(super) fn report_loss(&self) {
        self.losses.send_modify(|losses| *losses += 1);
    }

    /// Changes with each loss that is reported from here on, and ends with the service.
    pub(super) fn watch_losses(&self) -> watch::Receiver<u64> {
        self.losses.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Instant, FeedEvent)>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn what_has_ended_or_is_old_is_forgotten_and_the_oldest_first() {
        let recent = RecentEvents::new();
        recent.add(event(10));
        recent.add(event(100));
        assert_eq!(recent.get(Timestamp::from_secs(10)), [event(100)]);
        assert_eq!(recent.get_at(Timestamp::MIN, Instant::now() + KEPT_FOR), []);
        for until in 0..=MOST_KEPT as u64 {
            recent.add(event(until + 1));
        }
        let kept = recent.get(Timestamp::MIN);
        assert_eq!((kept.len(), kept[0].clone()), (MOST_KEPT, event(2)));
    }
}
