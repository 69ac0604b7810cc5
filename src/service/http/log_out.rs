//! Logging out by a cookie, whatever it holds.

use http::{HeaderMap, HeaderValue};

use crate::error::{Error, ErrorKind};
use crate::rejection::Rejection;
use crate::service::http::cookie::SessionCookie;
use crate::service::model::authentication_token::AuthenticationToken;
use crate::service::{RequestContext, TokenService};

impl TokenService {
    /// Logs out the browser that sends a request: ends the session that its cookie stands for, or revokes the JWT
    /// in it, and returns the `Set-Cookie` that removes the cookie.
    ///
    /// Where the session has ended before, and where there is no cookie, that is all there is to do. So the handler
    /// stands behind a [`SameOriginLayer`](crate::SameOriginLayer), or another site logs visitors out, and not
    /// behind an [`ExchangeLayer`](crate::ExchangeLayer), which rejects such requests. A session is ended
    /// whatever the organization of `context`: the request has its token.
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
    /// A [`Rejection`] with 503 where the store is out of reach: the session may live on, so the browser keeps the
    /// cookie to try again. And that of [`SessionCookie::read`].
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
    /// [`ErrorKind::NotFound`] where there is nothing to end.
    async fn log_out_holder_of(&self, text: &str, context: &RequestContext) -> Result<(), Error> {
        // An authentication token is base64url, which has no dots.
        if !text.contains('.') {
            let anywhere =
                RequestContext { address: context.address, ..RequestContext::without_address() };
            return self.log_out_customer(&AuthenticationToken::from_text(text)?, &anywhere).await;
        }
        match self.validator().validate(text) {
            Ok(bearer) => self.log_out(&bearer).await,
            Err(fault) if fault.is_temporary() => {
                Err(Error::new(ErrorKind::Unavailable, "the token cannot be checked")
                    .with_source(fault))
            }
            Err(fault) => {
                Err(Error::new(ErrorKind::NotFound, "the token is not accepted").with_source(fault))
            }
        }
    }
}
