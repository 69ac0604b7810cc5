use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum_core::BoxError;
use axum_core::body::Body;
use bytes::Bytes;
use http::Response;
use pin_project_lite::pin_project;

use crate::guard::response_caching::ResponseCaching;
use crate::guard::shaping::Shaping;

pin_project! {
    /// The response future of a middleware that forwards or rejects a request, either at once or after `W` is ready.
    pub struct GuardFuture<F, W = Infallible> {
        #[pin]
        state: State<F, W>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, W> {
        Waiting { waiting: Option<Box<W>> },
        LetThrough { #[pin] inner: F, marking: Option<Marking> },
        Rejected { response: Option<Response<Body>> },
    }
}

/// Processes the response of the inner service.
pub(super) struct Marking {
    pub(super) caching: ResponseCaching,
    pub(super) is_validated: bool,
    pub(super) shaping: Shaping,
}

/// A request that cannot be decided yet.
pub(super) trait Waiting<F>: Sized {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// Decides the request, after [`poll`](Self::poll) was ready.
    fn respond(self) -> GuardFuture<F, Self>;
}

/// A decision that needs no wait.
impl<F> Waiting<F> for Infallible {
    fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        match *self {}
    }

    fn respond(self) -> GuardFuture<F> {
        match self {}
    }
}

impl<F, W> GuardFuture<F, W> {
    pub(super) fn let_through(inner: F) -> Self {
        Self { state: State::LetThrough { inner, marking: None } }
    }

    pub(super) fn let_through_and_mark(inner: F, marking: Marking) -> Self {
        Self { state: State::LetThrough { inner, marking: Some(marking) } }
    }

    pub(super) fn rejected(response: Response<Body>) -> Self {
        Self { state: State::Rejected { response: Some(response) } }
    }

    pub(super) fn waiting(waiting: W) -> Self {
        Self { state: State::Waiting { waiting: Some(Box::new(waiting)) } }
    }
}

impl<F, B, W, E> Future for GuardFuture<F, W>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    W: Waiting<F>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
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
                // axum's own body type is not boxed again.
                let mut response = ready!(inner.poll(context))?.map(Body::new);
                if let Some(Marking { caching, is_validated, shaping }) = marking {
                    response = shaping.apply(response);
                    caching.mark(*is_validated, response.headers_mut());
                }
                Poll::Ready(Ok(response))
            }
            // A caller must not poll again after `Ready`; this stays pending if one does.
            StateProjection::Rejected { response } => {
                response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
            }
            StateProjection::Waiting { .. } => Poll::Pending,
        }
    }
}

impl<F, W> fmt::Debug for GuardFuture<F, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardFuture")
            .field("waits", &matches!(self.state, State::Waiting { .. }))
            .finish_non_exhaustive()
    }
}
