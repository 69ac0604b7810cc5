use std::sync::Arc;

use tower_layer::Layer;

use crate::guard::admission::{Admission, Kinds};
use crate::guard::rejection::ProblemDetails;
use crate::service::TokenService;
use crate::service::http::cookie::DEFAULT_COOKIE;
use crate::service::http::exchange::Exchange;
use crate::token::claims::SubjectType;

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
    admission: Admission,
    reject: R,
}

impl ExchangeLayer {
    /// Creates a layer that reads the cookie `__Host-session` and rejects requests without
    /// credentials.
    pub fn new(tokens: TokenService) -> Self {
        let cookie = DEFAULT_COOKIE.into();
        let admission = Admission { kinds: Kinds::of([SubjectType::Customer]), ..Admission::ALL };
        Self { tokens, cookie, required: true, admission, reject: ProblemDetails }
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

    /// Admits these kinds of principals alone; customers, unless told, since theirs are the sessions
    /// that it exchanges. Another one, who can come with a JWT, is a 403.
    pub fn only(mut self, kinds: impl IntoIterator<Item = SubjectType>) -> Self {
        self.admission.kinds = Kinds::of(kinds);
        self
    }

    /// Rejects callers who are bound to another organization than axum's path parameter of that name
    /// says; see
    /// [`ValidateLayer::organization_from_path`](crate::ValidateLayer::organization_from_path).
    pub fn organization_from_path(mut self, parameter: impl Into<Arc<str>>) -> Self {
        self.admission.organization = Some(parameter.into());
        self
    }

    /// Shapes what is answered to requests that are rejected; see [`Reject`](crate::Reject).
    pub fn reject_with<F>(self, reject: F) -> ExchangeLayer<F> {
        let Self { tokens, cookie, required, admission, .. } = self;
        ExchangeLayer { tokens, cookie, required, admission, reject }
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
            admission: self.admission.clone(),
            reject: self.reject.clone(),
        }
    }
}
