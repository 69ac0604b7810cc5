//! Noticing that the machine was suspended: its monotonic clock stood still, and so did the age of what was heard
//! of other nodes.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::service::housekeeping::StopSignal;
use crate::service::housekeeping::feed::StalenessGuard;
use crate::service::shared_clock::SharedClock;
use crate::service::token_service::TokenServiceInner;

/// How often the two clocks are compared.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// By how much the wall clock may run ahead between two comparisons.
const TOLERATED: Duration = Duration::from_secs(5);

/// Compares how far the wall clock has come with what has passed.
pub(super) struct SuspensionDetector {
    lead: Duration,
}

impl SuspensionDetector {
    pub(super) fn new(clock: &SharedClock) -> Self {
        Self { lead: clock.lead() }
    }

    /// Returns whether time went by since the last call that nobody has counted.
    pub(super) fn has_been_suspended(&mut self, clock: &SharedClock) -> bool {
        let lead = clock.lead();
        let before = std::mem::replace(&mut self.lead, lead);
        lead > before.saturating_add(TOLERATED)
    }
}

/// Has tokens rejected after the machine was suspended, until the feed was read.
pub(super) async fn watch(
    inner: Weak<TokenServiceInner>,
    staleness: Arc<StalenessGuard>,
    mut stop: StopSignal,
) {
    let Some(alive) = inner.upgrade() else { return };
    let clock = Arc::clone(alive.stores.clock());
    drop(alive);
    let mut detector = SuspensionDetector::new(&clock);
    while !stop.is_set() && inner.strong_count() > 0 {
        if detector.has_been_suspended(&clock) {
            staleness.suspended();
        }
        stop.sleep(TICK).await;
    }
}
