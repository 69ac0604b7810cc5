//! Waiting for the end of a token, for what lives longer than a request.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::service::token_service::TokenService;
use crate::token::claims::Validated;
use crate::validate::revocations::Revocations as _;

/// How long the clock is relied on: it may be set, and machines sleep.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Why a token is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenEnd {
    /// It has expired.
    Expired,
    /// It was revoked: its holder has logged out, or may do less than before.
    Revoked,
}

impl TokenService {
    /// Waits until a token expires or is revoked: for a WebSocket or a stream of events, which a request has
    /// opened and which must not outlive what its caller may do.
    ///
    /// It returns within milliseconds of a revocation on any node, as the next request of the caller would be
    /// rejected. Waiting costs no look-up. It is safe to drop, as in a `select!`. What it returns borrows nothing, so
    /// a stream may keep it, as that of a `take_until`.
    ///
    /// Behind an [`ExchangeLayer`](crate::ExchangeLayer), the token of a cookie is the short-lived one, which ends
    /// after [`policy::Tokens::phantom_lifetime`](crate::policy::Tokens::phantom_lifetime) also where the session goes on: the page connects again, as an
    /// `EventSource` does by itself.
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
    ///     let ended = tokens.ended(caller);
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
    pub fn ended(
        &self,
        token: &Arc<Validated>,
    ) -> impl Future<Output = TokenEnd> + Send + 'static + use<> {
        let (tokens, token) = (self.clone(), Arc::clone(token));
        async move { tokens.wait_for_end(&token).await }
    }

    async fn wait_for_end(&self, token: &Validated) -> TokenEnd {
        loop {
            // Before they are looked at: one that is added meanwhile ends the wait.
            let added = self.inner.revocations.next_added();
            tokio::pin!(added);
            added.as_mut().enable();
            if self.is_own(token) && self.inner.revocations.contains(token) {
                return TokenEnd::Revoked;
            }
            let rest = token.expires_at().saturating_since(self.now());
            if rest.is_zero() {
                return TokenEnd::Expired;
            }
            let _ = tokio::time::timeout(rest.min(LONGEST_WAIT), added).await;
        }
    }
}
