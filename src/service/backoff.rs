//! Exponential backoff with jitter.

use std::time::Duration;

use crate::jitter;

/// Waits that double with each failure, up to a limit, and start over after a success. Each is random, between half
/// of its length and all of it, so that nodes that lost a server at once do not retry at once.
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

    /// Returns the wait after one more failure.
    pub(crate) fn failed(&mut self) -> Duration {
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(self.longest);
        let half = wait / 2;
        half.saturating_add(jitter::below(wait - half))
    }

    pub(crate) fn succeeded(&mut self) {
        self.next = self.first.min(self.longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is_up_to(longest: u64, wait: Duration) {
        let longest = Duration::from_millis(longest);
        assert!((longest / 2..=longest).contains(&wait), "{wait:?}");
    }

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_with_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(500));
        for longest in [100, 200, 400, 500, 500] {
            is_up_to(longest, backoff.failed());
        }
        backoff.succeeded();
        is_up_to(100, backoff.failed());
    }

    #[test]
    fn no_wait_is_longer_than_the_longest() {
        let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(1));
        is_up_to(1_000, backoff.failed());
        let mut endless = Backoff::new(Duration::MAX, Duration::MAX);
        for _ in 0..2 {
            assert!(endless.failed() >= Duration::MAX / 2);
        }
    }

    #[test]
    fn waits_of_many_nodes_differ() {
        let wait = || Backoff::new(Duration::from_secs(1), Duration::from_secs(1)).failed();
        let waits: std::collections::HashSet<_> = (0..100).map(|_| wait()).collect();
        assert!(waits.len() > 90, "{}", waits.len());
    }
}
