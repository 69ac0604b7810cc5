//! Checking the bearer token of a request, and telling the audit log what came of it.

use std::sync::Arc;

use http::{Extensions, HeaderMap};

use crate::audit::{self, Attempt, Operation, Subjects};
use crate::guard::bearer::{Credentials, credentials, token};
use crate::guard::client_address::client_address;
use crate::guard::rejection::RejectionReason;
use crate::token::claims::Validated;
use crate::validate::other_issuers::KeyFetch;
use crate::validate::{TokenFault, Validator};

/// What a request is authenticated by.
#[derive(Clone, Copy)]
pub(crate) struct Authenticator<'a> {
    pub(crate) validator: &'a Validator,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) extensions: &'a Extensions,
}

impl<'a> Authenticator<'a> {
    /// The token that came, if one did; it has to be good.
    pub(crate) fn optional(self) -> Result<Option<Arc<Validated>>, RejectionReason> {
        match credentials(self.headers) {
            Credentials::Absent => Ok(None),
            Credentials::Malformed => Err(self.reject(RejectionReason::MalformedCredentials)),
            Credentials::Bearer(bytes) => self.presented(bytes).map(Some),
        }
    }

    /// The token that has to come.
    pub(crate) fn required(self) -> Result<Arc<Validated>, RejectionReason> {
        self.optional()?.ok_or_else(|| self.reject(RejectionReason::MissingCredentials))
    }

    /// What was presented as a token. One that is known is not looked at letter by letter.
    fn presented(self, bytes: &[u8]) -> Result<Arc<Validated>, RejectionReason> {
        if let Some(outcome) = self.validator.recall(bytes) {
            return self.conclude(outcome);
        }
        match token(bytes) {
            Some(token) => self.conclude(self.validator.validate_anew(token)),
            None => Err(self.reject(RejectionReason::MalformedCredentials)),
        }
    }

    pub(crate) fn conclude(
        self,
        outcome: Result<Arc<Validated>, TokenFault>,
    ) -> Result<Arc<Validated>, RejectionReason> {
        match outcome {
            Ok(validated) => {
                let attempt = Attempt::with(Operation::VALIDATE, &validated);
                audit::accepted_quietly(self.validator.subjects(), &attempt);
                Ok(validated)
            }
            Err(fault) if fault.is_temporary() => Err(self.fail(fault)),
            Err(fault) => Err(self.reject(RejectionReason::InvalidToken(fault))),
        }
    }

    /// Tells the audit log, and hands the reason on.
    pub(crate) fn reject(self, reason: RejectionReason) -> RejectionReason {
        self.reject_at(Operation::VALIDATE, reason)
    }

    /// Tells the audit log, as of another operation than the checking of access tokens, and hands the
    /// reason on.
    pub(crate) fn reject_at(
        self,
        operation: Operation,
        reason: RejectionReason,
    ) -> RejectionReason {
        audit::rejected(self.validator.subjects(), &self.attempt(operation), reason.as_str());
        reason
    }

    /// Tells the audit log that it could not be told whether a token is good.
    fn fail(self, fault: TokenFault) -> RejectionReason {
        let attempt = self.attempt(Operation::VALIDATE);
        audit::failed(self.validator.subjects(), &attempt, fault.as_str());
        RejectionReason::Unavailable
    }

    fn attempt(self, operation: Operation) -> Attempt<'static> {
        let proxies = self.validator.trusted_proxies();
        let address = client_address(proxies, self.headers, self.extensions);
        Attempt { address, ..Attempt::new(operation) }
    }
}

/// The fetch that a request has to wait for before its token can be checked, where there is one.
pub(crate) fn keys_to_wait_for(validator: &Validator, headers: &HeaderMap) -> Option<KeyFetch> {
    if !validator.may_wait() {
        return None;
    }
    let Credentials::Bearer(bytes) = credentials(headers) else { return None };
    validator.fetch_for(token(bytes)?)
}

/// Tells the audit log that a good token was not enough.
pub(crate) fn reject_authorization(
    validated: &Validated,
    reason: RejectionReason,
) -> RejectionReason {
    let attempt = Attempt::with(Operation::AUTHORIZE, validated);
    audit::rejected(&Subjects::default(), &attempt, reason.as_str());
    reason
}
