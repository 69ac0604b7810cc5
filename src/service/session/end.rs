use crate::audit::{Attempt, Operation};
use crate::error::Error;
use crate::service::model::authentication_token::AuthenticationToken;
use crate::service::request_context::RequestContext;
use crate::service::revoke::of_another_issuer;
use crate::service::session::no_session;
use crate::service::stores::{CompareAndSet, retry_on_conflict};
use crate::service::token_service::TokenService;
use crate::service::writer::Writer;
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
        let id = id.clone();
        self.write(attempt.to_owned(), |writer| async move { writer.end_session_by_id(&id).await })
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
        let (is_own, expires_at) = (self.is_own(bearer), bearer.expires_at());
        let (token, session) = (bearer.token_id().clone(), bearer.session_id().cloned());
        self.write(attempt.to_owned(), move |writer| async move {
            if !is_own {
                return Err(of_another_issuer());
            }
            let revoking = writer.revoke_token_until(&token, expires_at);
            match session {
                // Its token is revoked with it.
                Some(id) if writer.inner.policy.sessions.revoke_tokens_on_end => {
                    writer.end_session_by_id(&id).await
                }
                Some(id) => {
                    // Where one of the two cannot be done, the other is.
                    let revoked = revoking.await;
                    writer.end_session_by_id(&id).await.and(revoked)
                }
                None => revoking.await,
            }
        })
        .await
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
        let attempt = context.attempt(Operation::END_SESSION).to_owned();
        let (token, context) = (token.clone(), context.clone());
        self.write(attempt, |writer| async move {
            retry_on_conflict!({
                let session = writer.find_kept_session(&token, &context).await?;
                writer.details.session(&session);
                // Before the session is removed: who has to try again can still find what to revoke.
                writer.revoke_tokens_of(&session).await?;
                match writer.take_session(&session).await? {
                    CompareAndSet::Written(true) => Ok(CompareAndSet::Written(())),
                    CompareAndSet::Written(false) => Err(no_session()),
                    CompareAndSet::Conflict => Ok(CompareAndSet::Conflict),
                }
            })
        })
        .await
    }
}

impl Writer {
    async fn end_session_by_id(&self, id: &SessionId) -> Result<(), Error> {
        let removed = self.stores.remove_session(id).await;
        if let Ok(Some(session)) = &removed {
            self.inner.phantom_tokens.remove(&session.key).await;
            let buried = self.bury(session).await;
            // A tombstone does not know what is still to be revoked, where that has failed before.
            if !session.is_tombstone() {
                return self.revoke_tokens_of(session).await.and(buried);
            }
            buried?;
        }
        // Also where the store is out of reach: on this node at least, they are revoked.
        let revoked = if self.inner.policy.sessions.revoke_tokens_on_end {
            let longest = self.now() + self.inner.policy.longest_token_lifetime();
            self.revoke_session(id, self.accepted_until(longest)).await
        } else {
            Ok(())
        };
        removed.and(revoked)
    }
}
