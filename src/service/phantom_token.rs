//! Phantom tokens: short-lived JWTs for requests with an authentication token, issued once and reused until shortly
//! before they expire.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::audit::Operation;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::service::issue::{Grant, new_session_token_id};
use crate::service::model::authentication_token::{AuthenticationToken, SessionKey};
use crate::service::model::session::{Held, Session};
use crate::service::phantom_token_cache::PhantomToken;
use crate::service::request_context::RequestContext;
use crate::service::session::no_session;
use crate::service::session::tokens::NOTED_EVERY;
use crate::service::stores::{CompareAndSet, retry_on_conflict};
use crate::service::telemetry;
use crate::service::token_service::TokenService;
use crate::service::writer::Writer;
use crate::sync::FlightResult;
use crate::token::claims::Validated;
use crate::validate::TokenFault;

/// The share of its lifetime during which a phantom token is reused.
const USED_PERCENT: u32 = 80;

impl TokenService {
    /// Returns a JWT for a session, which is not used up. A cached JWT is returned without a read of the store;
    /// concurrent requests issue one.
    pub(crate) async fn phantom_token(
        &self,
        token: &AuthenticationToken,
    ) -> Result<Arc<PhantomToken>, Error> {
        let ready = self.ready_phantom_token(&token.key()).await;
        if let Some(ready) = ready.filter(|ready| ready.confirmed.load(Ordering::Acquire)) {
            return Ok(ready);
        }
        let token = token.clone();
        // The task issues it for many requests, so it must not end when one caller disconnects.
        self.write_unaudited(|writer| async move { writer.join_phantom_token(&token).await }).await
    }

    pub(super) async fn ready_phantom_token(&self, key: &SessionKey) -> Option<Arc<PhantomToken>> {
        let ready = self.inner.phantom_tokens.ready.get(key).await?;
        let is_usable =
            self.now() < ready.use_until && self.inner.validator.recheck(&ready.validated).is_ok();
        is_usable.then_some(ready)
    }

    fn sign_phantom_token(
        &self,
        session: &Session,
        held: Held,
        now: Timestamp,
    ) -> Result<PhantomToken, Error> {
        let lifetime = self.inner.policy.tokens.phantom_lifetime;
        let expires_at = (now + lifetime).min(session.expires_at);
        let id = new_session_token_id()?;
        let grant = Grant::of_session(session, held);
        let issued = self.issue_time(&grant, now);
        let token = self.sign(grant, id, issued, expires_at.floor_to_second())?;
        telemetry::issued(Operation::PHANTOM_TOKEN.as_str());
        let validated = self.inner.validator.validate(token.expose()).map_err(|fault| {
            let kind = match fault {
                // The session is in its last second, and a JWT expires at a whole second.
                TokenFault::Expired => return no_session(),
                TokenFault::Revoked => ErrorKind::InvalidToken,
                fault if fault.is_temporary() => ErrorKind::Unavailable,
                _ => ErrorKind::Internal,
            };
            Error::new(kind, "a token that was just made is rejected").with_source(fault)
        })?;
        let mut validated = Validated::clone(&validated);
        validated.session_key = Some(*session.key.as_bytes());
        let used = expires_at.saturating_since(now) * USED_PERCENT / 100;
        let mut use_until = now + used;
        // The next use that must be recorded in the session is the one that issues another JWT.
        if let Some(timeout) = self.inner.policy.sessions.idle_timeout
            && session.expires_at < session.latest_end()
        {
            use_until = use_until.min(session.expires_at - timeout + NOTED_EVERY);
        }
        let confirmed = AtomicBool::new(false);
        Ok(PhantomToken { token, validated: Arc::new(validated), use_until, confirmed })
    }
}

impl Writer {
    async fn join_phantom_token(
        &self,
        token: &AuthenticationToken,
    ) -> Result<Arc<PhantomToken>, Error> {
        let key = token.key();
        let phantom_tokens = &self.inner.phantom_tokens;
        let making = async { self.make_phantom_token(token).await.map_err(Arc::new) };
        let (FlightResult::Own(made) | FlightResult::Shared(made)) =
            phantom_tokens.flights.join(key, making).await;
        let made = made.map_err(|error| copy_of(&error))?;
        // The session may have been used up after it was read and before the JWT was cached, and another session may
        // have been started with the same token; the exchange that used it up looked for the JWT too early.
        let found = self.find_open_session(token, &RequestContext::without_address()).await;
        let found = found.and_then(|session| {
            let is_same = made.validated.session_id() == Some(&session.id);
            if is_same { Ok(()) } else { Err(no_session()) }
        });
        if let Err(error) = found {
            phantom_tokens.remove(&key).await;
            return Err(error);
        }
        made.confirmed.store(true, Ordering::Release);
        Ok(made)
    }

    async fn make_phantom_token(
        &self,
        token: &AuthenticationToken,
    ) -> Result<Arc<PhantomToken>, Error> {
        let key = token.key();
        // It may have been issued since the first look-up.
        if let Some(ready) = self.ready_phantom_token(&key).await {
            return Ok(ready);
        }
        let made = retry_on_conflict!({
            // Read before the session: an operation that ends the session later revokes the token, too.
            let now = self.now();
            let session = self.find_open_session(token, &RequestContext::without_address()).await?;
            if session.otp_required() {
                return Err(Error::new(
                    ErrorKind::OneTimePasswordRequired,
                    "the session needs a one-time password: confirm it for a fresh session",
                ));
            }
            let held = self.present_rights(&session).await?;
            let ends = now + self.inner.policy.tokens.phantom_lifetime;
            let noted = self.note_token_of(session, ends, now).await?;
            let CompareAndSet::Written(session) = noted else {
                return Ok(CompareAndSet::Conflict);
            };
            self.sign_phantom_token(&session, held, now).map(CompareAndSet::Written)
        })?;
        let made = Arc::new(made);
        self.inner.phantom_tokens.ready.insert(key, Arc::clone(&made)).await;
        Ok(made)
    }
}

/// Concurrent requests for one token share its error; each returns a copy.
fn copy_of(error: &Arc<Error>) -> Error {
    let copy = Error::new(error.kind(), error.message().to_owned());
    let copy = match error.retry_after() {
        Some(delay) => copy.with_retry_after(delay),
        None => copy,
    };
    copy.with_source(Arc::clone(error))
}
