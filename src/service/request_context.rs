//! The origin of a call.

use std::net::IpAddr;

use crate::token::identifier::OrganizationId;

/// The origin of a call: the client's address, by which calls are throttled and audited, and the organization to
/// which the call is restricted. The routes set both; a host that calls the service itself sets those that it knows.
///
/// A handler of the host takes it as an argument, since it is an extractor, or gets it from
/// [`TokenService::request_context`](crate::TokenService::request_context).
///
/// ```
/// use std::net::IpAddr;
///
/// use countersign::{OrganizationId, RequestContext};
///
/// let context = RequestContext::from_address(IpAddr::from([192, 0, 2, 1]))
///     .organization(OrganizationId::new("org_1")?);
/// # Ok::<(), countersign::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct RequestContext {
    pub(crate) organization: Option<OrganizationId>,
    pub(crate) address: Option<IpAddr>,
    pub(in crate::service) organization_is_invalid: bool,
}

impl RequestContext {
    /// Creates a context with the client's address, by which failed attempts are throttled.
    pub fn from_address(address: IpAddr) -> Self {
        Self { address: Some(address.to_canonical()), ..Self::without_address() }
    }

    /// Creates a context without the client's address: attempts are throttled by name only.
    pub fn without_address() -> Self {
        Self { organization: None, address: None, organization_is_invalid: false }
    }

    /// Restricts the call to an organization: records of other organizations, or of none, are not found. Default: no
    /// restriction.
    pub fn organization(mut self, organization: OrganizationId) -> Self {
        self.organization = Some(organization);
        self
    }

    /// Returns the organization to which the call is restricted.
    #[must_use]
    pub fn organization_id(&self) -> Option<&OrganizationId> {
        self.organization.as_ref()
    }

    /// Restricts the call to the organization of that name; if the name is invalid, nothing is found.
    pub(in crate::service) fn organization_named(self, name: &str) -> Self {
        match OrganizationId::new(name) {
            Ok(id) => self.organization(id),
            Err(_) => Self { organization_is_invalid: true, ..self },
        }
    }

    /// Returns whether the call may access records of `owner`.
    pub(crate) fn may_see(&self, owner: Option<&OrganizationId>) -> bool {
        let is_theirs = self.organization.is_none() || self.organization.as_ref() == owner;
        is_theirs && !self.organization_is_invalid
    }

    /// Returns whether the call is restricted to an invalid organization.
    pub(crate) fn has_invalid_organization(&self) -> bool {
        self.organization_is_invalid
    }
}
