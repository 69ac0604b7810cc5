use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::jose::provider::CryptoProvider;
use crate::jose::{Algorithm, SigningKey, VerifyingKey, jwk};

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
    shared: Arc<Shared>,
}

struct Shared {
    keys: ArcSwap<Keys>,
    /// Counts the changes.
    generation: AtomicU64,
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
        let shared = Shared { keys: ArcSwap::from_pointee(keys), generation: AtomicU64::new(0) };
        Self { shared: Arc::new(shared) }
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
        let ring = Self::of((*self.shared.keys.load_full()).clone());
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
        let mut keys = (*self.shared.keys.load_full()).clone();
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
        let has_ended = |known: &RingKey| known.until <= now;
        if self.shared.keys.load().verifying.iter().any(has_ended) {
            let forgotten = self.change(|keys| {
                keys.verifying.retain(|known| !has_ended(known));
                Ok(())
            });
            debug_assert!(forgotten.is_ok(), "forgetting has no reason to fail");
        }
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
        let known = self.shared.keys.load();
        let signs = known.active.as_ref().is_some_and(|known| known.kid() == active.kid());
        let mut pairs = known.verifying.iter().zip(&verifying);
        let are_same = known.verifying.len() == verifying.len() && pairs.all(|(a, b)| a.is(b));
        if signs && are_same {
            return false;
        }
        let installed = self.change(|keys| {
            *keys = Keys {
                active: Some(active.clone()),
                verifying: verifying.clone(),
                ..Keys::default()
            };
            Ok(())
        });
        debug_assert!(installed.is_ok(), "installing has no reason to fail");
        true
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
        let known = self.shared.keys.load_full();
        let kept = |key: &VerifyingKey| {
            known
                .verifying
                .iter()
                .find(|known| known.key.is_same(key))
                .map(|known| known.key.clone())
        };
        let is_new =
            keys.len() != known.verifying.len() || keys.iter().any(|key| kept(key).is_none());
        if is_new {
            let until = Timestamp::MAX;
            let verifying = keys.iter().map(|key| kept(key).unwrap_or_else(|| key.clone()));
            let verifying: Vec<_> = verifying.map(|key| RingKey { key, until }).collect();
            let replaced = self.change(|keys| {
                *keys = Keys { verifying: verifying.clone(), ..Keys::default() };
                Ok(())
            });
            debug_assert!(replaced.is_ok(), "replacing has no reason to fail");
        }
        is_new
    }

    /// Whether its keys have not come yet.
    pub(crate) fn are_awaited(&self) -> bool {
        self.shared.keys.load().are_awaited
    }

    /// Changes a copy of the keys and puts it in their place, whoever else does so.
    fn change(&self, change: impl Fn(&mut Keys) -> Result<(), Error>) -> Result<(), Error> {
        loop {
            let before = self.shared.keys.load_full();
            let mut after = (*before).clone();
            change(&mut after)?;
            let seen = self.shared.keys.compare_and_swap(&before, Arc::new(after));
            if Arc::ptr_eq(&seen, &before) {
                // After the keys: who sees the number sees them.
                self.shared.generation.fetch_add(1, Ordering::Release);
                return Ok(());
            }
        }
    }

    /// The key that signs.
    #[must_use]
    pub fn active(&self) -> Option<SigningKey> {
        self.shared.keys.load().active.clone()
    }

    /// Another number with every change. What was found before it may have changed.
    pub(crate) fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// The key of that `kid`, where it is good for verifying `algorithm` now.
    pub(crate) fn find(&self, kid: &str, algorithm: Algorithm, now: Timestamp) -> Option<Found> {
        self.shared
            .keys
            .load()
            .verifying
            .iter()
            .find(|known| known.key.kid() == kid)
            .filter(|known| known.key.algorithm() == algorithm && now < known.until)
            .map(|known| Found { key: known.key.clone(), until: known.until })
    }

    /// The key that verified a token with this very header before, where it is good now.
    pub(crate) fn find_by_header(&self, header: &str, now: Timestamp) -> Option<Found> {
        let keys = self.shared.keys.load();
        let known = keys.verifying.iter().find(|known| known.key.knows_header(header))?;
        (now < known.until).then(|| Found { key: known.key.clone(), until: known.until })
    }

    /// Whether the key of that `kid` is good for verifying now.
    pub(crate) fn verifies(&self, kid: &str, now: Timestamp) -> bool {
        let keys = self.shared.keys.load();
        keys.verifying.iter().any(|known| known.key.kid() == kid && now < known.until)
    }

    /// Whether one of its keys verifies that.
    pub(crate) fn has_algorithm(&self, algorithm: Algorithm) -> bool {
        self.shared.keys.load().verifying.iter().any(|known| known.key.algorithm() == algorithm)
    }

    /// The algorithms that its keys verify.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        self.shared.keys.load().verifying.iter().map(|known| known.key.algorithm()).collect()
    }

    /// The JWK Set to publish (RFC 7517 §5): public parts of the keys that verify now.
    #[must_use]
    pub fn to_jwks(&self, now: Timestamp) -> String {
        let keys = self.shared.keys.load();
        let live = keys.verifying.iter().filter(|known| now < known.until);
        let keys: Vec<_> = live.filter_map(|known| known.key.to_jwk()).collect();
        jwk::write_set(&keys)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyRing").field(&**self.shared.keys.load()).finish()
    }
}
