use crate::audit::{Attempt, Operation};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::service::model::authentication_token::AuthenticationToken;
use crate::service::model::session::Session;
use crate::service::recent_events::EndedSession;
use crate::service::request_context::RequestContext;
use crate::service::revoke::of_another_issuer;
use crate::service::session::no_session;
use crate::service::stores::{CompareAndSet, retry_on_conflict};
use crate::service::take_session::new_ending_id;
use crate::service::token_service::TokenService;
use crate::service::writer::Writer;
use crate::token::claims::Validated;
use crate::token::identifier::SessionId;

impl TokenService {
    /// Ends a session and, if the policy says so, revokes the tokens issued from it. The tokens are revoked even if
    /// the session no longer exists.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) if the store is unreachable. The call may be repeated.
    pub async fn end_session(&self, id: &SessionId) -> Result<(), Error> {
        let attempt = Attempt { session: Some(id), ..Attempt::new(Operation::END_SESSION) };
        let id = id.clone();
        self.write(
            attempt.to_owned(),
            |writer| async move { writer.end_session_by_id(&id, None).await },
        )
        .await
    }

    /// Logs out the holder of an access token: revokes the token and, if it was issued from a session, ends that
    /// session as [`end_session`](Self::end_session) does.
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
    /// [`NotFound`](crate::ErrorKind::NotFound) for the token of a trusted issuer, which only that issuer can revoke;
    /// [`Unavailable`](crate::ErrorKind::Unavailable) if the store is unreachable. The call may be repeated.
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
                // Ending the session revokes its tokens, including this one.
                Some(id) if writer.inner.policy.sessions.revoke_tokens_on_end => {
                    writer.end_session_by_id(&id, Some(expires_at)).await
                }
                Some(id) => {
                    // If one of the two operations fails, the other is still done.
                    let revoked = revoking.await;
                    writer.end_session_by_id(&id, Some(expires_at)).await.and(revoked)
                }
                None => revoking.await,
            }
        })
        .await
    }

    /// Logs out the holder of an authentication token: ends its session. If an exchange has used the token up, this
    /// revokes the JWT of that exchange, if it has not expired.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such session, or it belongs to another organization
    /// than `context`'s; [`Unavailable`](crate::ErrorKind::Unavailable) if the store is unreachable.
    pub async fn log_out_customer(
        &self,
        token: &AuthenticationToken,
        context: &RequestContext,
    ) -> Result<(), Error> {
        let attempt = context.attempt(Operation::END_SESSION).to_owned();
        let (token, context) = (token.clone(), context.clone());
        self.write(
            attempt,
            |writer| async move { writer.end_session_of_token(&token, &context).await },
        )
        .await
    }
}

impl Writer {
    /// Ends the session of an authentication token, and revokes the JWTs exchanged from it.
    pub(super) async fn end_session_of_token(
        &self,
        token: &AuthenticationToken,
        context: &RequestContext,
    ) -> Result<(), Error> {
        retry_on_conflict!({
            let session = self.find_kept_session(token, context).await?;
            self.details.session(&session);
            match self.end_as_read(&session).await? {
                CompareAndSet::Written(true) => Ok(CompareAndSet::Written(())),
                CompareAndSet::Written(false) => Err(no_session()),
                CompareAndSet::Conflict => Ok(CompareAndSet::Conflict),
            }
        })
    }

    /// Ends a session that was read before; returns whether it still existed.
    async fn end_as_read(&self, session: &Session) -> Result<CompareAndSet<bool>, Error> {
        // Before the session is removed: after a failure, a retry still finds what to revoke.
        self.revoke_tokens_of(session).await?;
        self.take_session(session).await
    }

    /// Ends a session, of which a token is known that expires at `expires_at`, if it exists: the record may have
    /// been restored to a state before that token was issued.
    async fn end_session_by_id(
        &self,
        id: &SessionId,
        expires_at: Option<Timestamp>,
    ) -> Result<(), Error> {
        let token_until = expires_at.map(|expires_at| self.accepted_until(expires_at));
        let mut removed = self.stores.remove_session(id).await;
        if removed.is_err() {
            self.note_failure_to_revoke();
        }
        if let Ok(Some(session)) = &mut removed {
            self.remember_end(session);
            session.tokens_until = session.tokens_until.max(token_until);
            self.inner.phantom_tokens.remove(&session.key).await;
            let buried = self.bury(session).await;
            // A tombstone does not list the tokens that are still to be revoked after a failure.
            if !session.is_tombstone() {
                return self.revoke_tokens_of(session).await.and(buried);
            }
            buried?;
        }
        // Also if the store is unreachable, so that at least this node rejects them.
        let revoked = if self.inner.policy.sessions.revoke_tokens_on_end {
            let longest = self.accepted_until(self.latest_end_of_tokens());
            self.revoke_session(id, token_until.unwrap_or(longest).max(longest)).await
        } else {
            Ok(())
        };
        removed.and(revoked)
    }

    /// Writes a tombstone of a session that was removed, if it needs one.
    async fn bury(&self, removed: &Session) -> Result<(), Error> {
        let (stores, now) = (&self.stores, self.now());
        let Some(tombstone) = removed.tombstone(new_ending_id()?, now) else { return Ok(()) };
        match CompareAndSet::of(stores.insert_session(tombstone, now).await)? {
            CompareAndSet::Written(()) => return Ok(()),
            CompareAndSet::Conflict => {}
        }
        // The request was repeated meanwhile, and has started another session with the same token.
        retry_on_conflict!({
            match stores.get_session(&removed.key).await? {
                Some(session) if !session.is_used_up() => {
                    self.end_as_read(&session).await.map(|ended| ended.map(drop))
                }
                _ => Ok(CompareAndSet::Written(())),
            }
        })
    }

    /// Ends a session that was ended before, if it exists again: the store may have lost that write.
    pub(in crate::service) async fn end_again(&self, ended: &EndedSession) -> Result<(), Error> {
        retry_on_conflict!({
            let found = self.stores.get_session(&ended.key).await?;
            let back = found.filter(|found| found.id == ended.id && !found.is_tombstone());
            let Some(session) = back else { return Ok(CompareAndSet::Written(())) };
            // Including the JWTs exchanged while it existed again.
            self.end_as_read(&session).await.map(|ended| ended.map(drop))
        })
    }
}
