//! Taking back what was handed out, before it expires.

use std::time::Duration;

use tracing::Instrument as _;

use crate::clock::Timestamp;
use crate::domain::claims::SubjectType;
use crate::domain::entity::{Entity, EntityId};
use crate::domain::identifier::{CustomerId, TokenId};
use crate::domain::revocation::{Revocation, RevocationTarget};
use crate::error::{Error, ErrorKind};
use crate::service::audit::{Attempt, Operation};
use crate::service::stores::contended;
use crate::service::token_service::TokenService;
use crate::telemetry;

const ATTEMPTS: usize = 16;

impl TokenService {
    /// Takes back one token by its `jti`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] where the store is out of reach.
    pub async fn revoke_token(&self, id: &TokenId) -> Result<(), Error> {
        let revoked = self.revoke(RevocationTarget::Token(id.clone())).await;
        let attempt = Attempt { token: Some(id), ..Attempt::new(Operation::RevokeToken) };
        self.audit(&attempt, &revoked);
        revoked
    }

    /// Logs a subject out everywhere: takes back all of its tokens that were issued before an
    /// instant, and ends a customer's sessions that were started before it. Of a customer, the
    /// subject is the customer's id.
    ///
    /// # Errors
    ///
    /// Those of [`revoke_token`](Self::revoke_token). It may be called again.
    pub async fn revoke_subject(
        &self,
        subject_type: SubjectType,
        subject: &str,
        before: Timestamp,
    ) -> Result<(), Error> {
        let revoked = self.take_back(subject_type, subject, before, before).await;
        let attempt = Attempt {
            subject: Some((subject_type, subject)),
            ..Attempt::new(Operation::RevokeSubject)
        };
        self.audit(&attempt, &revoked);
        revoked
    }

    /// Shuts a registered principal out: from now on it is refused like an unknown one, its tokens
    /// are taken back, and, of a customer's credential, the customer's sessions end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] where nobody of that id is registered, [`ErrorKind::Unavailable`]
    /// where a store is out of reach. It may be called again.
    pub async fn disable_entity(&self, id: &EntityId) -> Result<(), Error> {
        let (tokens, owned) = (self.clone(), id.clone());
        let disabled = see_through(async move {
            let entity = tokens.set_disabled(&owned, true).await?;
            let ended = tokens.end_all(&entity).await;
            tokens.publish_change(&owned).await.and(ended)
        });
        let disabled = disabled.await;
        self.audit(&attempt_of(Operation::DisableEntity, id), &disabled);
        disabled
    }

    /// Lets a principal in again that was [shut out](Self::disable_entity). What was taken back
    /// stays so.
    ///
    /// # Errors
    ///
    /// Those of [`disable_entity`](Self::disable_entity).
    pub async fn enable_entity(&self, id: &EntityId) -> Result<(), Error> {
        let enabled = async {
            self.set_disabled(id, false).await?;
            self.publish_change(id).await
        };
        let enabled = enabled.await;
        self.audit(&attempt_of(Operation::EnableEntity, id), &enabled);
        enabled
    }

    async fn set_disabled(&self, id: &EntityId, disabled: bool) -> Result<Entity, Error> {
        self.change_entity(id, |entity| {
            entity.disabled = disabled;
            Ok(())
        })
        .await
    }

    /// Changes a registered principal, whoever else does so at the same time, and answers it as it
    /// was written.
    pub(super) async fn change_entity(
        &self,
        id: &EntityId,
        change: impl Fn(&mut Entity) -> Result<(), Error>,
    ) -> Result<Entity, Error> {
        for _ in 0..ATTEMPTS {
            let mut entity = self.parts.stores.get_entity(id).await?.ok_or_else(unknown_entity)?;
            let version = entity.version();
            change(&mut entity)?;
            let entity = entity.next_version();
            match self.parts.stores.replace_entity(entity.clone(), version).await {
                Ok(()) => return Ok(entity),
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        Err(contended())
    }

    /// Ends everything that a principal's credential has yielded so far.
    ///
    /// Of a customer, all sessions: a login under way may have read the credential as it was, and
    /// the clock of the node that it runs on may be ahead of ours.
    pub(super) async fn end_all(&self, entity: &Entity) -> Result<(), Error> {
        let sort = entity.id().subject_type();
        self.take_back(sort, entity.subject(), self.now(), Timestamp::MAX).await
    }

    /// The tokens that were issued before one instant, and the sessions that were started before
    /// another.
    async fn take_back(
        &self,
        subject_type: SubjectType,
        subject: &str,
        issued_before: Timestamp,
        started_before: Timestamp,
    ) -> Result<(), Error> {
        let target = RevocationTarget::SubjectBefore {
            subject_type,
            subject: subject.to_owned(),
            before: issued_before,
        };
        self.revoke(target).await?;
        let SubjectType::Customer = subject_type else { return Ok(()) };
        let Ok(customer_id) = CustomerId::new(subject) else { return Ok(()) };
        let ended = self.parts.stores.remove_subject(&customer_id, started_before).await?;
        for session in &ended {
            self.parts.phantom_tokens.remove(&session.key).await;
        }
        Ok(())
    }

    /// Tells nodes that keep a copy of a principal to read it anew.
    pub(super) async fn publish_change(&self, id: &EntityId) -> Result<(), Error> {
        let (subject_type, name) = (id.subject_type(), id.name().to_owned());
        self.revoke(RevocationTarget::EntityChanged { subject_type, name }).await
    }

    /// Effective on this node at once, also where it cannot be published for all others.
    pub(super) async fn revoke(&self, target: RevocationTarget) -> Result<(), Error> {
        let policy = &self.parts.policy;
        let now = self.now();
        let (from, longest) = match &target {
            // What slips past it while it is being written is known by it as long as it lives.
            RevocationTarget::SubjectBefore { subject_type, before, .. } => {
                let sessions = match subject_type {
                    SubjectType::Customer => policy.max_session_lifetime,
                    SubjectType::User | SubjectType::Entity => Duration::ZERO,
                };
                (now.max(*before), policy.longest_token_lifetime().max(sessions))
            }
            RevocationTarget::Session(_) => {
                (now, policy.longest_token_lifetime().max(policy.max_session_lifetime))
            }
            RevocationTarget::Token(_) | RevocationTarget::EntityChanged { .. } => {
                (now, policy.longest_token_lifetime())
            }
        };
        let until = from + longest + policy.leeway;
        let revocation = Revocation { target, until };
        self.parts.revocations.insert(&revocation);
        self.parts.revocations.purge_if_due(now);
        telemetry::revocations_held(self.parts.revocations.len());
        self.parts.stores.revoke(revocation).await
    }
}

/// Does all of something that must not be left half-done, though whoever asked for it hangs up.
pub(super) async fn see_through<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    tokio::spawn(work.in_current_span()).await.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Internal, "a task failed").with_source(error))
    })
}

fn attempt_of(operation: Operation, id: &EntityId) -> Attempt<'_> {
    Attempt { subject: Some((id.subject_type(), id.name())), ..Attempt::new(operation) }
}

fn unknown_entity() -> Error {
    Error::new(ErrorKind::NotFound, "nobody of that id is registered")
}
