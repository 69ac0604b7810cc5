//! Forward auth: a proxy asks the token service about each request, and forwards it with the identity of the caller.
//!
//! nginx calls it `auth_request`, Traefik `ForwardAuth` and Caddy `forward_auth`; HAProxy needs a few lines of Lua.
//! It protects apps in any language, and static files, with the sessions and tokens of the service, without code in
//! the app. [`guide::forward_auth`](crate::guide::forward_auth) has the configuration of each proxy.
//!
//! [`ForwardAuth`] is one route, `/forward-auth`. It accepts the same credentials as an
//! [`ExchangeLayer`](crate::ExchangeLayer), a bearer token or the cookie of a session, and returns:
//!
//! | status | when |
//! |---|---|
//! | 200 | the request may be forwarded; the headers identify the caller |
//! | 401 | there are no credentials, or invalid ones; with a challenge |
//! | 403 | the caller lacks the permission, or the original request is unclear |
//! | 503 | a store is unreachable, so the caller cannot be authenticated; with `Retry-After` |
//!
//! An outage is not a 401 or 403: on these, clients discard valid tokens and browsers go to the login. No proxy
//! forwards the request on a 503: Traefik, Caddy and HAProxy return it, and nginx turns it into a 500, which the
//! guide's configuration turns into a 503 again.
//!
//! # The original request
//!
//! The method and URI of the original request are read from `X-Forwarded-Method` and `X-Forwarded-Uri`, or from
//! `X-Original-Method` and `X-Original-URI`. They count only if the connection comes from one of the policy's
//! [`http.trusted_proxies`](crate::policy::Http::trusted_proxies), and if all of these headers that are present agree,
//! since a client can send those that its proxy does not set. Otherwise:
//!
//! - a cookie counts as with an unsafe method: see [`exchange`](crate::layers::exchange#requests-of-other-sites);
//! - with a [rule](ForwardAuth::require), the request is a 403.
//!
//! Proxies omit `Upgrade` when they ask. A request with a `Sec-WebSocket-Key` opens a WebSocket, too.

mod access;
mod forwarded_request;

use std::fmt::{self, Write as _};
use std::sync::{Arc, Once};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{map_request, map_response};
use axum::routing::any;
use axum_core::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, CONTENT_TYPE, UPGRADE};
use http::{HeaderName, HeaderValue, Method, StatusCode};

use crate::error::Error;
use crate::guard::admission::required;
use crate::guard::client_address::peer_address;
use crate::rejection::{LogReason, Rejection};
use crate::service::TokenService;
use crate::service::http::cookie::SessionCookie;
use crate::service::http::exchange::ExchangeLayer;
use crate::token::claims::{SubjectType, Validated};
use crate::token::identifier::OrganizationId;

pub use self::access::Access;
pub use self::forwarded_request::ForwardedRequest;

use self::forwarded_request::Original;

/// The path of the route within its router.
const PATH: &str = "/forward-auth";

/// Logged once.
static UNTRUSTED: Once = Once::new();

type Rule = dyn Fn(&ForwardedRequest) -> Access + Send + Sync;

/// A route for proxies that ask whether to forward a request; see the [module docs](crate::forward_auth).
///
/// ```
/// # fn example(tokens: countersign::TokenService) -> axum::Router {
/// use countersign::forward_auth::Access;
///
/// tokens
///     .forward_auth()
///     .require(|request| match request.segments()[..] {
///         ["assets", ..] | ["account"] => Access::any_caller(),
///         ["organizations", id, "orders"] if request.method() == "GET" => {
///             Access::permission("GetOrders").scope("organizationId", id)
///         }
///         _ => Access::denied(),
///     })
///     .router()
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct ForwardAuth {
    exchange: ExchangeLayer,
    tokens: TokenService,
    rule: Option<Arc<Rule>>,
    identity: IdentityHeaders,
}

/// The names of the headers that identify a caller.
#[derive(Clone, Debug)]
struct IdentityHeaders {
    principal: HeaderName,
    id: HeaderName,
    kind: HeaderName,
    organization: HeaderName,
    sends_token: bool,
}

impl TokenService {
    /// Returns a [`ForwardAuth`] for the tokens and sessions of this service.
    pub fn forward_auth(&self) -> ForwardAuth {
        ForwardAuth::new(self.clone())
    }
}

impl ForwardAuth {
    /// Creates a route that admits every principal, by a bearer token or the cookie `__Host-session`.
    pub fn new(tokens: TokenService) -> Self {
        let all = [SubjectType::User, SubjectType::Machine, SubjectType::Customer];
        Self {
            exchange: ExchangeLayer::new(tokens.clone()).only(all),
            tokens,
            rule: None,
            identity: IdentityHeaders {
                principal: HeaderName::from_static("x-auth-principal"),
                id: HeaderName::from_static("x-auth-id"),
                kind: HeaderName::from_static("x-auth-kind"),
                organization: HeaderName::from_static("x-auth-organization"),
                sends_token: false,
            },
        }
    }

    /// Sets the rule that returns the access that the original request requires. Default: any caller is admitted.
    /// Requests from a peer that is not a trusted proxy, and paths that an upstream may interpret differently, are
    /// rejected with a 403 before the rule is called.
    pub fn require(
        mut self,
        rule: impl Fn(&ForwardedRequest) -> Access + Send + Sync + 'static,
    ) -> Self {
        self.rule = Some(Arc::new(rule));
        self
    }

    /// Sets the header for the whole [`Principal`](crate::claims::Principal), in the form of a database key:
    /// `issuer|organization|kind|id`. Default: `X-Auth-Principal`.
    pub fn principal_header(mut self, name: HeaderName) -> Self {
        self.identity.principal = name;
        self
    }

    /// Sets the header for the user's name, the machine client's id or the customer's id. Default: `X-Auth-Id`.
    ///
    /// In this header and the others, `%` and everything but visible ASCII is percent-encoded.
    pub fn id_header(mut self, name: HeaderName) -> Self {
        self.identity.id = name;
        self
    }

    /// Sets the header for the kind of principal: `user`, `entity` or `customer`. Default: `X-Auth-Kind`.
    pub fn kind_header(mut self, name: HeaderName) -> Self {
        self.identity.kind = name;
        self
    }

    /// Sets the header for the organization. It is absent for a caller that is bound to none. Default:
    /// `X-Auth-Organization`.
    pub fn organization_header(mut self, name: HeaderName) -> Self {
        self.identity.organization = name;
        self
    }

    /// Also sends the JWT in `Authorization`: that of the request, or the short-lived one of its session. For an
    /// upstream that checks it, such as one behind a [`ValidateLayer`](crate::ValidateLayer).
    ///
    /// The proxy must not forward clients' requests to this route: a script in a page could call it and read the
    /// user's JWT.
    pub fn send_token(mut self) -> Self {
        self.identity.sends_token = true;
        self
    }

    /// Admits only these kinds of principals. Default: all.
    pub fn only(mut self, kinds: impl IntoIterator<Item = SubjectType>) -> Self {
        self.exchange = self.exchange.only(kinds);
        self
    }

    /// Sets the cookie that is read. Default: `__Host-session`.
    pub fn cookie(mut self, cookie: SessionCookie) -> Self {
        self.exchange = self.exchange.cookie(cookie);
        self
    }

    /// Accepts cookies on requests from pages of this origin; see
    /// [`ExchangeLayer::allow_origin`](crate::ExchangeLayer::allow_origin).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if it is not an origin in the form that browsers
    /// send.
    pub fn allow_origin(mut self, origin: &str) -> Result<Self, Error> {
        self.exchange = self.exchange.allow_origin(origin)?;
        Ok(self)
    }

    /// Returns a router with the one route `/forward-auth`, for all methods. Serve it with the addresses of
    /// connections (`into_make_service_with_connect_info::<SocketAddr>()`), which identify trusted proxies.
    ///
    /// Traefik and Caddy forward to clients the responses that a `reject_with` hook makes. nginx treats a redirect as
    /// an error: there, use `error_page 401` to lead to a login.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let (tokens, route) = (self.tokens.clone(), self.clone());
        let handler = any(move |request: Request| std::future::ready(route.respond(&request)));
        let handler = handler
            .layer(self.exchange.clone())
            .layer(map_request(move |request| std::future::ready(restore(&tokens, request))))
            .layer(map_response(async |response| known_to_proxies(response)));
        Router::new().route(PATH, handler)
    }

    /// Responds to a request whose caller was validated.
    fn respond(&self, request: &Request) -> Response {
        let permitted = required(request.extensions(), "ForwardAuth").and_then(|caller| {
            let original = request.extensions().get::<Original>();
            self.check(original, &caller).map(|()| caller)
        });
        match permitted {
            Ok(caller) => self.identity.response(&caller, request),
            Err(rejection) => rejection.into_response(),
        }
    }

    /// Checks the access that the rule requires.
    fn check(&self, original: Option<&Original>, caller: &Validated) -> Result<(), Rejection> {
        let Some(rule) = &self.rule else { return Ok(()) };
        match original {
            Some(Original(Ok(request))) => rule(request).check(request, caller),
            Some(Original(Err(fault))) => Err(fault.reject(caller)),
            None => Err(Rejection::new(LogReason::Internal, caller.issuer())),
        }
    }
}

/// Converts a proxy's request to one that a layer reads: with the method of the original request or, if that is
/// unknown, an unsafe method.
fn restore(tokens: &TokenService, mut request: Request) -> Request {
    let peer = peer_address(request.extensions());
    let is_trusted = tokens.validator().trusted_proxies().trusts(peer);
    if !is_trusted {
        UNTRUSTED.call_once(|| {
            tracing::warn!(
                ?peer,
                "forward auth: the peer is no trusted proxy, its X-Forwarded-* and X-Original-* headers are ignored; \
                 add it to the policy's `http.trusted_proxies`, and serve with \
                 `into_make_service_with_connect_info::<SocketAddr>()`, or trust `unix_sockets`"
            );
        });
    }
    let original = Original::read(request.headers(), is_trusted);
    *request.method_mut() = match &original.0 {
        Ok(original) => original.method().clone(),
        Err(fault) => fault.method().cloned().unwrap_or(Method::POST),
    };
    if request.headers().contains_key("sec-websocket-key") {
        request.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    // It describes the body of the original request. For gRPC, a layer would respond with a gRPC status and a 200,
    // on which a proxy forwards the request.
    request.headers_mut().remove(CONTENT_TYPE);
    request.extensions_mut().insert(original);
    request
}

/// Marks the response to a request that may be forwarded.
#[derive(Clone, Copy)]
struct Admitted;

/// Returns a status that proxies understand. nginx treats all but successes, 401 and 403 as a failure of this
/// server, and forwards the request on any success.
fn known_to_proxies(mut response: Response) -> Response {
    let is_admitted = response.extensions().get::<Admitted>().is_some();
    match response.status() {
        StatusCode::BAD_REQUEST => *response.status_mut() = StatusCode::UNAUTHORIZED,
        status if status.is_success() && !is_admitted => {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        _ => {}
    }
    response
}

impl IdentityHeaders {
    fn response(&self, caller: &Validated, request: &Request) -> Response {
        let principal = caller.principal();
        let organization = principal.organization().map(OrganizationId::as_str);
        let all = [
            (&self.principal, Some(principal.to_string())),
            (&self.id, Some(principal.id().to_owned())),
            (&self.kind, Some(principal.subject_type().as_str().to_owned())),
            (&self.organization, organization.map(str::to_owned)),
        ];
        let mut response = StatusCode::OK.into_response();
        response.extensions_mut().insert(Admitted);
        let headers = response.headers_mut();
        for (name, value) in all {
            let value = value.map(|value| HeaderValue::try_from(percent_encoded(&value)));
            if let Some(Ok(value)) = value {
                headers.insert(name, value);
            }
        }
        if let Some(token) = request.headers().get(AUTHORIZATION).filter(|_| self.sends_token) {
            headers.insert(AUTHORIZATION, token.clone());
        }
        response
    }
}

/// Two values have the same encoding only if they are equal.
fn percent_encoded(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

impl fmt::Debug for ForwardAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardAuth")
            .field("has_rule", &self.rule.is_some())
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}
