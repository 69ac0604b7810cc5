use std::task::{Context, Poll};

use axum_core::BoxError;
use axum_core::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use tower_layer::Layer as _;
use tower_service::Service;

use crate::audit::Operation;
use crate::guard::accessors::inner_service_accessors;
use crate::guard::authenticate::Authenticator;
use crate::guard::shaping::Shaping;
use crate::rejection::{LogReason, Rejection};
use crate::service::TokenService;
use crate::service::http::request_origin::OriginRule;
use crate::service::http::same_origin::{SameOriginFuture, SameOriginLayer};

/// Rejects unsafe requests that another site makes a browser send; see the
/// [module docs](crate::layers::same_origin).
#[derive(Clone, Debug)]
pub struct SameOrigin<S> {
    pub(super) inner: S,
    pub(super) tokens: TokenService,
    pub(super) origins: OriginRule,
}

impl<S> SameOrigin<S> {
    /// Wraps a service in the middleware that [`SameOriginLayer::new`] applies; use the layer for further settings.
    pub fn new(inner: S, tokens: TokenService) -> Self {
        SameOriginLayer::new(tokens).layer(inner)
    }

    inner_service_accessors!();
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for SameOrigin<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: http_body::Body<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = SameOriginFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let validator = self.tokens.validator();
        let shaping = Shaping::of(validator, &request);
        if self.origins.accepts(&request) {
            return SameOriginFuture::let_through(self.inner.call(request), shaping);
        }
        let (headers, extensions) = (request.headers(), request.extensions());
        let reason = Authenticator { validator, headers, extensions }
            .audit_rejection_of(Operation::SAME_ORIGIN, LogReason::CrossOrigin);
        let rejection = Rejection::new(reason, self.tokens.issuer());
        SameOriginFuture::rejected(shaping.reject(rejection))
    }
}
