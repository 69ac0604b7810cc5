//! Extensions of [`Error`] for the service.

use std::time::Duration;

use crate::error::Error;

impl Error {
    #[must_use]
    pub(crate) fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.details.retry_after = Some(retry_after);
        self
    }

    /// Adds the reason for the audit log, which the caller is not shown.
    #[must_use]
    pub(crate) fn with_reason(mut self, reason: &'static str) -> Self {
        self.details.reason = Some(reason);
        self
    }

    /// Returns the reason for the audit log; by default the kind.
    pub(crate) fn reason(&self) -> &'static str {
        self.details.reason.unwrap_or(self.details.kind.as_str())
    }
}
