//! Ending the sessions of a subject, and revoking what was issued from them.

use crate::clock::Timestamp;
use crate::error::Error;
use crate::service::model::issue_time::IssueTime;
use crate::service::model::revocation::RevocationTarget;
use crate::service::model::session::{Session, Starter};
use crate::service::model::subject::{Subject, SubjectRef};
use crate::service::revoke::{Cutoff, EndedSessions};
use crate::service::stores::{CompareAndSet, MAX_ATTEMPTS, unavailable};
use crate::service::token_service::TokenService;
use crate::service::writer::Writer;
use crate::token::claims::SubjectType;
use crate::token::identifier::SessionId;

/// How many sessions are read at a time to be ended.
const SESSIONS_AT_ONCE: usize = 100;

impl Writer {
    /// Ends the sessions of a subject, a part at a time; returns how many of them were live.
    pub(super) async fn end_sessions_of(
        &self,
        subject: &Subject,
        cutoff: Cutoff,
    ) -> Result<usize, Error> {
        let stores = &self.stores;
        let started_before = match cutoff.sessions {
            EndedSessions::Revoked => self.issued_before(cutoff),
            EndedSessions::All => Timestamp::MAX,
        };
        let is_spared = |session: &Session| {
            cutoff.sessions == EndedSessions::Revoked && !self.was_ended(session)
        };
        let (mut ended, mut spared, mut parts_in_vain) = (0, 0, 0);
        while parts_in_vain < MAX_ATTEMPTS {
            let limit = SESSIONS_AT_ONCE + spared;
            let mut part = stores.sessions_of_subject(subject, started_before, limit).await?;
            let read = part.len();
            // Those that were started since, by somebody who knows that all before were revoked.
            part.retain(|session| !is_spared(session));
            spared = read - part.len();
            if part.is_empty() && read < limit {
                return Ok(ended);
            }
            // All that can be ended is, although one of them cannot.
            let (mut taken, mut failed) = (false, Ok(()));
            for session in part {
                match self.take_session_of(subject, &session).await {
                    Ok(is_taken) => {
                        taken |= is_taken;
                        ended += usize::from(is_taken && session.expires_at > self.now());
                    }
                    Err(error) => failed = Err(error),
                }
                // A store in memory never lets others through by itself.
                tokio::task::yield_now().await;
            }
            failed?;
            parts_in_vain = if taken { 0 } else { parts_in_vain + 1 };
        }
        Err(unavailable("too many writers of one record at once"))
    }

    /// Ends a session as it was read; returns whether it was still so. One that somebody else has
    /// written since is in the next part.
    async fn take_session_of(&self, subject: &Subject, session: &Session) -> Result<bool, Error> {
        // The tokens of a customer's own sessions are the customer's, and revoked as such; but for those
        // that were issued after an instant that has passed.
        let contains = |issued| self.inner.revocations.contains_issued(subject.borrowed(), issued);
        let are_revoked = subject.subject_type() == SubjectType::Customer
            && contains(IssueTime::at(self.now()))
            && contains(session.issue_time());
        if !are_revoked {
            self.revoke_tokens_of(session).await?;
        }
        Ok(matches!(self.take_session(session).await?, CompareAndSet::Written(true)))
    }

    /// Revokes, if the policy says so, what was issued from a session, for as long as it may live.
    pub(in crate::service) async fn revoke_tokens_of(
        &self,
        session: &Session,
    ) -> Result<(), Error> {
        // The clock of a node that accepts them may be behind.
        let now = self.inner.stores.clock().earliest_now();
        let live = session.tokens_until.filter(|until| self.kept_until(*until) > now);
        match live {
            Some(until) if self.inner.policy.sessions.revoke_tokens_on_end => {
                self.revoke_session(&session.id, until).await
            }
            _ => Ok(()),
        }
    }

    /// Revokes what was issued from a session, of which no token is accepted after `until`.
    pub(in crate::service) async fn revoke_session(
        &self,
        id: &SessionId,
        until: Timestamp,
    ) -> Result<(), Error> {
        self.remember(RevocationTarget::Session(id.clone()), until).await
    }
}

impl TokenService {
    /// Returns whether it was ended and is still there: because it was being written at that
    /// moment, or because the store could not be reached.
    pub(in crate::service) fn was_ended(&self, session: &Session) -> bool {
        let revocations = &self.inner.revocations;
        let customer = SubjectRef {
            subject_type: SubjectType::Customer,
            organization_id: session.organization_id(),
            id: session.customer_id.as_str(),
        };
        let starter_is_revoked = |starter: &Starter| {
            revocations.contains_issued(starter.subject.borrowed(), starter.token_issued)
        };
        revocations.contains_session(&session.id)
            || revocations.contains_issued(customer, session.issue_time())
            || session.starter.as_ref().is_some_and(starter_is_revoked)
    }
}
