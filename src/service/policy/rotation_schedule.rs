use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// The rotation schedule of [`ManagedKeys`](crate::ManagedKeys).
///
/// A new key is first announced: it is published but does not sign. The instant from which it signs, in place of the
/// current key, is recorded at that time. The replaced key verifies until the last token that it signed has expired,
/// and is then removed.
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
    /// Sets how long a key signs. Default: 90 days. It limits how long a leaked key is useful.
    pub fn rotation_period(mut self, period: Duration) -> Self {
        self.rotation_period = period;
        self
    }

    /// Sets how long a key is published before it signs. Default: 14 days, since resource servers cache the published
    /// keys, and some are configured by hand. It must be at most the rotation period, and longer than the clock tolerance
    /// plus the policy's `jwks_max_age`, or plus two refresh intervals where these are longer.
    pub fn announcement_period(mut self, period: Duration) -> Self {
        self.announcement_period = period;
        self
    }

    /// Sets how far the clocks of nodes may differ. Default: 5 minutes. A replaced key verifies for that much longer
    /// than the lifetime of its tokens, and the revocation of a principal's tokens includes those from nodes whose
    /// clocks are ahead by that much.
    pub fn clock_tolerance(mut self, clock_tolerance: Duration) -> Self {
        self.clock_tolerance = clock_tolerance;
        self
    }

    /// Sets how often a node checks whether other nodes have changed the keys. Default: 1 minute. See
    /// [`announcement_period`](Self::announcement_period).
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
            return Some("the refresh_interval must not be zero");
        }
        if self.announcement_period > self.rotation_period {
            return Some("the announcement_period must not exceed the rotation_period");
        }
        (self.announcement_period <= self.propagation_time(jwks_max_age)).then_some(
            "a key would sign before everybody has it: the announcement has to be longer than the \
             policy's jwks_max_age, or twice the refresh interval, and the clocks' tolerance",
        )
    }
}
