//! Ending the sessions of a subject, and revoking what was issued from them.

use crate::clock::Timestamp;
use crate::error::Error;
use crate::service::model::issue_time::IssueTime;
use crate::service::model::revocation::RevocationTarget;
use crate::service::model::session::{Session, Starter};
use crate::service::model::subject::{Subject, SubjectRef};
use crate::service::revoke::{Cutoff, EndedSessions};
use crate::service::store::Cursor;
use crate::service::stores::{CompareAndSet, MAX_ATTEMPTS, unavailable};
use crate::service::token_service::TokenService;
use crate::service::writer::Writer;
use crate::token::claims::SubjectType;
use crate::token::identifier::SessionId;

/// How many sessions are read at a time to be ended.
const SESSIONS_AT_ONCE: usize = 100;

/// What came of reading all sessions of a subject once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    /// None was to be ended. `in_one_part` is whether all were read at once.
    NothingLeft { in_one_part: bool },
    /// Some were ended, and others may have come or been written meanwhile.
    ReadAgain,
}

impl Writer {
    /// Ends the sessions of a subject, a part at a time; returns how many of them were live.
    ///
    /// Others may be started or written meanwhile, so they are read again until none is left that is to be ended.
    pub(super) async fn end_sessions_of(
        &self,
        subject: &Subject,
        cutoff: Cutoff,
    ) -> Result<usize, Error> {
        let (mut ended, mut was_clean) = (0, false);
        for _ in 0..MAX_ATTEMPTS {
            match self.end_sessions_once(subject, cutoff, &mut ended).await? {
                // A session that was written between two parts may have been in neither of them.
                Round::NothingLeft { in_one_part } if in_one_part || was_clean => return Ok(ended),
                Round::NothingLeft { .. } => was_clean = true,
                Round::ReadAgain => was_clean = false,
            }
        }
        Err(unavailable("too many writers of one record at once"))
    }

    /// Reads the sessions of a subject once, and ends what it can of them, although one of them cannot be ended.
    async fn end_sessions_once(
        &self,
        subject: &Subject,
        cutoff: Cutoff,
        ended: &mut usize,
    ) -> Result<Round, Error> {
        let started_before = match cutoff.sessions {
            EndedSessions::Revoked => self.issued_before(cutoff),
            EndedSessions::All => Timestamp::MAX,
        };
        // Others were started since, by somebody who knows that all before were revoked.
        let is_to_end = |session: &Session| {
            session.created_at < started_before
                && (cutoff.sessions == EndedSessions::All || self.was_ended(session))
        };
        let (mut round, mut failed) = (Round::NothingLeft { in_one_part: true }, Ok(()));
        let mut after = Cursor::START;
        loop {
            let reading = self.stores.sessions_of_subject(subject, &after, SESSIONS_AT_ONCE);
            let part = reading.await?;
            let (mut any_done, mut error_of_part) = (false, None);
            for session in part.sessions.iter().filter(|session| is_to_end(session)) {
                round = Round::ReadAgain;
                match self.take_session_of(subject, session).await {
                    Ok(is_taken) => {
                        any_done = true;
                        *ended += usize::from(is_taken && session.expires_at > self.now());
                    }
                    Err(error) => error_of_part = Some(error),
                }
                // A store in memory never lets others through by itself.
                tokio::task::yield_now().await;
            }
            match error_of_part {
                // The store does nothing any more.
                Some(error) if !any_done => return Err(error),
                Some(error) => failed = Err(error),
                None => {}
            }
            let Some(next) = part.next else { return failed.map(|()| round) };
            if round != Round::ReadAgain {
                round = Round::NothingLeft { in_one_part: false };
            }
            after = next;
        }
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
