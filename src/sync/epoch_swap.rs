use std::convert::Infallible;
use std::sync::Arc;

use super::epoch::Epoch;
use super::primitives::{ArcSwap, Guard};

/// A value that is read without waiting, replaced by a changed copy, and a number that changes with
/// it.
pub(crate) struct EpochSwap<T> {
    value: ArcSwap<T>,
    epoch: Epoch,
}

impl<T> EpochSwap<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: ArcSwap::from_pointee(value), epoch: Epoch::new() }
    }

    /// What is there now, for a moment.
    pub(crate) fn load(&self) -> Guard<Arc<T>> {
        self.value.load()
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.current()
    }

    /// Puts what `change` makes of the value in its place, whoever else does so: then it is made
    /// anew, of theirs. None leaves it as it is. Once this has returned, a thread that reads the
    /// epoch and then the value sees both anew. Returns whether it is another.
    pub(crate) fn update(&self, change: impl Fn(&T) -> Option<T>) -> bool {
        let changed: Result<bool, Infallible> = self.try_update(|value| Ok(change(value)));
        changed.unwrap_or_else(|never| match never {})
    }

    /// Like [`update`](Self::update), for a change that may fail.
    pub(crate) fn try_update<E>(
        &self,
        change: impl Fn(&T) -> Result<Option<T>, E>,
    ) -> Result<bool, E> {
        loop {
            let before = self.value.load_full();
            let Some(after) = change(&before)? else { return Ok(false) };
            let seen = self.value.compare_and_swap(&before, Arc::new(after));
            if Arc::ptr_eq(&seen, &before) {
                self.epoch.advance();
                return Ok(true);
            }
        }
    }
}
