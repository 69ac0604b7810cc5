use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, PoisonError};

use super::primitives::{Mutex, OnceLock};

/// Flights are kept in several maps, so that they seldom wait for one another.
const MAPS: usize = 16;

type UnderWay<K, C> = HashMap<K, (Arc<C>, usize), RandomState>;

/// Work that many ask for at once, and one does for all of them.
///
/// `C` is the cell that the outcome is put in, and says how the others wait for it. They block with a
/// `OnceLock`: a token is checked without a runtime, and a check never waits for anything but this. In
/// the service they await tokio's `OnceCell`, by the `join` of `service/single_flight.rs`.
pub(crate) struct SingleFlight<K, C> {
    maps: [Mutex<UnderWay<K, C>>; MAPS],
    hasher: RandomState,
}

/// The result of the work.
pub(crate) enum FlightResult<V> {
    /// The caller did it.
    Own(V),
    /// The caller waited for it, and came after it had begun.
    Shared(V),
}

impl<K: Clone + Eq + Hash, C: Default> SingleFlight<K, C> {
    pub(crate) fn new(hasher: RandomState) -> Self {
        let map = |_| Mutex::new(HashMap::with_hasher(hasher.clone()));
        Self { maps: std::array::from_fn(map), hasher }
    }

    /// Joins the flight that is under way for a key, or begins one.
    pub(crate) fn join_flight(&self, key: K) -> Flight<'_, K, C> {
        let map = self.map_of(&key);
        let mut under_way = map.lock().unwrap_or_else(PoisonError::into_inner);
        let (cell, participants) = under_way.entry(key.clone()).or_default();
        *participants += 1;
        Flight { map, key, cell: Arc::clone(cell), is_finished: false }
    }

    fn map_of(&self, key: &K) -> &Mutex<UnderWay<K, C>> {
        let [number, ..] = self.hasher.hash_one(key).to_ne_bytes();
        &self.maps[usize::from(number) % MAPS]
    }

    /// How many are under way.
    #[cfg(countersign_models)]
    pub(crate) fn len(&self) -> usize {
        self.maps.iter().map(|map| map.lock().unwrap().len()).sum()
    }
}

impl<K: Clone + Eq + Hash, V: Clone> SingleFlight<K, OnceLock<V>> {
    /// Does the work, or blocks until who is doing it has done it. Where that one panics, another
    /// does it.
    pub(crate) fn join_blocking(&self, key: K, work: impl FnOnce() -> V) -> FlightResult<V> {
        let flight = self.join_flight(key);
        let mut is_own = false;
        let outcome = flight.cell.get_or_init(|| {
            is_own = true;
            work()
        });
        let outcome = outcome.clone();
        flight.finish(is_own, outcome)
    }
}

/// Work under way. It is over when the first who has its outcome leaves, or the last who waits for
/// it: by a panic, or because they hung up.
pub(crate) struct Flight<'a, K: Eq + Hash, C> {
    map: &'a Mutex<UnderWay<K, C>>,
    key: K,
    pub(crate) cell: Arc<C>,
    is_finished: bool,
}

impl<K: Eq + Hash, C> Flight<'_, K, C> {
    /// Leaves with the outcome, after which whoever asks for the work begins another flight.
    pub(crate) fn finish<V>(mut self, is_own: bool, outcome: V) -> FlightResult<V> {
        self.is_finished = true;
        if is_own { FlightResult::Own(outcome) } else { FlightResult::Shared(outcome) }
    }
}

impl<K: Eq + Hash, C> Drop for Flight<'_, K, C> {
    fn drop(&mut self) {
        let mut under_way = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((cell, participants)) = under_way.get_mut(&self.key) else { return };
        // A later one may be of another flight.
        if !Arc::ptr_eq(cell, &self.cell) {
            return;
        }
        *participants -= 1;
        if self.is_finished || *participants == 0 {
            let over = under_way.remove_entry(&self.key);
            drop(under_way);
            drop(over);
        }
    }
}
