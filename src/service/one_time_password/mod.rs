//! One-time passwords: generated, delivered and stored here; counted and compared in `verify`.
//!
//! A code is stored once it has been delivered, and replaces the previous one. So the stored code was always sent to
//! the customer, and after any failure the previous one is still valid. Before the delivery, the session is marked
//! as sending, so that of concurrent requests only one sends a code.

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

/// When to retry a start whose code is being delivered at the moment.
const RETRY_AFTER_DELIVERY: Duration = Duration::from_secs(1);

/// Who requests a code, which decides whether it counts towards the limit of codes per customer.
#[derive(Clone, Copy)]
pub(super) enum CodeAskedBy {
    /// The host, without a limit.
    Host,
    Client,
}

impl TokenService {
    /// Sends a session a new one-time password, in place of the previous one. Earlier wrong attempts still count.
    ///
    /// The previous code is valid until the new one has been delivered. If the delivery fails, it does not count
    /// towards the number of resends; only the policy's `sessions.one_time_password_cooldown` applies. If the store
    /// does not report whether it has written a delivered code, one of the two is valid.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if the token has no live session, or its session belongs to another organization than
    /// `context`'s; [`ErrorKind::Conflict`] if the session needs no one-time password; [`ErrorKind::Throttled`]
    /// within the cooldown, after the policy's `sessions.one_time_password_resends`, or if the customer has been sent
    /// too many codes in all sessions together; [`ErrorKind::Unavailable`] if the code cannot be delivered, or the
    /// store is unreachable.
    pub async fn resend_one_time_password(
        &self,
        token: &AuthenticationToken,
        context: &RequestContext,
    ) -> Result<(), Error> {
        let attempt = context.attempt(Operation::SEND_ONE_TIME_PASSWORD).to_owned();
        let (token, context) = (token.clone(), context.clone());
        self.write(attempt, |writer| async move { writer.try_resend(&token, &context).await }).await
    }

    /// Checks that a session may be sent another code now.
    fn check_resend(&self, session: &Session, now: Timestamp) -> Result<(), Error> {
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
        // A code that seems to be sent in the future was sent before the clock was set back.
        let cooldown = self.inner.policy.sessions.one_time_password_cooldown;
        let rest = cooldown.saturating_sub(now.saturating_since(state.sent_at));
        if state.sent_at > now || rest.is_zero() {
            Ok(())
        } else {
            Err(throttled("a one-time password was sent a moment ago", rest))
        }
    }

    /// Returns the one-time password state of a new session, whose code is still to be delivered.
    pub(super) fn new_code_state(&self, now: Timestamp) -> OneTimePasswordState {
        let policy = &self.inner.policy.sessions;
        OneTimePasswordState {
            code: None,
            tries_left: policy.one_time_password_attempts,
            resends_left: policy.one_time_password_resends,
            sent_at: now,
            is_proven: false,
        }
    }

    /// Generates a code for a session and delivers it; returns the code to be stored.
    pub(super) async fn deliver_code(
        &self,
        session: &Session,
        asked_by: CodeAskedBy,
    ) -> Result<StoredCode, Error> {
        let CodeAskedBy::Client = asked_by else { return self.deliver_uncounted(session).await };
        let throttle = &self.inner.throttle;
        let keys = throttle.keys_of_sending(&session.subject());
        let permit = throttle.acquire(keys, self.now())?;
        let delivered = self.deliver_uncounted(session).await;
        if delivered.is_err() {
            throttle.give_back(&permit);
        }
        delivered
    }

    async fn deliver_uncounted(&self, session: &Session) -> Result<StoredCode, Error> {
        let policy = &self.inner.policy.sessions;
        let sender = self.inner.sender.as_ref().ok_or_else(no_sender)?;
        let code = OneTimePassword::generate(policy.one_time_password_digits)?;
        let expires_at = self.now() + policy.one_time_password_lifetime;
        let digest = self.inner.sealing.digest_code(session.id.as_str(), code.expose());
        let message = OneTimePasswordMessage {
            customer_id: session.customer_id.clone(),
            username: session.credential.as_ref().map(|id| id.name().to_owned()),
            organization_id: session.organization_id.clone(),
            session_id: session.id.clone(),
            one_time_password: code,
            expires_at,
        };
        let retry_after = Duration::from_secs(5);
        match tokio::time::timeout(policy.sender_deadline, sender.send(message)).await {
            Ok(Ok(())) => Ok(StoredCode { digest, expires_at }),
            Ok(Err(error)) => Err(not_delivered(retry_after).with_source(error)),
            Err(_) => Err(not_delivered(retry_after).with_source("delivering it took too long")),
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
        let session: Result<Session, Error> = retry_on_conflict!({
            let session = self.find_live_session(token, context).await?;
            self.details.session(&session);
            self.check_resend(&session, now)?;
            self.note_sending(session, now, |state| state.resends_left -= 1).await
        });
        let session = session?;
        match self.deliver_code(&session, CodeAskedBy::Client).await {
            Ok(code) => {
                let written = self.write_delivered_code(session, code, now).await?;
                written.map(drop).ok_or_else(no_session)
            }
            Err(error) => {
                self.give_resend_back(session, now).await;
                Err(error)
            }
        }
    }

    /// Sends the code of a session that was left without one because the delivery or the store failed, or the node
    /// died. An error while the first request may still be delivering it.
    pub(super) async fn send_missing_code(
        &self,
        session: Session,
        asked_by: CodeAskedBy,
    ) -> Result<CompareAndSet<Option<Session>>, Error> {
        let now = self.now();
        let deadline = self.inner.policy.sessions.sender_deadline;
        let sent_at = session.one_time_password.as_ref().map(|state| state.sent_at);
        if sent_at.is_some_and(|sent_at| now.saturating_since(sent_at) < deadline) {
            return Err(not_delivered(RETRY_AFTER_DELIVERY));
        }
        let CompareAndSet::Written(session) = self.note_sending(session, now, |_| ()).await? else {
            return Ok(CompareAndSet::Conflict);
        };
        let code = self.deliver_code(&session, asked_by).await?;
        self.write_delivered_code(session, code, now).await.map(CompareAndSet::Written)
    }

    /// Marks a session as sending a code from `now` on.
    async fn note_sending(
        &self,
        session: Session,
        now: Timestamp,
        edit: impl FnOnce(&mut OneTimePasswordState),
    ) -> Result<CompareAndSet<Session>, Error> {
        let version = session.version;
        let mut noted = session.next_version(now);
        if let Some(state) = &mut noted.one_time_password {
            state.sent_at = now;
            edit(state);
        }
        let written = self.stores.replace_session(noted.clone(), version, now).await?;
        Ok(written.map(|()| noted))
    }

    /// Stores a delivered code in place of the previous one; returns the session, if it still exists.
    pub(super) async fn write_delivered_code(
        &self,
        session: Session,
        code: StoredCode,
        now: Timestamp,
    ) -> Result<Option<Session>, Error> {
        self.edit_one_time_password(session, now, |state| {
            state.code = Some(code.clone());
            true
        })
        .await
    }

    /// Restores a resend: a code that was not delivered does not count. If this fails, the session has one fewer.
    async fn give_resend_back(&self, session: Session, now: Timestamp) {
        let limit = self.inner.policy.sessions.one_time_password_resends;
        let given_back = self.edit_one_time_password(session, now, |state| {
            state.resends_left = limit.min(state.resends_left + 1);
            true
        });
        if let Err(error) = given_back.await {
            tracing::debug!(%error, "one-time passwords: a failed delivery still counts, the session has one resend fewer");
        }
    }

    /// Updates the one-time password state of a session, despite concurrent writers; returns the session as written.
    /// Writes nothing if `edit` declines, or the session has ended.
    async fn edit_one_time_password(
        &self,
        session: Session,
        now: Timestamp,
        edit: impl Fn(&mut OneTimePasswordState) -> bool,
    ) -> Result<Option<Session>, Error> {
        let stores = &self.stores;
        let (key, id) = (session.key, session.id.clone());
        let mut current = Some(session);
        retry_on_conflict!({
            let nothing_to_write = Ok(CompareAndSet::Written(None));
            let Some(session) = current.take() else { return nothing_to_write };
            let version = session.version;
            let mut edited = session.next_version(now);
            let Some(state) = &mut edited.one_time_password else { return nothing_to_write };
            if !edit(state) {
                return nothing_to_write;
            }
            let written = stores.replace_session(edited.clone(), version, now).await?;
            if let CompareAndSet::Conflict = written {
                // Another session may have been started with the same token.
                current = stores.get_session(&key).await?.filter(|current| current.id == id);
            }
            Ok(written.map(|()| Some(edited)))
        })
    }
}

fn not_delivered(retry_after: Duration) -> Error {
    Error::new(ErrorKind::Unavailable, "the one-time password cannot be delivered")
        .with_reason("not_delivered")
        .with_retry_after(retry_after)
}

pub(super) fn no_sender() -> Error {
    Error::configuration(
        "a one-time password is wanted, and the service has no one_time_password_sender",
    )
}
