//! Where time comes from: this file alone reads the system's clock.
//!
//! Everything else is passed a [`Timestamp`], so that tests move time, and stores agree on it. The builders take
//! a clock of the host's own: [`ValidatorBuilder::clock`](crate::builder::ValidatorBuilder::clock).

pub(crate) mod timestamp;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

pub(crate) use self::timestamp::Timestamp;

/// Where the service takes its time from.
///
/// [`SystemClock`] is the default; a test passes one that it moves by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no clock",
    label = "has to be a `Clock`",
    note = "a service takes the system's time by itself; `testing::TestClock` is one that tests move"
)]
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;

    /// Returns the present, or an earlier instant where the clock may have been put forward: what is
    /// forgotten by it was due by any clock. By default it is [`now`](Self::now).
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
/// Its [`earliest_now`](Clock::earliest_now) is no later than the time at which the process first asked
/// for it, and what has passed since then by the monotonic clock.
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
