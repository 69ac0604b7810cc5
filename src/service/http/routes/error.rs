//! Why a route rejects a request; each family of routes formats it in its own shape.

use std::borrow::Cow;

use http::StatusCode;

use crate::error::{Error, ErrorKind, InvalidField};
use crate::rejection::{LogReason, Rejection, RejectionType};
use crate::service::http::routes::body::BodyFault;

/// Why a request is rejected.
pub(super) enum RouteError {
    /// The path does not support the request's method; these are the supported ones.
    Method(&'static str),
    Body(BodyFault),
    /// The bearer token is missing or rejected.
    Bearer(LogReason),
    Service(Error),
}

impl RouteError {
    pub(super) fn into_rejection(self, realm: &str) -> Rejection {
        match self {
            Self::Method(allowed) => {
                let status = StatusCode::METHOD_NOT_ALLOWED;
                let title = "The method is not allowed";
                let rejection_type = RejectionType::new(status, "method-not-allowed", title);
                let message = format!("This route takes {allowed} alone");
                let mut rejection = of_type(rejection_type, message);
                rejection.details.allow = Some(allowed);
                rejection
            }
            Self::Body(fault) => of_body_fault(fault),
            Self::Bearer(reason) => Rejection::new(reason, realm),
            Self::Service(error) => {
                let mut rejection = of_error(error);
                rejection.details.realm = realm.into();
                rejection
            }
        }
    }
}

/// Returns a rejection that only routes make.
fn of_type(rejection_type: RejectionType, message: impl Into<Cow<'static, str>>) -> Rejection {
    let mut rejection = Rejection::new(LogReason::Failed(rejection_type.code), "");
    rejection.details.rejection_type = rejection_type;
    rejection.details.message = message.into();
    rejection
}

fn of_body_fault(fault: BodyFault) -> Rejection {
    let (rejection_type, message) = match fault {
        BodyFault::UnsupportedMediaType => {
            let title = "The media type is not supported";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            (
                RejectionType::new(status, "unsupported-media-type", title),
                "The request's Content-Type is not one that this route takes",
            )
        }
        BodyFault::TooLarge => {
            let message = "The request's body is too large";
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            (RejectionType::new(status, "content-too-large", message), message)
        }
        BodyFault::TooSlow => {
            let title = "The request took too long";
            (
                RejectionType::new(StatusCode::REQUEST_TIMEOUT, "request-timeout", title),
                "The request's body took too long",
            )
        }
        BodyFault::Aborted => {
            (ErrorKind::InvalidRequest.rejection_type(), "The request's body is incomplete")
        }
    };
    of_type(rejection_type, message)
}

fn of_error(error: Error) -> Rejection {
    let message = match error.status() {
        StatusCode::NOT_FOUND => "There is no such authentication token".to_owned(),
        StatusCode::SERVICE_UNAVAILABLE => "Try again later".to_owned(),
        StatusCode::INTERNAL_SERVER_ERROR => "The service failed".to_owned(),
        _ => error.to_string(),
    };
    let mut rejection = Rejection::from(error);
    rejection.details.message = message.into();
    rejection
}

impl From<BodyFault> for RouteError {
    fn from(fault: BodyFault) -> Self {
        Self::Body(fault)
    }
}

/// A body that is not strict JSON, or has a field of a wrong type.
impl From<String> for RouteError {
    fn from(message: String) -> Self {
        Self::Service(Error::new(ErrorKind::InvalidRequest, message))
    }
}

impl From<LogReason> for RouteError {
    fn from(reason: LogReason) -> Self {
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
