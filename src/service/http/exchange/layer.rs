use std::sync::Arc;

use tower_layer::Layer;

use crate::guard::rejection::ProblemDetails;
use crate::guard::response_caching::ResponseCaching;
use crate::service::TokenService;
use crate::service::http::cookie::DEFAULT_COOKIE;
use crate::service::http::exchange::Exchange;

/// Mounts [`Exchange`] on a service: authentication tokens become JWTs on their way in. See the
/// [module docs](crate::layers::exchange).
///
/// ```
/// # fn example(tokens: countersign::TokenService) {
/// use axum::{Router, routing::get};
///
/// let app: Router = Router::new()
///     .route("/session", get(|| async { "hello" }))
///     .layer(tokens.exchange_layer().cookie("__Host-shop"));
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ExchangeLayer<R = ProblemDetails> {
    tokens: TokenService,
    cookie: Arc<str>,
    required: bool,
    caching: ResponseCaching,
    reject: R,
}

impl ExchangeLayer {
    /// Creates a layer that reads the cookie `__Host-session` and rejects requests without
    /// credentials.
    pub fn new(tokens: TokenService) -> Self {
        Self {
            tokens,
            cookie: DEFAULT_COOKIE.into(),
            required: true,
            caching: ResponseCaching::AUTHORIZATION_OR_COOKIE,
            reject: ProblemDetails,
        }
    }
}

impl<R> ExchangeLayer<R> {
    /// The name of the cookie; `__Host-session` unless told.
    pub fn cookie(mut self, name: impl Into<Arc<str>>) -> Self {
        self.cookie = name.into();
        self
    }

    /// Lets requests without credentials pass as anonymous. Bad credentials are rejected still.
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// Leaves the `Cache-Control` of handlers as it is, so that shared caches may store what says
    /// `public`. For pages that are the same for everybody who may see them; see
    /// [`validate`](crate::layers::validate#caches).
    pub fn allow_public(mut self) -> Self {
        self.caching = self.caching.allow_public();
        self
    }

    /// Shapes what is answered to requests that are rejected; see [`Reject`](crate::Reject).
    pub fn reject_with<F>(self, reject: F) -> ExchangeLayer<F> {
        let Self { tokens, cookie, required, caching, .. } = self;
        ExchangeLayer { tokens, cookie, required, caching, reject }
    }
}

impl<S, R: Clone> Layer<S> for ExchangeLayer<R> {
    type Service = Exchange<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Exchange {
            inner,
            tokens: self.tokens.clone(),
            cookie: Arc::clone(&self.cookie),
            required: self.required,
            caching: self.caching,
            reject: self.reject.clone(),
        }
    }
}
