use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Once};
use std::task::{Context, Poll};

use axum_core::BoxError;
use axum_core::body::Body;
use bytes::Bytes;
use http::header::{AUTHORIZATION, SET_COOKIE};
use http::{HeaderValue, Method, Request, Response};
use tower_layer::Layer as _;
use tower_service::Service;

use crate::audit::{self, Attempt, Operation};
use crate::guard::accessors::inner_service_accessors;
use crate::guard::admission::Admission;
use crate::guard::authenticate::Authenticator;
use crate::guard::bearer::{Credentials, credentials, hide_credentials, token};
use crate::guard::client_address::client_address;
use crate::guard::original_uri::original_uri;
use crate::guard::response_caching::ResponseCaching;
use crate::guard::shaping::Shaping;
use crate::guard::validate::Anonymous;
use crate::rejection::{LogReason, Rejection};
use crate::service::TokenService;
use crate::service::http::cookie::{Cookie, SessionCookie};
use crate::service::http::exchange::ExchangeLayer;
use crate::service::http::exchange::pages::PageShaping;
use crate::service::http::request_origin::OriginRule;
use crate::service::http::return_path::ReturnPath;
use crate::service::model::authentication_token::AuthenticationToken;
use crate::token::claims::Validated;
use crate::validate::Validator;
use crate::validate::issuers::KeyFetch;

/// Logged once.
static KIND_NOT_ADMITTED: Once = Once::new();

/// Exchanges authentication tokens of requests for JWTs; see the [module docs](crate::layers::exchange).
#[derive(Clone, Debug)]
pub struct Exchange<S> {
    pub(super) inner: S,
    pub(super) tokens: TokenService,
    pub(super) validator: Validator,
    pub(super) cookie: SessionCookie,
    pub(super) origins: OriginRule,
    pub(super) strips_cookie: bool,
    pub(super) stale_cookies_are_anonymous: bool,
    pub(super) login_page: Option<Arc<str>>,
    pub(super) required: bool,
    pub(super) admission: Admission,
    pub(super) caching: ResponseCaching,
}

/// The response of an [`Exchange`].
type ExchangeFuture<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

/// The credentials of a request.
enum Presented {
    Nothing,
    Jwt(Arc<Validated>, String),
    Session(AuthenticationToken),
}

/// Why a request's credentials are rejected, and whether they came in a cookie.
struct NotAccepted {
    reason: LogReason,
    is_cookie: bool,
}

impl From<LogReason> for NotAccepted {
    fn from(reason: LogReason) -> Self {
        Self { reason, is_cookie: false }
    }
}

/// The credentials that a request is forwarded with.
struct Authenticated {
    validated: Arc<Validated>,
    authorization: HeaderValue,
}

impl<S> Exchange<S> {
    /// Wraps a service in the middleware that [`ExchangeLayer::new`] applies; use the layer for further settings.
    pub fn new(inner: S, tokens: TokenService) -> Self {
        ExchangeLayer::new(tokens).layer(inner)
    }

    inner_service_accessors!();

    /// Returns the credentials of a request, and whether they came in a cookie. A JWT is validated at once: the fetch
    /// of its keys has ended.
    fn presented<B>(&self, request: &Request<B>) -> Result<(Presented, bool), NotAccepted> {
        let (headers, extensions) = (request.headers(), request.extensions());
        let validator = &self.validator;
        let authenticator = Authenticator { validator, headers, extensions };
        let malformed =
            || Err(authenticator.audit_rejection(LogReason::MalformedCredentials).into());
        let nothing = |reason| match self.required {
            true => Err(authenticator.audit_rejection(reason).into()),
            false => Ok((Presented::Nothing, false)),
        };
        let (text, is_cookie) = match credentials(headers) {
            Credentials::Malformed => return malformed(),
            Credentials::Bearer(bytes) => match token(bytes) {
                Some(token) => (token, false),
                None => return malformed(),
            },
            Credentials::Absent => match self.cookie.find(headers) {
                Cookie::Absent => return nothing(LogReason::MissingCredentials),
                _ if !self.origins.accepts(request) => {
                    return nothing(LogReason::CrossOrigin);
                }
                Cookie::Ambiguous => {
                    let reason = authenticator.audit_rejection(LogReason::AmbiguousCookie);
                    return Err(reason.into());
                }
                Cookie::Value(value) => (value, true),
            },
        };
        // An authentication token is base64url, which has no dots.
        if text.contains('.') {
            let validated = authenticator.conclude(validator.validate(text));
            let validated = validated.map_err(|reason| NotAccepted { reason, is_cookie })?;
            return Ok((Presented::Jwt(validated, text.to_owned()), is_cookie));
        }
        match AuthenticationToken::from_text(text) {
            Ok(token) => Ok((Presented::Session(token), is_cookie)),
            Err(_) => {
                let reason = authenticator
                    .audit_rejection_of(Operation::PHANTOM_TOKEN, LogReason::UnknownSession);
                Err(NotAccepted { reason, is_cookie })
            }
        }
    }

    /// Returns the fetch of keys that a JWT has to wait for.
    fn keys_to_wait_for<B>(&self, request: &Request<B>) -> Option<KeyFetch> {
        if !self.validator.may_wait() {
            return None;
        }
        let text = match credentials(request.headers()) {
            Credentials::Bearer(bytes) => token(bytes)?,
            Credentials::Malformed => return None,
            Credentials::Absent => match self.cookie.find(request.headers()) {
                Cookie::Value(value) if self.origins.accepts(request) => value,
                _ => return None,
            },
        };
        if text.contains('.') { self.validator.fetch_for(text) } else { None }
    }

    /// Returns the address of the login page, for a browser that opens a page.
    fn login_address<B>(&self, request: &Request<B>) -> Option<HeaderValue> {
        let page = self.login_page.as_ref().filter(|_| opens_a_page(request))?;
        ReturnPath::login(page, original_uri(request))
    }
}

/// Returns whether a browser opens a page with a request, as opposed to a script or form that sends it.
fn opens_a_page<B>(request: &Request<B>) -> bool {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    is_read && navigates(request).or_else(|| says(request, "accept", b"text/html")).unwrap_or(false)
}

/// Returns whether a browser navigates with a request; older browsers do not say.
fn navigates<B>(request: &Request<B>) -> Option<bool> {
    says(request, "sec-fetch-mode", b"navigate")
}

fn says<B>(request: &Request<B>, name: &str, part: &[u8]) -> Option<bool> {
    let value = request.headers().get(name).map(HeaderValue::as_bytes);
    value.map(|value| value.windows(part.len()).any(|window| window == part))
}

/// Returns whether a cookie with this fault is to be treated as absent.
fn is_stale(reason: LogReason) -> bool {
    matches!(
        reason,
        LogReason::UnknownSession
            | LogReason::ExpiredToken
            | LogReason::InvalidToken(_)
            | LogReason::KindNotAdmitted
    )
}

fn warn_of_kind() {
    KIND_NOT_ADMITTED.call_once(|| {
        tracing::warn!(
            "exchange: a cookie holds the token of a kind of principal that the layer does not admit, so \
             its holder is not logged in; admit the kind by `only`, or give the cookie another name"
        );
    });
}

/// The token of a request, and its source.
struct ExchangeAuthenticator {
    tokens: TokenService,
    address: Option<IpAddr>,
}

impl ExchangeAuthenticator {
    async fn authenticate(&self, presented: Presented) -> Result<Option<Authenticated>, Rejection> {
        let realm = self.tokens.issuer();
        let (validated, jwt) = match presented {
            Presented::Nothing => return Ok(None),
            Presented::Jwt(validated, jwt) => (validated, jwt),
            Presented::Session(token) => {
                let phantom = self.tokens.phantom_token(&token).await;
                let audited = |error| self.audit_rejection(Rejection::of_error(&error, realm));
                let phantom = phantom.map_err(audited)?;
                let attempt = Attempt::with(Operation::PHANTOM_TOKEN, &phantom.validated);
                let attempt = Attempt { address: self.address, ..attempt };
                audit::accepted_quietly(self.tokens.validator().subjects(), &attempt);
                (Arc::clone(&phantom.validated), phantom.token.expose().to_owned())
            }
        };
        let authorization = HeaderValue::try_from(format!("Bearer {jwt}"));
        let mut authorization =
            authorization.map_err(|_| Rejection::new(LogReason::Internal, realm))?;
        authorization.set_sensitive(true);
        Ok(Some(Authenticated { validated, authorization }))
    }

    /// Writes the audit event of a rejection, and returns the rejection.
    fn audit_rejection(&self, rejection: Rejection) -> Rejection {
        let attempt = Attempt { address: self.address, ..Attempt::new(Operation::PHANTOM_TOKEN) };
        let (subjects, reason) = (self.tokens.validator().subjects(), rejection.log_reason());
        match reason {
            LogReason::Unavailable | LogReason::Internal => {
                audit::failed(subjects, &attempt, rejection.log_reason().as_str());
            }
            _ => audit::rejected(subjects, &attempt, rejection.log_reason().as_str()),
        }
        rejection
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Exchange<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    ResBody: http_body::Body<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
    ReqBody: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ExchangeFuture<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        // The service that `poll_ready` made ready is the one to call; its clone stays behind.
        let clone = self.clone();
        let exchange = std::mem::replace(self, clone);
        match exchange.keys_to_wait_for(&request) {
            None => exchange.respond(request),
            Some(fetch) => Box::pin(async move {
                fetch.await;
                exchange.respond(request).await
            }),
        }
    }
}

impl<S> Exchange<S> {
    /// Responds to a request for which the inner service is ready.
    fn respond<ReqBody, ResBody>(self, mut request: Request<ReqBody>) -> ExchangeFuture<S::Error>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>> + Send + 'static,
        S::Future: Send,
        ResBody: http_body::Body<Data = Bytes> + Send + 'static,
        ResBody::Error: Into<BoxError>,
        ReqBody: Send + 'static,
    {
        let presented = self.presented(&request);
        let proxies = self.tokens.validator().trusted_proxies();
        let address = client_address(proxies, request.headers(), request.extensions());
        let login = self.login_address(&request);
        let Self { mut inner, tokens, cookie, admission, caching, required, .. } = self;
        let authenticator = ExchangeAuthenticator { tokens, address };
        let stripped = self.strips_cookie.then(|| cookie.clone());
        let stale_is_anonymous = self.stale_cookies_are_anonymous;
        // Another response may arrive late, and remove the cookie of a more recent login.
        let removes_stale = stale_is_anonymous && navigates(&request).unwrap_or(true);
        let removable = removes_stale.then_some(cookie);
        Box::pin(async move {
            let realm = authenticator.tokens.issuer();
            let (outcome, is_cookie) = match presented {
                Ok((presented, is_cookie)) => {
                    (authenticator.authenticate(presented).await, is_cookie)
                }
                Err(NotAccepted { reason, is_cookie }) => {
                    (Err(Rejection::new(reason, realm)), is_cookie)
                }
            };
            let outcome = outcome.and_then(|authenticated| {
                let caller = authenticated.as_ref().map(|found| &*found.validated);
                caller.map_or(Ok(()), |caller| admission.kinds.check(caller))?;
                Ok(authenticated)
            });
            let missing = || Rejection::new(LogReason::MissingCredentials, realm);
            let (outcome, removal) = match outcome {
                Err(rejection) if is_cookie && is_stale(rejection.log_reason()) => {
                    if rejection.log_reason() == LogReason::KindNotAdmitted {
                        warn_of_kind();
                    }
                    let outcome = match stale_is_anonymous {
                        true if !required => Ok(None),
                        false if login.is_none() => Err(rejection),
                        // A visitor who opens a page is redirected to the login.
                        _ => Err(missing()),
                    };
                    (outcome, removable.map(|cookie| cookie.removal()))
                }
                outcome => (outcome, None),
            };
            let outcome = outcome.and_then(|authenticated| {
                let caller = authenticated.as_ref().map(|found| &*found.validated);
                admission.check(caller, request.extensions_mut()).map(|()| authenticated)
            });
            hide_credentials(request.headers_mut());
            let shaping_of = |request: &Request<ReqBody>| {
                let shaping = Shaping::of(authenticator.tokens.validator(), request);
                PageShaping { shaping, login }
            };
            let is_validated = match outcome {
                Ok(Some(Authenticated { validated, authorization })) => {
                    request.extensions_mut().insert(validated);
                    request.headers_mut().insert(AUTHORIZATION, authorization);
                    true
                }
                Ok(None) => {
                    request.extensions_mut().insert(Anonymous { realm: realm.into() });
                    false
                }
                Err(rejection) => {
                    let response = shaping_of(&request).reject(rejection);
                    return Ok(with_removal(response, removal));
                }
            };
            if let Some(cookie) = stripped {
                cookie.strip(request.headers_mut());
            }
            let shaping = shaping_of(&request);
            let response = inner.call(request).await?.map(Body::new);
            let mut response = with_removal(shaping.apply(response), removal);
            caching.mark(is_validated, response.headers_mut());
            Ok(response)
        })
    }
}

/// Removes a stale cookie from the browser, unless the handler has set another one.
fn with_removal(mut response: Response<Body>, removal: Option<HeaderValue>) -> Response<Body> {
    if let Some(removal) = removal {
        let name = removal.as_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
        let sets_it = |set: &HeaderValue| {
            let rest = set.as_bytes().strip_prefix(name);
            rest.is_some_and(|rest| rest.first() == Some(&b'='))
        };
        if !response.headers().get_all(SET_COOKIE).iter().any(sets_it) {
            response.headers_mut().append(SET_COOKIE, removal);
        }
    }
    response
}
