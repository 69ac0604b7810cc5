//! The clock: the only file that reads the system's time.
//!
//! Everything else is passed a [`Timestamp`], so that tests control time and stores agree on it. The builders take
//! a clock of the host: [`ValidatorBuilder::clock`](crate::builder::ValidatorBuilder::clock).

pub(crate) mod timestamp;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

pub(crate) use self::timestamp::Timestamp;

/// The source of the service's time.
///
/// [`SystemClock`] is the default; a test passes one that it moves itself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no clock",
    label = "has to be a `Clock`",
    note = "a service takes the system's time by itself; `testing::TestClock` is one that tests move"
)]
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> Timestamp;

    /// Returns the current time, or an earlier instant if the clock may have been set forward. Data is deleted by
    /// this instant, so that it has expired by any clock. Default: [`now`](Self::now).
    fn earliest_now(&self) -> Timestamp {
        self.now()
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn earliest_now(&self) -> Timestamp {
        (**self).earliest_now()
    }
}

/// The operating system's clock, UTC.
///
/// Its [`earliest_now`](Clock::earliest_now) is at most the time at which the process first read it, plus what the
/// monotonic clock has counted since.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from(SystemTime::now())
    }

    fn earliest_now(&self) -> Timestamp {
        static FIRST_ASKED: OnceLock<(Timestamp, Instant)> = OnceLock::new();
        let now = self.now();
        let (first, instant) = *FIRST_ASKED.get_or_init(|| (now, Instant::now()));
        now.min(first + instant.elapsed())
    }
}
