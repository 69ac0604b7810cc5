use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use crate::guard::response_caching::ResponseCaching;

pin_project! {
    /// The response of a middleware that lets a request through or rejects it: at once, or after what
    /// `W` waits for.
    pub struct GuardFuture<F, B, W = Infallible> {
        #[pin]
        state: State<F, B, W>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, B, W> {
        Waiting { waiting: Option<Box<W>> },
        LetThrough { #[pin] inner: F, marking: Option<Marking> },
        Rejected { response: Option<Response<B>> },
    }
}

/// What is written into the response of the inner service.
#[derive(Clone, Copy)]
pub(super) struct Marking {
    pub(super) caching: ResponseCaching,
    pub(super) is_validated: bool,
}

/// A request that cannot be decided yet.
pub(super) trait Waiting<F, B>: Sized {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// Decides, after [`poll`](Self::poll) was ready.
    fn respond(self) -> GuardFuture<F, B, Self>;
}

/// What is decided at once.
impl<F, B> Waiting<F, B> for Infallible {
    fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        match *self {}
    }

    fn respond(self) -> GuardFuture<F, B> {
        match self {}
    }
}

impl<F, B, W> GuardFuture<F, B, W> {
    pub(super) fn let_through(inner: F) -> Self {
        Self { state: State::LetThrough { inner, marking: None } }
    }

    pub(super) fn let_through_and_mark(inner: F, marking: Marking) -> Self {
        Self { state: State::LetThrough { inner, marking: Some(marking) } }
    }

    pub(super) fn rejected(response: Response<B>) -> Self {
        Self { state: State::Rejected { response: Some(response) } }
    }

    pub(super) fn waiting(waiting: W) -> Self {
        Self { state: State::Waiting { waiting: Some(Box::new(waiting)) } }
    }
}

impl<F, B, W, E> Future for GuardFuture<F, B, W>
where
    F: Future<Output = Result<Response<B>, E>>,
    W: Waiting<F, B>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let mut state = self.project().state;
        if let StateProjection::Waiting { waiting } = state.as_mut().project() {
            if let Some(waiting) = waiting {
                ready!(waiting.poll(context));
            }
            if let Some(waiting) = waiting.take() {
                state.set(waiting.respond().state);
            }
        }
        match state.project() {
            StateProjection::LetThrough { inner, marking } => {
                let mut response = ready!(inner.poll(context))?;
                if let Some(Marking { caching, is_validated }) = *marking {
                    caching.mark(is_validated, response.headers_mut());
                }
                Poll::Ready(Ok(response))
            }
            // Polled again after it was ready, which no caller may do, it never is.
            StateProjection::Rejected { response } => {
                response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
            }
            StateProjection::Waiting { .. } => Poll::Pending,
        }
    }
}

impl<F, B, W> fmt::Debug for GuardFuture<F, B, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardFuture")
            .field("waits", &matches!(self.state, State::Waiting { .. }))
            .finish_non_exhaustive()
    }
}
