use crate::audit::{Attempt, Operation};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::service::audit::AuditDetails;
use crate::service::model::session::{AuthenticationToken, Session};
use crate::service::request_context::RequestContext;
use crate::service::session::no_session;
use crate::service::stores::{CompareAndSet, retry_on_conflict};
use crate::service::token_service::TokenService;
use crate::token::identifier::SessionId;

impl TokenService {
    /// Ends a session, and, where the policy says so, the tokens that were exchanged from it: also where
    /// there is no session of that id any more.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) where the store is out of reach. It may be called
    /// again.
    pub async fn end_session(&self, id: &SessionId) -> Result<(), Error> {
        let attempt = Attempt { session: Some(id), ..Attempt::new(Operation::END_SESSION) };
        let ending = async {
            // How long it would have lived is not known.
            self.revoke_tokens_of(id, Timestamp::MAX).await?;
            if let Some(session) = self.inner.stores.remove_session(id).await? {
                self.inner.phantom_tokens.remove(&session.key).await;
            }
            Ok(())
        };
        self.audited(attempt, ending).await
    }

    /// Ends the session that an authentication token stands for: its holder logs out.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) where there is no such session, or it is of another
    /// organization than `context`'s; [`Unavailable`](crate::ErrorKind::Unavailable) where the
    /// store is out of reach.
    pub async fn log_out_customer(
        &self,
        token: &AuthenticationToken,
        context: &RequestContext,
    ) -> Result<(), Error> {
        let details = AuditDetails::default();
        let ending = async {
            retry_on_conflict!({
                let session = self.find_kept_session(token, context).await?;
                details.session(&session);
                // Before the session is removed: who has to try again can still find what to revoke.
                self.revoke_tokens_of(&session.id, session.expires_at).await?;
                self.take_session(&session).await
            })
        };
        self.audited_with(context.attempt(Operation::END_SESSION), &details, ending).await
    }

    /// Takes a session out of the store as it was read.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) where it is there no more.
    pub(in crate::service) async fn take_session(
        &self,
        session: &Session,
    ) -> Result<CompareAndSet<()>, Error> {
        let taken = self.inner.stores.take_session(&session.key, session.version).await;
        // A store that answers too late may have taken it all the same.
        self.inner.phantom_tokens.remove(&session.key).await;
        match taken? {
            CompareAndSet::Written(Some(_)) => Ok(CompareAndSet::Written(())),
            CompareAndSet::Written(None) => Err(no_session()),
            CompareAndSet::Conflict => Ok(CompareAndSet::Conflict),
        }
    }

    /// Revokes, where the policy says so, what was exchanged from a session that would have lived
    /// until then.
    pub(in crate::service) async fn revoke_tokens_of(
        &self,
        id: &SessionId,
        expires_at: Timestamp,
    ) -> Result<(), Error> {
        if self.inner.policy.revoke_tokens_on_session_end {
            self.revoke_session(id, expires_at).await?;
        }
        Ok(())
    }
}
