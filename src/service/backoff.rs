//! How long to wait before something that failed is tried again.

use std::time::Duration;

/// Waits that double with each failure, up to a limit, and begin anew with a success.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first.min(longest) }
    }

    /// The wait after one more failure.
    pub(crate) fn failed(&mut self) -> Duration {
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(self.longest);
        wait
    }

    pub(crate) fn succeeded(&mut self) {
        self.next = self.first.min(self.longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_with_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(500));
        let mut waits = || [(); 4].map(|()| backoff.failed().as_millis());
        assert_eq!(waits(), [100, 200, 400, 500]);
        backoff.succeeded();
        assert_eq!(backoff.failed().as_millis(), 100);
    }

    #[test]
    fn no_wait_is_longer_than_the_longest() {
        let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(1));
        assert_eq!(backoff.failed(), Duration::from_secs(1));
        let mut endless = Backoff::new(Duration::MAX, Duration::MAX);
        assert_eq!([endless.failed(), endless.failed()], [Duration::MAX; 2]);
    }
}
