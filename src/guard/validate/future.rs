use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::guard::future::{GuardFuture, Waiting};
use crate::guard::rejection::Reject;
use crate::guard::validate::Validate;
use crate::validate::issuers::KeyFetch;

/// The response of a [`Validate`]: that of the service behind it, or a rejection. Where the keys of a
/// trusted issuer have to be fetched first, it waits for them.
pub type ValidateFuture<S, R, ReqBody, ResBody> =
    GuardFuture<<S as Service<Request<ReqBody>>>::Future, ResBody, WaitingForKeys<S, R, ReqBody>>;

/// A request that waits for keys, and the service that was ready for it.
#[allow(missing_debug_implementations, reason = "it is within a future, which does not show it")]
pub struct WaitingForKeys<S, R, ReqBody> {
    pub(super) fetch: KeyFetch,
    pub(super) validate: Validate<S, R>,
    pub(super) request: Request<ReqBody>,
}

impl<S, R, ReqBody, ResBody> Waiting<S::Future, ResBody> for WaitingForKeys<S, R, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    R: Reject<ResBody>,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.fetch.as_mut().poll(context)
    }

    fn respond(mut self) -> ValidateFuture<S, R, ReqBody, ResBody> {
        self.validate.respond(self.request)
    }
}
