use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::jose::jwk_set::{self, AcceptedAlgorithms};
use crate::jose::provider::CryptoProvider;
use crate::jose::{Algorithm, SigningKey, VerifyingKey, jwk};
use crate::sync::EpochSwap;

/// The keys of a service: one that signs, those that will and those that did.
///
/// | | signs | verifies | published |
/// |---|---|---|---|
/// | next | no | yes | yes, so that other validators have it before it is used |
/// | active | yes | yes | yes |
/// | retired | no | until its time | until its time |
///
/// A ring without an active key only verifies: it is what a service holds that does not issue.
/// Shared secrets are never published.
///
/// Keys may be changed while the ring is in use: [`announce`](Self::announce) the next one, wait
/// until those who keep copies of the published keys have it, [`rotate`](Self::rotate). Whoever
/// verifies or signs meanwhile never waits. Cheap to clone; a clone is the same ring.
///
/// ```
/// # #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))] {
/// use std::time::Duration;
/// use countersign::clock::{Clock, SystemClock};
/// use countersign::jose::SigningKey;
/// use countersign::{Algorithm, KeyRing};
///
/// let ring = KeyRing::generate(Algorithm::EdDSA)?;
/// ring.announce(&SigningKey::generate(Algorithm::EdDSA)?)?;
/// // Later. What the old key signed lives for an hour at most, and clocks differ by a minute.
/// ring.rotate(SystemClock.now() + Duration::from_secs(3_660))?;
/// # }
/// # Ok::<(), countersign::Error>(())
/// ```
#[derive(Clone)]
pub struct KeyRing {
    pub(crate) keys: Arc<EpochSwap<RingKeys>>,
    /// Whether others may sign with keys that have not been heard of.
    pub(crate) may_lack_keys: Arc<AtomicBool>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct RingKeys {
    pub(crate) active: Option<SigningKey>,
    pub(crate) next: VecDeque<SigningKey>,
    /// All of them.
    pub(crate) verifying: Vec<ExpiringKey>,
    /// Whether they have not come yet.
    pub(crate) are_awaited: bool,
}

/// A key that verifies, and until when.
#[derive(Clone, Debug)]
pub(crate) struct ExpiringKey {
    pub(crate) key: VerifyingKey,
    /// For a retired key: from when on it is as good as unknown.
    pub(crate) until: Timestamp,
}

impl RingKeys {
    fn add(&mut self, key: VerifyingKey, until: Timestamp) -> Result<(), Error> {
        if self.verifying.iter().any(|known| known.key.kid() == key.kid()) {
            return Err(Error::new(ErrorKind::InvalidKey, "two keys of a ring have the same kid"));
        }
        self.verifying.push(ExpiringKey { key, until });
        Ok(())
    }

    fn end(&mut self, kid: &str, until: Timestamp) {
        for known in self.verifying.iter_mut().filter(|known| known.key.kid() == kid) {
            known.until = known.until.min(until);
        }
    }
}

impl KeyRing {
    pub(crate) fn of(keys: RingKeys) -> Self {
        Self { keys: Arc::new(EpochSwap::new(keys)), may_lack_keys: Arc::default() }
    }

    /// A ring with one key, which signs.
    #[must_use]
    pub fn new(active: SigningKey) -> Self {
        let key = active.verifying_key().clone();
        let verifying = vec![ExpiringKey { key, until: Timestamp::MAX }];
        Self::of(RingKeys { active: Some(active), verifying, ..RingKeys::default() })
    }

    /// A ring that only verifies.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] where two keys have the same `kid`.
    pub fn verifying(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, Error> {
        let mut ring = RingKeys::default();
        for key in keys {
            ring.add(key, Timestamp::MAX)?;
        }
        Ok(Self::of(ring))
    }

    /// Creates a ring that only verifies, from a JWK Set (RFC 7517 §5) such as `/.well-known/jwks.json` serves. Keys
    /// that are malformed, weak or of an unknown kind are left out with a warning. An RSA key without `alg` is for RS256.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] if it is no JWK Set, two keys have the same `kid`, or no key is left.
    pub fn from_jwks_with(set: &[u8], provider: &dyn CryptoProvider) -> Result<Self, Error> {
        let accepted = AcceptedAlgorithms::stated(Algorithm::asymmetric());
        let mut ring = RingKeys::default();
        for key in jwk_set::read(set, &accepted, provider)? {
            ring.add(key, Timestamp::MAX)?;
        }
        Ok(Self::of(ring))
    }

    /// Adds a key that is published and verifies from now on, and signs after as many
    /// [rotations](Self::rotate) as it takes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] where its `kid` is in the ring already.
    pub fn announce(&self, key: &SigningKey) -> Result<(), Error> {
        self.change(|keys| {
            keys.add(key.verifying_key().clone(), Timestamp::MAX)?;
            keys.next.push_back(key.clone());
            Ok(())
        })
    }

    /// Adds a key that signed once and verifies until `until`: the end of the last token that was
    /// signed with it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] where its `kid` is in the ring already.
    pub fn add_retired(&self, key: &VerifyingKey, until: Timestamp) -> Result<(), Error> {
        self.change(|keys| keys.add(key.clone(), until))
    }

    /// Signs with the key that was announced first, from now on. The one that signed so far
    /// verifies until `until`: the end of the last token that it signed, and then some for clocks
    /// that differ.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] where none was announced.
    pub fn rotate(&self, until: Timestamp) -> Result<(), Error> {
        self.change(|keys| {
            let none = || Error::new(ErrorKind::InvalidKey, "no next key was announced");
            let next = keys.next.pop_front().ok_or_else(none)?;
            if let Some(active) = keys.active.replace(next) {
                keys.end(active.kid(), until);
            }
            Ok(())
        })
    }

    /// Ends a key that does not sign: what it signed is rejected from `until` on. At once, where
    /// that is now, as for a key that got into wrong hands.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] where no key has that `kid`, or it is the one that signs: rotate
    /// first.
    pub fn retire(&self, kid: &str, until: Timestamp) -> Result<(), Error> {
        self.change(|keys| {
            let reject = |problem: &'static str| Err(Error::new(ErrorKind::InvalidKey, problem));
            if keys.active.as_ref().is_some_and(|active| active.kid() == kid) {
                return reject("the key signs: rotate first");
            }
            if !keys.verifying.iter().any(|known| known.key.kid() == kid) {
                return reject("no key of the ring has that kid");
            }
            keys.next.retain(|next| next.kid() != kid);
            keys.end(kid, until);
            Ok(())
        })
    }

    /// Forgets keys whose time is over.
    pub fn forget_retired(&self, now: Timestamp) {
        self.keys.update(|keys| {
            let verifying = &keys.verifying;
            let live: Vec<_> = verifying.iter().filter(|key| now < key.until).cloned().collect();
            let is_less = live.len() < verifying.len();
            is_less.then(|| RingKeys { verifying: live, ..keys.clone() })
        });
    }

    /// Returns whether a key that is not among them may be good all the same.
    pub(crate) fn may_lack_keys(&self) -> bool {
        self.may_lack_keys.load(Ordering::Relaxed)
    }

    /// Returns whether its keys have not come yet.
    pub(crate) fn are_awaited(&self) -> bool {
        self.keys.load().are_awaited
    }

    fn change(&self, change: impl Fn(&mut RingKeys) -> Result<(), Error>) -> Result<(), Error> {
        let changed = self.keys.try_update(|keys| {
            let mut changed = keys.clone();
            change(&mut changed)?;
            Ok(Some(changed))
        });
        changed.map(drop)
    }

    /// The key that signs.
    #[must_use]
    pub fn active(&self) -> Option<SigningKey> {
        self.keys.load().active.clone()
    }

    /// Another number with every change. What was found before it may have changed.
    pub(crate) fn epoch(&self) -> u64 {
        self.keys.epoch()
    }

    /// The key of that `kid`, where it is good for verifying `algorithm` now.
    pub(crate) fn find(
        &self,
        kid: &str,
        algorithm: Algorithm,
        now: Timestamp,
    ) -> Option<ExpiringKey> {
        self.keys
            .load()
            .verifying
            .iter()
            .find(|known| known.key.kid() == kid && known.key.algorithm() == algorithm)
            .filter(|known| now < known.until)
            .cloned()
    }

    /// The one key that verifies `algorithm` now; none where there are several.
    #[cfg(feature = "remote-jwks")]
    pub(crate) fn find_only(&self, algorithm: Algorithm, now: Timestamp) -> Option<ExpiringKey> {
        let keys = self.keys.load();
        let is_usable =
            |known: &&ExpiringKey| known.key.algorithm() == algorithm && now < known.until;
        let mut usable = keys.verifying.iter().filter(is_usable);
        let only = usable.next().cloned();
        only.filter(|_| usable.next().is_none())
    }

    /// The key that verified a token with this very header before, where it is good now.
    pub(crate) fn find_by_header(&self, header: &str, now: Timestamp) -> Option<ExpiringKey> {
        let keys = self.keys.load();
        let known = keys.verifying.iter().find(|known| known.key.knows_header(header))?;
        (now < known.until).then(|| known.clone())
    }

    /// The key of an [identity](VerifyingKey::identity), where it is good for verifying now.
    pub(crate) fn find_same(&self, identity: u64, now: Timestamp) -> Option<VerifyingKey> {
        let keys = self.keys.load();
        let known = keys.verifying.iter().find(|known| known.key.identity() == identity)?;
        (now < known.until).then(|| known.key.clone())
    }

    /// Returns whether one of its keys verifies that.
    pub(crate) fn has_algorithm(&self, algorithm: Algorithm) -> bool {
        self.keys.load().verifying.iter().any(|known| known.key.algorithm() == algorithm)
    }

    /// The JWK Set to publish (RFC 7517 §5): public parts of the keys that verify now.
    #[must_use]
    pub fn to_jwks(&self, now: Timestamp) -> String {
        let keys = self.keys.load();
        let live = keys.verifying.iter().filter(|known| now < known.until);
        let keys: Vec<_> = live.filter_map(|known| known.key.to_jwk()).collect();
        jwk::write_set(&keys)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyRing").field(&**self.keys.load()).finish()
    }
}
