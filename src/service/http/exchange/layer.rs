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

/// Mounts [`Exchange`] on a service: authentication tokens become JWTs on their way in. See the
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

    /// Sets the cookie that is read. Default: `__Host-session`.
    pub fn cookie(mut self, cookie: SessionCookie) -> Self {
        self.cookie = cookie;
        self
    }

    /// Removes the cookie from requests that are let through, so that handlers and upstreams get nothing
    /// that lives longer than the JWT. Other cookies stay, in their order.
    pub fn strip_cookie(mut self) -> Self {
        self.strips_cookie = true;
        self
    }

    /// Treats a cookie of which there is no live session as none, and removes it from the browser: a visitor
    /// whose session has expired is anonymous then, and not rejected. It treats a JWT that is not accepted, or is of a
    /// kind that the layer does not admit, in the same way: two layers that admit different kinds read cookies of
    /// different names. A bearer token that is not accepted is rejected still.
    ///
    /// The response to a navigation alone removes the cookie (`Sec-Fetch-Mode: navigate`, or no such header). That to
    /// an image or a script of a page may come late, and would remove the cookie of a login that was made meanwhile.
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

    /// Has cookies count for requests of pages of this origin: the app's own, as browsers see it
    /// (`https://app.example.com`), since older ones do not send `Sec-Fetch-Site` and Chromium does not
    /// with WebSockets; and another one of the host's whose pages act for their users here.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if it is no origin as browsers
    /// write it: a scheme, a host in small letters, and a port unless it is the scheme's own.
    pub fn allow_origin(mut self, origin: &str) -> Result<Self, Error> {
        self.origins = self.origins.allow(origin)?;
        Ok(self)
    }

    /// Has cookies count for requests of all sites. Any page that a user visits can then act in
    /// their name, and read what comes over a WebSocket, unless the host recognizes such requests itself.
    pub fn dangerous_accept_any_origin(mut self) -> Self {
        self.origins = self.origins.accept_any();
        self
    }

    /// Lets requests without credentials pass as anonymous. Invalid credentials are rejected still.
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// Admits these kinds of principals alone. Default: customers, since theirs are the sessions
    /// that it exchanges. Another one, who can come with a JWT, is a 403; one whose JWT is in the cookie may log
    /// in as somebody else, under [`stale_cookies_are_anonymous`](Self::stale_cookies_are_anonymous) and
    /// [`login_page`](Self::login_page).
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

    /// Leaves the `Cache-Control` of handlers as it is, so that shared caches may store what says
    /// `public`. For pages that are the same for everybody who may see them; see
    /// [`validate`](crate::layers::validate#caches).
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
