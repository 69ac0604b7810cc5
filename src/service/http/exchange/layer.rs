use std::sync::Arc;

use tower_layer::Layer;

use crate::error::Error;
use crate::guard::admission::{Admission, Kinds};
use crate::guard::response_caching::ResponseCaching;
use crate::service::TokenService;
use crate::service::http::cookie::SessionCookie;
use crate::service::http::exchange::Exchange;
use crate::service::http::request_origin::OriginRule;
use crate::token::claims::SubjectType;
use crate::validate::Validator;

/// Mounts [`Exchange`] on a service: exchanges authentication tokens of requests for JWTs. See the
/// [module docs](crate::layers::exchange).
///
/// ```
/// # fn example(tokens: countersign::TokenService) -> Result<(), countersign::Error> {
/// use axum::{Router, routing::get};
/// use countersign::cookies::SessionCookie;
///
/// let layer = tokens.exchange_layer().cookie(SessionCookie::new("__Host-shop")?);
/// let app: Router = Router::new().route("/session", get(|| async { "hello" })).layer(layer);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ExchangeLayer {
    tokens: TokenService,
    /// What checks the JWTs that come.
    validator: Validator,
    cookie: SessionCookie,
    origins: OriginRule,
    strips_cookie: bool,
    stale_cookies_are_anonymous: bool,
    login_page: Option<Arc<str>>,
    required: bool,
    admission: Admission,
    caching: ResponseCaching,
}

impl ExchangeLayer {
    /// Creates a layer that reads the cookie `__Host-session` and rejects requests without
    /// credentials.
    pub fn new(tokens: TokenService) -> Self {
        let admission = Admission { kinds: Kinds::of([SubjectType::Customer]), ..Admission::ALL };
        Self {
            validator: tokens.validator().clone(),
            tokens,
            cookie: SessionCookie::default(),
            origins: OriginRule::default(),
            strips_cookie: false,
            stale_cookies_are_anonymous: false,
            login_page: None,
            required: true,
            admission,
            caching: ResponseCaching::of("Authorization, Cookie"),
        }
    }

    /// Also accepts the JWTs of trusted issuers.
    pub(in crate::service::http) fn with_trusted_issuers(mut self) -> Self {
        self.validator = self.tokens.validator_with_trusted_issuers().clone();
        self
    }

    /// Sets the cookie that is read. Default: `__Host-session`.
    pub fn cookie(mut self, cookie: SessionCookie) -> Self {
        self.cookie = cookie;
        self
    }

    /// Removes the cookie from forwarded requests, so that handlers and upstreams get no credential that outlives
    /// the JWT. Other cookies stay, in their order.
    pub fn strip_cookie(mut self) -> Self {
        self.strips_cookie = true;
        self
    }

    /// Treats a cookie without a live session as absent, and removes it from the browser: a visitor whose session has
    /// expired is anonymous instead of rejected. The same applies to a JWT in the cookie that is not accepted, or
    /// whose kind of principal the layer does not admit; so give two layers that admit different kinds cookies with
    /// different names. An invalid bearer token is still rejected.
    ///
    /// Only the response to a navigation removes the cookie (`Sec-Fetch-Mode: navigate`, or no such header). The
    /// response to a page's image or script may arrive late, and would remove the cookie of a more recent login.
    pub fn stale_cookies_are_anonymous(mut self) -> Self {
        self.stale_cookies_are_anonymous = true;
        self
    }

    /// Redirects a browser that opens a page without being logged in to this path (303), with the page as the
    /// query parameter `next`: see [`ReturnPath`](crate::cookies::ReturnPath). Other requests, as those of scripts, are
    /// rejected as before. `/login` must not be behind this layer, unless that is [`optional`](Self::optional).
    ///
    /// ```
    /// # fn example(tokens: countersign::TokenService) {
    /// let pages = tokens.exchange_layer().stale_cookies_are_anonymous().login_page("/login");
    /// # }
    /// ```
    pub fn login_page(mut self, path: impl Into<Arc<str>>) -> Self {
        self.login_page = Some(path.into());
        self
    }

    /// Accepts cookies on requests from pages of this origin. Set the app's own origin as browsers see it
    /// (`https://app.example.com`), since older browsers do not send `Sec-Fetch-Site`, and Chromium does not send it
    /// with WebSockets; and other origins of the host whose pages act for their users here.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if it is not an origin in the form that browsers
    /// send: a scheme, a host in lower case, and a port unless it is the scheme's default.
    pub fn allow_origin(mut self, origin: &str) -> Result<Self, Error> {
        self.origins = self.origins.allow(origin)?;
        Ok(self)
    }

    /// Accepts cookies on requests from all sites. Dangerous: any page that a user visits can then act in the user's
    /// name, and read what a WebSocket sends, unless the host detects such requests itself.
    pub fn dangerous_accept_any_origin(mut self) -> Self {
        self.origins = self.origins.accept_any();
        self
    }

    /// Lets requests without credentials pass as anonymous. Invalid credentials are still rejected.
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// Admits only these kinds of principals. Default: customers, since the exchanged sessions are theirs. Other
    /// kinds, which can present a JWT, are rejected with a 403. If the JWT is in the cookie, its holder may log in as
    /// another principal, with [`stale_cookies_are_anonymous`](Self::stale_cookies_are_anonymous) and
    /// [`login_page`](Self::login_page).
    pub fn only(mut self, kinds: impl IntoIterator<Item = SubjectType>) -> Self {
        self.admission.kinds = Kinds::of(kinds);
        self
    }

    /// Rejects callers that are bound to another organization than the one in axum's path parameter `parameter`; see
    /// [`ValidateLayer::organization_from_path`](crate::ValidateLayer::organization_from_path).
    pub fn organization_from_path(mut self, parameter: impl Into<Arc<str>>) -> Self {
        self.admission.organization = Some(parameter.into());
        self
    }

    /// Leaves the handlers' `Cache-Control` unchanged, so that shared caches may store responses marked `public`. For
    /// pages that are the same for every permitted caller; see [`validate`](crate::layers::validate#caches).
    pub fn allow_public(mut self) -> Self {
        self.caching = self.caching.allow_public();
        self
    }
}

impl<S> Layer<S> for ExchangeLayer {
    type Service = Exchange<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Exchange {
            inner,
            tokens: self.tokens.clone(),
            validator: self.validator.clone(),
            cookie: self.cookie.clone(),
            origins: self.origins.clone(),
            strips_cookie: self.strips_cookie,
            stale_cookies_are_anonymous: self.stale_cookies_are_anonymous,
            login_page: self.login_page.clone(),
            required: self.required,
            admission: self.admission.clone(),
            caching: self.caching,
        }
    }
}
