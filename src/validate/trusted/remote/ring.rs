//! What is done to the ring of keys that are fetched.

use crate::clock::Timestamp;
use crate::jose::VerifyingKey;
use crate::jose::key_ring::{ExpiringKey, KeyRing, RingKeys};

impl KeyRing {
    /// A ring without keys.
    pub(crate) fn empty() -> Self {
        Self::of(RingKeys::default())
    }

    /// Returns how many of its keys have ended.
    pub(crate) fn count_ended(&self, now: Timestamp) -> u64 {
        self.keys.load().verifying.iter().map(|key| u64::from(key.until <= now)).sum()
    }

    /// Puts keys that only verify in the place of all keys. One that is there already stays as it is.
    /// Returns whether that is a change.
    pub(crate) fn replace_verifying(&self, keys: &[VerifyingKey]) -> bool {
        self.keys.update(|known| {
            let mut is_same = keys.len() == known.verifying.len();
            let mut verifying = Vec::with_capacity(keys.len());
            for key in keys {
                let is_known = |known: &&ExpiringKey| known.key.identity() == key.identity();
                let kept = known.verifying.iter().find(is_known);
                is_same &= kept.is_some();
                let key = kept.map_or(key, |known| &known.key).clone();
                verifying.push(ExpiringKey { key, until: Timestamp::MAX });
            }
            (!is_same).then(|| RingKeys { verifying, ..RingKeys::default() })
        })
    }
}
