//! The rejection that a layer makes of an error of the service.

use http::StatusCode;

use crate::error::{Error, ErrorKind};
use crate::rejection::{LogReason, Rejection, log_fault};

impl Rejection {
    /// Returns the rejection of a request for which a layer has not got a token from the service.
    pub(super) fn of_error(error: &Error, realm: &str) -> Self {
        let reason = match (error.kind(), error.status()) {
            // A session whose tokens were revoked is as good as none.
            (ErrorKind::NotFound | ErrorKind::InvalidToken, _) => LogReason::UnknownSession,
            (ErrorKind::OneTimePasswordRequired, _) => LogReason::OneTimePasswordRequired,
            (ErrorKind::Disabled, _) => LogReason::Disabled,
            (_, StatusCode::SERVICE_UNAVAILABLE) => LogReason::Unavailable,
            // The caller has asked for nothing that could be wrong.
            _ => LogReason::Internal,
        };
        let mut rejection = Self::new(reason, realm);
        rejection.details.retry_after = error.retry_after();
        log_fault(error, rejection.status());
        rejection
    }
}
