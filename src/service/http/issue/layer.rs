use http::HeaderName;
use tower_layer::Layer;

use crate::error::Error;
use crate::service::TokenService;
use crate::service::http::cookie::SessionCookie;
use crate::service::http::issue::IssueService;
use crate::service::http::request_origin::OriginRule;

/// Mounts [`IssueService`] on a service: when a handler returns an [`Issue`](crate::Issue), the response carries the
/// issued token instead of the handler's status and body; its other headers stay. If a token cannot be issued at the
/// moment, the response is a 503. See the [module docs](crate::layers::issue).
///
/// ```
/// # fn example(tokens: countersign::TokenService) {
/// use axum::{Router, routing::post};
/// use countersign::{Grant, Issue};
///
/// let app: Router = Router::new()
///     .route("/login", post(|| async { Issue::grant(Grant::user("ops@example.com")) }))
///     .layer(tokens.issue_layer().as_cookie());
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct IssueLayer {
    tokens: TokenService,
    delivery: Delivery,
    origins: OriginRule,
}

/// How a token is sent.
#[derive(Clone, Debug)]
pub(super) enum Delivery {
    Json,
    Header(HeaderName),
    Cookie(SessionCookie),
}

impl IssueLayer {
    /// Creates a layer that sends tokens as JSON:
    /// `{"accessToken", "expiresIn", "tokenType": "Bearer"}`.
    pub fn new(tokens: TokenService) -> Self {
        let (delivery, origins) = (Delivery::Json, OriginRule::default());
        Self { tokens, delivery, origins }
    }

    /// Sends tokens in a header with that name, and a 204 without a body.
    pub fn as_header(mut self, name: HeaderName) -> Self {
        self.delivery = Delivery::Header(name);
        self
    }

    /// Sends tokens as the cookie `__Host-session`, `HttpOnly; Secure; SameSite=Lax; Path=/`, and a 204 without a
    /// body. An [`ExchangeLayer`](crate::ExchangeLayer) reads it.
    ///
    /// A request that a page of another origin has sent is rejected with a 403: another site must not log a user in
    /// to an account of its own. A token that is too long for a cookie is a 500; see
    /// [`IssuedToken::cookie`](crate::tokens::IssuedToken::cookie).
    pub fn as_cookie(self) -> Self {
        self.as_session_cookie(SessionCookie::default())
    }

    /// Sends tokens as this cookie, like [`as_cookie`](Self::as_cookie).
    pub fn as_session_cookie(mut self, cookie: SessionCookie) -> Self {
        self.delivery = Delivery::Cookie(cookie);
        self
    }

    /// Also accepts logins from pages of this origin. See
    /// [`ExchangeLayer::allow_origin`](crate::ExchangeLayer::allow_origin).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if it is not an origin in the form that browsers
    /// send.
    pub fn allow_origin(mut self, origin: &str) -> Result<Self, Error> {
        self.origins = self.origins.allow(origin)?;
        Ok(self)
    }

    /// Sends cookies in response to requests from all sites. Dangerous: any page that a user visits can then log the
    /// user in to another account, unless the host detects such requests itself, such as by the `InResponseTo` of a
    /// SAML response, which another site posts.
    pub fn dangerous_accept_any_origin(mut self) -> Self {
        self.origins = self.origins.accept_any();
        self
    }
}

impl<S> Layer<S> for IssueLayer {
    type Service = IssueService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        IssueService {
            inner,
            tokens: self.tokens.clone(),
            delivery: self.delivery.clone(),
            origins: self.origins.clone(),
        }
    }
}
