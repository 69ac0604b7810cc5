use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum_core::BoxError;
use axum_core::body::Body;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use tower_layer::Layer as _;
use tower_service::Service;

use crate::audit::{self, Attempt, Operation};
use crate::guard::accessors::inner_service_accessors;
use crate::guard::admission::Admission;
use crate::guard::authenticate::Authenticator;
use crate::guard::bearer::{Credentials, credentials, hide_credentials, token};
use crate::guard::client_address::client_address;
use crate::guard::response_caching::ResponseCaching;
use crate::guard::shaping::Shaping;
use crate::guard::validate::Anonymous;
use crate::rejection::{Rejection, RejectionReason};
use crate::service::TokenService;
use crate::service::http::cookie::{Cookie, SessionCookie};
use crate::service::http::exchange::ExchangeLayer;
use crate::service::http::request_origin::OriginRule;
use crate::service::model::session::AuthenticationToken;
use crate::token::claims::Validated;

/// Turns authentication tokens into JWTs on their way in; see the [module docs](crate::layers::exchange).
#[derive(Clone, Debug)]
pub struct Exchange<S> {
    pub(super) inner: S,
    pub(super) tokens: TokenService,
    pub(super) cookie: SessionCookie,
    pub(super) origins: OriginRule,
    pub(super) strips_cookie: bool,
    pub(super) required: bool,
    pub(super) admission: Admission,
    pub(super) caching: ResponseCaching,
}

/// What a request brings.
enum Presented {
    Nothing,
    Jwt(Arc<Validated>, String),
    Session(AuthenticationToken),
}

/// What a request is let through with.
struct Authenticated {
    validated: Arc<Validated>,
    authorization: HeaderValue,
}

impl<S> Exchange<S> {
    /// Wraps a service, as [`ExchangeLayer::new`] does; the layer has settings.
    pub fn new(inner: S, tokens: TokenService) -> Self {
        ExchangeLayer::new(tokens).layer(inner)
    }

    inner_service_accessors!();

    /// What a request brings. A JWT is checked at once: nothing has to be waited for.
    fn presented<B>(&self, request: &Request<B>) -> Result<Presented, RejectionReason> {
        let (headers, extensions) = (request.headers(), request.extensions());
        let validator = self.tokens.validator();
        let authenticator = Authenticator { validator, headers, extensions };
        let malformed =
            || Err(authenticator.audit_rejection(RejectionReason::MalformedCredentials));
        let nothing = |reason| match self.required {
            true => Err(authenticator.audit_rejection(reason)),
            false => Ok(Presented::Nothing),
        };
        let text = match credentials(headers) {
            Credentials::Malformed => return malformed(),
            Credentials::Bearer(bytes) => match token(bytes) {
                Some(token) => token,
                None => return malformed(),
            },
            Credentials::Absent => match self.cookie.find(headers) {
                Cookie::Absent => return nothing(RejectionReason::MissingCredentials),
                _ if !self.origins.accepts(request) => {
                    return nothing(RejectionReason::CrossOrigin);
                }
                Cookie::Ambiguous => {
                    return Err(authenticator.audit_rejection(RejectionReason::AmbiguousCookie));
                }
                Cookie::Value(value) => value,
            },
        };
        // An authentication token is base64url, which has no dots.
        if text.contains('.') {
            let validated = authenticator.conclude(validator.validate(text))?;
            return Ok(Presented::Jwt(validated, text.to_owned()));
        }
        AuthenticationToken::from_text(text).map(Presented::Session).map_err(|_| {
            authenticator
                .audit_rejection_of(Operation::PHANTOM_TOKEN, RejectionReason::UnknownSession)
        })
    }
}

/// What a request is authenticated with, and where it comes from.
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
            authorization.map_err(|_| Rejection::new(RejectionReason::Internal, realm))?;
        authorization.set_sensitive(true);
        Ok(Some(Authenticated { validated, authorization }))
    }

    /// Writes the audit event of a rejection, and returns the rejection.
    fn audit_rejection(&self, rejection: Rejection) -> Rejection {
        let attempt = Attempt { address: self.address, ..Attempt::new(Operation::PHANTOM_TOKEN) };
        let (subjects, reason) = (self.tokens.validator().subjects(), rejection.reason());
        match reason {
            RejectionReason::Unavailable | RejectionReason::Internal => {
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
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        // The service that `poll_ready` made ready is the one to call; its clone stays behind.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let presented = self.presented(&request);
        let tokens = self.tokens.clone();
        let proxies = tokens.validator().trusted_proxies();
        let address = client_address(proxies, request.headers(), request.extensions());
        let authenticator = ExchangeAuthenticator { tokens, address };
        let admission = self.admission.clone();
        let (caching, stripped) = (self.caching, self.strips_cookie.then(|| self.cookie.clone()));
        Box::pin(async move {
            let outcome = match presented {
                Ok(presented) => authenticator.authenticate(presented).await,
                Err(reason) => Err(Rejection::new(reason, authenticator.tokens.issuer())),
            };
            let outcome = outcome.and_then(|authenticated| {
                let caller = authenticated.as_ref().map(|found| &*found.validated);
                admission.check(caller, request.extensions_mut()).map(|()| authenticated)
            });
            let is_validated = match outcome {
                Ok(Some(Authenticated { validated, authorization })) => {
                    request.extensions_mut().insert(validated);
                    request.headers_mut().insert(AUTHORIZATION, authorization);
                    true
                }
                Ok(None) => {
                    let realm = authenticator.tokens.issuer().into();
                    request.extensions_mut().insert(Anonymous { realm });
                    false
                }
                Err(rejection) => {
                    hide_credentials(request.headers_mut());
                    let hook = authenticator.tokens.validator().rejection_hook();
                    return Ok(Shaping::of(hook, &request).reject(rejection));
                }
            };
            if let Some(cookie) = stripped {
                cookie.strip(request.headers_mut());
            }
            hide_credentials(request.headers_mut());
            let shaping = Shaping::of(authenticator.tokens.validator().rejection_hook(), &request);
            let response = inner.call(request).await?.map(Body::new);
            let mut response = shaping.apply(response);
            caching.mark(is_validated, response.headers_mut());
            Ok(response)
        })
    }
}
