use std::time::Duration;

/// How many failures a throttle allows, and how long it delays the attempts after them.
///
/// Failures are counted over a sliding window. Up to `free` of them cost nothing; then the next
/// attempt has to wait for the first delay, and twice as long after each further failure, up to
/// the longest delay. Attempts that come too soon are rejected and do not count.
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

    /// How long the attempt after so many failures has to wait.
    pub(in crate::service) fn wait_after(&self, failures: u32) -> Duration {
        let Some(beyond) = failures.checked_sub(self.free) else { return Duration::ZERO };
        let factor = 1_u32.checked_shl(beyond).unwrap_or(u32::MAX);
        self.first_delay.saturating_mul(factor).min(self.longest_delay)
    }

    /// How long ago the last failure may be for it to count still.
    pub(in crate::service) fn memory(&self) -> Duration {
        self.window.saturating_mul(2).max(self.longest_delay)
    }

    /// What is wrong with it, where something is.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        if self.window < Duration::from_secs(1) {
            Some("a throttle's window has to last for a second at least")
        } else if self.first_delay > self.longest_delay {
            Some("a throttle's first delay is longer than its longest")
        } else {
            None
        }
    }
}
