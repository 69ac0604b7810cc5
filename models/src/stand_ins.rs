//! What loom controls, in the place of what the crate uses.

use std::sync::atomic::Ordering;
use std::sync::{self, Arc};

use loom::sync::Condvar;
use loom::sync::atomic::AtomicUsize;

pub(crate) use loom::sync::atomic::AtomicU64;
pub(crate) use loom::sync::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub(crate) type Guard<T> = T;

/// Has no more order than arc-swap promises: who loads a value sees what was done before it was
/// stored, and may load one that has just been replaced.
pub(crate) struct ArcSwap<T> {
    current: AtomicUsize,
    /// All that ever were in it. Not loom's, so that it orders nothing.
    values: sync::Mutex<Vec<Arc<T>>>,
}

impl<T> ArcSwap<T> {
    pub(crate) fn from_pointee(value: T) -> Self {
        Self { current: AtomicUsize::new(0), values: sync::Mutex::new(vec![Arc::new(value)]) }
    }

    pub(crate) fn load(&self) -> Guard<Arc<T>> {
        self.load_full()
    }

    pub(crate) fn load_full(&self) -> Arc<T> {
        let index = self.current.load(Ordering::Acquire);
        Arc::clone(&self.values.lock().unwrap()[index])
    }

    pub(crate) fn compare_and_swap(&self, before: &Arc<T>, after: Arc<T>) -> Guard<Arc<T>> {
        let (index, next) = {
            let mut values = self.values.lock().unwrap();
            let is_it = |value: &Arc<T>| Arc::ptr_eq(value, before);
            let index = values.iter().position(is_it).expect("it was loaded from here");
            values.push(after);
            (index, values.len() - 1)
        };
        let swapped =
            self.current.compare_exchange(index, next, Ordering::AcqRel, Ordering::Acquire);
        let seen = swapped.unwrap_or_else(|other| other);
        Arc::clone(&self.values.lock().unwrap()[seen])
    }
}

/// loom has none.
pub(crate) struct OnceLock<T> {
    value: sync::OnceLock<T>,
    is_under_way: Mutex<bool>,
    finished: Condvar,
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self {
            value: sync::OnceLock::new(),
            is_under_way: Mutex::new(false),
            finished: Condvar::new(),
        }
    }
}

impl<T> OnceLock<T> {
    pub(crate) fn get_or_init(&self, init: impl FnOnce() -> T) -> &T {
        let mut is_under_way = self.is_under_way.lock().unwrap();
        while *is_under_way {
            is_under_way = self.finished.wait(is_under_way).unwrap();
        }
        if self.value.get().is_none() {
            *is_under_way = true;
            drop(is_under_way);
            let value = init();
            assert!(self.value.set(value).is_ok(), "one initialises it");
            *self.is_under_way.lock().unwrap() = false;
            self.finished.notify_all();
        }
        self.value.get().unwrap()
    }
}
