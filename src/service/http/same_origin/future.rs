use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum_core::BoxError;
use axum_core::body::Body;
use bytes::Bytes;
use http::Response;
use pin_project_lite::pin_project;

use crate::guard::shaping::Shaping;

pin_project! {
    /// The response future of a [`SameOrigin`](super::SameOrigin): forwards or rejects a request.
    pub struct SameOriginFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        LetThrough { #[pin] inner: F, shaping: Shaping },
        Rejected { response: Option<Response<Body>> },
    }
}

impl<F> SameOriginFuture<F> {
    pub(super) fn let_through(inner: F, shaping: Shaping) -> Self {
        Self { state: State::LetThrough { inner, shaping } }
    }

    pub(super) fn rejected(response: Response<Body>) -> Self {
        Self { state: State::Rejected { response: Some(response) } }
    }
}

impl<F, B, E> Future for SameOriginFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::LetThrough { inner, shaping } => {
                let response = ready!(inner.poll(context))?;
                Poll::Ready(Ok(shaping.apply(response.map(Body::new))))
            }
            // A caller must not poll again after `Ready`; this stays pending if one does.
            StateProjection::Rejected { response } => {
                response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
            }
        }
    }
}

impl<F> fmt::Debug for SameOriginFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SameOriginFuture")
            .field("is_rejected", &matches!(self.state, State::Rejected { .. }))
            .finish_non_exhaustive()
    }
}
