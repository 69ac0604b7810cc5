//! Taking back tokens before they expire.

use crate::clock::Timestamp;
use crate::domain::claims::SubjectType;
use crate::domain::identifier::{SessionId, TokenId};
use crate::domain::revocation::{Revocation, RevocationTarget};
use crate::error::Error;
use crate::service::token_service::TokenService;

impl TokenService {
    /// Takes back one token by its `jti`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where the store is out of reach.
    pub async fn revoke_token(&self, id: &TokenId) -> Result<(), Error> {
        self.revoke(RevocationTarget::Token(id.clone())).await
    }

    /// Takes back all tokens that were exchanged from a session.
    ///
    /// # Errors
    ///
    /// Those of [`revoke_token`](Self::revoke_token).
    pub async fn revoke_session(&self, id: &SessionId) -> Result<(), Error> {
        self.revoke(RevocationTarget::Session(id.clone())).await
    }

    /// Takes back all tokens of a subject that were issued before an instant.
    ///
    /// # Errors
    ///
    /// Those of [`revoke_token`](Self::revoke_token).
    pub async fn revoke_subject(
        &self,
        subject_type: SubjectType,
        subject: &str,
        before: Timestamp,
    ) -> Result<(), Error> {
        let subject = subject.to_owned();
        self.revoke(RevocationTarget::SubjectBefore { subject_type, subject, before }).await
    }

    /// Effective on this node before it returns. It is published for others, which do not read it yet.
    async fn revoke(&self, target: RevocationTarget) -> Result<(), Error> {
        let policy = &self.parts.policy;
        let now = self.now();
        let until = now + policy.longest_token_lifetime() + policy.leeway;
        let revocation = Revocation { target, until };
        self.within_deadline(self.parts.sessions.revoke(revocation.clone())).await?;
        self.parts.revocations.insert(&revocation);
        if self.parts.revocations.purge_if_due(now) {
            // The revocation stands whether or not the store is tidied up.
            let _ = self.within_deadline(self.parts.sessions.purge_expired(now)).await;
        }
        Ok(())
    }
}
