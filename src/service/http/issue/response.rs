use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum_core::body::Body;
use axum_core::response::IntoResponse;
use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::error::Error;
use crate::service::issue::IssuedToken;
use crate::service::{EntityId, Grant, TokenService};

/// The response of a handler that has authenticated the caller: a token is issued for them.
///
/// ```
/// use countersign::{Grant, Issue};
///
/// async fn callback() -> Issue {
///     // The host has checked who it is.
///     Issue::grant(Grant::user("ops@example.com"))
/// }
/// ```
///
/// It works only behind an [`IssueLayer`](crate::IssueLayer); without one, the response is a 500. If a handler or
/// layer then sets an error status, to deny the login, nothing is issued.
#[derive(Clone, Debug)]
#[must_use]
pub struct Issue(Subject);

/// The principal that a token is issued for.
#[derive(Clone, Debug)]
enum Subject {
    Granted(Grant),
    Registered(EntityId),
}

/// The request to the layer, in a response's extensions.
#[derive(Clone, Debug)]
pub(super) struct PendingIssue {
    issue: Issue,
    pub(super) location: Option<HeaderValue>,
}

impl PendingIssue {
    pub(super) async fn issue(self, tokens: TokenService) -> Result<IssuedToken, Error> {
        match self.issue.0 {
            Subject::Granted(grant) => tokens.issue(grant).await,
            Subject::Registered(id) => tokens.issue_for(&id).await,
        }
    }
}

impl Issue {
    /// Returns a response that issues a token for a principal that the host has authenticated; see
    /// [`TokenService::issue`].
    pub fn grant(grant: Grant) -> Self {
        Self(Subject::Granted(grant))
    }

    /// Returns a response that issues a token for a registered principal, with the claims of its registration; see
    /// [`TokenService::issue_for`].
    pub fn registered(id: EntityId) -> Self {
        Self(Subject::Registered(id))
    }

    /// Returns a response that issues the token and redirects: 303 See Other (RFC 9110 §15.4.4),
    /// for a form that was posted. For layers that issue as a header or a cookie.
    ///
    /// ```
    /// use axum::response::Response;
    /// use countersign::{Grant, Issue};
    /// use http::HeaderValue;
    ///
    /// async fn login() -> Response {
    ///     Issue::grant(Grant::user("ops@example.com")).see_other(HeaderValue::from_static("/home"))
    /// }
    /// ```
    #[must_use]
    pub fn see_other(self, location: HeaderValue) -> Response<Body> {
        placeholder(PendingIssue { issue: self, location: Some(location) })
    }
}

impl IntoResponse for Issue {
    fn into_response(self) -> Response<Body> {
        placeholder(PendingIssue { issue: self, location: None })
    }
}

/// The status of a response that a layer replaces.
pub(super) const PLACEHOLDER: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

/// The body if no layer replaces the response.
fn placeholder(pending: PendingIssue) -> Response<Body> {
    let mut response = Response::new(Body::new(ForgottenLayer { told: false }));
    *response.status_mut() = PLACEHOLDER;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.extensions_mut().insert(pending);
    response
}

/// A body that is read only if no layer has replaced it, and logs that error.
struct ForgottenLayer {
    told: bool,
}

impl HttpBody for ForgottenLayer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if std::mem::replace(&mut self.told, true) {
            return Poll::Ready(None);
        }
        tracing::error!(
            "issue: a handler returned `Issue` without an IssueLayer in front, the request is rejected with a 500; \
             mount one with `Router::layer`, outside of the handler"
        );
        let text = Bytes::from_static(b"Internal server error\n");
        Poll::Ready(Some(Ok(Frame::data(text))))
    }

    fn size_hint(&self) -> SizeHint {
        // Not exact: the frames of a body of known size may never be polled.
        SizeHint::new()
    }
}
