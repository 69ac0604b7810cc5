//! What a service tells the validators that it builds.

use std::sync::Arc;

use crate::clock::Clock;
use crate::domain::revocation::RevocationSet;
use crate::service::audit::Subjects;
use crate::service::trusted::TrustedIssuer;
use crate::service::validate::ValidatorBuilder;

impl ValidatorBuilder {
    pub(crate) fn shared_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    pub(crate) fn revocations(mut self, revocations: Arc<RevocationSet>) -> Self {
        self.revocations = revocations;
        self
    }

    pub(crate) fn trusted_issuers(mut self, issuers: Vec<TrustedIssuer>) -> Self {
        self.trusted_issuers = issuers;
        self
    }

    pub(crate) fn subjects(mut self, subjects: Subjects) -> Self {
        self.subjects = subjects;
        self
    }
}
