//! What a service does to the ring of the keys that it makes itself.

use std::sync::atomic::Ordering;

use crate::clock::Timestamp;
use crate::jose::SigningKey;
use crate::jose::key_ring::{ExpiringKey, KeyRing, RingKeys};

impl KeyRing {
    /// A ring whose keys are still to come: until they have been [installed](Self::install), nothing
    /// can be said about a token.
    pub(crate) fn awaited() -> Self {
        Self::of(RingKeys { are_awaited: true, ..RingKeys::default() })
    }

    /// Puts these in the place of all keys: the one that signs, and all that verify. Returns
    /// whether that is a change.
    pub(crate) fn install(&self, active: &SigningKey, verifying: &[ExpiringKey]) -> bool {
        self.keys.update(|known| {
            let signs = known.active.as_ref().is_some_and(|known| known.kid() == active.kid());
            let are_same = kids_and_ends(&known.verifying).eq(kids_and_ends(verifying));
            let (active, verifying) = (Some(active.clone()), verifying.to_vec());
            (!signs || !are_same).then(|| RingKeys { active, verifying, ..RingKeys::default() })
        })
    }

    /// Says whether a key that is not among them may be good all the same.
    pub(crate) fn set_may_lack_keys(&self, may: bool) {
        self.may_lack_keys.store(may, Ordering::Relaxed);
    }
}

/// Returns the `kid` of each key, and until when it verifies.
fn kids_and_ends(keys: &[ExpiringKey]) -> impl Iterator<Item = (&str, Timestamp)> {
    keys.iter().map(|known| (known.key.kid(), known.until))
}
