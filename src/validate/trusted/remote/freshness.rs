//! How long fetched keys are relied on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::jitter;
use crate::validate::trusted::remote::RemotePolicy;

/// By how much a clock may be set back without anybody's notice. Whoever waits has read it before.
const SET_BACK: Duration = Duration::from_secs(60);

/// Until when fetched keys may be relied on.
///
/// While they are as new as their issuer wants them, they are. Older ones are while the issuer cannot
/// be asked, which has to have been tried lately: it may have ended one of them since.
#[derive(Default)]
pub(super) struct Freshness {
    /// When they came; at first, they have not.
    fetched_at: AtomicTimestamp,
    /// From when on they are fetched again, ahead of their end.
    refresh_at: AtomicTimestamp,
    fresh_until: AtomicTimestamp,
    /// Until when they are relied on where their issuer cannot be asked.
    stale_until: AtomicTimestamp,
    /// Until when their issuer counts as one that cannot be asked.
    down_until: AtomicTimestamp,
}

impl Freshness {
    pub(super) fn have_come(&self) -> bool {
        self.fetched_at.load() > Timestamp::MIN
    }

    pub(super) fn are_good(&self, now: Timestamp) -> bool {
        self.are_fresh(now) || (self.is_down(now) && now < self.stale_until.load())
    }

    /// Returns whether a key that is not among them is unknown to their issuer, too.
    pub(super) fn are_complete(&self, now: Timestamp) -> bool {
        self.are_fresh(now) && !self.is_down(now)
    }

    /// Returns whether it is time to fetch them again.
    pub(super) fn are_due(&self, now: Timestamp) -> bool {
        self.refresh_at.load() <= now || self.was_set_back(now)
    }

    /// A fetch has begun, and the next one may at an instant.
    pub(super) fn begun(&self, next: Timestamp) {
        self.refresh_at.store(next);
    }

    pub(super) fn succeeded(&self, now: Timestamp, max_age: Duration, policy: &RemotePolicy) {
        // Nobody could fetch them again within the cooldown.
        let max_age = max_age.min(policy.max_staleness).max(policy.cooldown);
        // Not all nodes at once, where all began at once.
        self.refresh_at.store(now + (max_age - max_age / 4) + jitter::below(max_age / 8));
        self.stale_until.store(now + policy.max_staleness);
        self.fetched_at.store(now);
        self.fresh_until.store(now + max_age);
        self.down_until.store(Timestamp::MIN);
    }

    pub(super) fn failed(&self, now: Timestamp, policy: &RemotePolicy) {
        // Until another try has come to nothing, where somebody asks all the time.
        let until_next_try = policy.cooldown.saturating_add(policy.fetch_timeout);
        self.down_until.store(now + until_next_try.saturating_mul(2));
    }

    fn are_fresh(&self, now: Timestamp) -> bool {
        now < self.fresh_until.load() && !self.was_set_back(now)
    }

    fn is_down(&self, now: Timestamp) -> bool {
        now < self.down_until.load()
    }

    /// Returns whether the clock has been set back since they came: then nobody knows how old they
    /// are.
    fn was_set_back(&self, now: Timestamp) -> bool {
        now + SET_BACK < self.fetched_at.load()
    }
}

/// An instant that threads share.
#[derive(Default)]
struct AtomicTimestamp(AtomicU64);

impl AtomicTimestamp {
    fn load(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Acquire))
    }

    fn store(&self, instant: Timestamp) {
        self.0.store(instant.as_micros(), Ordering::Release);
    }
}
