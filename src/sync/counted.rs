use std::fmt;
use std::sync::PoisonError;

use super::generation::Generation;
use super::primitives::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A value that threads read together and change one at a time, and a number that changes with it.
pub(crate) struct Counted<T> {
    value: RwLock<T>,
    generation: Generation,
}

impl<T> Counted<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: RwLock::new(value), generation: Generation::new() }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes it. Once this has returned, whoever reads the generation and then the value sees
    /// both anew.
    pub(crate) fn change(&self, change: impl FnOnce(&mut T)) {
        let mut value = self.write();
        change(&mut value);
        self.generation.advance();
    }

    /// Changes what nobody's finding depends on: the number stays.
    pub(crate) fn tidy(&self, tidy: impl FnOnce(&mut T)) {
        tidy(&mut self.write());
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.current()
    }

    fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.value.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Default> Default for Counted<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for Counted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}
