//! Noticing that the machine was suspended: its monotonic clock stood still, and so did the age of what was heard
//! of other nodes.

use std::time::Duration;

use crate::service::shared_clock::SharedClock;

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
