use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::http::future::RefusableFuture;
use crate::http::refusal::Refuse;
use crate::http::validate::Validate;
use crate::service::validate::KeyFlight;

pin_project! {
    /// The response of a [`Validate`]: that of the service behind it, or a refusal. Where the keys of
    /// an issuer elsewhere have to be fetched first, it waits for them.
    pub struct ValidateFuture<S, R, ReqBody, ResBody>
    where
        S: Service<Request<ReqBody>>,
    {
        #[pin]
        answering: Option<RefusableFuture<S::Future, ResBody>>,
        waiting: Option<Box<Waiting<S, R, ReqBody>>>,
    }
}

/// A request that waits for keys, and the service that was ready for it.
struct Waiting<S, R, ReqBody> {
    landed: Pin<Box<dyn Future<Output = ()> + Send>>,
    validate: Validate<S, R>,
    request: Request<ReqBody>,
}

impl<S, R, ReqBody, ResBody> ValidateFuture<S, R, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>>,
{
    pub(super) fn answering(answering: RefusableFuture<S::Future, ResBody>) -> Self {
        Self { answering: Some(answering), waiting: None }
    }

    pub(super) fn waiting(
        flight: KeyFlight,
        validate: Validate<S, R>,
        request: Request<ReqBody>,
    ) -> Self {
        let landed = Box::pin(flight.landed());
        Self { answering: None, waiting: Some(Box::new(Waiting { landed, validate, request })) }
    }
}

impl<S, R, ReqBody, ResBody> Future for ValidateFuture<S, R, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    R: Refuse<ResBody>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(waiting) = this.waiting {
            ready!(waiting.landed.as_mut().poll(context));
        }
        if let Some(waiting) = this.waiting.take() {
            let Waiting { mut validate, request, .. } = *waiting;
            this.answering.set(Some(validate.answer(request)));
        }
        match this.answering.as_pin_mut() {
            Some(answering) => answering.poll(context),
            None => Poll::Pending,
        }
    }
}

impl<S, R, ReqBody, ResBody> fmt::Debug for ValidateFuture<S, R, ReqBody, ResBody>
where
    S: Service<Request<ReqBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValidateFuture")
            .field("waits", &self.waiting.is_some())
            .finish_non_exhaustive()
    }
}
