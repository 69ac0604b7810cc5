//! Passwords: verified at every login, and set by the host.

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

/// A principal that was authenticated by password.
pub(super) struct ProvenIdentity {
    pub(super) entity: Entity,
    /// When the credential that authenticated it was read.
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

    /// Checks that the policy allows a new password.
    fn check_choice(&self, password: &Password, field: &str) -> Result<(), Error> {
        match self.inner.policy.password_fault(password) {
            None => Ok(()),
            Some(fault) => Err(Error::from_invalid_fields(vec![InvalidField::new(field, fault)])),
        }
    }
}

impl Writer {
    /// Writes a new hash if the password is still that of `proven`, and revokes what was issued for the old one.
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
            // Each change gets a distinct instant, which identifies the password.
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
        // Cached copies matter less: they expire soon.
        self.publish_change(id).await.and(ended)
    }

    /// Authenticates a principal by name and password. The attempt is counted before anything is read, and takes as
    /// long if the name is unknown.
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

    /// Authenticates a principal by name and password, which must also satisfy `requires`.
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
            // A right but expired password counts as a wrong one: otherwise, the number of allowed attempts would
            // tell the two apart.
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
        // Its age is unknown: it was registered before there was a limit.
        let set_at = entity.password_set_at.unwrap_or(Timestamp::MIN);
        set_at + lifetime <= self.now()
    }

    /// Hashes a password again if the policy's cost has been raised. If that fails, the login still succeeds.
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
                tracing::debug!(
                    "passwords: the hash is not updated to the policy's cost, the record has changed"
                );
            }
            Err(error) => {
                tracing::debug!(%error, "passwords: the hash cannot be updated to the policy's cost, the next login retries");
            }
        }
    }
}

/// One error for all reasons; only the audit log has the reason.
pub(super) fn invalid_credentials(reason: &'static str) -> Error {
    let message = "Invalid username/password or password is expired";
    Error::new(ErrorKind::InvalidCredentials, message).with_reason(reason)
}
