use std::task::{Context, Poll};

use axum_core::BoxError;
use axum_core::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use tower_layer::Layer as _;
use tower_service::Service;

use crate::guard::accessors::inner_service_accessors;
use crate::guard::client_address::client_address;
use crate::guard::shaping::Shaping;
use crate::service::TokenService;
use crate::service::http::issue::future::CrossOrigin;
use crate::service::http::issue::layer::Delivery;
use crate::service::http::issue::{IssueFuture, IssueLayer};
use crate::service::http::request_origin::OriginRule;

/// Issues the tokens of handlers that return an [`Issue`](crate::Issue); see the
/// [module docs](crate::layers::issue).
#[derive(Clone, Debug)]
pub struct IssueService<S> {
    pub(super) inner: S,
    pub(super) tokens: TokenService,
    pub(super) delivery: Delivery,
    pub(super) origins: OriginRule,
}

impl<S> IssueService<S> {
    /// Wraps a service in the middleware that [`IssueLayer::new`] applies; use the layer for further settings.
    pub fn new(inner: S, tokens: TokenService) -> Self {
        IssueLayer::new(tokens).layer(inner)
    }

    inner_service_accessors!();
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for IssueService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: http_body::Body<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = IssueFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        // Whether it was a login is known once the handler has responded.
        let sets_cookie = matches!(self.delivery, Delivery::Cookie(_));
        let cross_origin = (sets_cookie && !self.origins.accepts(&request)).then(|| {
            let proxies = self.tokens.validator().trusted_proxies();
            let address = client_address(proxies, request.headers(), request.extensions());
            CrossOrigin { address }
        });
        let shaping = Shaping::of(self.tokens.validator(), &request);
        IssueFuture {
            inner: self.inner.call(request),
            issuing: None,
            tokens: self.tokens.clone(),
            delivery: self.delivery.clone(),
            cross_origin,
            shaping,
        }
    }
}
