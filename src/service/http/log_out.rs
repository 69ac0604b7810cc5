//! Logs out by a cookie, which may hold an authentication token, a JWT or anything else.

use http::{HeaderMap, HeaderValue};

use crate::error::{Error, ErrorKind};
use crate::rejection::Rejection;
use crate::service::http::cookie::SessionCookie;
use crate::service::model::authentication_token::AuthenticationToken;
use crate::service::{RequestContext, TokenService};

impl TokenService {
    /// Logs out the browser that sends a request: ends the session of its cookie, or revokes the JWT in it, and
    /// returns the `Set-Cookie` value that removes the cookie.
    ///
    /// A JWT that this service has signed is revoked and its session ended even if this node rejects it because it
    /// has expired, is not valid yet, lives too long or is for another audience: another node may accept it, or this
    /// one later.
    ///
    /// If the session has already ended, or the cookie is missing or holds nothing of this service, only the cookie
    /// is removed. Mount the handler behind a [`SameOriginLayer`](crate::SameOriginLayer), or another site can log
    /// visitors out, and not behind an [`ExchangeLayer`](crate::ExchangeLayer), which rejects such requests. The
    /// session is ended whatever its organization, not only in that of `context`: the request has its token.
    ///
    /// ```
    /// # #[cfg(feature = "router")] fn example(tokens: countersign::TokenService) -> axum::Router {
    /// use axum::extract::State;
    /// use axum::response::{IntoResponse, Redirect};
    /// use axum::{Router, routing::post};
    /// use countersign::cookies::SessionCookie;
    /// use countersign::{Rejection, RequestContext, TokenService};
    /// use http::header::{HeaderMap, SET_COOKIE};
    ///
    /// async fn log_out(
    ///     State(tokens): State<TokenService>,
    ///     context: RequestContext,
    ///     headers: HeaderMap,
    /// ) -> Result<impl IntoResponse, Rejection> {
    ///     let cookie = SessionCookie::default();
    ///     let removal = tokens.log_out_browser(&cookie, &headers, &context).await?;
    ///     Ok(([(SET_COOKIE, removal)], Redirect::to("/")))
    /// }
    ///
    /// Router::new()
    ///     .route("/logout", post(log_out))
    ///     .layer(tokens.same_origin_layer())
    ///     .with_state(tokens)
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// A [`Rejection`] with 503 if the store is unreachable, or the JWT may be signed with one of the
    /// [`ManagedKeys`](crate::ManagedKeys) that this node has not read yet: the session may still be live, so the
    /// browser keeps the cookie and can try again. And that of [`SessionCookie::read`].
    pub async fn log_out_browser(
        &self,
        cookie: &SessionCookie,
        headers: &HeaderMap,
        context: &RequestContext,
    ) -> Result<HeaderValue, Rejection> {
        if let Some(text) = cookie.read(headers)? {
            match self.log_out_holder_of(text, context).await {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(cookie.removal())
    }

    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is no session or token to end.
    async fn log_out_holder_of(&self, text: &str, context: &RequestContext) -> Result<(), Error> {
        // An authentication token is base64url, which has no dots.
        if !text.contains('.') {
            let anywhere =
                RequestContext { address: context.address, ..RequestContext::without_address() };
            return self.log_out_customer(&AuthenticationToken::from_text(text)?, &anywhere).await;
        }
        let signed = self.read_signed(text)?;
        // Perhaps only the token was revoked. If ending a session revokes nothing, that cannot be told.
        let ends_revoke = self.policy().sessions.revoke_tokens_on_end;
        let is_ended = |id| !ends_revoke || self.inner.revocations.contains_session(id);
        if self.was_revoked_for_all(&signed) && signed.session_id().is_none_or(is_ended) {
            return Err(Error::new(ErrorKind::NotFound, "the token was revoked before"));
        }
        self.log_out(&signed).await
    }
}
