use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum_core::BoxError;
use axum_core::body::Body;
use axum_core::response::IntoResponse as _;
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use tower_layer::Layer as _;
use tower_service::Service;

use crate::guard::accessors::inner_service_accessors;
use crate::guard::admission::{forbidden, required};
use crate::guard::future::{GuardFuture, Waiting};
use crate::guard::require::RequireLayer;
use crate::guard::require::check::{check_permissions, leave_scope, own_organization, read_path};
use crate::guard::require::layer::{Asked, Checking, Rule, ScopeSource};
use crate::rejection::{LogReason, Rejection};
use crate::token::claims::Validated;

/// Forwards only requests whose token grants a permission; see [`RequireLayer`](crate::RequireLayer).
#[derive(Clone, Debug)]
pub struct Require<S> {
    pub(super) inner: S,
    pub(super) rule: Arc<Rule>,
}

impl<S> Require<S> {
    /// Wraps a service in the middleware that [`RequireLayer::new`] applies; use the layer for further settings.
    pub fn new(inner: S, permission: impl Into<Arc<str>>) -> Self {
        RequireLayer::new(permission).layer(inner)
    }

    inner_service_accessors!();
}

/// The decision on a request.
enum Decision {
    LetThrough,
    /// The host's closure decides.
    Ask(Arc<Validated>, Checking),
}

/// A request that waits for the host's closure, and the service that was ready for it.
#[allow(missing_debug_implementations, reason = "it is within a future, which does not show it")]
pub struct WaitingForCheck<S, ReqBody> {
    caller: Arc<Validated>,
    checking: Checking,
    outcome: Result<(), Rejection>,
    inner: S,
    request: Request<ReqBody>,
}

impl Rule {
    fn check(&self, parts: &mut Parts) -> Result<Decision, Rejection> {
        let validated = required(&parts.extensions, "RequireLayer")?;
        self.kinds.check(&validated)?;
        let mut scope = Vec::with_capacity(self.scope.len());
        for (key, source) in &self.scope {
            let value = match source {
                ScopeSource::Path => Some(read_path(parts, key, &validated)?),
                ScopeSource::Request(read) => read(parts).map(Arc::from),
            };
            scope.extend(value.map(|value| (Arc::clone(key), value)));
        }
        scope.extend(own_organization(&validated).filter(|_| self.in_own_organization));
        let checking = match &self.asked {
            Asked::All(permissions) => {
                check_permissions(&validated, permissions, &scope, false)?;
                None
            }
            Asked::Any(permissions) => {
                check_permissions(&validated, permissions, &scope, true)?;
                None
            }
            Asked::Check(check) => Some(check(Arc::clone(&validated), parts)),
        };
        leave_scope(&mut parts.extensions, &validated, scope)?;
        Ok(checking.map_or(Decision::LetThrough, |checking| Decision::Ask(validated, checking)))
    }
}

impl<S, ReqBody, ResBody> Waiting<S::Future> for WaitingForCheck<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.outcome = match ready!(self.checking.as_mut().poll(context)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(forbidden(&self.caller, LogReason::InsufficientPermission)),
            Err(error) => Err(error.into()),
        };
        Poll::Ready(())
    }

    fn respond(mut self) -> GuardFuture<S::Future, Self> {
        match self.outcome {
            Ok(()) => GuardFuture::let_through(self.inner.call(self.request)),
            Err(rejection) => GuardFuture::rejected(rejection.into_response()),
        }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Require<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ResBody: http_body::Body<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = GuardFuture<S::Future, WaitingForCheck<S, ReqBody>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let decision = self.rule.check(&mut parts);
        let request = Request::from_parts(parts, body);
        match decision {
            Ok(Decision::LetThrough) => GuardFuture::let_through(self.inner.call(request)),
            Ok(Decision::Ask(caller, checking)) => {
                // `poll_ready` made this service ready, so it is the one to call; its clone is left in its place.
                let clone = self.inner.clone();
                let inner = std::mem::replace(&mut self.inner, clone);
                // The request is not forwarded before the decision.
                let outcome = Err(Rejection::new(LogReason::Internal, ""));
                GuardFuture::waiting(WaitingForCheck { caller, checking, outcome, inner, request })
            }
            Err(rejection) => GuardFuture::rejected(rejection.into_response()),
        }
    }
}
