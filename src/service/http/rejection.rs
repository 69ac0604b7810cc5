//! Rejections of the layers of a token service.

use std::time::Duration;

use crate::guard::refusal::{Refusal, RefusalReason};

impl Refusal {
    pub(in crate::service) fn unavailable(realm: &str, retry_after: Option<Duration>) -> Self {
        let mut rejection = Self::new(RefusalReason::Unavailable, realm);
        rejection.retry_after = retry_after.or(rejection.retry_after);
        rejection
    }
}
