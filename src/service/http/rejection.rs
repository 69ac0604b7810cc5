//! How a layer answers an error of the service.

use http::StatusCode;

use crate::error::{Error, ErrorKind};
use crate::rejection::{Rejection, RejectionReason, log_fault};

impl Rejection {
    /// Returns the rejection of a request for which a layer has not got a token from the service.
    pub(super) fn of_error(error: &Error, realm: &str) -> Self {
        let reason = match (error.kind(), error.status()) {
            // A session whose tokens were revoked is as good as none.
            (ErrorKind::NotFound | ErrorKind::InvalidToken, _) => RejectionReason::UnknownSession,
            (ErrorKind::OneTimePasswordRequired, _) => RejectionReason::OneTimePasswordRequired,
            (ErrorKind::Disabled, _) => RejectionReason::Disabled,
            (_, StatusCode::SERVICE_UNAVAILABLE) => RejectionReason::Unavailable,
            // The caller has asked for nothing that could be wrong.
            _ => RejectionReason::Internal,
        };
        let rejection = Self::new(reason, realm).with_retry_after(error.retry_after());
        log_fault(error, rejection.status());
        rejection
    }
}
