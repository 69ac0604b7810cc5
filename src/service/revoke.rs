//! Revoking what was issued, before it expires.

use std::time::Duration;

use crate::audit::{Attempt, Operation};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::service::model::entity::{Entity, EntityId};
use crate::service::model::revocation::{Revocation, RevocationTarget};
use crate::service::store::FeedEvent;
use crate::service::telemetry;
use crate::service::token_service::{TokenService, TokenServiceInner};
use crate::token::claims::SubjectType;
use crate::token::identifier::{CustomerId, SessionId, TokenId};

/// What of a subject's is ended.
#[derive(Clone, Copy)]
struct Cutoff {
    tokens_issued_before: Timestamp,
    sessions_started_before: Timestamp,
}

impl TokenService {
    /// Revokes one token by its `jti`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where the store is out of reach.
    pub async fn revoke_token(&self, id: &TokenId) -> Result<(), Error> {
        let attempt = Attempt { token: Some(id), ..Attempt::new(Operation::REVOKE_TOKEN) };
        let longest = self.now() + self.inner.policy.longest_token_lifetime();
        self.audited(attempt, self.revoke_token_until(id, longest)).await
    }

    /// Revokes a token that ends at `expires_at`.
    pub(super) async fn revoke_token_until(
        &self,
        id: &TokenId,
        expires_at: Timestamp,
    ) -> Result<(), Error> {
        let until = self.accepted_until(expires_at);
        self.remember(RevocationTarget::Token(id.clone()), until).await
    }

    /// Logs a subject out everywhere: revokes all of its tokens that were issued before an
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
        let cutoff = Cutoff { tokens_issued_before: before, sessions_started_before: before };
        let attempt = Attempt::new(Operation::REVOKE_SUBJECT).of(subject_type, subject);
        self.audited(attempt, self.end_all(subject_type, subject, cutoff)).await
    }

    /// Ends everything that a principal's credential has yielded so far.
    ///
    /// Of a customer, all sessions: a login under way may have read the credential as it was, and
    /// the clock of the node that it runs on may be ahead of ours.
    pub(super) async fn end_tokens_and_sessions(&self, entity: &Entity) -> Result<(), Error> {
        let cutoff =
            Cutoff { tokens_issued_before: self.now(), sessions_started_before: Timestamp::MAX };
        self.end_all(entity.id().subject_type(), entity.subject(), cutoff).await
    }

    /// Revokes the tokens that a subject was issued before an instant.
    pub(super) async fn end_tokens_before(
        &self,
        subject_type: SubjectType,
        subject: &str,
        before: Timestamp,
    ) -> Result<(), Error> {
        let policy = &self.inner.policy;
        let tokens = policy.longest_token_lifetime();
        // A customer's session that could not be removed, or was being written, is known by it while
        // it lives.
        let longest = match subject_type {
            SubjectType::Customer => policy.max_session_lifetime.max(tokens),
            _ => tokens,
        };
        let until = self.accepted_until(self.now().max(before) + longest);
        let subject = subject.to_owned();
        self.remember(RevocationTarget::SubjectBefore { subject_type, subject, before }, until)
            .await
    }

    async fn end_all(
        &self,
        subject_type: SubjectType,
        subject: &str,
        cutoff: Cutoff,
    ) -> Result<(), Error> {
        // Where one of the two cannot be done, the other is: not everybody can ask for it again.
        let published =
            self.end_tokens_before(subject_type, subject, cutoff.tokens_issued_before).await;
        let SubjectType::Customer = subject_type else { return published };
        let Ok(customer_id) = CustomerId::new(subject) else { return published };
        let ended =
            self.inner.stores.remove_subject(&customer_id, cutoff.sessions_started_before).await?;
        for session in &ended {
            self.inner.phantom_tokens.remove(&session.key).await;
        }
        published
    }

    /// Revokes what was issued from a session, of which no token is accepted after `until`.
    pub(super) async fn revoke_session(
        &self,
        id: &SessionId,
        until: Timestamp,
    ) -> Result<(), Error> {
        self.remember(RevocationTarget::Session(id.clone()), until).await
    }

    /// Effective on this node at once, also where it cannot be published for all others.
    async fn remember(&self, target: RevocationTarget, until: Timestamp) -> Result<(), Error> {
        let revocation = Revocation { target, until: self.kept_until(until) };
        self.publish(revocation.into()).await
    }

    /// Tells all nodes that keep a copy of a principal to read it anew.
    pub(super) async fn publish_change(&self, id: &EntityId) -> Result<(), Error> {
        let until = self.accepted_until(self.now() + self.inner.policy.longest_token_lifetime());
        let until = self.kept_until(until);
        self.publish(FeedEvent::EntityChanged { id: id.clone(), until }).await
    }

    /// Returns until when validators accept a token that ends at `expires_at`.
    pub(super) fn accepted_until(&self, expires_at: Timestamp) -> Timestamp {
        expires_at + self.inner.policy.leeway
    }

    /// Adds how much clocks may differ: another node's may be ahead, and a token carry the second
    /// that is to come.
    fn kept_until(&self, accepted_until: Timestamp) -> Timestamp {
        let tolerance = self.inner.policy.rotation_schedule.clock_tolerance;
        accepted_until + tolerance + Duration::from_secs(1)
    }

    /// Applies an event on this node, then publishes it.
    async fn publish(&self, event: FeedEvent) -> Result<(), Error> {
        self.inner.apply(&event);
        self.inner.revocations.purge_if_due(self.now());
        telemetry::revocations_held(self.inner.revocations.len());
        self.inner.stores.publish(event).await
    }
}

impl TokenServiceInner {
    /// Applies an event of this node or another.
    ///
    /// Copies are invalidated after the revocation is known. In the other order, a copy that is read
    /// in between would yield a token that is revoked though its owner logged in later.
    pub(super) fn apply(&self, event: &FeedEvent) {
        match event {
            FeedEvent::Revoked(revocation) => {
                self.revocations.insert(revocation);
                if let Some(id) = logged_out(&revocation.target) {
                    self.stores.invalidate(&id);
                }
            }
            FeedEvent::EntityChanged { id, .. } => self.stores.invalidate(id),
        }
    }
}

/// Returns the machine client whose tokens are all revoked. Its copy is invalidated, too: a token
/// is as old as the copy that it was issued from.
fn logged_out(target: &RevocationTarget) -> Option<EntityId> {
    match target {
        RevocationTarget::SubjectBefore { subject_type: SubjectType::Machine, subject, .. } => {
            EntityId::machine(subject).ok()
        }
        _ => None,
    }
}
