//! What the service adds to an [`Error`].

use std::time::Duration;

use crate::error::Error;

impl Error {
    #[must_use]
    pub(crate) fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.details.retry_after = Some(retry_after);
        self
    }

    /// Adds the reason, which goes to the audit log and not to the caller.
    #[must_use]
    pub(crate) fn with_reason(mut self, reason: &'static str) -> Self {
        self.details.reason = Some(reason);
        self
    }

    /// Returns the reason for the audit log: the kind, where none was added.
    pub(crate) fn reason(&self) -> &'static str {
        self.details.reason.unwrap_or(self.details.kind.as_str())
    }
}
