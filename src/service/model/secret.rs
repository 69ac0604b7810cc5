//! Secrets of machine clients: made here, never chosen, readable, with an end.
//!
//! A secret has 256 random bits, so that recognising it takes a keyed digest and not a slow hash;
//! and since it can be read again, it is sealed at rest ([`super::sealing`]).

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::jose::material::base64url;
use crate::service::model::entity::EntityId;
use crate::service::model::redacted::{FromSecretText, deserialize_secret, secret_text};
use crate::service::model::sealing::{KeyedDigest, Sealed, SealingKeys, random_bytes};

secret_text! {
    /// The secret of a machine client. Handlers deserialize it from a field of the request, like a
    /// [`Password`](crate::Password).
    Secret
}

/// The operation on a machine client's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretOperation {
    /// The secret is read.
    Read,
    /// A new secret replaces it, or the first one is generated.
    Reset,
}

impl Secret {
    /// The maximum length of a presented secret, in bytes.
    pub const MAX_LEN: usize = 1024;

    /// Generates a secret with 256 bits from the operating system, as base64url.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if the operating system provides no random bytes.
    pub fn generate() -> Result<Self, Error> {
        Ok(Self(base64url(&*random_bytes::<32>()?).into()))
    }

    /// Creates a secret from a text of another system, to migrate its machine clients, or from a fixed text for a
    /// demo.
    ///
    /// Dangerous: secrets are stored as a fast digest, which is safe for 256 random bits, but not for a text that a
    /// person chooses.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] if the text is blank or longer than 1024 bytes.
    pub fn dangerous_from_text(text: impl Into<String>) -> Result<Self, Error> {
        let secret = Self(text.into().into());
        if secret.expose().trim().is_empty() || secret.expose().len() > Self::MAX_LEN {
            let problem = "a secret must be 1 to 1024 bytes and not blank";
            return Err(Error::new(ErrorKind::InvalidRequest, problem));
        }
        Ok(secret)
    }

    /// Creates a secret from a text that a caller presents, to be checked. One that is too long matches no client.
    #[must_use]
    pub fn presented(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }
}

impl FromSecretText for Secret {
    const RULE: &'static str = "a secret must be a text of 1 to 1024 bytes that is not blank";

    fn from_secret_text(text: String) -> Result<Self, Error> {
        Self::dangerous_from_text(text)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        deserialize_secret(from)
    }
}

/// A secret as stored: sealed, with a digest to recognize it.
#[derive(Clone, Debug)]
pub struct StoredSecret {
    pub(crate) id: String,
    pub(crate) sealed: Sealed,
    pub(crate) digest: KeyedDigest,
    /// Whether it was made here, of 256 random bits, and cannot be guessed.
    pub(crate) is_generated: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

impl StoredSecret {
    pub(crate) fn seal(
        keys: &SealingKeys,
        entity: &EntityId,
        secret: &Secret,
        is_generated: bool,
        created_at: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Self, Error> {
        let id = uuid::Uuid::new_v4().to_string();
        let sealed = keys.seal(secret.expose(), &[&entity.to_string(), &id])?;
        let digest = keys.digest_secret(secret.expose());
        Ok(Self { id, sealed, digest, is_generated, created_at, expires_at })
    }

    pub(crate) fn open(&self, keys: &SealingKeys, entity: &EntityId) -> Result<Secret, Error> {
        keys.open(&self.sealed, &[&entity.to_string(), &self.id]).map(Secret)
    }

    /// Returns when the secret expires.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Returns when the secret was created.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }
}

/// The secrets of a machine client: the current one and, during the policy's overlap, the previous one.
#[derive(Clone, Debug, Default)]
pub struct StoredSecrets {
    pub(crate) current: Option<StoredSecret>,
    pub(crate) previous: Option<StoredSecret>,
}

/// What a presented secret is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretVerdict {
    Valid {
        is_generated: bool,
    },
    /// Expired, and within the policy's grace period.
    WithinGrace {
        is_generated: bool,
    },
    /// It was the current one.
    Expired,
    Invalid,
    /// It is none that can be recognised here, and one of the stored ones is of a sealing key that was not
    /// given.
    Unknowable,
}

impl SecretVerdict {
    /// Returns whether a token may be had for it.
    pub(crate) fn is_good(self) -> bool {
        matches!(self, Self::Valid { .. } | Self::WithinGrace { .. })
    }
}

impl StoredSecrets {
    /// Returns the current secret.
    #[must_use]
    pub fn current(&self) -> Option<&StoredSecret> {
        self.current.as_ref()
    }

    /// Makes `secret` the current one. What was current ends `overlap` from now, or when it would
    /// have ended anyway.
    pub(crate) fn replace(&mut self, secret: StoredSecret, now: Timestamp, overlap: Duration) {
        let mut replaced = self.current.replace(secret);
        if let Some(old) = &mut replaced {
            old.expires_at = old.expires_at.min(now + overlap);
        }
        self.previous = replaced.filter(|old| old.expires_at > now);
    }

    /// Two digests are compared, whether or not there are secrets, so that the time taken tells
    /// nothing about an id.
    pub(crate) fn verify(
        &self,
        keys: &SealingKeys,
        presented: &Secret,
        now: Timestamp,
        grace: Duration,
    ) -> SecretVerdict {
        let nobodys = KeyedDigest::from_bytes([0; 36]);
        let is = |stored: Option<&StoredSecret>| {
            let digest = stored.map_or(&nobodys, |stored| &stored.digest);
            keys.verify_secret(presented.expose(), digest) && stored.is_some()
        };
        let (is_previous, is_current) = (is(self.previous.as_ref()), is(self.current.as_ref()));
        let mut verdict = SecretVerdict::Invalid;
        if let Some(previous) = self.previous.as_ref().filter(|_| is_previous)
            && now < previous.expires_at
        {
            verdict = SecretVerdict::Valid { is_generated: previous.is_generated };
        }
        if let Some(current) = self.current.as_ref().filter(|_| is_current) {
            let is_generated = current.is_generated;
            if now < current.expires_at {
                verdict = SecretVerdict::Valid { is_generated };
            } else if now < current.expires_at + grace {
                verdict = SecretVerdict::WithinGrace { is_generated };
            } else {
                verdict = SecretVerdict::Expired;
            }
        }
        let is_unknown = |stored: &StoredSecret| keys.check_known(&stored.digest).is_err();
        if verdict == SecretVerdict::Invalid
            && self.previous.iter().chain(&self.current).any(is_unknown)
        {
            verdict = SecretVerdict::Unknowable;
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::model::sealing::SealingKey;

    const VALID: SecretVerdict = SecretVerdict::Valid { is_generated: true };
    const DAY: Duration = Duration::from_secs(86_400);

    fn keys() -> SealingKeys {
        SealingKeys::new(SealingKey::from_bytes([7; 32]), vec![])
    }

    fn stored(secret: &Secret, now: Timestamp) -> StoredSecret {
        let id = EntityId::machine("aa-1").unwrap();
        StoredSecret::seal(&keys(), &id, secret, true, now, now + DAY).unwrap()
    }

    #[test]
    fn the_old_secret_ends_with_the_overlap() {
        let now = Timestamp::from_secs(1_000_000);
        let (old, new) = (Secret::generate().unwrap(), Secret::generate().unwrap());
        let verify = |secrets: &StoredSecrets, secret: &Secret, at| {
            secrets.verify(&keys(), secret, at, Duration::ZERO)
        };
        for (overlap, later, expected) in [
            (Duration::ZERO, Duration::ZERO, SecretVerdict::Invalid),
            (DAY / 2, DAY / 4, VALID),
            (DAY / 2, DAY / 2, SecretVerdict::Invalid),
            (DAY * 5, DAY, SecretVerdict::Invalid),
        ] {
            let mut secrets = StoredSecrets::default();
            secrets.replace(stored(&old, now), now, overlap);
            secrets.replace(stored(&new, now), now, overlap);
            assert_eq!(verify(&secrets, &old, now + later), expected, "{overlap:?} {later:?}");
            assert_eq!(verify(&secrets, &new, now), VALID);
        }
    }

    #[test]
    fn an_expired_secret_counts_within_the_grace_period_alone() {
        let now = Timestamp::from_secs(1_000_000);
        let secret = Secret::generate().unwrap();
        let mut secrets = StoredSecrets::default();
        secrets.replace(stored(&secret, now), now, Duration::ZERO);
        let verify = |later, grace| secrets.verify(&keys(), &secret, now + later, grace);
        assert_eq!(verify(DAY, Duration::ZERO), SecretVerdict::Expired);
        assert_eq!(verify(DAY, DAY), SecretVerdict::WithinGrace { is_generated: true });
        assert_eq!(verify(DAY * 2, DAY), SecretVerdict::Expired);
    }
}
