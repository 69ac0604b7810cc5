use std::sync::Arc;

use http::HeaderName;
use tower_layer::Layer;

use crate::guard::rejection::ProblemDetails;
use crate::service::TokenService;
use crate::service::http::cookie::{DEFAULT_COOKIE, SameSite};
use crate::service::http::issue::IssueService;

/// Mounts [`IssueService`] on a service: what its handlers [`Issue`](crate::Issue) becomes a token
/// in the response, in the place of its status and its body; its other headers stay. What cannot be
/// issued for a while is a 503. See the [module docs](crate::layers::issue).
///
/// ```
/// # fn example(tokens: countersign::TokenService) {
/// use axum::{Router, routing::post};
/// use countersign::{Grant, Issue};
///
/// let app: Router = Router::new()
///     .route("/login", post(|| async { Issue(Grant::user("ops@example.com")) }))
///     .layer(tokens.issue_layer().as_cookie());
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct IssueLayer<R = ProblemDetails> {
    tokens: TokenService,
    delivery: Delivery,
    reject: R,
}

/// How a token goes out.
#[derive(Clone, Debug)]
pub(super) enum Delivery {
    Json,
    Header(HeaderName),
    Cookie { name: Arc<str>, same_site: SameSite },
}

impl IssueLayer {
    /// Returns a layer that sends tokens as JSON:
    /// `{"accessToken", "expiresIn", "tokenType": "Bearer"}`.
    pub fn new(tokens: TokenService) -> Self {
        Self { tokens, delivery: Delivery::Json, reject: ProblemDetails }
    }
}

impl<R> IssueLayer<R> {
    /// Sends tokens in a header of that name, with no body: 204.
    pub fn as_header(mut self, name: HeaderName) -> Self {
        self.delivery = Delivery::Header(name);
        self
    }

    /// Sends tokens as the cookie `__Host-session`, `HttpOnly; Secure; SameSite=Lax; Path=/`,
    /// with no body: 204. An [`ExchangeLayer`](crate::ExchangeLayer) reads it.
    pub fn as_cookie(self) -> Self {
        self.as_cookie_named(DEFAULT_COOKIE, SameSite::default())
    }

    /// [`as_cookie`](Self::as_cookie) of another name and reach.
    pub fn as_cookie_named(mut self, name: impl Into<Arc<str>>, same_site: SameSite) -> Self {
        self.delivery = Delivery::Cookie { name: name.into(), same_site };
        self
    }

    /// Shapes what is answered where a token cannot be issued; see [`Reject`](crate::Reject).
    pub fn reject_with<F>(self, reject: F) -> IssueLayer<F> {
        IssueLayer { tokens: self.tokens, delivery: self.delivery, reject }
    }
}

impl<S, R: Clone> Layer<S> for IssueLayer<R> {
    type Service = IssueService<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        IssueService {
            inner,
            tokens: self.tokens.clone(),
            delivery: self.delivery.clone(),
            reject: self.reject.clone(),
        }
    }
}
