use crate::token::identifier::OrganizationId;

/// The organizations that a principal, a session or a token belongs to.
///
/// What is bound to one organization holds nothing outside it. What says nothing of organizations
/// counts as bound to none; a service whose policy demands an organization
/// (`policy::Principals::organization_required`) rejects that, and takes [`All`](Self::All) where it is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Organization {
    /// This one alone.
    One(OrganizationId),
    /// Bound to none.
    All,
}

impl Organization {
    /// Returns the one that it is bound to.
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
