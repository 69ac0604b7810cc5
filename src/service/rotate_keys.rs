//! Rotates and retires managed keys ahead of their schedule.

use crate::audit::{Attempt, Operation};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::service::keys::KeyManager;
use crate::service::token_service::TokenService;

impl TokenService {
    /// Rotates the [`ManagedKeys`](crate::ManagedKeys) ahead of the schedule: the next key signs as soon as all
    /// validators can have it. Returns that instant. Until then, the current key signs, and its tokens are accepted
    /// until they expire.
    ///
    /// A next key that has been announced for long enough signs at once. Otherwise, one is generated and published
    /// for the time that nodes and other validators may take to read it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the keys are not managed: rotate the
    /// [`KeyRing`](crate::KeyRing) instead. [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if the store is
    /// unreachable.
    pub async fn rotate_keys(&self) -> Result<Timestamp, Error> {
        self.write(Attempt::new(Operation::ROTATE_KEYS).to_owned(), |writer| async move {
            writer.key_manager()?.rotate_early(&writer.stores).await
        })
        .await
    }

    /// Retires one of the [`ManagedKeys`](crate::ManagedKeys) now, such as after a leak. This node rejects its tokens
    /// at once, and other nodes within the `refresh_interval` of the
    /// [`RotationSchedule`](crate::policy::RotationSchedule). If it is the current signing key, another one replaces
    /// it at once; other nodes reject tokens of that one until they have read it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the keys are not managed: retire a key of the
    /// [`KeyRing`](crate::KeyRing) instead. [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if no key has that
    /// `kid`. [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if the store is unreachable.
    pub async fn retire_key(&self, kid: &str) -> Result<(), Error> {
        let kid = kid.to_owned();
        self.write(Attempt::new(Operation::RETIRE_KEY).to_owned(), |writer| async move {
            writer.key_manager()?.retire(&writer.stores, &kid).await?;
            tracing::warn!(
                kid,
                "signing keys: a key was retired by the host, tokens that it signed are rejected"
            );
            Ok(())
        })
        .await
    }

    fn key_manager(&self) -> Result<&KeyManager, Error> {
        let problem = "the keys are not managed by the service: change the KeyRing";
        let none = || Error::configuration(problem);
        self.inner.key_manager.as_ref().ok_or_else(none)
    }
}
