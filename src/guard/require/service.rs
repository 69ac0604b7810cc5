use std::sync::Arc;
use std::task::{Context, Poll};

use axum_core::BoxError;
use axum_core::body::Body;
use axum_core::response::IntoResponse as _;
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use tower_layer::Layer as _;
use tower_service::Service;

use crate::guard::accessors::inner_service_accessors;
use crate::guard::admission::required;
use crate::guard::future::GuardFuture;
use crate::guard::require::RequireLayer;
use crate::guard::require::check::{check_permission, own_organization, read_path};
use crate::guard::require::layer::{Rule, ScopeSource};
use crate::rejection::Rejection;

/// Lets requests through whose token grants a permission; see
/// [`RequireLayer`](crate::RequireLayer).
#[derive(Clone, Debug)]
pub struct Require<S> {
    pub(super) inner: S,
    pub(super) rule: Arc<Rule>,
}

impl<S> Require<S> {
    /// Wraps a service, as [`RequireLayer::new`] does; the layer has settings.
    pub fn new(inner: S, permission: impl Into<Arc<str>>) -> Self {
        RequireLayer::new(permission).layer(inner)
    }

    inner_service_accessors!();
}

impl Rule {
    fn check(&self, parts: &mut Parts) -> Result<(), Rejection> {
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
        check_permission(parts, &validated, &self.permission, scope)
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Require<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: http_body::Body<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = GuardFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        match self.rule.check(&mut parts) {
            Ok(()) => GuardFuture::let_through(self.inner.call(Request::from_parts(parts, body))),
            Err(rejection) => GuardFuture::rejected(rejection.into_response()),
        }
    }
}
