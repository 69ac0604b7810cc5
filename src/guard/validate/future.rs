use std::task::{Context, Poll};

use axum_core::BoxError;
use bytes::Bytes;
use http::{Request, Response};
use tower_service::Service;

use crate::guard::future::{GuardFuture, Waiting};
use crate::guard::validate::Validate;
use crate::validate::issuers::KeyFetch;

/// The response future of a [`Validate`]: forwards or rejects a request. If the keys of a trusted issuer must be
/// fetched first, it waits for them.
pub type ValidateFuture<S, ReqBody> =
    GuardFuture<<S as Service<Request<ReqBody>>>::Future, WaitingForKeys<S, ReqBody>>;

/// A request that waits for keys, and the service that was ready for it.
#[allow(missing_debug_implementations, reason = "it is within a future, which does not show it")]
pub struct WaitingForKeys<S, ReqBody> {
    pub(super) fetch: KeyFetch,
    pub(super) validate: Validate<S>,
    pub(super) request: Request<ReqBody>,
}

impl<S, ReqBody, ResBody> Waiting<S::Future> for WaitingForKeys<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: http_body::Body<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.fetch.as_mut().poll(context)
    }

    fn respond(mut self) -> ValidateFuture<S, ReqBody> {
        self.validate.respond(self.request)
    }
}
