use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum_core::BoxError;
use axum_core::body::Body;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, LOCATION, SET_COOKIE,
    TRANSFER_ENCODING,
};
use http::{HeaderValue, Response, StatusCode};
use pin_project_lite::pin_project;

use crate::audit::{self, Attempt, Operation};
use crate::error::{Error, ErrorKind};
use crate::guard::response_caching::remove_what_shared_caches_obey;
use crate::guard::shaping::Shaping;
use crate::rejection::{LogReason, Rejection};
use crate::service::TokenService;
use crate::service::http::issue::layer::Delivery;
use crate::service::http::issue::response::{PLACEHOLDER, PendingIssue};
use crate::service::issue::IssuedToken;

/// A request of another origin, for which no cookie is set.
#[derive(Clone, Copy, Debug)]
pub(super) struct CrossOrigin {
    pub(super) address: Option<IpAddr>,
}

/// A token that is being issued, to replace the handler's response.
pub(super) struct Issuing {
    issued: Pin<Box<dyn Future<Output = Result<IssuedToken, Error>> + Send>>,
    head: Option<http::response::Parts>,
    location: Option<HeaderValue>,
}

pin_project! {
    /// The response future of an [`IssueService`](super::IssueService).
    pub struct IssueFuture<F> {
        #[pin]
        pub(super) inner: F,
        pub(super) issuing: Option<Issuing>,
        pub(super) tokens: TokenService,
        pub(super) delivery: Delivery,
        pub(super) cross_origin: Option<CrossOrigin>,
        pub(super) shaping: Shaping,
    }
}

impl<F, B, E> Future for IssueFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if this.issuing.is_none() {
            let mut response = ready!(this.inner.as_mut().poll(context))?;
            let pending = response.extensions_mut().remove::<PendingIssue>();
            // A response that the handler or a layer has turned into an error is no login.
            let Some(pending) = pending.filter(|_| is_login(response.status())) else {
                return Poll::Ready(Ok(this.shaping.apply(response.map(Body::new))));
            };
            if let Some(CrossOrigin { address }) = *this.cross_origin {
                let attempt = Attempt { address, ..Attempt::new(Operation::ISSUE_TOKEN) };
                let subjects = this.tokens.validator().subjects();
                audit::rejected(subjects, &attempt, LogReason::CrossOrigin.as_str());
                let rejection = Rejection::new(LogReason::CrossOrigin, this.tokens.issuer());
                return Poll::Ready(Ok(this.shaping.reject(rejection)));
            }
            let (head, _) = response.into_parts();
            let tokens = this.tokens.clone();
            let location = pending.location.clone();
            let issued = Box::pin(pending.issue(tokens));
            *this.issuing = Some(Issuing { issued, head: Some(head), location });
        }
        // A caller must not poll again after `Ready`; this stays pending if one does.
        let Some(issuing) = this.issuing.as_mut() else { return Poll::Pending };
        let issued = ready!(issuing.issued.as_mut().poll(context));
        let Some(head) = issuing.head.take() else { return Poll::Pending };
        let location = issuing.location.take();
        let answered = issued.and_then(|token| answer(head, &token, this.delivery, location));
        Poll::Ready(Ok(match answered {
            Ok(response) => response.map(Body::from),
            Err(error) => this.shaping.reject(rejection_of(error, this.tokens.issuer())),
        }))
    }
}

impl<F> fmt::Debug for IssueFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssueFuture")
            .field("is_issuing", &self.issuing.is_some())
            .finish_non_exhaustive()
    }
}

/// Returns the rejection of a login; for a principal that is not registered, a 404.
fn rejection_of(error: Error, realm: &str) -> Rejection {
    match error.kind() {
        ErrorKind::NotFound => error.into(),
        _ => Rejection::of_error(&error, realm),
    }
}

/// Returns whether a status is the placeholder's own, or not an error.
fn is_login(status: StatusCode) -> bool {
    status == PLACEHOLDER || !(status.is_client_error() || status.is_server_error())
}

/// Replaces the handler's response by the token; its other headers stay.
fn answer(
    mut head: http::response::Parts,
    token: &IssuedToken,
    delivery: &Delivery,
    location: Option<HeaderValue>,
) -> Result<Response<String>, Error> {
    let unfit = || Error::new(ErrorKind::Internal, "the token does not fit in a header");
    // These describe the handler's body.
    for name in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING, ETAG, TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
    head.status = StatusCode::NO_CONTENT;
    let mut response = Response::from_parts(head, String::new());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    remove_what_shared_caches_obey(headers);
    let text = token.access_token.expose();
    match delivery {
        Delivery::Json => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            // All of its members can be serialized.
            *response.body_mut() = serde_json::to_string(token).unwrap_or_default();
            *response.status_mut() = StatusCode::OK;
        }
        Delivery::Header(name) => {
            let mut value = HeaderValue::from_str(text).map_err(|_| unfit())?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Delivery::Cookie(cookie) => {
            headers.append(SET_COOKIE, token.cookie(cookie)?);
        }
    }
    if let Some(location) = location {
        response.headers_mut().insert(LOCATION, location);
        *response.status_mut() = StatusCode::SEE_OTHER;
    }
    Ok(response)
}
