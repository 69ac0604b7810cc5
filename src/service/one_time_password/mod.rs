//! One-time passwords: made, sent, and, in `verify`, counted and compared.

mod verify;

pub(super) use self::verify::code_invalid;

use std::time::Duration;

use crate::audit::Operation;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::service::model::authentication_token::AuthenticationToken;
use crate::service::model::one_time_password::{OneTimePassword, OneTimePasswordState, StoredCode};
use crate::service::model::session::Session;
use crate::service::one_time_password_sender::OneTimePasswordMessage;
use crate::service::request_context::RequestContext;
use crate::service::session::no_session;
use crate::service::stores::{CompareAndSet, retry_on_conflict};
use crate::service::token_service::TokenService;
use crate::service::writer::Writer;
use crate::token::identifier::SessionId;

/// A code that is to be delivered.
pub(super) struct NewCode {
    code: OneTimePassword,
    expires_at: Timestamp,
}

impl TokenService {
    /// Sends a session's one-time password again: a new code, in place of the one before. Wrong
    /// tries that were counted stay counted.
    ///
    /// Where the code cannot be delivered, the one before is good again, and the session may still
    /// be sent as many; only the policy's `sessions.one_time_password_cooldown` has to pass first.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] where no live session answers to the token, or one of another
    /// organization than `context`'s; [`ErrorKind::Conflict`] where the session needs no one-time
    /// password; [`ErrorKind::Throttled`] within the cool-down, where the policy's
    /// `sessions.one_time_password_resends` have been sent, and where the customer has been sent too many in
    /// all sessions together; [`ErrorKind::Unavailable`] where the code cannot be delivered, or the
    /// store is out of reach.
    pub async fn resend_one_time_password(
        &self,
        token: &AuthenticationToken,
        context: &RequestContext,
    ) -> Result<(), Error> {
        let attempt = context.attempt(Operation::SEND_ONE_TIME_PASSWORD).to_owned();
        let (token, context) = (token.clone(), context.clone());
        self.write(attempt, |writer| async move { writer.try_resend(&token, &context).await }).await
    }

    /// What the session remembers of its code, if another may be sent now.
    fn may_be_sent_again<'a>(
        &self,
        session: &'a Session,
        now: Timestamp,
    ) -> Result<&'a OneTimePasswordState, Error> {
        let throttled = |message: &'static str, wait: Duration| {
            Error::new(ErrorKind::Throttled, message).with_retry_after(wait)
        };
        let state = session.one_time_password.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Conflict, "the session needs no one-time password")
        })?;
        if state.tries_left == 0 {
            return Err(no_session());
        }
        if state.resends_left == 0 {
            let rest = session.expires_at.saturating_since(now);
            let message = "no more one-time passwords are sent for this session: start another";
            return Err(throttled(message, rest));
        }
        // One that seems to be sent later was sent before the clock was put back.
        let cooldown = self.inner.policy.sessions.one_time_password_cooldown;
        let rest = cooldown.saturating_sub(now.saturating_since(state.sent_at));
        if state.sent_at > now || rest.is_zero() {
            Ok(state)
        } else {
            Err(throttled("a one-time password was sent a moment ago", rest))
        }
    }

    /// A code for a new session, and what the session has to remember of it.
    pub(super) fn make_one_time_password(
        &self,
        session: &SessionId,
        now: Timestamp,
    ) -> Result<(NewCode, OneTimePasswordState), Error> {
        let policy = &self.inner.policy;
        let (code, stored) = self.make_code(session, now)?;
        let state = OneTimePasswordState {
            code: Some(stored),
            tries_left: policy.sessions.one_time_password_attempts,
            resends_left: policy.sessions.one_time_password_resends,
            sent_at: now,
            is_proven: false,
        };
        Ok((code, state))
    }

    fn make_code(
        &self,
        session: &SessionId,
        now: Timestamp,
    ) -> Result<(NewCode, StoredCode), Error> {
        let policy = &self.inner.policy;
        let code = OneTimePassword::generate(policy.sessions.one_time_password_digits)?;
        let expires_at = now + policy.sessions.one_time_password_lifetime;
        let digest = self.inner.sealing.digest_code(session.as_str(), code.expose());
        Ok((NewCode { code, expires_at }, StoredCode { digest, expires_at }))
    }

    /// Delivers a code, if the customer has not been sent too many.
    pub(super) async fn deliver_throttled(
        &self,
        session: &Session,
        code: &NewCode,
    ) -> Result<(), Error> {
        let throttle = &self.inner.throttle;
        let keys = throttle.keys_of_sending(&session.subject());
        let permit = throttle.acquire(keys, self.now())?;
        let delivered = self.deliver(session, code).await;
        if delivered.is_err() {
            throttle.give_back(&permit);
        }
        delivered
    }

    pub(super) async fn deliver(&self, session: &Session, code: &NewCode) -> Result<(), Error> {
        let failed = || {
            Error::new(ErrorKind::Unavailable, "the one-time password cannot be delivered")
                .with_reason("not_delivered")
                .with_retry_after(Duration::from_secs(5))
        };
        let sender = self.inner.sender.as_ref().ok_or_else(no_sender)?;
        let message = OneTimePasswordMessage {
            customer_id: session.customer_id.clone(),
            username: session.credential.as_ref().map(|id| id.name().to_owned()),
            organization_id: session.organization_id.clone(),
            session_id: session.id.clone(),
            one_time_password: code.code.clone(),
            expires_at: code.expires_at,
        };
        match tokio::time::timeout(self.inner.policy.sessions.sender_deadline, sender.send(message))
            .await
        {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed().with_source(error)),
            Err(_) => Err(failed().with_source("delivering it took too long")),
        }
    }
}

impl Writer {
    async fn try_resend(
        &self,
        token: &AuthenticationToken,
        context: &RequestContext,
    ) -> Result<(), Error> {
        let now = self.now();
        retry_on_conflict!({
            let session = self.find_live_session(token, context).await?;
            self.details.session(&session);
            let before = self.may_be_sent_again(&session, now)?.clone();
            let (code, stored) = self.make_code(&session.id, now)?;
            let version = session.version;
            let mut renewed = session.next_version(now);
            renewed.one_time_password = Some(OneTimePasswordState {
                code: Some(stored),
                resends_left: before.resends_left - 1,
                sent_at: now,
                ..before
            });
            let written = self.stores.replace_session(renewed.clone(), version, now).await?;
            let CompareAndSet::Written(()) = written else { return Ok(written) };
            let delivered = self.deliver_throttled(&renewed, &code).await;
            if delivered.is_err() {
                self.take_resend_back(renewed, before.code, now).await;
            }
            delivered.map(CompareAndSet::Written)
        })
    }

    /// Makes the code before good again, unless another has been made since. If this fails, the
    /// session has no code until the next one is sent.
    async fn take_resend_back(
        &self,
        renewed: Session,
        code_before: Option<StoredCode>,
        now: Timestamp,
    ) {
        let ours = renewed.one_time_password.as_ref().and_then(|state| state.code.clone());
        let restored = self.edit_one_time_password(renewed, now, |state| {
            let is_ours = matches!((&state.code, &ours), (Some(a), Some(b)) if a.is(b));
            if is_ours {
                state.code.clone_from(&code_before);
                state.resends_left += 1;
            }
            is_ours
        });
        if let Err(error) = restored.await {
            tracing::debug!(%error, "a session waits for its next one-time password");
        }
    }

    /// Edits what a session remembers of its code, although others write it, for as long as `edit` says
    /// that there is something to write.
    async fn edit_one_time_password(
        &self,
        session: Session,
        now: Timestamp,
        edit: impl Fn(&mut OneTimePasswordState) -> bool,
    ) -> Result<(), Error> {
        let stores = &self.stores;
        let mut current = Some(session);
        retry_on_conflict!({
            let nothing_to_write = Ok(CompareAndSet::Written(()));
            let Some(session) = current.take() else { return nothing_to_write };
            let (key, version) = (session.key, session.version);
            let mut edited = session.next_version(now);
            let Some(state) = &mut edited.one_time_password else { return nothing_to_write };
            if !edit(state) {
                return nothing_to_write;
            }
            let written = stores.replace_session(edited, version, now).await?;
            if let CompareAndSet::Conflict = written {
                current = stores.get_session(&key).await?;
            }
            Ok(written)
        })
    }
}

pub(super) fn no_sender() -> Error {
    Error::configuration(
        "a one-time password is wanted, and the service has no one_time_password_sender",
    )
}
