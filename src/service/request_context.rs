//! Where a call comes from.

use std::net::IpAddr;

use crate::token::identifier::OrganizationId;

/// Where a call comes from, as far as the host knows: what it is throttled and audited by, and the
/// organization that it is confined to. The routes fill it in; a host that calls the service
/// itself says what it knows.
///
/// A handler of the host's own gets it from [`TokenService::request_context`](crate::TokenService::request_context).
/// The default one is of an unknown address: only names are throttled then.
///
/// ```
/// use std::net::IpAddr;
///
/// use countersign::RequestContext;
///
/// let context = RequestContext::default().address(Some(IpAddr::from([192, 0, 2, 1])));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct RequestContext {
    pub(crate) organization: Option<OrganizationId>,
    pub(crate) address: Option<IpAddr>,
    pub(in crate::service) organization_is_invalid: bool,
}

impl RequestContext {
    /// The organization that the call is confined to: what belongs to another one, or to none, is
    /// not found. Without one, everything is.
    pub fn organization(mut self, organization: Option<OrganizationId>) -> Self {
        self.organization = organization;
        self
    }

    /// The client's address. Without one, only names are throttled.
    pub fn address(mut self, address: Option<IpAddr>) -> Self {
        self.address = address.map(|address| address.to_canonical());
        self
    }

    /// Returns whether it may see what belongs to `owner`.
    pub(crate) fn may_see(&self, owner: Option<&OrganizationId>) -> bool {
        let is_theirs = self.organization.is_none() || self.organization.as_ref() == owner;
        is_theirs && !self.organization_is_invalid
    }

    /// Returns whether it is confined to an organization that cannot exist.
    pub(crate) fn has_invalid_organization(&self) -> bool {
        self.organization_is_invalid
    }
}
