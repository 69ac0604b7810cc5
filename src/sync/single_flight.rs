use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, PoisonError};

use super::primitives::{Mutex, OnceLock};

/// SingleFlight are kept in several maps, so that they seldom wait for one another.
const MAPS: usize = 16;

type UnderWay<K, V> = HashMap<K, Arc<OnceLock<V>>, RandomState>;

/// Work that many ask for at once, and one does for all of them.
pub(crate) struct SingleFlight<K, V> {
    maps: [Mutex<UnderWay<K, V>>; MAPS],
    hasher: RandomState,
}

/// What came of it.
pub(crate) enum Flown<V> {
    /// The caller did it.
    Own(V),
    /// The caller waited for it, and came after it had begun.
    Others(V),
}

impl<K: Clone + Eq + Hash, V: Clone> SingleFlight<K, V> {
    pub(crate) fn new(hasher: RandomState) -> Self {
        let map = |_| Mutex::new(HashMap::with_hasher(hasher.clone()));
        Self { maps: std::array::from_fn(map), hasher }
    }

    /// Does the work, or waits for who is doing it. Where that one panics, another does it.
    pub(crate) fn join(&self, key: K, work: impl FnOnce() -> V) -> Flown<V> {
        let flight = Flight::join(self.map_of(&key), key);
        let mut is_own = false;
        let outcome = flight.outcome.get_or_init(|| {
            is_own = true;
            work()
        });
        let outcome = outcome.clone();
        if is_own { Flown::Own(outcome) } else { Flown::Others(outcome) }
    }

    fn map_of(&self, key: &K) -> &Mutex<UnderWay<K, V>> {
        let [number, ..] = self.hasher.hash_one(key).to_ne_bytes();
        &self.maps[usize::from(number) % MAPS]
    }

    /// How many are under way.
    #[cfg(countersign_models)]
    pub(crate) fn len(&self) -> usize {
        self.maps.iter().map(|map| map.lock().unwrap().len()).sum()
    }
}

/// Work under way. It is over when whoever is the first to be done leaves, also by a panic.
struct Flight<'a, K: Eq + Hash, V> {
    map: &'a Mutex<UnderWay<K, V>>,
    key: K,
    outcome: Arc<OnceLock<V>>,
}

impl<'a, K: Clone + Eq + Hash, V> Flight<'a, K, V> {
    fn join(map: &'a Mutex<UnderWay<K, V>>, key: K) -> Self {
        let mut under_way = map.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = Arc::clone(under_way.entry(key.clone()).or_default());
        Self { map, key, outcome }
    }
}

impl<K: Eq + Hash, V> Drop for Flight<'_, K, V> {
    fn drop(&mut self) {
        let mut under_way = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        // A later one may be of another flight.
        let is_this = |known: &Arc<OnceLock<V>>| Arc::ptr_eq(known, &self.outcome);
        let landed = if under_way.get(&self.key).is_some_and(is_this) {
            under_way.remove_entry(&self.key)
        } else {
            None
        };
        drop(under_way);
        drop(landed);
    }
}
