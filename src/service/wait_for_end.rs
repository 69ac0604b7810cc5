//! Waits for the end of a token or session, for connections that outlive a request.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::service::model::authentication_token::SessionKey;
use crate::service::phantom_token_cache::PhantomToken;
use crate::service::stores::{CompareAndSet, retry_on_conflict};
use crate::service::token_service::TokenService;
use crate::service::writer::Writer;
use crate::token::claims::Validated;
use crate::validate::TokenFault;
use crate::validate::revocations::Revocations as _;

/// The maximum time between two checks of a token: clocks may be set, machines may sleep, and keys may be retired
/// without a notification.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The number of retries of a check within the time for which an outage is tolerated.
const TRIES_IN_OUTAGE: u32 = 6;

/// Why a token has ended; returned by [`TokenService::wait_for_end`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenEnd {
    /// The token or its session has expired, or whether it is still accepted could not be determined for
    /// [`runtime.max_revocation_staleness`](crate::policy::Runtime::max_revocation_staleness).
    Expired,
    /// The token was revoked, since its holder has logged out or lost permissions. Or the service rejects it for
    /// another reason, such as a retired key.
    Revoked,
}

impl TokenService {
    /// Waits until a token expires or is revoked: for a WebSocket or a stream of events that a request has opened,
    /// which must not outlive the caller's permissions.
    ///
    /// The future completes within milliseconds of a revocation on any node, when the caller's next request would be
    /// rejected, and within a minute if this node knows another reason: a [retired key](Self::retire_key), or one
    /// that a trusted issuer no longer publishes. For a token that the service does not accept, it completes at once.
    /// Waiting for a token costs no read of a store. The future may be dropped, as in a `select!`, and borrows
    /// nothing, so that a stream can own it, as with `take_until`. It needs a tokio runtime.
    ///
    /// # In an outage
    ///
    /// A stream outlives a short outage, in which requests are rejected with a 503: other nodes' revocations have
    /// not been read for [`runtime.max_revocation_staleness`](crate::policy::Runtime::max_revocation_staleness),
    /// keys cannot be fetched, or the session cannot be read. The outage is noticed within a minute. If it lasts for
    /// `max_revocation_staleness` from then on, the future returns [`TokenEnd::Expired`].
    ///
    /// # Behind a session
    ///
    /// For a caller whom an [`ExchangeLayer`](crate::ExchangeLayer) has admitted by an authentication token, this
    /// waits for the end of the session: its log-out, its expiry, or its
    /// [`sessions.idle_timeout`](crate::policy::Sessions::idle_timeout). A retired key does not end it. Waiting
    /// does not count as a use: a session
    /// without requests reaches its idle timeout although a stream is open.
    ///
    /// The session is read once per [`tokens.phantom_lifetime`](crate::policy::Tokens::phantom_lifetime), unless
    /// requests have done so meanwhile. An end without a revocation is therefore noticed that late: an exchange that
    /// uses the session up, and a log-out without
    /// [`sessions.revoke_tokens_on_end`](crate::policy::Sessions::revoke_tokens_on_end).
    ///
    /// For a JWT, the wait ends when the JWT does, even if its session goes on; so it does for the JWT of a
    /// [`ValidateLayer`](crate::ValidateLayer) behind an `ExchangeLayer`.
    ///
    /// ```
    /// # async fn next_message() -> Option<String> { None }
    /// # async fn send(_: String) {}
    /// use std::sync::Arc;
    ///
    /// use countersign::{TokenService, Validated};
    ///
    /// // `caller` is the `validated()` of a `Bearer` or a `Caller`.
    /// async fn serve(tokens: TokenService, caller: &Arc<Validated>) {
    ///     let ended = tokens.wait_for_end(caller);
    ///     tokio::pin!(ended);
    ///     loop {
    ///         tokio::select! {
    ///             _ = &mut ended => break, // close the socket
    ///             message = next_message() => match message {
    ///                 Some(message) => send(message).await,
    ///                 None => break,
    ///             },
    ///         }
    ///     }
    /// }
    /// ```
    pub fn wait_for_end(
        &self,
        token: &Arc<Validated>,
    ) -> impl Future<Output = TokenEnd> + Send + 'static + use<> {
        let (tokens, token) = (self.clone(), Arc::clone(token));
        async move { tokens.watch_for_end(&token).await }
    }

    async fn watch_for_end(&self, token: &Validated) -> TokenEnd {
        let session = token.session_key.filter(|_| self.is_own(token)).map(SessionKey::from_bytes);
        let longest_outage = self.inner.policy.runtime.max_revocation_staleness;
        let mut good_until = token.expires_at();
        let mut outage: Option<Outage> = None;
        loop {
            // Subscribed before the token is checked: a revocation that is added meanwhile ends the wait.
            let added = self.inner.revocations.next_added();
            tokio::pin!(added);
            added.as_mut().enable();
            let mut is_good = match self.check_waiting(token, session.is_some()) {
                Ok(()) => true,
                Err(fault) if fault.is_temporary() => false,
                Err(TokenFault::Expired) => return TokenEnd::Expired,
                Err(_) => return TokenEnd::Revoked,
            };
            let has_ended = good_until <= self.now();
            // Revocations end the wait at once, but cause no retry before its time.
            let is_due = outage.is_none_or(|outage| outage.next_try <= Instant::now());
            match &session {
                None if has_ended => return TokenEnd::Expired,
                Some(key) if has_ended && is_good && is_due => {
                    match self.look_at_session(token, key).await {
                        Ok(SessionLook::LivesUntil(end)) => good_until = end,
                        Ok(SessionLook::Ended(end)) => return end,
                        Err(_) => is_good = false,
                    }
                }
                _ => {}
            }
            if is_due {
                let since = outage.map_or_else(Instant::now, |outage| outage.since);
                if !is_good && since.elapsed() >= longest_outage {
                    return TokenEnd::Expired;
                }
                let next_try = Instant::now() + longest_outage / TRIES_IN_OUTAGE;
                outage = (!is_good).then_some(Outage { since, next_try });
            }
            let rest = good_until.saturating_since(self.now()).min(LONGEST_WAIT);
            let wake_at = outage.map_or_else(|| Instant::now() + rest, |outage| outage.next_try);
            let _ = tokio::time::timeout_at(wake_at, added).await;
        }
    }

    /// Checks the state of a token that may have changed since its validation. A session outlives the phantom tokens
    /// that are issued for it, and their keys.
    fn check_waiting(&self, token: &Validated, is_of_session: bool) -> Result<(), TokenFault> {
        if !is_of_session {
            return self.inner.validator_with_trusted_issuers.recheck(token);
        }
        if self.inner.revocations.contains(token) {
            return Err(TokenFault::Revoked);
        }
        self.check_revocations_are_known().map_err(|_| TokenFault::RevocationsUnavailable)
    }

    /// Returns the time until which the token's session is known to be live, or how it has ended.
    async fn look_at_session(
        &self,
        token: &Validated,
        key: &SessionKey,
    ) -> Result<SessionLook, Error> {
        let ready = self.ready_phantom_token(key).await;
        let is_confirmed = |ready: &PhantomToken| ready.confirmed.load(Ordering::Acquire);
        if let Some(ready) = ready.filter(|ready| is_confirmed(ready))
            && ready.validated.session_id() == token.session_id()
            && ready.validated.expires_at() > self.now()
        {
            return Ok(SessionLook::LivesUntil(ready.validated.expires_at()));
        }
        retry_on_conflict!({
            let now = self.now();
            let found = self.inner.stores.get_session(key).await?;
            let found = found.filter(|session| Some(session.id()) == token.session_id());
            let session = match found {
                Some(session) if !session.is_used_up() && !self.was_ended(&session) => session,
                _ => return Ok(CompareAndSet::Written(SessionLook::Ended(TokenEnd::Revoked))),
            };
            if session.expires_at <= now {
                return Ok(CompareAndSet::Written(SessionLook::Ended(TokenEnd::Expired)));
            }
            let next = session.expires_at.min(now + self.inner.policy.tokens.phantom_lifetime);
            let noting = move |writer: Writer| async move {
                writer.note_listener_of(session, next, now).await
            };
            let noted = self.write_unaudited(noting).await?;
            Ok(noted.map(|()| SessionLook::LivesUntil(next)))
        })
    }
}

/// An outage, in which the validity of a token is unknown.
#[derive(Clone, Copy)]
struct Outage {
    since: Instant,
    next_try: Instant,
}

/// The result of reading a session.
enum SessionLook {
    LivesUntil(Timestamp),
    Ended(TokenEnd),
}
