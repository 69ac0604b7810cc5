//! Why a request is rejected, and what it is told, which each family of routes writes in its shape.

use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::error::{Error, ErrorKind, InvalidField};
use crate::guard::rejection::{Rejection, RejectionReason, challenge, retry_after};
use crate::service::http::rejection::{ProblemType, log_fault};
use crate::service::http::routes::body::BodyFault;

/// Why a request is rejected.
pub(super) enum RouteError {
    /// The path does not have the request's method; it has these.
    Method(&'static str),
    Body(BodyFault),
    /// The bearer token is missing or not accepted.
    Bearer(RejectionReason),
    Service(Error),
}

/// What a rejected request is told.
pub(super) struct Details {
    pub(super) problem_type: ProblemType,
    pub(super) message: String,
    pub(super) headers: HeaderMap,
    pub(super) invalid_fields: Vec<InvalidField>,
}

impl RouteError {
    pub(super) fn into_details(self, realm: &str) -> Details {
        match self {
            Self::Method(allowed) => {
                let title = "The method is not allowed";
                let problem_type = (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", title);
                let mut details =
                    Details::new(problem_type, format!("This route takes {allowed} alone"));
                details.headers.insert(ALLOW, HeaderValue::from_static(allowed));
                details
            }
            Self::Body(fault) => Details::of_body_fault(fault),
            Self::Bearer(reason) => {
                let rejection = Rejection::new(reason, realm);
                let (_, kind, title) = match reason {
                    RejectionReason::Unavailable => ErrorKind::Unavailable.problem_type(),
                    RejectionReason::MissingCredentials => {
                        (rejection.status(), "missing-token", "A bearer token is required")
                    }
                    _ => ErrorKind::InvalidToken.problem_type(),
                };
                let details = Details::new((rejection.status(), kind, title), rejection.message());
                Details { headers: rejection.headers(), ..details }
            }
            Self::Service(error) => Details::of_error(&error, realm),
        }
    }
}

impl Details {
    fn new(problem_type: ProblemType, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { problem_type, message, headers: HeaderMap::new(), invalid_fields: Vec::new() }
    }

    fn of_body_fault(fault: BodyFault) -> Self {
        let (problem_type, message) = match fault {
            BodyFault::UnsupportedMediaType => {
                let title = "The media type is not supported";
                (
                    (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", title),
                    "The request's Content-Type is not one that this route takes",
                )
            }
            BodyFault::TooLarge => {
                let message = "The request's body is too large";
                ((StatusCode::PAYLOAD_TOO_LARGE, "content-too-large", message), message)
            }
            BodyFault::TooSlow => (
                (StatusCode::REQUEST_TIMEOUT, "request-timeout", "The request took too long"),
                "The request's body took too long",
            ),
            BodyFault::Aborted => {
                (ErrorKind::InvalidRequest.problem_type(), "The request's body is incomplete")
            }
        };
        Self::new(problem_type, message)
    }

    fn of_error(error: &Error, realm: &str) -> Self {
        let problem_type @ (status, ..) = error.kind().problem_type();
        log_fault(error, status);
        let message = match status {
            StatusCode::NOT_FOUND => "There is no such authentication token".to_owned(),
            StatusCode::SERVICE_UNAVAILABLE => "Try again later".to_owned(),
            StatusCode::INTERNAL_SERVER_ERROR => "The service failed".to_owned(),
            _ => error.to_string(),
        };
        // RFC 6750 §3.1: there is an error code only where a bearer token is at fault.
        let bearer_error = match error.kind() {
            ErrorKind::InvalidEntity | ErrorKind::InvalidToken => Some("invalid_token"),
            ErrorKind::InsufficientPermission => Some("insufficient_scope"),
            _ => None,
        };
        let mut headers = HeaderMap::new();
        // RFC 9110 §15.5.2: a 401 has a challenge.
        if status == StatusCode::UNAUTHORIZED || bearer_error.is_some() {
            let description = bearer_error.map(|_| message.as_str());
            headers.insert(WWW_AUTHENTICATE, challenge(realm, bearer_error, description, None));
        }
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(RETRY_AFTER, retry_after(error.retry_after()));
        }
        Self { problem_type, message, headers, invalid_fields: error.invalid_fields().to_vec() }
    }
}

impl From<BodyFault> for RouteError {
    fn from(fault: BodyFault) -> Self {
        Self::Body(fault)
    }
}

/// A body that is no strict JSON, or a field that is of a wrong type.
impl From<String> for RouteError {
    fn from(message: String) -> Self {
        Self::Service(Error::new(ErrorKind::InvalidRequest, message))
    }
}

impl From<RejectionReason> for RouteError {
    fn from(reason: RejectionReason) -> Self {
        Self::Bearer(reason)
    }
}

impl From<Vec<InvalidField>> for RouteError {
    fn from(invalid: Vec<InvalidField>) -> Self {
        Self::Service(Error::from_invalid_fields(invalid))
    }
}

impl From<Error> for RouteError {
    fn from(error: Error) -> Self {
        Self::Service(error)
    }
}
