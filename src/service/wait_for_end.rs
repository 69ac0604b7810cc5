//! Waiting for the end of a token or of a session, for what lives longer than a request.

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
use crate::validate::revocations::Revocations as _;

/// How long the clock is relied on: it may be set, and machines sleep.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How often a session is read again within the time for which an outage is put up with.
const TRIES_IN_OUTAGE: u32 = 6;

/// Why a token has ended; returned by [`TokenService::wait_for_end`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenEnd {
    /// The token or its session has expired, or the session could not be read for
    /// [`runtime.max_revocation_staleness`](crate::policy::Runtime::max_revocation_staleness).
    Expired,
    /// It was revoked: its holder has logged out, or may do less than before.
    Revoked,
}

impl TokenService {
    /// Waits until a token expires or is revoked: for a WebSocket or a stream of events, which a request has
    /// opened and which must not outlive what its caller may do.
    ///
    /// The future completes within milliseconds of a revocation on any node, when the caller's next request would be
    /// rejected. Waiting for a token costs no read of a store. The future may be dropped, as in a `select!`, and
    /// borrows nothing, so that a stream can own it, as with `take_until`. It needs a tokio runtime.
    ///
    /// # Behind a session
    ///
    /// For a caller whom an [`ExchangeLayer`](crate::ExchangeLayer) has admitted by an authentication token, this
    /// waits for the end of the session: its log-out, its expiry, or its
    /// [`sessions.idle_timeout`](crate::policy::Sessions::idle_timeout). Waiting does not count as a use: a session
    /// without requests reaches its idle timeout although a stream is open.
    ///
    /// The session is read once per
    /// [`tokens.phantom_lifetime`](crate::policy::Tokens::phantom_lifetime), unless requests have done so
    /// meanwhile. What ends it without a revocation is therefore seen that late: an exchange that uses it up,
    /// and a log-out without [`sessions.revoke_tokens_on_end`](crate::policy::Sessions::revoke_tokens_on_end).
    /// Where it cannot be read, that is tried again for
    /// [`runtime.max_revocation_staleness`](crate::policy::Runtime::max_revocation_staleness).
    ///
    /// A JWT ends at its own time, though its session goes on; so does the one of a
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
        let mut good_until = token.expires_at();
        let mut unreadable_since = None;
        loop {
            // Before they are looked at: one that is added meanwhile ends the wait.
            let added = self.inner.revocations.next_added();
            tokio::pin!(added);
            added.as_mut().enable();
            if self.is_own(token) && self.inner.revocations.contains(token) {
                return TokenEnd::Revoked;
            }
            let rest = good_until.saturating_since(self.now());
            if !rest.is_zero() {
                let _ = tokio::time::timeout(rest.min(LONGEST_WAIT), added).await;
                continue;
            }
            let key = token.session_key.filter(|_| self.is_own(token)).map(SessionKey::from_bytes);
            let Some(key) = key else { return TokenEnd::Expired };
            match self.look_at_session(token, &key).await {
                Ok(SessionLook::LivesUntil(end)) => {
                    good_until = end;
                    unreadable_since = None;
                }
                Ok(SessionLook::Ended(end)) => return end,
                Err(_) => {
                    let longest = self.inner.policy.runtime.max_revocation_staleness;
                    let since = *unreadable_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= longest {
                        return TokenEnd::Expired;
                    }
                    let _ = tokio::time::timeout(longest / TRIES_IN_OUTAGE, added).await;
                }
            }
        }
    }

    /// Returns until when the session of a token is known to live, or how it has ended.
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
        self.check_revocations_are_known()?;
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

/// What a look at a session has found.
enum SessionLook {
    LivesUntil(Timestamp),
    Ended(TokenEnd),
}
