//! A store around any other store, whose calls fail, hang or are held as a test scripts them.

mod calls;
mod fault;
mod hold;
mod script;
mod stores;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Clock;

pub use self::calls::{Calls, StoreVerb};
pub use self::fault::StoreFault;
pub use self::hold::HeldCalls;
use self::hold::Point;
use self::script::Script;

/// Wraps a store, and fails, hangs, holds and counts its calls as a test scripts them.
///
/// It implements each of [`EntityStore`](crate::store::EntityStore),
/// [`SessionStore`](crate::store::SessionStore) and [`KeyStore`](crate::store::KeyStore) that the
/// wrapped store implements. Without a script, every call goes to the wrapped store. Clones share
/// the wrapped store, the script and the counts.
///
/// Nothing in it sleeps or reads a clock: a test waits for the call itself.
///
/// # Faults
///
/// [`fail`](Self::fail) scripts a [`StoreFault`] for some [`Calls`]:
///
/// ```
/// use countersign::store::{EntityStore, MemoryStore, StoreError};
/// use countersign::testing::{Calls, FaultyStore, StoreFault, StoreVerb};
/// use countersign::{Entity, EntityId};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let store = FaultyStore::new(MemoryStore::new());
/// let id = EntityId::machine("machine-1")?;
///
/// // Every read fails, until the faults are cleared.
/// store.fail(StoreVerb::GetEntity, StoreFault::unavailable("connection refused"));
/// assert!(matches!(EntityStore::get(&store, &id).await, Err(StoreError::Unavailable(_))));
/// store.clear_faults();
/// assert!(EntityStore::get(&store, &id).await.unwrap().is_none());
///
/// // The next insert is carried out, and its reply is lost.
/// let next_insert = Calls::from(StoreVerb::InsertEntity).take(1);
/// store.fail(next_insert, StoreFault::lost_reply("connection reset"));
/// let inserted = EntityStore::insert(&store, Entity::machine("machine-1")?).await;
/// assert!(matches!(inserted, Err(StoreError::Unavailable(_))));
/// assert!(EntityStore::get(&store, &id).await.unwrap().is_some());
/// assert_eq!(store.calls(StoreVerb::GetEntity), 3);
/// # Ok::<(), countersign::Error>(())
/// # }).unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A call meets at most one fault. Of several that are scripted for it, the oldest applies, and the
/// others are left for later calls: `fail` called twice with `take(1)` fails two calls, each in its
/// own way.
///
/// # Holds
///
/// [`hold`](Self::hold) stops calls before they reach the wrapped store, and
/// [`hold_replies`](Self::hold_replies) after they have. A test waits until a call has come that
/// far, changes something in the meantime, and releases it:
///
/// ```
/// use countersign::store::{EntityStore, MemoryStore};
/// use countersign::testing::{FaultyStore, StoreVerb};
/// use countersign::{Entity, EntityId};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let store = FaultyStore::new(MemoryStore::new());
/// let id = EntityId::machine("machine-1")?;
///
/// let held = store.hold_replies(StoreVerb::GetEntity);
/// let meanwhile = async {
///     held.wait_for(1).await;
///     EntityStore::insert(&store, Entity::machine("machine-1")?).await.unwrap();
///     held.release();
///     Ok::<(), countersign::Error>(())
/// };
/// let (found, inserted) = tokio::join!(EntityStore::get(&store, &id), meanwhile);
/// inserted?;
/// assert!(found.unwrap().is_none(), "it was read before the insert");
/// # Ok::<(), countersign::Error>(())
/// # }).unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A call can meet a hold and a fault: it fails once it is released.
pub struct FaultyStore<S> {
    inner: Arc<Mutex<Arc<S>>>,
    script: Arc<Script>,
    /// `None` asks the wrapped store.
    is_durable: Option<bool>,
    /// `None` asks the wrapped store.
    clock: Option<Arc<dyn Clock>>,
}

impl<S> FaultyStore<S> {
    /// Wraps a store, with an empty script.
    #[must_use]
    pub fn new(inner: S) -> Self {
        let inner = Arc::new(Mutex::new(Arc::new(inner)));
        Self { inner, script: Arc::default(), is_durable: None, clock: None }
    }

    /// Sets what `is_durable` returns, in place of what the wrapped store returns. A service treats
    /// a durable store as one that other nodes share.
    #[must_use]
    pub fn durable(mut self, is_durable: bool) -> Self {
        self.is_durable = Some(is_durable);
        self
    }

    /// Sets the clock that `time` reads, in place of that of the wrapped store's engine: the clock of the
    /// service, where a test moves that over a real engine. A service whose clock differs from its
    /// engine's by too much purges nothing and changes no keys.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Returns the wrapped store. A call to it meets no fault and no hold, and is not counted.
    #[must_use]
    pub fn inner(&self) -> Arc<S> {
        Arc::clone(&self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the wrapped store for all later calls: with an empty one, the store has lost its
    /// data.
    pub fn set_inner(&self, inner: S) {
        *self.inner.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(inner);
    }

    /// Fails calls with a fault, as often as `calls` says or until
    /// [`clear_faults`](Self::clear_faults).
    pub fn fail(&self, calls: impl Into<Calls>, fault: StoreFault) {
        self.script.fail(calls.into(), fault);
    }

    /// Removes all faults that were scripted. Holds stay, and so do calls that hang.
    pub fn clear_faults(&self) {
        self.script.clear_faults();
    }

    /// Returns how many calls are still to fail: `usize::MAX` where a fault has no end.
    #[must_use]
    pub fn faults_left(&self) -> usize {
        self.script.faults_left()
    }

    /// Holds calls before they reach the wrapped store, until the [`HeldCalls`] are released or
    /// dropped.
    pub fn hold(&self, calls: impl Into<Calls>) -> HeldCalls {
        self.script.hold(calls.into(), Point::Call)
    }

    /// Holds calls after they have taken effect, until the [`HeldCalls`] are released or dropped.
    pub fn hold_replies(&self, calls: impl Into<Calls>) -> HeldCalls {
        self.script.hold(calls.into(), Point::Reply)
    }

    /// Returns how often a verb was called, failed and held calls included. `get_recent` of an
    /// [`EntityStore`](crate::store::EntityStore) counts as [`StoreVerb::GetEntity`].
    #[must_use]
    pub fn calls(&self, verb: StoreVerb) -> usize {
        self.script.calls(verb)
    }

    /// Waits until a verb was called `count` times since the store was made. The last of the calls
    /// need not have returned.
    pub async fn wait_for_calls(&self, verb: StoreVerb, count: usize) {
        self.script.wait_for_calls(verb, count).await;
    }
}

// Derived, it would ask for an `S` that is `Clone`.
impl<S> Clone for FaultyStore<S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            script: Arc::clone(&self.script),
            is_durable: self.is_durable,
            clock: self.clock.clone(),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for FaultyStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore")
            .field("inner", &self.inner())
            .field("faults_left", &self.faults_left())
            .finish_non_exhaustive()
    }
}
