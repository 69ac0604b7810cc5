//! Passwords: checked at every login, and set by the host.

use std::time::Duration;

use crate::audit::Operation;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, InvalidField};
use crate::service::model::entity::{Entity, EntityId};
use crate::service::model::password::{Password, PasswordHash};
use crate::service::names::PresentedName;
use crate::service::principals::UNKNOWN;
use crate::service::request_context::RequestContext;
use crate::service::stores::CompareAndSet;
use crate::service::token_service::TokenService;
use crate::service::writer::Writer;

const MICROSECOND: Duration = Duration::from_micros(1);

/// Somebody who has proven by a password who they are.
pub(super) struct ProvenIdentity {
    pub(super) entity: Entity,
    /// When the credential was read that they have proven it by.
    pub(super) at: Timestamp,
}

impl TokenService {
    /// Hashes a password at the policy's cost, outside the executor's threads, to register a principal with it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidFields`] if it is shorter than the policy's `passwords.min_len`, or the policy's
    /// `passwords.rule` rejects it; [`ErrorKind::Overloaded`] if too many passwords are hashed at once.
    pub async fn hash_password(&self, password: Password) -> Result<PasswordHash, Error> {
        self.check_choice(&password, "password")?;
        self.inner.hashing.create(password).await
    }

    /// Sets the password of a user or of a customer's credential. For the host's own use, such as behind a link in an
    /// e-mail: it requires neither the old password nor a one-time password.
    ///
    /// It ends the sessions and revokes the tokens that were issued for the old password, unless the policy's
    /// `passwords.end_sessions_on_change` is off.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if no principal with that id is registered; [`ErrorKind::InvalidFields`] if the policy
    /// rejects the password; [`ErrorKind::InvalidRequest`] for a machine client, which has secrets and no password;
    /// [`ErrorKind::Overloaded`] and [`ErrorKind::Unavailable`]. After `Unavailable`, the new password may already be
    /// set: set it again.
    pub async fn set_password(&self, id: &EntityId, password: Password) -> Result<(), Error> {
        let (id, attempt) = self.attempt_on(Operation::SET_PASSWORD, id);
        self.write(attempt, |writer| async move {
            let id = id?;
            writer.check_choice(&password, "password")?;
            let hash = writer.inner.hashing.create(password).await?;
            writer.write_password(&id, hash, None).await
        })
        .await
    }

    /// Checks that a password may be chosen.
    fn check_choice(&self, password: &Password, field: &str) -> Result<(), Error> {
        match self.inner.policy.password_fault(password) {
            None => Ok(()),
            Some(fault) => Err(Error::from_invalid_fields(vec![InvalidField::new(field, fault)])),
        }
    }
}

impl Writer {
    /// Writes a new hash, where the password is still that of `proven`, and ends what it yielded.
    pub(super) async fn write_password(
        &self,
        id: &EntityId,
        hash: PasswordHash,
        proven: Option<Entity>,
    ) -> Result<(), Error> {
        let set_at = self.now();
        let changed = self.change_entity(id, |entity| {
            if entity.password().is_none() {
                let problem = "a machine client has secrets, and no password";
                return Err(Error::new(ErrorKind::InvalidRequest, problem));
            }
            if proven.as_ref().is_some_and(|proven| !proven.has_the_credential_of(entity)) {
                return Err(invalid_credentials("changed_meanwhile"));
            }
            entity.replace_password(hash.clone());
            // Never the same instant twice: it tells one password from another.
            let earliest = entity.password_set_at.map(|before| before + MICROSECOND);
            entity.password_set_at = Some(earliest.map_or(set_at, |next| next.max(set_at)));
            Ok(())
        });
        let entity = changed.await?;
        let ended = if self.inner.policy.passwords.end_sessions_on_change {
            self.end_tokens_and_sessions(&entity).await
        } else {
            Ok(())
        };
        // Copies that are kept elsewhere are the lesser matter: they do not live for long.
        self.publish_change(id).await.and(ended)
    }

    /// Whoever has that name and password. The attempt is counted before anything is looked at,
    /// and takes as long where the name is unknown.
    pub(super) async fn verify_password(
        &self,
        name: &PresentedName,
        password: Password,
        context: &RequestContext,
    ) -> Result<ProvenIdentity, Error> {
        let proven = self.prove(name, password.clone(), context, |entity| {
            if self.has_expired_password(entity) {
                return Err(invalid_credentials("expired_password"));
            }
            Ok(())
        });
        let proven = proven.await?;
        self.rehash_if_weaker(&proven.entity, password).await;
        Ok(proven)
    }

    /// Whoever has that name and password, and is what the caller of this `requires` besides.
    pub(super) async fn prove(
        &self,
        name: &PresentedName,
        password: Password,
        context: &RequestContext,
        requires: impl Fn(&Entity) -> Result<(), Error>,
    ) -> Result<ProvenIdentity, Error> {
        let throttle = &self.inner.throttle;
        let at = self.now();
        let (kind, organization) = (name.subject_type(), name.counted_organization());
        let keys = throttle.keys(kind, organization, name.name(), context.address);
        let permit = throttle.acquire(keys, at)?;
        let checked = self.check_password(name.id(), password, context).await;
        let checked = checked.and_then(|entity| requires(&entity).map(|()| entity));
        match checked {
            Ok(entity) => {
                throttle.succeeded(&permit);
                Ok(ProvenIdentity { entity, at })
            }
            // A right password that has expired counts as a wrong one does: it must not be told
            // from one by how long its owner is let try.
            Err(error) if error.kind() == ErrorKind::InvalidCredentials => {
                throttle.failed(&permit);
                Err(error)
            }
            Err(error) => {
                throttle.give_back(&permit);
                Err(error)
            }
        }
    }

    async fn check_password(
        &self,
        id: Option<&EntityId>,
        password: Password,
        context: &RequestContext,
    ) -> Result<Entity, Error> {
        let entity = match id {
            Some(id) => self.find_usable(id, context).await?,
            None => Err(UNKNOWN),
        };
        let hash = entity.as_ref().ok().and_then(Entity::password).cloned();
        let is_right = self.inner.hashing.verify(password, hash).await?;
        match entity {
            Ok(entity) if is_right => Ok(entity),
            Ok(_) => Err(invalid_credentials("wrong_password")),
            Err(unusable) => Err(invalid_credentials(unusable)),
        }
    }

    fn has_expired_password(&self, entity: &Entity) -> bool {
        let Some(lifetime) = self.inner.policy.passwords.lifetime else { return false };
        // Nobody knows since when: one that was registered before there was a limit.
        let set_at = entity.password_set_at.unwrap_or(Timestamp::MIN);
        set_at + lifetime <= self.now()
    }

    /// Hashes a password anew at the policy's cost, where that has grown. A login does not fail for
    /// it.
    async fn rehash_if_weaker(&self, entity: &Entity, password: Password) {
        let cost = self.inner.policy.passwords.cost;
        if !entity.password().is_some_and(|hash| hash.is_weaker_than(cost)) {
            return;
        }
        let written = async {
            let stronger = self.inner.hashing.create(password).await?;
            let mut entity = entity.clone();
            let version = entity.version();
            entity.replace_password(stronger);
            self.stores.replace_entity(entity.next_version(), version).await
        };
        match written.await {
            Ok(CompareAndSet::Written(())) => {}
            Ok(CompareAndSet::Conflict) => {
                tracing::debug!("a password keeps its old hash: others changed it");
            }
            Err(error) => {
                tracing::debug!(%error, "a password keeps its old hash until the next login");
            }
        }
    }
}

/// One answer for all reasons; which it was is for the audit log alone.
pub(super) fn invalid_credentials(reason: &'static str) -> Error {
    let message = "Invalid username/password or password is expired";
    Error::new(ErrorKind::InvalidCredentials, message).with_reason(reason)
}
