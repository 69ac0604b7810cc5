//! Validates the bearer token of a request, and audits the outcome.

use std::sync::Arc;

use http::{Extensions, HeaderMap};

use crate::audit::{self, Attempt, Operation, Subjects};
use crate::guard::bearer::{Credentials, credentials, token};
use crate::guard::client_address::client_address;
use crate::rejection::{LogReason, Rejection};
use crate::token::claims::Validated;
use crate::validate::issuers::KeyFetch;
use crate::validate::{TokenFault, Validator};

/// The credentials of a request.
#[derive(Clone, Copy)]
pub(crate) struct Authenticator<'a> {
    pub(crate) validator: &'a Validator,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) extensions: &'a Extensions,
}

impl<'a> Authenticator<'a> {
    /// Returns the token, if there is one. An invalid token is rejected.
    pub(crate) fn optional(self) -> Result<Option<Arc<Validated>>, LogReason> {
        match credentials(self.headers) {
            Credentials::Absent => Ok(None),
            Credentials::Malformed => Err(self.audit_rejection(LogReason::MalformedCredentials)),
            Credentials::Bearer(bytes) => self.presented(bytes).map(Some),
        }
    }

    /// Returns the token, which is required.
    pub(crate) fn required(self) -> Result<Arc<Validated>, LogReason> {
        self.optional()?.ok_or_else(|| self.audit_rejection(LogReason::MissingCredentials))
    }

    /// Returns the token candidate. A token that is in the cache skips the check of its characters.
    fn presented(self, bytes: &[u8]) -> Result<Arc<Validated>, LogReason> {
        if let Some(outcome) = self.validator.recall(bytes) {
            return self.conclude(outcome);
        }
        match token(bytes) {
            Some(token) => self.conclude(self.validator.validate_anew(token)),
            None => Err(self.audit_rejection(LogReason::MalformedCredentials)),
        }
    }

    pub(crate) fn conclude(
        self,
        outcome: Result<Arc<Validated>, TokenFault>,
    ) -> Result<Arc<Validated>, LogReason> {
        match outcome {
            Ok(validated) => {
                let attempt = Attempt::with(Operation::VALIDATE, &validated);
                audit::accepted_quietly(self.validator.subjects(), &attempt);
                Ok(validated)
            }
            Err(fault) if fault.is_temporary() => Err(self.audit_failure(fault)),
            Err(fault) => Err(self.audit_rejection(reason_of(fault))),
        }
    }

    /// Writes the audit event of a rejection, and returns the reason.
    pub(crate) fn audit_rejection(self, reason: LogReason) -> LogReason {
        self.audit_rejection_of(Operation::VALIDATE, reason)
    }

    /// Writes the audit event of a rejection by an operation other than access-token validation, and returns the
    /// reason.
    pub(crate) fn audit_rejection_of(self, operation: Operation, reason: LogReason) -> LogReason {
        audit::rejected(self.validator.subjects(), &self.attempt(operation), reason.as_str());
        reason
    }

    /// Writes the audit event of a token that could not be validated, and returns the reason.
    fn audit_failure(self, fault: TokenFault) -> LogReason {
        let attempt = self.attempt(Operation::VALIDATE);
        audit::failed(self.validator.subjects(), &attempt, fault.as_str());
        LogReason::Unavailable
    }

    fn attempt(self, operation: Operation) -> Attempt<'static> {
        let proxies = self.validator.trusted_proxies();
        let address = client_address(proxies, self.headers, self.extensions);
        Attempt { address, ..Attempt::new(operation) }
    }
}

fn reason_of(fault: TokenFault) -> LogReason {
    match fault {
        fault if fault.is_temporary() => LogReason::Unavailable,
        TokenFault::Expired => LogReason::ExpiredToken,
        fault => LogReason::InvalidToken(fault.as_str()),
    }
}

/// For a host that validates a token itself.
impl From<TokenFault> for Rejection {
    fn from(fault: TokenFault) -> Self {
        Self::new(reason_of(fault), "")
    }
}

/// Returns the fetch of keys that validation has to wait for, if there is one.
pub(crate) fn keys_to_wait_for(validator: &Validator, headers: &HeaderMap) -> Option<KeyFetch> {
    if !validator.may_wait() {
        return None;
    }
    let Credentials::Bearer(bytes) = credentials(headers) else { return None };
    validator.fetch_for(token(bytes)?)
}

/// Writes the audit event of a valid token that lacks a permission, and returns the reason.
pub(crate) fn audit_authorization_rejection(validated: &Validated, reason: LogReason) -> LogReason {
    let attempt = Attempt::with(Operation::AUTHORIZE, validated);
    audit::rejected(&Subjects::default(), &attempt, reason.as_str());
    reason
}
