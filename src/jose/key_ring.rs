use std::sync::Arc;

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
/// Shared secrets are never published. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeyRing {
    keys: Arc<Keys>,
}

#[derive(Clone, Debug, Default)]
struct Keys {
    active: Option<SigningKey>,
    verifying: Vec<RingKey>,
}

#[derive(Clone, Debug)]
struct RingKey {
    key: VerifyingKey,
    /// For a retired key: from when on it is as good as unknown.
    until: Timestamp,
}

impl KeyRing {
    /// A ring with one key, which signs.
    #[must_use]
    pub fn new(active: SigningKey) -> Self {
        let verifying =
            vec![RingKey { key: active.verifying_key().clone(), until: Timestamp::MAX }];
        Self { keys: Arc::new(Keys { active: Some(active), verifying }) }
    }

    /// A ring that only verifies.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] where two keys have the same `kid`.
    pub fn verifying(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, Error> {
        let ring = Self { keys: Arc::default() };
        keys.into_iter().try_fold(ring, |ring, key| ring.with(key, Timestamp::MAX))
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

    /// Adds a key that is published and verifies, and does not sign yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] where its `kid` is in the ring already.
    pub fn with_next(self, key: &SigningKey) -> Result<Self, Error> {
        self.with(key.verifying_key().clone(), Timestamp::MAX)
    }

    /// Adds a key that signed once and verifies until `until`: the end of the last token that was
    /// signed with it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidKey`] where its `kid` is in the ring already.
    pub fn with_retired(self, key: VerifyingKey, until: Timestamp) -> Result<Self, Error> {
        self.with(key, until)
    }

    fn with(mut self, key: VerifyingKey, until: Timestamp) -> Result<Self, Error> {
        if self.keys.verifying.iter().any(|known| known.key.kid() == key.kid()) {
            return Err(Error::new(ErrorKind::InvalidKey, "two keys of a ring have the same kid"));
        }
        Arc::make_mut(&mut self.keys).verifying.push(RingKey { key, until });
        Ok(self)
    }

    /// The key that signs.
    #[must_use]
    pub fn active(&self) -> Option<&SigningKey> {
        self.keys.active.as_ref()
    }

    /// The key of that `kid`, where it is good for verifying `algorithm` now.
    pub(crate) fn find(
        &self,
        kid: &str,
        algorithm: Algorithm,
        now: Timestamp,
    ) -> Option<&VerifyingKey> {
        self.keys
            .verifying
            .iter()
            .find(|ring_key| ring_key.key.kid() == kid)
            .filter(|ring_key| ring_key.key.algorithm() == algorithm && now < ring_key.until)
            .map(|ring_key| &ring_key.key)
    }

    /// The algorithms that its keys verify.
    pub(crate) fn algorithms(&self) -> impl Iterator<Item = Algorithm> + '_ {
        self.keys.verifying.iter().map(|ring_key| ring_key.key.algorithm())
    }

    /// The JWK Set to publish (RFC 7517 §5): public parts of the keys that verify now.
    #[must_use]
    pub fn to_jwks(&self, now: Timestamp) -> String {
        let live = self.keys.verifying.iter().filter(|ring_key| now < ring_key.until);
        let keys: Vec<_> = live.filter_map(|ring_key| ring_key.key.to_jwk()).collect();
        jwk::write_set(&keys)
    }
}
