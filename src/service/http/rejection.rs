//! How errors of the service are answered over HTTP.

use http::StatusCode;

use crate::error::{Error, ErrorKind};
use crate::guard::rejection::{Rejection, RejectionReason};

/// A status, and a problem of that status (RFC 9457): the end of its `type`, and its title.
pub(super) type ProblemType = (StatusCode, &'static str, &'static str);

impl ErrorKind {
    /// Returns the problem type of this kind of error. The documentation of the router lists them.
    pub(super) fn problem_type(self) -> ProblemType {
        use StatusCode as Status;

        match self {
            Self::InvalidRequest => {
                (Status::BAD_REQUEST, "malformed-request", "The request is malformed")
            }
            Self::InvalidFields => {
                (Status::UNPROCESSABLE_ENTITY, "invalid-fields", "Some fields are invalid")
            }
            Self::InvalidCredentials | Self::InvalidEntity => {
                let title = "The name and the password are not valid";
                (Status::UNAUTHORIZED, "invalid-credentials", title)
            }
            Self::OneTimePasswordRequired => {
                let title = "A one-time password is required";
                (Status::UNAUTHORIZED, "one-time-password-required", title)
            }
            Self::OneTimePasswordInvalid => {
                let title = "The one-time password is not valid";
                (Status::UNAUTHORIZED, "one-time-password-invalid", title)
            }
            Self::InvalidToken => {
                (Status::UNAUTHORIZED, "invalid-token", "The bearer token is not accepted")
            }
            Self::AclExceedsGrant => {
                (Status::FORBIDDEN, "acl-exceeds-grant", "More is asked for than is held")
            }
            Self::CustomClaimsNotAllowed => {
                (Status::FORBIDDEN, "custom-claims-not-allowed", "Custom claims are not allowed")
            }
            Self::InsufficientPermission => {
                (Status::FORBIDDEN, "insufficient-permission", "The permission is missing")
            }
            Self::Disabled => {
                (Status::FORBIDDEN, "disabled", "The principal is disabled or blocked")
            }
            Self::NotFound => (Status::NOT_FOUND, "not-found", "There is no such thing"),
            Self::Conflict => {
                (Status::CONFLICT, "conflict", "The state of the session does not allow it")
            }
            Self::Throttled => {
                (Status::TOO_MANY_REQUESTS, "too-many-requests", "There were too many attempts")
            }
            Self::Unavailable | Self::Overloaded => {
                (Status::SERVICE_UNAVAILABLE, "unavailable", "The service is unavailable")
            }
            Self::Configuration | Self::InvalidKey | Self::Internal => {
                (Status::INTERNAL_SERVER_ERROR, "internal", "The service failed")
            }
        }
    }
}

/// Logs the error behind an answer that does not give its cause.
pub(super) fn log_fault(error: &Error, status: StatusCode) {
    if status == StatusCode::SERVICE_UNAVAILABLE {
        tracing::warn!(?error, "a request is answered 503: {error}");
    } else if status.is_server_error() {
        tracing::error!(?error, "a request is answered 500: {error}");
    }
}

impl Rejection {
    /// Returns the rejection of a request for which a layer has not got a token from the service.
    pub(super) fn of_error(error: &Error, realm: &str) -> Self {
        let reason = match (error.kind(), error.kind().problem_type().0) {
            // A session whose tokens were revoked is as good as none.
            (ErrorKind::NotFound | ErrorKind::InvalidToken, _) => RejectionReason::UnknownSession,
            (ErrorKind::OneTimePasswordRequired, _) => RejectionReason::OneTimePasswordRequired,
            (ErrorKind::Disabled, _) => RejectionReason::Disabled,
            (_, StatusCode::SERVICE_UNAVAILABLE) => RejectionReason::Unavailable,
            // The caller has asked for nothing that could be wrong.
            _ => RejectionReason::Internal,
        };
        let mut rejection = Self::new(reason, realm);
        rejection.retry_after = error.retry_after();
        log_fault(error, rejection.status());
        rejection
    }
}
