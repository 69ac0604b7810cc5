use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::guard::future::GuardFuture;
use crate::guard::rejection::Reject;
use crate::guard::validate::Validate;
use crate::validate::issuers::KeyFetch;

pin_project! {
    /// The response of a [`Validate`]: that of the service behind it, or a rejection. Where the
    /// keys of a trusted issuer have to be fetched first, it waits for them.
    pub struct ValidateFuture<S, R, ReqBody, ResBody>
    where
        S: Service<Request<ReqBody>>,
    {
        #[pin]
        state: State<S, R, ReqBody, ResBody>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, R, ReqBody, ResBody>
    where
        S: Service<Request<ReqBody>>,
    {
        Waiting { waiting: Option<Box<Waiting<S, R, ReqBody>>> },
        Decided { #[pin] response: GuardFuture<S::Future, ResBody> },
    }
}

/// A request that waits for keys, and the service that was ready for it.
struct Waiting<S, R, ReqBody> {
    fetch: KeyFetch,
    validate: Validate<S, R>,
    request: Request<ReqBody>,
}

impl<S, R, ReqBody, ResBody> ValidateFuture<S, R, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>>,
{
    pub(super) fn decided(response: GuardFuture<S::Future, ResBody>) -> Self {
        Self { state: State::Decided { response } }
    }

    pub(super) fn waiting(
        fetch: KeyFetch,
        validate: Validate<S, R>,
        request: Request<ReqBody>,
    ) -> Self {
        let waiting = Waiting { fetch, validate, request };
        Self { state: State::Waiting { waiting: Some(Box::new(waiting)) } }
    }
}

impl<S, R, ReqBody, ResBody> Future for ValidateFuture<S, R, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    R: Reject<ResBody>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        if let StateProjection::Waiting { waiting } = state.as_mut().project() {
            if let Some(waiting) = waiting {
                ready!(waiting.fetch.as_mut().poll(context));
            }
            if let Some(Waiting { mut validate, request, .. }) = waiting.take().map(|it| *it) {
                state.set(State::Decided { response: validate.respond(request) });
            }
        }
        match state.project() {
            StateProjection::Decided { response } => response.poll(context),
            StateProjection::Waiting { .. } => Poll::Pending,
        }
    }
}

impl<S, R, ReqBody, ResBody> fmt::Debug for ValidateFuture<S, R, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValidateFuture")
            .field("waits", &matches!(self.state, State::Waiting { .. }))
            .finish_non_exhaustive()
    }
}
