//! The permissions that this crate's own operations require, as ACLs name them.

use crate::error::{Error, ErrorKind};
use crate::service::stores::unavailable;
use crate::service::token_service::TokenService;
use crate::token::acl::Acl;
use crate::token::claims::{SubjectType, Validated};
use crate::token::identifier::OrganizationId;

/// Reads a machine client's secret.
pub(in crate::service) const READ_ENTITY_SECRET: &str = "ReadEntitySecret";
/// Resets a machine client's secret, and generates its first one.
pub(in crate::service) const RESET_ENTITY_SECRET: &str = "ResetEntitySecret";
/// Starts a session of a customer without the customer's password.
pub(in crate::service) const POST_AUTHENTICATION_TOKEN: &str = "PostAuthenticationToken";
/// Lists sessions.
pub(in crate::service) const GET_AUTHENTICATION_TOKEN_COLLECTION: &str =
    "GetAuthenticationTokenCollection";
/// Widens an exchange beyond the session's ACL, up to the bearer's.
pub(in crate::service) const POST_AUTHENTICATION_TOKEN_EXCHANGE: &str =
    "PostAuthenticationTokenExchange";

const ALL: [&str; 5] = [
    READ_ENTITY_SECRET,
    RESET_ENTITY_SECRET,
    POST_AUTHENTICATION_TOKEN,
    GET_AUTHENTICATION_TOKEN_COLLECTION,
    POST_AUTHENTICATION_TOKEN_EXCHANGE,
];

impl TokenService {
    /// Checks that the token of `bearer` is still valid: the host may have kept it since its validation.
    pub(in crate::service) fn check_bearer(&self, bearer: &Validated) -> Result<(), Error> {
        if !self.is_own(bearer) {
            // A bearer of another issuer, whose permissions do not apply here.
            return Ok(());
        }
        self.inner.validator.recheck(bearer).map_err(|fault| {
            if fault.is_temporary() {
                return unavailable(
                    "it cannot be determined whether the bearer token is still valid",
                );
            }
            let problem = "the bearer token is no longer accepted";
            Error::new(ErrorKind::InvalidToken, problem).with_source(fault)
        })
    }

    /// Returns whether `bearer` may perform one of these operations in a scope with these values.
    ///
    /// A customer's token comes from a session, and permits none of them, whatever its ACL says; and only users may
    /// manage secrets.
    pub(in crate::service) fn permits(
        &self,
        bearer: &Validated,
        operation: &str,
        scope: &[(&str, &str)],
    ) -> bool {
        let is_of_secrets = [READ_ENTITY_SECRET, RESET_ENTITY_SECRET].contains(&operation);
        let may_ever = match bearer.subject_type() {
            SubjectType::User => true,
            SubjectType::Machine => !is_of_secrets,
            SubjectType::Customer => false,
        };
        may_ever
            && self.is_own(bearer)
            && bearer.acl().allows_by_name(self.operations_by_name(), operation, scope)
    }

    /// Returns the index of the first entry of an ACL that lies within none of `grants`: no caller grants more than
    /// it holds. The new holder of the ACL is bound to `organization`.
    pub(in crate::service) fn first_beyond(
        &self,
        asked: &Acl,
        organization: Option<&OrganizationId>,
        grants: &[Acl],
    ) -> Option<usize> {
        asked.first_beyond_within(organization, self.operations_by_name(), grants)
    }

    fn operations_by_name(&self) -> &'static [&'static str] {
        if self.inner.policy.tokens.own_operations_by_name { &ALL } else { &[] }
    }
}

impl Validated {
    /// Returns whether the token may be used on an object of `owner`: a token without an organization is not
    /// restricted to one.
    pub(in crate::service) fn may_act_in(&self, owner: Option<&OrganizationId>) -> bool {
        self.organization_id().is_none() || self.organization_id() == owner
    }
}
