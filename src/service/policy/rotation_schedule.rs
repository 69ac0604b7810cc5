use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// When [`ManagedKeys`](crate::ManagedKeys) are changed.
///
/// A key is announced: published, and not signing. It signs from a time that is written down then,
/// and takes the place of the one before. That one verifies until the last token that it signed has
/// ended, and is forgotten.
///
/// ```
/// use std::time::Duration;
/// use countersign::policy::RotationSchedule;
/// use countersign::Policy;
///
/// let monthly = RotationSchedule::default().rotation_period(Duration::from_secs(30 * 86_400));
/// let policy = Policy::default().tokens(|tokens| tokens.rotation_schedule(monthly));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct RotationSchedule {
    pub(in crate::service) rotation_period: Duration,
    pub(in crate::service) announcement_period: Duration,
    pub(in crate::service) clock_tolerance: Duration,
    pub(in crate::service) refresh_interval: Duration,
}

impl Default for RotationSchedule {
    fn default() -> Self {
        Self {
            rotation_period: 90 * DAY,
            announcement_period: 14 * DAY,
            clock_tolerance: 5 * MINUTE,
            refresh_interval: MINUTE,
        }
    }
}

impl RotationSchedule {
    /// How long a key signs: 90 days. What a leaked one is worth ends with it.
    pub fn rotation_period(mut self, period: Duration) -> Self {
        self.rotation_period = period;
        self
    }

    /// How long a key is published before it signs: 14 days, since others keep copies of the
    /// published keys, and some of them by hand. It has to be longer than the policy's
    /// `jwks_max_age`, and no longer than keys sign.
    pub fn announcement_period(mut self, period: Duration) -> Self {
        self.announcement_period = period;
        self
    }

    /// How much the clocks of nodes may differ: 5 minutes. A key that was replaced verifies for
    /// that much longer than the tokens that it signed live; and what revokes the tokens of a principal
    /// reaches those of nodes whose clocks are ahead by as much.
    pub fn clock_tolerance(mut self, clock_tolerance: Duration) -> Self {
        self.clock_tolerance = clock_tolerance;
        self
    }

    /// How often a node looks whether other nodes have changed the keys: once a minute. The
    /// announcement has to be longer than two of these and the clocks' tolerance.
    pub fn refresh_interval(mut self, refresh_interval: Duration) -> Self {
        self.refresh_interval = refresh_interval;
        self
    }

    /// After how long everybody has a key that was announced: nodes, by whatever clock, and those
    /// who keep the published keys for as long as they may.
    pub(in crate::service) fn propagation_time(&self, jwks_max_age: Duration) -> Duration {
        (self.refresh_interval * 2).max(jwks_max_age) + self.clock_tolerance
    }

    /// What is wrong with it.
    pub(in crate::service) fn problem(&self, jwks_max_age: Duration) -> Option<&'static str> {
        if self.refresh_interval.is_zero() {
            return Some("other nodes' keys cannot be looked for without an interval");
        }
        if self.announcement_period > self.rotation_period {
            return Some("a key would be announced for longer than the one before it signs");
        }
        (self.announcement_period <= self.propagation_time(jwks_max_age)).then_some(
            "a key would sign before everybody has it: the announcement has to be longer than the \
             policy's jwks_max_age, or twice the refresh interval, and the clocks' tolerance",
        )
    }
}
