//! The operations that this crate guards itself, as access-control lists name them.

use crate::token::acl::{Acl, AclEntry};
use crate::token::claims::Validated;
use crate::token::identifier::OrganizationId;

/// Reading a machine client's secret.
pub const READ_ENTITY_SECRET: &str = "ReadEntitySecret";
/// Resetting a machine client's secret, and making its first one.
pub const RESET_ENTITY_SECRET: &str = "ResetEntitySecret";
/// Starting a session of a customer without the customer's password.
pub const POST_AUTHENTICATION_TOKEN: &str = "PostAuthenticationToken";
/// Listing sessions.
pub const GET_AUTHENTICATION_TOKEN_COLLECTION: &str = "GetAuthenticationTokenCollection";
/// Asking, at an exchange, for what the bearer holds beyond the session's own list.
pub const POST_AUTHENTICATION_TOKEN_EXCHANGE: &str = "PostAuthenticationTokenExchange";

impl Acl {
    /// Returns the index of the first entry that lies within none of `grants`, of a list that somebody
    /// is to hold who is bound to `organization`.
    pub(in crate::service) fn first_beyond_within(
        &self,
        organization: Option<&OrganizationId>,
        grants: &[Self],
    ) -> Option<usize> {
        let Some(id) = organization else { return self.first_beyond(grants) };
        let is_held = |entry: AclEntry| grants.iter().any(|grant| entry.lies_within(grant));
        self.entries().iter().position(|entry| !entry.within(id).is_some_and(is_held))
    }
}

impl Validated {
    /// Returns whether the token may be used on what belongs to `owner`: a token without an
    /// organization is not bound by one.
    pub(in crate::service) fn may_act_in(&self, owner: Option<&OrganizationId>) -> bool {
        self.organization_id().is_none() || self.organization_id() == owner
    }
}
