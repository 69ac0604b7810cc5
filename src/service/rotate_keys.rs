//! Rotating and ending the managed keys ahead of their schedule.

use crate::audit::{Attempt, Operation};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::service::keys::KeyManager;
use crate::service::token_service::TokenService;

impl TokenService {
    /// Has the next of the [`ManagedKeys`](crate::ManagedKeys) sign as soon as all who validate have it, ahead of the
    /// schedule, and returns when that is. Until then the present one signs, and what it signed is
    /// accepted to its end.
    ///
    /// A next key that was announced for long enough signs at once. Otherwise one is made, and is
    /// published for as long as nodes and others may go without looking.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) for keys that are not managed:
    /// rotate their [`KeyRing`](crate::KeyRing) instead.
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where the store is out of reach.
    pub async fn rotate_keys(&self) -> Result<Timestamp, Error> {
        self.write(Attempt::new(Operation::ROTATE_KEYS).to_owned(), |writer| async move {
            writer.key_manager()?.rotate_early(&writer.stores).await
        })
        .await
    }

    /// Ends one of the [`ManagedKeys`](crate::ManagedKeys) now, as for one that got into wrong hands: what it signed is
    /// rejected from here on, by this node at once and by others once they look, within the
    /// `refresh_interval` of the [`RotationSchedule`](crate::policy::RotationSchedule). Where it is the one that signs, another
    /// takes its place at once, and others reject what that signs until they have looked.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) for keys that are not managed:
    /// retire one of their [`KeyRing`](crate::KeyRing) instead.
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) where no key has that `kid`.
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where the store is out of reach.
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
