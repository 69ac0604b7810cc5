use std::fmt;
use std::sync::Arc;

use crate::service::model::entity::Entity;
use crate::token::claims::{SubjectType, Validated};
use crate::token::identifier::OrganizationId;
use crate::token::principal::Principal;

/// A principal of this service, as stores identify it. The same name in two organizations, or of two kinds, makes
/// two subjects. Handlers get it as a [`Principal`](crate::claims::Principal).
///
/// ```
/// use countersign::store::Subject;
/// use countersign::{OrganizationId, SubjectType};
///
/// let organization = OrganizationId::new("org_1")?;
/// let subject = Subject::new(SubjectType::Customer, "cus_1").organization(organization);
/// # Ok::<(), countersign::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    subject_type: SubjectType,
    organization_id: Option<OrganizationId>,
    id: Arc<str>,
}

impl Subject {
    /// Creates a subject of no organization. `id` is the `sub` of its tokens; for a customer, the customer's id.
    #[must_use]
    pub fn new(subject_type: SubjectType, id: impl Into<Arc<str>>) -> Self {
        Self { subject_type, organization_id: None, id: id.into() }
    }

    /// Sets the organization that the subject belongs to, the `organizationId` of its tokens.
    #[must_use]
    pub fn organization(mut self, organization_id: impl Into<Option<OrganizationId>>) -> Self {
        self.organization_id = organization_id.into();
        self
    }

    /// Returns the kind of principal.
    #[must_use]
    pub fn subject_type(&self) -> SubjectType {
        self.subject_type
    }

    /// Returns the organization that the subject belongs to.
    #[must_use]
    pub fn organization_id(&self) -> Option<&OrganizationId> {
        self.organization_id.as_ref()
    }

    /// Returns the `sub` of the subject's tokens.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns a text that is unique to the subject, for a column that a store searches by: kind, organization and id
    /// as a JSON array.
    #[must_use]
    pub fn to_index_text(&self) -> String {
        let organization = self.organization_id.as_ref().map(OrganizationId::as_str);
        serde_json::json!([self.subject_type.as_str(), organization, &*self.id]).to_string()
    }

    pub(crate) fn of_principal(principal: &Principal) -> Self {
        Self::new(principal.subject_type(), principal.id())
            .organization(principal.organization().cloned())
    }

    /// Returns each subject that tokens of a registered principal may have.
    pub(crate) fn each_of(entity: &Entity) -> Vec<Self> {
        let subject = |id: &str| {
            let organization = entity.organization_id().cloned();
            Self::new(entity.id().subject_type(), id).organization(organization)
        };
        entity.subjects().map(subject).collect()
    }

    pub(crate) fn borrowed(&self) -> SubjectRef<'_> {
        SubjectRef {
            subject_type: self.subject_type,
            organization_id: self.organization_id.as_ref(),
            id: &self.id,
        }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_index_text())
    }
}

/// A [`Subject`] with borrowed parts.
#[derive(Clone, Copy)]
pub(crate) struct SubjectRef<'a> {
    pub(crate) subject_type: SubjectType,
    pub(crate) organization_id: Option<&'a OrganizationId>,
    pub(crate) id: &'a str,
}

impl<'a> SubjectRef<'a> {
    /// Returns each subject that tokens of a registered principal may have.
    pub(crate) fn each_of(entity: &'a Entity) -> impl Iterator<Item = Self> {
        let subject = |id| Self {
            subject_type: entity.id().subject_type(),
            organization_id: entity.organization_id(),
            id,
        };
        entity.subjects().map(subject)
    }

    pub(crate) fn of_token(token: &'a Validated) -> Self {
        Self {
            subject_type: token.subject_type(),
            organization_id: token.organization_id(),
            id: token.subject(),
        }
    }

    pub(crate) fn to_subject(self) -> Subject {
        Subject::new(self.subject_type, self.id).organization(self.organization_id.cloned())
    }
}
