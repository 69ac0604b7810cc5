//! Converts an error of the service to the rejection of a layer.

use http::StatusCode;

use crate::error::{Error, ErrorKind};
use crate::rejection::{LogReason, Rejection, log_fault};

impl Rejection {
    /// Returns the rejection of a request for which the service has returned no token to a layer.
    pub(super) fn of_error(error: &Error, realm: &str) -> Self {
        let reason = match (error.kind(), error.status()) {
            // A session with revoked tokens is treated as ended.
            (ErrorKind::NotFound | ErrorKind::InvalidToken, _) => LogReason::UnknownSession,
            (ErrorKind::OneTimePasswordRequired, _) => LogReason::OneTimePasswordRequired,
            (ErrorKind::Disabled, _) => LogReason::Disabled,
            (_, StatusCode::SERVICE_UNAVAILABLE) => LogReason::Unavailable,
            // The caller's request has no fields that could be invalid.
            _ => LogReason::Internal,
        };
        let mut rejection = Self::new(reason, realm);
        rejection.details.retry_after = error.retry_after();
        log_fault(error, rejection.status());
        rejection
    }
}
