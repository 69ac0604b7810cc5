//! The present by the clocks of a node and of the engine that it shares with others.
//!
//! What removes shared state, or changes the shared keys, goes by both: it is due by the earlier of the two, and
//! what it schedules is scheduled by the later. Where they differ by more than the policy's tolerance, one of them
//! is wrong, and a node cannot tell which: it then does no such thing.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{Clock, Timestamp};
use crate::error::Error;
use crate::service::telemetry;

/// How often a difference is an error in the log.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The clock of a node, and how far it was ahead of or behind its engine's when they were compared last.
pub(super) struct SharedClock {
    clock: Arc<dyn Clock>,
    tolerance: Duration,
    ahead_micros: AtomicU64,
    behind_micros: AtomicU64,
    logged_at: Mutex<Option<Instant>>,
}

/// The present by two clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct SharedTime {
    /// By this, what is to be removed or done is due.
    pub(super) earlier: Timestamp,
    /// By this, what is to come is scheduled.
    pub(super) later: Timestamp,
    /// Whether they differ by no more than is tolerated. Where they do, both of the above are the engine's.
    pub(super) is_agreed: bool,
}

impl SharedTime {
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) where the clocks differ by too much.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.is_agreed {
            return Ok(());
        }
        Err(Error::configuration(
            "the clocks of this node and of its store differ by more than the clock_tolerance of the \
             RotationSchedule: set the one that is wrong",
        ))
    }
}

impl SharedClock {
    pub(super) fn new(clock: Arc<dyn Clock>, tolerance: Duration) -> Self {
        // A clock may count what has passed from when it is first asked.
        clock.earliest_now();
        Self {
            clock,
            tolerance,
            ahead_micros: AtomicU64::new(0),
            behind_micros: AtomicU64::new(0),
            logged_at: Mutex::default(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The present by the clock that is furthest behind, for what is forgotten in memory.
    pub(super) fn earliest_now(&self) -> Timestamp {
        let ahead = Duration::from_micros(self.ahead_micros.load(Ordering::Relaxed));
        self.clock.earliest_now().min(self.clock.now() - ahead)
    }

    /// The present by the clock that is furthest ahead, for how long a revocation is kept.
    pub(super) fn latest_now(&self) -> Timestamp {
        self.clock.now() + Duration::from_micros(self.behind_micros.load(Ordering::Relaxed))
    }

    /// Returns how far the clock is ahead of what has passed since the process began.
    pub(super) fn lead(&self) -> Duration {
        let earliest = self.clock.earliest_now();
        self.clock.now().saturating_since(earliest)
    }

    /// Compares this clock with that of an engine, which was read after `before`.
    pub(super) fn compare(&self, before: Timestamp, engine: Option<Timestamp>) -> SharedTime {
        let now = self.now();
        let Some(engine) = engine else {
            return SharedTime { earlier: self.earliest_now(), later: now, is_agreed: true };
        };
        let (ahead, behind) = (before.saturating_since(engine), engine.saturating_since(now));
        for (difference, kept) in [(ahead, &self.ahead_micros), (behind, &self.behind_micros)] {
            let micros = u64::try_from(difference.as_micros()).unwrap_or(u64::MAX);
            kept.store(micros, Ordering::Relaxed);
        }
        telemetry::clock_difference(ahead, behind);
        if ahead.max(behind) > self.tolerance {
            self.log_difference(ahead, behind);
            return SharedTime { earlier: engine, later: engine, is_agreed: false };
        }
        let earlier = engine.min(self.earliest_now());
        SharedTime { earlier, later: engine.max(now), is_agreed: true }
    }

    fn log_difference(&self, ahead: Duration, behind: Duration) {
        let mut logged_at = self.logged_at.lock().unwrap_or_else(PoisonError::into_inner);
        if logged_at.is_some_and(|at| at.elapsed() < LOG_INTERVAL) {
            return;
        }
        *logged_at = Some(Instant::now());
        let seconds = ahead.max(behind).as_secs();
        let direction = if behind.is_zero() { "ahead of" } else { "behind" };
        tracing::error!(
            difference_seconds = seconds,
            tolerance_seconds = self.tolerance.as_secs(),
            "clock: this node is {seconds} s {direction} its store, nothing is purged and no signing keys are \
             changed; set the clock that is wrong, and keep all by NTP"
        );
    }
}

impl fmt::Debug for SharedClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedClock").field("clock", &self.clock).finish_non_exhaustive()
    }
}
