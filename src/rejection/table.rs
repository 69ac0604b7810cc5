//! The one table of responses by reason.

use http::StatusCode;

use crate::error::{Error, ErrorKind};
use crate::rejection::LogReason;

/// A status, with the parts that distinguish responses of the same status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RejectionType {
    pub(crate) status: StatusCode,
    /// The last segment of a problem's `type`.
    pub(crate) code: &'static str,
    /// The title of a problem of that type.
    pub(crate) title: &'static str,
    /// The error code of the challenge (RFC 6750 §3.1), if a bearer token is at fault.
    pub(crate) bearer_error: Option<&'static str>,
}

impl RejectionType {
    pub(crate) const fn new(status: StatusCode, code: &'static str, title: &'static str) -> Self {
        Self { status, code, title, bearer_error: None }
    }

    const fn of_bearer(self, error: &'static str) -> Self {
        Self { bearer_error: Some(error), ..self }
    }
}

const INVALID_REQUEST: &str = "invalid_request";
const INVALID_TOKEN: &str = "invalid_token";
const INSUFFICIENT_SCOPE: &str = "insufficient_scope";

impl LogReason {
    pub(crate) fn rejection_type(self) -> RejectionType {
        use StatusCode as Status;

        let new = RejectionType::new;
        let unauthorized = |code, title| new(Status::UNAUTHORIZED, code, title);
        let forbidden = |code, title| new(Status::FORBIDDEN, code, title);
        let not_accepted = "The bearer token is not accepted";
        match self {
            Self::MissingCredentials => unauthorized("missing-token", "A bearer token is required"),
            Self::MalformedCredentials | Self::AmbiguousCookie => {
                let title = "The credentials are malformed";
                new(Status::BAD_REQUEST, "malformed-credentials", title).of_bearer(INVALID_REQUEST)
            }
            Self::InvalidToken(_) => {
                unauthorized("invalid-token", not_accepted).of_bearer(INVALID_TOKEN)
            }
            Self::ExpiredToken => {
                unauthorized("token-expired", not_accepted).of_bearer(INVALID_TOKEN)
            }
            Self::UnknownSession => {
                let title = "There is no such session";
                unauthorized("unknown-session", title).of_bearer(INVALID_TOKEN)
            }
            Self::OneTimePasswordRequired => {
                let required = ErrorKind::OneTimePasswordRequired.rejection_type();
                required.of_bearer(INVALID_TOKEN)
            }
            Self::UnexpectedCustomClaims => {
                unauthorized("unexpected-custom-claims", not_accepted).of_bearer(INVALID_TOKEN)
            }
            Self::CrossOrigin => forbidden("cross-origin", "The request is of another origin"),
            Self::UnclearRequest(_) => {
                forbidden("unclear-request", "The original request is unclear")
            }
            Self::InsufficientPermission => ErrorKind::InsufficientPermission.rejection_type(),
            Self::OutsideOrganization => {
                forbidden("outside-organization", "The token is bound to another organization")
                    .of_bearer(INSUFFICIENT_SCOPE)
            }
            Self::KindNotAdmitted => {
                forbidden("kind-not-admitted", "The kind of principal is not admitted")
                    .of_bearer(INSUFFICIENT_SCOPE)
            }
            Self::Disabled => ErrorKind::Disabled.rejection_type(),
            Self::Unavailable => ErrorKind::Unavailable.rejection_type(),
            // A failure has the type of its error.
            Self::Internal | Self::Failed(_) => ErrorKind::Internal.rejection_type(),
        }
    }
}

impl ErrorKind {
    /// Returns the response to a request that failed with this kind. The documentation of the router lists them.
    pub(crate) fn rejection_type(self) -> RejectionType {
        use StatusCode as Status;

        let new = RejectionType::new;
        match self {
            Self::InvalidRequest => {
                new(Status::BAD_REQUEST, "malformed-request", "The request is malformed")
            }
            Self::InvalidFields => {
                new(Status::UNPROCESSABLE_ENTITY, "invalid-fields", "Some fields are invalid")
            }
            Self::InvalidCredentials => {
                let title = "The name and the password are not valid";
                new(Status::UNAUTHORIZED, "invalid-credentials", title)
            }
            Self::InvalidEntity => {
                let title = "The name and the password are not valid";
                new(Status::UNAUTHORIZED, "invalid-credentials", title).of_bearer(INVALID_TOKEN)
            }
            Self::OneTimePasswordRequired => {
                let title = "A one-time password is required";
                new(Status::UNAUTHORIZED, "one-time-password-required", title)
            }
            Self::OneTimePasswordInvalid => {
                let title = "The one-time password is not valid";
                new(Status::UNAUTHORIZED, "one-time-password-invalid", title)
            }
            Self::InvalidToken => {
                new(Status::UNAUTHORIZED, "invalid-token", "The bearer token is not accepted")
                    .of_bearer(INVALID_TOKEN)
            }
            Self::AclExceedsGrant => new(
                Status::FORBIDDEN,
                "acl-exceeds-grant",
                "The request exceeds what may be granted",
            ),
            Self::CustomClaimsNotAllowed => {
                let title = "Custom claims are not allowed";
                new(Status::FORBIDDEN, "custom-claims-not-allowed", title)
            }
            Self::InsufficientPermission => {
                new(Status::FORBIDDEN, "insufficient-permission", "The permission is missing")
                    .of_bearer(INSUFFICIENT_SCOPE)
            }
            Self::Disabled => {
                new(Status::FORBIDDEN, "disabled", "The principal is disabled or blocked")
            }
            Self::NotFound => new(Status::NOT_FOUND, "not-found", "There is no such thing"),
            Self::Conflict => {
                new(Status::CONFLICT, "conflict", "The state of the session does not allow it")
            }
            Self::Throttled => {
                let title = "There were too many attempts";
                new(Status::TOO_MANY_REQUESTS, "too-many-requests", title)
            }
            Self::Unavailable | Self::Overloaded => {
                new(Status::SERVICE_UNAVAILABLE, "unavailable", "The service is unavailable")
            }
            Self::Configuration | Self::InvalidKey | Self::Internal => {
                new(Status::INTERNAL_SERVER_ERROR, "internal", "The service failed")
            }
        }
    }
}

impl Error {
    /// Returns the HTTP status of the error.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.kind().rejection_type().status
    }

    /// Returns a short stable name for its kind, which a caller may be shown. The documentation of
    /// `TokenService::router` lists them.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.kind().rejection_type().code
    }
}
