use std::fmt;
use std::sync::atomic::Ordering;

use super::primitives::AtomicU64;

/// Counts the changes of something that is read while it changes.
///
/// It is advanced after the change and read before what it counts the changes of, so that who sees
/// a number sees all changes that it counts, and what was found by an older one may be out of date.
pub(crate) struct Epoch(AtomicU64);

impl Epoch {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn current(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn advance(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.current().fmt(f)
    }
}

/// As of which epoch something was found good.
pub(crate) struct CheckedEpoch(AtomicU64);

impl CheckedEpoch {
    pub(crate) fn new(epoch: u64) -> Self {
        Self(AtomicU64::new(epoch))
    }

    /// Checks it again, unless it was found good as of that epoch, which has to be read before
    /// this.
    pub(crate) fn check<E>(
        &self,
        epoch: u64,
        check: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        // Nothing is read by means of this number, so it takes no order.
        if self.0.load(Ordering::Relaxed) != epoch {
            check()?;
            self.0.store(epoch, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl fmt::Debug for CheckedEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.load(Ordering::Relaxed).fmt(f)
    }
}
