//! The current time on the clocks of a node and of the engine that it shares with others.
//!
//! Operations that remove shared state or change the shared keys use both clocks: an operation is due by the earlier
//! one, and schedules by the later one. If the two differ by more than the policy's tolerance, one of them is wrong,
//! and a node cannot tell which: it then skips these operations.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{Clock, Timestamp};
use crate::error::Error;
use crate::service::telemetry;

/// How often a difference is logged as an error.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The clock of a node, with its lead or lag at the last comparison with the engine's.
pub(super) struct SharedClock {
    clock: Arc<dyn Clock>,
    tolerance: Duration,
    ahead_micros: AtomicU64,
    behind_micros: AtomicU64,
    logged_at: Mutex<Option<Instant>>,
}

/// The current time on two clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct SharedTime {
    /// The earlier time, at which removals and other operations are due.
    pub(super) earlier: Timestamp,
    /// The later time, by which future events are scheduled.
    pub(super) later: Timestamp,
    /// Whether they differ by no more than the tolerance. If not, both of the above are the engine's.
    pub(super) is_agreed: bool,
}

impl SharedTime {
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the clocks differ by too much.
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
        // A clock may count elapsed time from its first reading.
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

    /// Returns the time on the clock that is furthest behind, to drop data from memory.
    pub(super) fn earliest_now(&self) -> Timestamp {
        let ahead = Duration::from_micros(self.ahead_micros.load(Ordering::Relaxed));
        self.clock.earliest_now().min(self.clock.now() - ahead)
    }

    /// Returns the time on the clock that is furthest ahead, to compute how long a revocation is kept.
    pub(super) fn latest_now(&self) -> Timestamp {
        self.clock.now() + Duration::from_micros(self.behind_micros.load(Ordering::Relaxed))
    }

    /// Returns how far the clock is ahead of the time elapsed since the process began.
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
