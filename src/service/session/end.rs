use crate::audit::{Attempt, Operation};
use crate::error::Error;
use crate::service::audit::AuditDetails;
use crate::service::detached::run_to_completion;
use crate::service::model::session::{AuthenticationToken, Session};
use crate::service::request_context::RequestContext;
use crate::service::revoke::of_another_issuer;
use crate::service::session::no_session;
use crate::service::stores::{CompareAndSet, retry_on_conflict};
use crate::service::token_service::TokenService;
use crate::token::claims::Validated;
use crate::token::identifier::SessionId;

impl TokenService {
    /// Ends a session, and, where the policy says so, the tokens that were issued from it: also where
    /// there is no session of that id any more.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) where the store is out of reach. It may be called
    /// again.
    pub async fn end_session(&self, id: &SessionId) -> Result<(), Error> {
        let attempt = Attempt { session: Some(id), ..Attempt::new(Operation::END_SESSION) };
        self.audited(attempt, self.try_end_session(id)).await
    }

    async fn try_end_session(&self, id: &SessionId) -> Result<(), Error> {
        let (tokens, id) = (self.clone(), id.clone());
        // Seen through: who finds the session gone has its tokens revoked for the longest time.
        run_to_completion(async move {
            let removed = tokens.inner.stores.remove_session(&id).await;
            if let Ok(Some(session)) = removed {
                tokens.inner.phantom_tokens.remove(&session.key).await;
                return tokens.revoke_tokens_of(&session).await;
            }
            // Also where the store is out of reach: on this node at least, they are revoked.
            let revoked = if tokens.inner.policy.sessions.revoke_tokens_on_end {
                let longest = tokens.now() + tokens.inner.policy.longest_token_lifetime();
                tokens.revoke_session(&id, tokens.accepted_until(longest)).await
            } else {
                Ok(())
            };
            removed.and(revoked)
        })
        .await
    }

    /// Logs the holder of an access token out: revokes the token and, where it came of a session, ends
    /// that as [`end_session`](Self::end_session) does.
    ///
    /// ```
    /// # #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))] {
    /// use countersign::{Bearer, Error, TokenService};
    ///
    /// async fn log_out(tokens: TokenService, Bearer(caller): Bearer) -> Result<(), Error> {
    ///     tokens.log_out(&caller).await
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) for the token of a trusted issuer, which that issuer
    /// revokes; [`Unavailable`](crate::ErrorKind::Unavailable) where the
    /// store is out of reach. It may be called again.
    pub async fn log_out(&self, bearer: &Validated) -> Result<(), Error> {
        let attempt = Attempt::with(Operation::LOG_OUT, bearer);
        let ending = async {
            if !self.is_own(bearer) {
                return Err(of_another_issuer());
            }
            // Where one of the two cannot be done, the other is.
            let revoked = self.revoke_token_until(bearer.token_id(), bearer.expires_at()).await;
            if let Some(session_id) = bearer.session_id() {
                self.try_end_session(session_id).await?;
            }
            revoked
        };
        self.audited(attempt, ending).await
    }

    /// Ends the session that an authentication token stands for: its holder logs out. Where an exchange
    /// has used the token up, this revokes what it was exchanged for, as long as that lives.
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
                self.revoke_tokens_of(&session).await?;
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
    async fn take_session(&self, session: &Session) -> Result<CompareAndSet<()>, Error> {
        let taken = self.inner.stores.take_session(&session.key, session.version).await;
        // A store that answers too late may have taken it all the same.
        self.inner.phantom_tokens.remove(&session.key).await;
        match taken? {
            CompareAndSet::Written(Some(_)) => Ok(CompareAndSet::Written(())),
            CompareAndSet::Written(None) => Err(no_session()),
            CompareAndSet::Conflict => Ok(CompareAndSet::Conflict),
        }
    }
}
