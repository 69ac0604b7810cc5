//! Registered principals: registers, finds, changes, disables, enables and removes them.

use crate::audit::Operation;
use crate::error::{Error, ErrorKind};
use crate::jose::material::base64url;
use crate::service::model::entity::{Credential, Entity, EntityId, is_subject_id};
use crate::service::model::subject::SubjectRef;
use crate::service::request_context::RequestContext;
use crate::service::stores::retry_on_conflict;
use crate::service::token_service::TokenService;
use crate::service::writer::Writer;
use crate::token::claims::SubjectType;

impl TokenService {
    /// Registers a user, a machine client or a customer's credential.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`] if its id is already registered, or, under the policy's `principals.distinct_names`, a
    /// name that looks like it: [`find_entity`](Self::find_entity) and the message tell which of the two;
    /// [`ErrorKind::InvalidRequest`] if the policy's `principals.normalize_names` does not accept the name, a machine
    /// client has the first-party client id, a user's name has the form of
    /// a [`subject_id`](Entity::subject_id), the service does not have one of the audiences, the ACL uses wildcards
    /// that the policy does not allow, or the custom claims are longer than the policy's
    /// `tokens.max_custom_claims_len`; [`ErrorKind::InvalidFields`] if it names no organization and the policy has
    /// `principals.organization_required`; [`ErrorKind::Unavailable`] if the store is unreachable.
    pub async fn register(&self, mut entity: Entity) -> Result<(), Error> {
        entity.id = self.normalized_for_good(&entity.id)?;
        self.check_entity(&entity)?;
        if entity.password().is_some() && entity.password_set_at.is_none() {
            entity.password_set_at = Some(self.now());
        }
        entity.distinct_name =
            self.inner.policy.principals.distinct_names.then(|| entity.id.distinct_name());
        let (id, entity) = (entity.id.clone(), entity.with_new_subject_id()?);
        self.write_unaudited(|writer| async move {
            match writer.stores.insert_entity(entity).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    let is_same = writer.stores.get_entity(&id).await?.is_some();
                    let message = if is_same {
                        "the id is registered already"
                    } else {
                        "a name that looks like it is registered already"
                    };
                    Err(Error::new(ErrorKind::Conflict, message))
                }
                registered => registered,
            }
        })
        .await
    }

    /// Returns the registered principal with that id, if there is one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] if the policy's `principals.normalize_names` does not accept the name, as for each
    /// call that takes an [`EntityId`]; [`ErrorKind::Unavailable`] if the store is unreachable.
    pub async fn find_entity(&self, id: &EntityId) -> Result<Option<Entity>, Error> {
        self.inner.stores.get_entity(&self.normalized(id)?).await
    }

    /// Changes a registered principal: its ACL, custom claims, audiences, whether it is disabled, whether a customer's
    /// sessions require a one-time password, or the organization of a machine client. The id and the credential cannot be
    /// changed, and so neither can the organization of a user or of a customer's credential. Returns the principal as
    /// written.
    ///
    /// If the change removes anything, such as a permission, the principal's tokens are revoked and its sessions end,
    /// so that the permission is gone with the next request; a user logs in again for a token with the new ACL.
    /// Additions revoke nothing: after adding a claim `suspended`, earlier tokens stay valid. `change` may be called
    /// more than once, if the principal is changed concurrently.
    ///
    /// ```
    /// # async fn example(tokens: countersign::TokenService) -> Result<(), countersign::Error> {
    /// use countersign::{Acl, AclEntry, EntityId};
    ///
    /// let orders = Acl::new([AclEntry::anywhere(["GetOrders"])?]);
    /// let id = EntityId::user("jane@example.com")?;
    /// tokens.update_entity(&id, move |jane| jane.acl(orders.clone())).await?;
    ///
    /// // Where it depends on what is there, by the fields.
    /// tokens
    ///     .update_entity(&id, |mut jane| {
    ///         jane.custom_claims.insert("tier".to_owned(), "gold".into());
    ///         jane
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if no principal with that id is registered; [`ErrorKind::InvalidRequest`] if `change`
    /// returns another principal or another credential; those of [`register`](Self::register) for the new values;
    /// [`ErrorKind::Unavailable`] if a store is unreachable. The call may be repeated.
    pub async fn update_entity(
        &self,
        id: &EntityId,
        change: impl Fn(Entity) -> Entity + Send + Sync + 'static,
    ) -> Result<Entity, Error> {
        let (id, attempt) = self.attempt_on(Operation::UPDATE_ENTITY, id);
        self.write(attempt, |writer| async move {
            let id = id?;
            let stores = &writer.stores;
            let (before, after) = retry_on_conflict!({
                let before = stores.get_entity(&id).await?.ok_or_else(unknown_entity)?;
                let after = Entity {
                    version: before.version(),
                    distinct_name: before.distinct_name.clone(),
                    subject_id: before.subject_id.clone(),
                    ..change(before.clone())
                };
                if !after.is_the_same_as(&before) {
                    let problem = "a principal's id and its credential do not change";
                    return Err(Error::new(ErrorKind::InvalidRequest, problem));
                }
                writer.check_entity(&after)?;
                if writer.takes_away(&before, &after) {
                    // Also before it is written: on a retry, the caller would see no change.
                    writer.end_tokens_and_sessions(&before).await?;
                }
                let (version, after) = (before.version(), after.next_version());
                let written = stores.replace_entity(after.clone(), version).await?;
                Ok(written.map(|()| (before, after)))
            })?;
            let ended = if writer.takes_away(&before, &after) {
                writer.end_tokens_and_sessions(&before).await
            } else {
                Ok(())
            };
            writer.publish_change(&id).await.and(ended)?;
            Ok(after)
        })
        .await
    }

    /// Disables a registered principal, revokes its tokens, and ends its sessions: a customer's own, or those that a
    /// user or machine client has started. Its logins are rejected like those of an unknown principal;
    /// [`issue`](Self::issue) and [`issue_for`](Self::issue_for) return [`ErrorKind::Disabled`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if no principal with that id is registered, [`ErrorKind::Unavailable`] if a store is
    /// unreachable. The call may be repeated.
    pub async fn disable_entity(&self, id: &EntityId) -> Result<(), Error> {
        let (id, attempt) = self.attempt_on(Operation::DISABLE_ENTITY, id);
        self.write(attempt, |writer| async move {
            let id = id?;
            let entity = writer.set_disabled(&id, true).await?;
            let ended = writer.end_tokens_and_sessions(&entity).await;
            writer.publish_change(&id).await.and(ended)
        })
        .await
    }

    /// Enables a principal that was [disabled](Self::disable_entity). Revoked tokens stay revoked.
    ///
    /// # Errors
    ///
    /// Those of [`disable_entity`](Self::disable_entity).
    pub async fn enable_entity(&self, id: &EntityId) -> Result<(), Error> {
        let (id, attempt) = self.attempt_on(Operation::ENABLE_ENTITY, id);
        self.write(attempt, |writer| async move {
            let id = id?;
            writer.set_disabled(&id, false).await?;
            writer.publish_change(&id).await
        })
        .await
    }

    /// Removes a registered principal, revokes its tokens and ends its sessions as
    /// [`disable_entity`](Self::disable_entity) does. They stay revoked if another principal is registered under the
    /// same name.
    ///
    /// # Errors
    ///
    /// Those of [`disable_entity`](Self::disable_entity). The call may be repeated; until it succeeds, the principal
    /// stays registered and disabled.
    pub async fn remove_entity(&self, id: &EntityId) -> Result<(), Error> {
        let (id, attempt) = self.attempt_on(Operation::REMOVE_ENTITY, id);
        self.write(attempt, |writer| async move {
            let id = id?;
            // Disabled first, so that a concurrent login fails.
            let entity = writer.set_disabled(&id, true).await?;
            writer.end_tokens_and_sessions(&entity).await?;
            writer.publish_change(&id).await?;
            writer.stores.remove_entity(&id).await.map(drop)
        })
        .await
    }

    /// Returns the id by which the routes' clients know a credential (`credentialId`), of 48 characters. It depends
    /// only on the credential and the sealing key, so it is the same at each login, on each node and after a restart.
    /// It does not reveal the name.
    #[must_use]
    pub fn credential_id(&self, credential: &EntityId) -> String {
        // No principal has a name that cannot be normalized.
        let credential = self.normalized(credential).unwrap_or_else(|_| credential.clone());
        let digest = self.inner.sealing.digest_credential(&credential.to_string());
        format!("cred_{}", base64url(&*digest))
    }

    /// Returns whether a principal loses any permission, claim or other right with a change.
    fn takes_away(&self, before: &Entity, after: &Entity) -> bool {
        let organization = before.organization_id();
        let held = [after.acl.within(after.organization_id())];
        let mut claims = before.custom_claims.iter();
        let audiences = self.present_audiences(after.audiences.as_deref());
        (after.is_disabled() && !before.is_disabled())
            || (after.asks_for_code() && !before.asks_for_code())
            || organization != after.organization_id()
            || self
                .present_audiences(before.audiences.as_deref())
                .iter()
                .any(|lost| !audiences.contains(lost))
            || self.first_beyond(&before.acl, organization, &held).is_some()
            || claims.any(|(name, value)| after.custom_claims.get(name) != Some(value))
    }

    /// Checks that a principal may be registered.
    fn check_entity(&self, entity: &Entity) -> Result<(), Error> {
        let policy = &self.inner.policy;
        let invalid = |problem: &'static str| Error::new(ErrorKind::InvalidRequest, problem);
        let id = entity.id();
        if id.subject_type() == SubjectType::Machine
            && id.name() == policy.tokens.first_party_client_id
        {
            return Err(invalid("no machine client may take the first-party client id"));
        }
        if id.subject_type() == SubjectType::User && is_subject_id(id.name()) {
            return Err(invalid("no user's name may be of the form of a user's opaque id"));
        }
        if let Some(audiences) = &entity.audiences
            && (audiences.is_empty() || !self.has_audiences(audiences))
        {
            return Err(invalid("an audience is not one of the service's, or the list is empty"));
        }
        if let Some(fault) = policy.organization_fault(entity.organization.as_ref()) {
            return Err(Error::from_invalid_fields(vec![fault]));
        }
        if policy.acl_fault(&entity.acl).is_some() {
            return Err(invalid("the policy allows no wildcards but `*` alone"));
        }
        if policy.custom_claims_fault(&entity.custom_claims).is_some() {
            return Err(invalid("the custom claims are longer than the policy allows"));
        }
        if let Some(fault) = policy.room_fault(&entity.acl, &entity.custom_claims) {
            return Err(Error::from_invalid_fields(vec![fault]));
        }
        Ok(())
    }

    /// Returns the principal of that id, if it may log in here; or why it is treated as unknown.
    pub(in crate::service) async fn find_usable(
        &self,
        id: &EntityId,
        context: &RequestContext,
    ) -> Result<Result<Entity, &'static str>, Error> {
        let entity = self.inner.stores.get_entity(id).await?;
        let entity = entity.ok_or(UNKNOWN);
        Ok(entity.and_then(|entity| self.check_usable(&entity, context).map(|()| entity)))
    }

    /// Checks that a principal may log in here; an error says why it is treated as unknown.
    pub(super) fn check_usable(
        &self,
        entity: &Entity,
        context: &RequestContext,
    ) -> Result<(), &'static str> {
        if entity.disabled {
            Err("disabled")
        } else if !context.may_see(entity.organization_id()) {
            Err("other_organization")
        } else if SubjectRef::each_of(entity).any(|subject| self.is_blocked(subject)) {
            Err("blocked")
        } else {
            Ok(())
        }
    }
}

impl Writer {
    async fn set_disabled(&self, id: &EntityId, disabled: bool) -> Result<Entity, Error> {
        self.change_entity(id, |entity| {
            entity.disabled = disabled;
            // A secret that is valid only during an overlap is not valid again once the client is enabled.
            if let (true, Credential::Machine { secrets }) = (disabled, &mut entity.credential) {
                secrets.previous = None;
            }
            Ok(())
        })
        .await
    }

    /// Changes a registered principal, despite concurrent writers, and returns it as written.
    pub(super) async fn change_entity(
        &self,
        id: &EntityId,
        change: impl Fn(&mut Entity) -> Result<(), Error>,
    ) -> Result<Entity, Error> {
        let stores = &self.stores;
        retry_on_conflict!({
            let mut entity = stores.get_entity(id).await?.ok_or_else(unknown_entity)?;
            let version = entity.version();
            change(&mut entity)?;
            let entity = entity.next_version();
            let written = stores.replace_entity(entity.clone(), version).await?;
            Ok(written.map(|()| entity))
        })
    }
}

pub(super) const UNKNOWN: &str = "unknown_name";

pub(super) fn unknown_entity() -> Error {
    Error::new(ErrorKind::NotFound, "no principal with this id is registered")
}
