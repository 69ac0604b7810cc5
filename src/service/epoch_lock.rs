use std::fmt;
use std::sync::PoisonError;

#[cfg(countersign_models)]
use crate::stand_ins::{RwLock, RwLockReadGuard, RwLockWriteGuard};
#[cfg(not(countersign_models))]
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::sync::epoch::Epoch;

/// A value that threads read concurrently and change exclusively, with a counter that changes with it.
pub(crate) struct EpochLock<T> {
    value: RwLock<T>,
    epoch: Epoch,
}

impl<T> EpochLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: RwLock::new(value), epoch: Epoch::new() }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the value and the epoch. Once this has returned, a thread that reads the epoch and then the value
    /// sees both changes.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.write();
        let result = change(&mut value);
        self.epoch.advance();
        result
    }

    /// Makes a change that affects no cached result: the epoch stays.
    pub(crate) fn tidy<R>(&self, tidy: impl FnOnce(&mut T) -> R) -> R {
        tidy(&mut self.write())
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.current()
    }

    fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.value.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: fmt::Debug> fmt::Debug for EpochLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}
