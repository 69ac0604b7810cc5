//! Where time comes from: this file alone reads the system's clock.
//!
//! Everything else is passed a [`Timestamp`], so that tests move time, and stores agree on it. The builders take
//! a clock of the host's own: [`ValidatorBuilder::clock`](crate::builder::ValidatorBuilder::clock).

pub(crate) mod timestamp;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

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
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

/// The operating system's clock, UTC.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from(SystemTime::now())
    }
}
