//! The operations that this crate guards itself, as access-control lists name them.

use crate::error::{Error, ErrorKind};
use crate::service::stores::unavailable;
use crate::service::token_service::TokenService;
use crate::token::acl::Acl;
use crate::token::claims::{SubjectType, Validated};
use crate::token::identifier::OrganizationId;

/// Reading a machine client's secret.
pub(in crate::service) const READ_ENTITY_SECRET: &str = "ReadEntitySecret";
/// Resetting a machine client's secret, and making its first one.
pub(in crate::service) const RESET_ENTITY_SECRET: &str = "ResetEntitySecret";
/// Starting a session of a customer without the customer's password.
pub(in crate::service) const POST_AUTHENTICATION_TOKEN: &str = "PostAuthenticationToken";
/// Listing sessions.
pub(in crate::service) const GET_AUTHENTICATION_TOKEN_COLLECTION: &str =
    "GetAuthenticationTokenCollection";
/// Asking, at an exchange, for what the bearer holds beyond the session's own list.
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
    /// Checks that the token of `bearer` is still accepted: a host may have kept it since it was.
    pub(in crate::service) fn check_bearer(&self, bearer: &Validated) -> Result<(), Error> {
        if !self.is_own(bearer) {
            // Whose permissions mean nothing here.
            return Ok(());
        }
        self.inner.validator.recheck(bearer).map_err(|fault| {
            if fault.is_temporary() {
                return unavailable("it is not known whether the bearer token is still accepted");
            }
            let problem = "the bearer token is no longer accepted";
            Error::new(ErrorKind::InvalidToken, problem).with_source(fault)
        })
    }

    /// Returns whether `bearer` may do one of these operations at these scope values.
    ///
    /// A customer's token came from a session, which is no ground for any of them, whatever its list
    /// says; and secrets are for users.
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

    /// Returns the index of the first entry of a list that lies within none of `grants`: nobody gives
    /// more than they hold. Who is to hold the list is bound to `organization`.
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
    /// Returns whether the token may be used on what belongs to `owner`: a token without an
    /// organization is not bound by one.
    pub(in crate::service) fn may_act_in(&self, owner: Option<&OrganizationId>) -> bool {
        self.organization_id().is_none() || self.organization_id() == owner
    }
}
