use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::jose::provider::CryptoProvider;
use crate::jose::{Algorithm, SigningKey, VerifyingKey, jwk};
use crate::sync::Versioned;

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
/// use countersign::jose::SigningKey;
/// use countersign::{Algorithm, Clock, KeyRing, SystemClock};
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
    keys: Arc<Versioned<Keys>>,
    /// Whether others may sign with keys that have not been heard of.
    may_lack_keys: Arc<AtomicBool>,
}

#[derive(Clone, Debug, Default)]
struct Keys {
    active: Option<SigningKey>,
    next: VecDeque<SigningKey>,
    /// All of them.
    verifying: Vec<RingKey>,
    /// Whether they have not come yet.
    are_awaited: bool,
}

#[derive(Clone, Debug)]
struct RingKey {
    key: VerifyingKey,
    /// For a retired key: from when on it is as good as unknown.
    until: Timestamp,
}

/// A key that a token was found to be signed with, and for how long that is good.
pub(crate) struct Found {
    pub(crate) key: VerifyingKey,
    pub(crate) until: Timestamp,
}

impl RingKey {
    fn is(&self, other: &Self) -> bool {
        self.key.kid() == other.key.kid() && self.until == other.until
    }
}

impl Keys {
    fn add(&mut self, key: VerifyingKey, until: Timestamp) -> Result<(), Error> {
        if self.verifying.iter().any(|known| known.key.kid() == key.kid()) {
            return Err(Error::new(ErrorKind::InvalidKey, "two keys of a ring have the same kid"));
        }
        self.verifying.push(RingKey { key, until });
        Ok(())
    }

    fn end(&mut self, kid: &str, until: Timestamp) {
        for known in self.verifying.iter_mut().filter(|known| known.key.kid() == kid) {
            known.until = known.until.min(until);
        }
    }
}

impl KeyRing {
    fn of(keys: Keys) -> Self {
        Self { keys: Arc::new(Versioned::new(keys)), may_lack_keys: Arc::default() }
    }

    /// A ring with one key, which signs.
    #[must_use]
    pub fn new(active: SigningKey) -> Self {
        let key = active.verifying_key().clone();
        let verifying = vec![RingKey { key, until: Timestamp::MAX }];
        Self::of(Keys { active: Some(active), verifying, ..Keys::default() })
    }

    /// A ring that only verifies.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] where two keys have the same `kid`.
    pub fn verifying(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, Error> {
        let mut ring = Keys::default();
        for key in keys {
            ring.add(key, Timestamp::MAX)?;
        }
        Ok(Self::of(ring))
    }

    /// A ring whose keys are still to come: until they have been [installed](Self::install), nothing
    /// can be said about a token.
    #[cfg_attr(
        not(feature = "service"),
        allow(dead_code, reason = "a service's keys may come later")
    )]
    pub(crate) fn awaited() -> Self {
        Self::of(Keys { are_awaited: true, ..Keys::default() })
    }

    /// A ring that only verifies, from a JWK Set (RFC 7517 §5) such as `/.well-known/jwks.json`
    /// serves. Keys that are malformed, weak or of a kind that is not known here are left out.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] where it is no JWK Set, two keys have the same `kid`, or none is
    /// left.
    pub fn from_jwks_with(set: &[u8], provider: &dyn CryptoProvider) -> Result<Self, Error> {
        let keys = jwk::split_set(set)?;
        let readable: Vec<_> =
            keys.iter().filter_map(|key| VerifyingKey::from_jwk_with(key, provider).ok()).collect();
        if readable.is_empty() {
            return Err(Error::new(ErrorKind::InvalidKey, "the JWK Set has no key of use"));
        }
        Self::verifying(readable)
    }

    /// A ring with a key more, which is published and verifies, and does not sign yet. It is another
    /// ring from then on: a handle to change it by is to be taken after this.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] where its `kid` is in the ring already.
    pub fn with_next(self, key: &SigningKey) -> Result<Self, Error> {
        let ring = Self::of((*self.keys.load_full()).clone());
        ring.announce(key)?;
        Ok(ring)
    }

    /// A ring with a key more, which signed once and verifies until `until`: the end of the last token
    /// that was signed with it. It is another ring from then on, as with
    /// [`with_next`](Self::with_next).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] where its `kid` is in the ring already.
    pub fn with_retired(self, key: VerifyingKey, until: Timestamp) -> Result<Self, Error> {
        let mut keys = (*self.keys.load_full()).clone();
        keys.add(key, until)?;
        Ok(Self::of(keys))
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

    /// Ends a key that does not sign: what it signed is refused from `until` on. At once, where
    /// that is now, as for a key that got into wrong hands.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] where no key has that `kid`, or it is the one that signs: rotate
    /// first.
    pub fn retire(&self, kid: &str, until: Timestamp) -> Result<(), Error> {
        self.change(|keys| {
            let refuse = |problem: &'static str| Err(Error::new(ErrorKind::InvalidKey, problem));
            if keys.active.as_ref().is_some_and(|active| active.kid() == kid) {
                return refuse("the key signs: rotate first");
            }
            if !keys.verifying.iter().any(|known| known.key.kid() == kid) {
                return refuse("no key of the ring has that kid");
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
            is_less.then(|| Keys { verifying: live, ..keys.clone() })
        });
    }

    /// Puts these in the place of all keys: the one that signs, and all that verify, each until its
    /// time. Answers whether that is a change.
    #[cfg_attr(
        not(feature = "service"),
        allow(dead_code, reason = "a service's keys may come later")
    )]
    pub(crate) fn install(
        &self,
        active: &SigningKey,
        verifying: Vec<(VerifyingKey, Timestamp)>,
    ) -> bool {
        let verifying: Vec<_> =
            verifying.into_iter().map(|(key, until)| RingKey { key, until }).collect();
        self.keys.update(|known| {
            let signs = known.active.as_ref().is_some_and(|known| known.kid() == active.kid());
            let mut pairs = known.verifying.iter().zip(&verifying);
            let are_same = known.verifying.len() == verifying.len() && pairs.all(|(a, b)| a.is(b));
            let (active, verifying) = (Some(active.clone()), verifying.clone());
            (!signs || !are_same).then(|| Keys { active, verifying, ..Keys::default() })
        })
    }

    /// A ring without keys.
    #[cfg_attr(not(feature = "remote-jwks"), allow(dead_code, reason = "for keys of others"))]
    pub(crate) fn empty() -> Self {
        Self::of(Keys::default())
    }

    /// Puts keys that only verify in the place of all keys. One that is there already stays as it is.
    /// Answers whether that is a change.
    #[cfg_attr(not(feature = "remote-jwks"), allow(dead_code, reason = "for keys of others"))]
    pub(crate) fn replace_verifying(&self, keys: &[VerifyingKey]) -> bool {
        self.keys.update(|known| {
            let mut is_same = keys.len() == known.verifying.len();
            let mut verifying = Vec::with_capacity(keys.len());
            for key in keys {
                let kept = known.verifying.iter().find(|known| known.key.is_same(key));
                is_same &= kept.is_some();
                let key = kept.map_or(key, |known| &known.key).clone();
                verifying.push(RingKey { key, until: Timestamp::MAX });
            }
            (!is_same).then(|| Keys { verifying, ..Keys::default() })
        })
    }

    /// Whether a key that is not among them may be good all the same.
    pub(crate) fn may_lack_keys(&self) -> bool {
        self.may_lack_keys.load(Ordering::Relaxed)
    }

    #[cfg_attr(not(feature = "service"), allow(dead_code, reason = "nobody else has its keys"))]
    pub(crate) fn set_may_lack_keys(&self, may: bool) {
        self.may_lack_keys.store(may, Ordering::Relaxed);
    }

    /// Whether its keys have not come yet.
    pub(crate) fn are_awaited(&self) -> bool {
        self.keys.load().are_awaited
    }

    fn change(&self, change: impl Fn(&mut Keys) -> Result<(), Error>) -> Result<(), Error> {
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
    pub(crate) fn generation(&self) -> u64 {
        self.keys.generation()
    }

    /// The key of that `kid`, where it is good for verifying `algorithm` now.
    pub(crate) fn find(&self, kid: &str, algorithm: Algorithm, now: Timestamp) -> Option<Found> {
        self.keys
            .load()
            .verifying
            .iter()
            .find(|known| known.key.kid() == kid)
            .filter(|known| known.key.algorithm() == algorithm && now < known.until)
            .map(|known| Found { key: known.key.clone(), until: known.until })
    }

    /// The key that verified a token with this very header before, where it is good now.
    pub(crate) fn find_by_header(&self, header: &str, now: Timestamp) -> Option<Found> {
        let keys = self.keys.load();
        let known = keys.verifying.iter().find(|known| known.key.knows_header(header))?;
        (now < known.until).then(|| Found { key: known.key.clone(), until: known.until })
    }

    /// The key of an [identity](VerifyingKey::identity), where it is good for verifying now.
    pub(crate) fn find_same(&self, identity: u64, now: Timestamp) -> Option<VerifyingKey> {
        let keys = self.keys.load();
        let known = keys.verifying.iter().find(|known| known.key.identity() == identity)?;
        (now < known.until).then(|| known.key.clone())
    }

    /// Whether one of its keys verifies that.
    pub(crate) fn has_algorithm(&self, algorithm: Algorithm) -> bool {
        self.keys.load().verifying.iter().any(|known| known.key.algorithm() == algorithm)
    }

    /// The algorithms that its keys verify.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        self.keys.load().verifying.iter().map(|known| known.key.algorithm()).collect()
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
