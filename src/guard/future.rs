use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use pin_project_lite::pin_project;

pin_project! {
    /// The response of a middleware that lets a request through or rejects it at once.
    #[derive(Debug)]
    pub struct GuardFuture<F, B> {
        #[pin]
        state: State<F, B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = StateProjection]
    enum State<F, B> {
        LetThrough { #[pin] inner: F },
        Rejected { response: Option<Response<B>> },
    }
}

impl<F, B> GuardFuture<F, B> {
    pub(super) fn let_through(inner: F) -> Self {
        Self { state: State::LetThrough { inner } }
    }

    pub(super) fn rejected(response: Response<B>) -> Self {
        Self { state: State::Rejected { response: Some(response) } }
    }
}

impl<F, B, E> Future for GuardFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        match self.project().state.project() {
            StateProjection::LetThrough { inner } => inner.poll(context),
            // Polled again after it was ready, which no caller may do, it never is.
            StateProjection::Rejected { response } => {
                response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
            }
        }
    }
}
