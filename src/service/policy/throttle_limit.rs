use std::time::Duration;

/// How many failures a throttle allows, and how long it delays the attempts after them.
///
/// Failures are counted over a sliding window. Up to `free` failures cause no delay; then the next attempt has to
/// wait for the first delay, and twice as long after each further failure, up to the longest delay. Attempts that
/// come too soon are rejected and not counted.
///
/// ```
/// use std::time::Duration;
/// use countersign::policy::ThrottleLimit;
/// use countersign::Policy;
///
/// let hour = Duration::from_secs(3_600);
/// let strict = ThrottleLimit::new(3, hour).delays(Duration::from_secs(5), hour);
/// let policy = Policy::default().throttle(|throttle| throttle.by_name_and_address(strict));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct ThrottleLimit {
    pub(in crate::service) free: u32,
    pub(in crate::service) window: Duration,
    first_delay: Duration,
    longest_delay: Duration,
}

impl ThrottleLimit {
    /// Creates a limit of `free` failures in any `window`, then delays from 1 second to 15 minutes.
    pub const fn new(free: u32, window: Duration) -> Self {
        Self {
            free,
            window,
            first_delay: Duration::from_secs(1),
            longest_delay: Duration::from_secs(15 * 60),
        }
    }

    /// Sets the first delay, which doubles with each further failure, and the longest.
    pub const fn delays(mut self, first: Duration, longest: Duration) -> Self {
        (self.first_delay, self.longest_delay) = (first, longest);
        self
    }

    /// Creates a limit that never delays, for a host that throttles in another way.
    pub const fn unlimited() -> Self {
        Self::new(u32::MAX, Duration::from_secs(1))
    }

    /// Returns the delay of the attempt after this many failures.
    pub(in crate::service) fn wait_after(&self, failures: u32) -> Duration {
        let Some(beyond) = failures.checked_sub(self.free) else { return Duration::ZERO };
        let factor = 1_u32.checked_shl(beyond).unwrap_or(u32::MAX);
        self.first_delay.saturating_mul(factor).min(self.longest_delay)
    }

    /// Returns the maximum age of the last failure for it to still count.
    pub(in crate::service) fn memory(&self) -> Duration {
        self.window.saturating_mul(2).max(self.longest_delay)
    }

    /// Returns the fault of the limit, if it has one.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        if self.window < Duration::from_secs(1) {
            Some("a throttle's window must be at least a second")
        } else if self.first_delay > self.longest_delay {
            Some("a throttle's first delay is longer than its longest")
        } else {
            None
        }
    }
}
