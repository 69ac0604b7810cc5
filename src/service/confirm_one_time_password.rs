//! Logs in with the second factor: a right one-time password replaces the session that required it by a fresh one,
//! with a fresh authentication token (ASVS 7.2.4).
//!
//! Two records change, which a store may keep on two servers, so one atomic write of both is not possible. The order
//! of steps ensures that one session remains:
//!
//! 1. The attempt is counted, then the code is compared, as in an exchange.
//! 2. The fresh session is written. Its token is not known to anyone yet, and the store has only its digest: if
//!    the node dies here, nobody can use the record, and the old session is unchanged.
//! 3. The old session is marked as used up, by a conditional write over the version that was read. This is the
//!    point of no return: of all concurrent confirmations, exchanges and password changes with one code, exactly one
//!    has this version. The others remove the record of step 2.
//! 4. The token of the fresh session is returned for the first time.
//!
//! In the other order, a crash in between would cost the customer the session.
//!
//! Nothing is revoked, since a revocation could fail after the point of no return: a session from which a JWT was
//! exchanged cannot be confirmed.
//!
//! An operation that ends the customer's sessions at the same time misses none. It finds the old session live, so
//! that step 3 fails; or it finds it used up, and then the fresh one was stored before. The fresh one carries the
//! time of the original login, so that a revocation up to an instant includes it.

use crate::audit::Operation;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::service::issue::new_session_token_id;
use crate::service::model::authentication_token::AuthenticationToken;
use crate::service::model::one_time_password::OneTimePassword;
use crate::service::model::session::Session;
use crate::service::request_context::RequestContext;
use crate::service::session::new::StartedSession;
use crate::service::session::no_session;
use crate::service::stores::{CompareAndSet, retry_on_conflict};
use crate::service::token_service::TokenService;
use crate::service::writer::Writer;
use crate::token::identifier::SessionId;

impl TokenService {
    /// Ends a session that requires a one-time password, and returns a fresh session that does not: the customer is
    /// logged in. The fresh session has its own token and id. Its customer, organization, ACL, custom claims, expiry
    /// and starter are those of the old session.
    ///
    /// Use it to log a browser in: from then on, its cookie holds the fresh session's token, which an
    /// [`ExchangeLayer`](crate::ExchangeLayer) accepts. To get a JWT instead, pass the code to
    /// [`exchange`](Self::exchange).
    ///
    /// ```
    /// # use countersign::{AuthenticationToken, Error, RequestContext, TokenService};
    /// # async fn use_it(
    /// #     tokens: TokenService, token: AuthenticationToken, code: &str, context: RequestContext,
    /// # ) -> Result<(), Error> {
    /// let fresh = tokens.confirm_one_time_password(&token, code, &context).await?;
    /// let customer = fresh.session.proven()?.customer_id().clone();
    /// // `fresh.token` goes into the cookie, in place of `token`.
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if the token has no live session, or its session belongs to another organization than
    /// `context`'s; [`ErrorKind::Conflict`] if the session needs no one-time password, or a JWT was exchanged from
    /// it, which would outlive it; [`ErrorKind::InvalidFields`] if the code is malformed;
    /// [`ErrorKind::OneTimePasswordInvalid`] if it is wrong, used or expired; [`ErrorKind::Throttled`] after too many
    /// wrong codes in the customer's sessions; [`ErrorKind::Unavailable`] if the store is unreachable. After these
    /// errors, the code is still valid, with two exceptions: the last allowed wrong code ends the session, and a
    /// store that replies too late may have completed the operation.
    pub async fn confirm_one_time_password(
        &self,
        token: &AuthenticationToken,
        code: impl Into<String>,
        context: &RequestContext,
    ) -> Result<StartedSession, Error> {
        let code = OneTimePassword::presented(code);
        let attempt = context.attempt(Operation::CONFIRM_ONE_TIME_PASSWORD).to_owned();
        let (token, context) = (token.clone(), context.clone());
        self.write(
            attempt,
            |writer| async move { writer.try_confirm(&token, &code, &context).await },
        )
        .await
    }
}

impl Writer {
    async fn try_confirm(
        &self,
        token: &AuthenticationToken,
        code: &OneTimePassword,
        context: &RequestContext,
    ) -> Result<StartedSession, Error> {
        if let Some(fault) = self.code_fault(code) {
            return Err(Error::from_invalid_fields(vec![fault]));
        }
        let mut accepted = None;
        let confirmed: Result<StartedSession, Error> = retry_on_conflict!({
            let session = self.find_live_session(token, context).await?;
            self.details.session(&session);
            if !session.otp_required() {
                let problem = "the session needs no one-time password";
                return Err(Error::new(ErrorKind::Conflict, problem));
            }
            if session.tokens_until.is_some() {
                let problem = "a JWT was exchanged from the session: start another";
                return Err(Error::new(ErrorKind::Conflict, problem));
            }
            // Fails if the credential that started the session is no longer valid for it.
            self.present_rights(&session).await?;
            let checked = self.check_one_time_password(session, Some(code), &mut accepted).await?;
            let CompareAndSet::Written(session) = checked else {
                return Ok(CompareAndSet::Conflict);
            };
            self.succeed(session).await
        });
        confirmed.inspect(|started| self.details.fresh_session(started.session.record().id()))
    }

    /// Replaces a session whose code was right by a fresh one.
    async fn succeed(&self, session: Session) -> Result<CompareAndSet<StartedSession>, Error> {
        let now = self.now();
        let succeeded = self.try_succeed(session.clone(), now).await;
        if succeeded.is_err() {
            // If the code was spent nevertheless, this changes nothing.
            self.give_try_back(session, now).await;
        }
        succeeded
    }

    async fn try_succeed(
        &self,
        session: Session,
        now: Timestamp,
    ) -> Result<CompareAndSet<StartedSession>, Error> {
        let (key, version) = (session.key, session.version);
        let token = AuthenticationToken::generate()?;
        let fresh = session.clone().succeeded_by(token.key(), new_session_id()?, now);
        let fresh = fresh.used_at(now, self.inner.policy.sessions.idle_timeout);
        let used_up = session.used_up(new_session_token_id()?, None, now);
        let stores = &self.stores;
        let succeeding = async {
            stores.insert_session(fresh.clone(), now).await?;
            let written = stores.replace_session(used_up, version, now).await;
            // A store that replies too late may have completed the write.
            self.inner.phantom_tokens.remove(&key).await;
            let CompareAndSet::Written(()) = written? else { return Ok(CompareAndSet::Conflict) };
            if self.was_ended(&fresh) {
                return Err(no_session().with_reason("ended_meanwhile"));
            }
            Ok(CompareAndSet::Written(()))
        };
        let succeeded = succeeding.await;
        if !matches!(succeeded, Ok(CompareAndSet::Written(()))) {
            // If this fails, a record whose token nobody knows stays until it expires.
            if let Err(error) = stores.remove_session(&fresh.id).await {
                tracing::debug!(%error, "sessions: a session whose token nobody has is not removed, it stays until it expires");
            }
        }
        Ok(succeeded?.map(|()| StartedSession::new(token, fresh, now)))
    }
}

fn new_session_id() -> Result<SessionId, Error> {
    SessionId::new(uuid::Uuid::new_v4().to_string())
}
