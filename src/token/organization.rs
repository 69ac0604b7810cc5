use crate::token::identifier::OrganizationId;

/// The organizations that a principal, a session or a token belongs to.
///
/// A principal, session or token that is bound to one organization holds nothing outside it. Without an
/// organization, it counts as bound to none; a service whose policy requires an organization
/// (`policy::Principals::organization_required`) rejects that, and takes an explicit [`All`](Self::All) instead.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Organization {
    /// Bound to this one alone.
    One(OrganizationId),
    /// Bound to none.
    All,
}

impl Organization {
    /// Returns the organization that it is bound to.
    #[must_use]
    pub fn id(&self) -> Option<&OrganizationId> {
        match self {
            Self::One(id) => Some(id),
            Self::All => None,
        }
    }
}

impl From<OrganizationId> for Organization {
    fn from(id: OrganizationId) -> Self {
        Self::One(id)
    }
}
