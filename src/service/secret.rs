//! Reads and resets the secrets of machine clients.

use std::time::Duration;

use crate::audit::{Attempt, Operation};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, InvalidField};
use crate::service::actor::Actor;
use crate::service::model::entity::{Credential, Entity, EntityId, is_subject_id};
use crate::service::model::secret::{Secret, SecretOperation, StoredSecret, StoredSecrets};
use crate::service::permission;
use crate::service::request_context::RequestContext;
use crate::service::stores::{CompareAndSet, retry_on_conflict};
use crate::service::token_service::TokenService;
use crate::service::writer::Writer;
use crate::token::claims::{SubjectType, Validated};

const DAY: Duration = Duration::from_secs(86_400);

/// The source of a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SecretOrigin {
    Generated,
    Imported,
}

/// An access to the secret of a machine client, which may not exist.
#[derive(Clone, Copy)]
pub(super) struct SecretAccess<'a> {
    pub(super) actor: Actor<'a>,
    pub(super) kind: SubjectType,
    /// The id as presented; an invalid one is treated as unknown.
    pub(super) name: &'a str,
    pub(super) expiry_days: Option<u64>,
    pub(super) context: &'a RequestContext,
}

/// A machine client's secret, with its expiry.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IssuedSecret {
    /// The secret.
    pub secret: Secret,
    /// When the secret expires.
    pub expires_at: Timestamp,
    /// A message for the secret's owner, such as that it expires sooner than requested.
    pub message: Option<String>,
}

impl<'a> SecretAccess<'a> {
    fn of(
        actor: Actor<'a>,
        id: &'a EntityId,
        expiry_days: Option<u64>,
        context: &'a RequestContext,
    ) -> Self {
        Self { actor, kind: id.subject_type(), name: id.name(), expiry_days, context }
    }
}

impl TokenService {
    /// Returns the current secret of a machine client; it can be read any number of times. If the client has never
    /// had a secret, the first one is generated; `expiry_days` applies only then.
    ///
    /// `actor` is the host, or a user whose ACL grants `ReadEntitySecret` for this `entityId` and, for the first
    /// secret, also `ResetEntitySecret`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidEntity`] for a machine client that is unknown, disabled or of another organization than
    /// `context`'s, and for one that the bearer's ACL or the policy's rule does not allow it to manage; the error
    /// does not tell which. [`ErrorKind::InvalidToken`] if the token is older than the policy's
    /// `secrets.max_token_age`, [`ErrorKind::Throttled`] after too many requests of the bearer,
    /// [`ErrorKind::InvalidFields`] for zero days, [`ErrorKind::Unavailable`] if the store is unreachable.
    pub async fn read_secret(
        &self,
        actor: impl Into<Actor<'_>>,
        id: &EntityId,
        expiry_days: Option<u64>,
        context: &RequestContext,
    ) -> Result<IssuedSecret, Error> {
        let access = SecretAccess::of(actor.into(), id, expiry_days, context);
        self.access_secret(SecretOperation::Read, access).await
    }

    /// Generates a new secret for a machine client. The old one expires at once, or after the policy's
    /// `secrets.overlap`.
    ///
    /// `actor` is the host, or a user whose ACL grants `ResetEntitySecret` for this `entityId`.
    ///
    /// Of concurrent resets, one generates a secret, and all of them return it.
    ///
    /// # Errors
    ///
    /// Those of [`read_secret`](Self::read_secret).
    pub async fn reset_secret(
        &self,
        actor: impl Into<Actor<'_>>,
        id: &EntityId,
        expiry_days: Option<u64>,
        context: &RequestContext,
    ) -> Result<IssuedSecret, Error> {
        let access = SecretAccess::of(actor.into(), id, expiry_days, context);
        self.access_secret(SecretOperation::Reset, access).await
    }

    /// Reads or resets the secret for a presented machine-client id.
    pub(super) async fn access_secret(
        &self,
        operation: SecretOperation,
        access: SecretAccess<'_>,
    ) -> Result<IssuedSecret, Error> {
        let audited = match operation {
            SecretOperation::Read => Operation::READ_SECRET,
            SecretOperation::Reset => Operation::RESET_SECRET,
        };
        let attempt = access.context.attempt(audited).by(access.actor);
        let attempt = attempt.of(access.kind, access.name).to_owned();
        let (actor, kind, name) = (access.actor.to_owned(), access.kind, access.name.to_owned());
        let (expiry_days, context) = (access.expiry_days, access.context.clone());
        self.write(attempt, move |writer| async move {
            let (actor, name, context) = (actor.borrowed(), &*name, &context);
            let access = SecretAccess { actor, kind, name, expiry_days, context };
            let accessing = writer.try_access_secret(operation, access);
            writer.within_limits(actor, accessing).await
        })
        .await
    }

    /// Sets a machine client's secret to one of another system, in place of all of its secrets; these expire at
    /// once, whatever the policy's `secrets.overlap`. For the host's own use: no permission is checked.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidEntity`] if there is no such machine client, [`ErrorKind::InvalidFields`] for zero days,
    /// [`ErrorKind::Unavailable`] if the store is unreachable.
    pub async fn import_secret(
        &self,
        id: &EntityId,
        secret: &Secret,
        expiry_days: Option<u64>,
    ) -> Result<(), Error> {
        let attempt = Attempt::new(Operation::IMPORT_SECRET).of_entity(id).to_owned();
        let (id, secret) = (id.clone(), secret.clone());
        self.write(attempt, move |writer| async move {
            let (lifetime, _) = writer.secret_lifetime(expiry_days)?;
            let replaced = retry_on_conflict!({
                let entity = writer.find_entity(&id).await?.ok_or_else(invalid_entity)?;
                writer.try_replace_secret(entity, &secret, SecretOrigin::Imported, lifetime).await
            });
            replaced.map(drop)
        })
        .await
    }

    /// A lifetime above the maximum is reduced to it, and the response says so.
    fn secret_lifetime(&self, days: Option<u64>) -> Result<(Duration, Option<String>), Error> {
        let policy = &self.inner.policy;
        let maximum = policy.secrets.max_lifetime_days;
        let (days, message) = match days {
            None => (policy.secrets.lifetime_days, None),
            Some(0) => {
                let field =
                    InvalidField::new("secretExpiryDays", "must be an integer of at least 1");
                return Err(Error::from_invalid_fields(vec![field]));
            }
            Some(days) if days > maximum => {
                let message =
                    format!("secretExpiryDays is above the maximum and was set to {maximum} days");
                (maximum, Some(message))
            }
            Some(days) => (days, None),
        };
        Ok((DAY.saturating_mul(u32::try_from(days).unwrap_or(u32::MAX)), message))
    }

    async fn find_managed(
        &self,
        access: SecretAccess<'_>,
        operation: SecretOperation,
    ) -> Result<Entity, Error> {
        if let Actor::Bearer(manager) = access.actor {
            self.check_bearer(manager)?;
        }
        let id = EntityId::new(access.kind, access.name).map_err(|_| invalid_entity())?;
        let usable = self.find_usable(&id, access.context).await?;
        let entity = usable.map_err(|unusable| invalid_entity().with_reason(unusable))?;
        self.check_manager(access.actor, &entity, operation)?;
        Ok(entity)
    }

    /// One error for all reasons: a caller that may not manage a machine client must not learn whether it exists.
    fn check_manager(
        &self,
        actor: Actor<'_>,
        entity: &Entity,
        operation: SecretOperation,
    ) -> Result<(), Error> {
        let Actor::Bearer(manager) = actor else { return Ok(()) };
        let permission = match operation {
            SecretOperation::Read => permission::READ_ENTITY_SECRET,
            SecretOperation::Reset => permission::RESET_ENTITY_SECRET,
        };
        let mut scope = vec![("entityId", entity.id().name())];
        scope.extend(entity.organization_id().map(|id| ("organizationId", id.as_str())));
        let is_permitted = manager.may_act_in(entity.organization_id())
            && self.permits(manager, permission, &scope);
        let rule = self.inner.policy.secrets.access_rule.as_ref();
        if !is_permitted {
            return Err(invalid_entity().with_reason("not_permitted"));
        }
        if rule.is_some_and(|rule| !(rule.0)(manager, entity.id(), operation)) {
            return Err(invalid_entity().with_reason("refused_by_rule"));
        }
        Ok(())
    }

    /// Runs an operation on secrets if the policy's limits of the manager allow it. None of these limits depends on
    /// the machine client, so a rejection reveals nothing about it.
    async fn within_limits<T>(
        &self,
        actor: Actor<'_>,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let Actor::Bearer(manager) = actor else { return work.await };
        // Attempts are not counted for callers that never have access.
        if manager.subject_type() != SubjectType::User || !self.is_own(manager) {
            return Err(invalid_entity().with_reason("not_permitted"));
        }
        let (policy, now) = (&self.inner.policy, self.now());
        let age = now.saturating_since(manager.issued_at());
        if policy.secrets.max_token_age.is_some_and(|longest| age > longest) {
            let message = "the access token is too old for secrets: log in again";
            return Err(Error::new(ErrorKind::InvalidToken, message).with_reason("token_too_old"));
        }
        let throttle = &self.inner.throttle;
        let id = self.id_of_manager(manager).await?;
        let keys = throttle.keys_of_managing(manager.organization_id(), &id);
        let permit = throttle.acquire(keys, now)?;
        let outcome = work.await;
        if outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable) {
            throttle.give_back(&permit);
        }
        outcome
    }

    /// Returns one text for a user, whether the token has the name or the opaque id as subject: the opaque id, from
    /// which the name cannot be looked up. The policy may have changed while tokens of both kinds are valid.
    async fn id_of_manager(&self, manager: &Validated) -> Result<String, Error> {
        let subject = manager.subject();
        if is_subject_id(subject) {
            return Ok(subject.to_owned());
        }
        let Ok(id) = EntityId::user(subject) else { return Ok(subject.to_owned()) };
        let id = id.organization(manager.organization_id().cloned());
        let user = self.inner.stores.get_recent_entity(&id, self.now()).await?;
        let id = user.and_then(|user| user.entity.subject_id().map(str::to_owned));
        Ok(id.unwrap_or_else(|| subject.to_owned()))
    }

    fn open(&self, entity: &Entity, stored: &StoredSecret) -> Result<IssuedSecret, Error> {
        let secret = stored.open(&self.inner.sealing, entity.id())?;
        Ok(IssuedSecret { secret, expires_at: stored.expires_at(), message: None })
    }
}

impl Writer {
    async fn try_access_secret(
        &self,
        operation: SecretOperation,
        access: SecretAccess<'_>,
    ) -> Result<IssuedSecret, Error> {
        let lifetime = self.secret_lifetime(access.expiry_days)?;
        let entity = self.find_managed(access, operation).await?;
        if operation == SecretOperation::Read {
            if let Some(current) = entity.secrets().and_then(StoredSecrets::current) {
                return self.open(&entity, current);
            }
            self.check_manager(access.actor, &entity, SecretOperation::Reset)?;
        }
        self.make_secret(entity, access, lifetime).await
    }

    /// Replaces the current secret by a new one. If another caller did so meanwhile, that caller's secret is
    /// returned: it is new, and stays valid for both callers.
    async fn make_secret(
        &self,
        mut entity: Entity,
        access: SecretAccess<'_>,
        (lifetime, message): (Duration, Option<String>),
    ) -> Result<IssuedSecret, Error> {
        let current = |entity: &Entity| entity.secrets().and_then(StoredSecrets::current).cloned();
        let id_of = |entity: &Entity| current(entity).map(|secret| secret.id);
        let replaced = id_of(&entity);
        let secret = Secret::generate()?;
        retry_on_conflict!({
            let written =
                self.try_replace_secret(entity.clone(), &secret, SecretOrigin::Generated, lifetime);
            if let CompareAndSet::Written(expires_at) = written.await? {
                let (secret, message) = (secret.clone(), message.clone());
                let issued = IssuedSecret { secret, expires_at, message };
                return Ok(CompareAndSet::Written(issued));
            }
            // The concurrent change may have moved the client out of the manager's scope.
            entity = self.find_managed(access, SecretOperation::Reset).await?;
            match current(&entity) {
                Some(current) if Some(&current.id) != replaced.as_ref() => {
                    self.open(&entity, &current).map(CompareAndSet::Written)
                }
                _ => Ok(CompareAndSet::Conflict),
            }
        })
    }

    async fn try_replace_secret(
        &self,
        mut entity: Entity,
        secret: &Secret,
        origin: SecretOrigin,
        lifetime: Duration,
    ) -> Result<CompareAndSet<Timestamp>, Error> {
        let now = self.now();
        let expires_at = now + lifetime;
        let version = entity.version();
        let is_generated = origin == SecretOrigin::Generated;
        let sealing = &self.inner.sealing;
        let sealed =
            StoredSecret::seal(sealing, entity.id(), secret, is_generated, now, expires_at)?;
        let Credential::Machine { secrets } = &mut entity.credential else {
            return Err(invalid_entity());
        };
        // A secret that a host replaces by another system's expires at once, as after a leak.
        let overlap = if is_generated { self.inner.policy.secrets.overlap } else { Duration::ZERO };
        secrets.replace(sealed, now, overlap);
        let entity = entity.next_version();
        let written = self.stores.replace_entity(entity.clone(), version).await?;
        let CompareAndSet::Written(()) = written else { return Ok(CompareAndSet::Conflict) };
        let published = self.publish_change(entity.id()).await;
        if self.inner.policy.secrets.revoke_tokens_on_reset {
            // The instant is taken after the write: the old secret was valid until then.
            self.end_tokens_and_sessions(&entity).await?;
        }
        published.map(|()| CompareAndSet::Written(expires_at))
    }
}

fn invalid_entity() -> Error {
    Error::new(ErrorKind::InvalidEntity, "Invalid entity id")
}
