//! The id of a registered principal.

use std::borrow::Cow;
use std::fmt;

use crate::error::{Error, ErrorKind};
use crate::service::model::name::folded_digest;
use crate::token::claims::SubjectType;
use crate::token::identifier::OrganizationId;
use crate::token::text;

/// The separator of name and organization in texts for stores: a control character, which neither of them contains,
/// and which sorts before all characters that they contain.
pub(in crate::service) const SEPARATOR: char = '\u{1f}';

/// The id of a registered principal: its kind, its name and, for users and customers' credentials, the organization that
/// it belongs to.
///
/// A name is unique among the principals of its kind in one organization, or among those without one. The id of a
/// machine client is unique in the service, since it is the `client_id` of its tokens. A user, a machine client and a
/// customer's credential may have the same name.
///
/// ```
/// use countersign::{EntityId, OrganizationId};
///
/// let jane = EntityId::user("jane")?;
/// let other = EntityId::user("jane")?.organization(OrganizationId::new("org_1")?);
/// assert_ne!(jane, other);
/// # Ok::<(), countersign::Error>(())
/// ```
// In the order of the fields, as stores list them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityId {
    subject_type: SubjectType,
    name: String,
    organization_id: Option<OrganizationId>,
}

impl EntityId {
    /// The maximum length of a name, in bytes.
    pub const MAX_LEN: usize = text::MAX_LEN;

    /// Creates the id of a principal without an organization: its kind and its name. The name is used exactly as
    /// written, without trimming or case folding. Only a service normalizes it, if its policy sets
    /// [`principals.normalize_names`](crate::policy::Principals::normalize_names).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] if the name is blank, longer than 256 bytes, or contains control characters.
    pub fn new(subject_type: SubjectType, name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        if text::is_text(&name, Self::MAX_LEN) {
            Ok(Self { subject_type, name, organization_id: None })
        } else {
            let problem = format!("a name {}", text::RULE);
            Err(Error::new(ErrorKind::InvalidRequest, problem))
        }
    }

    /// Creates the id of a user from the user's name.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn user(name: impl Into<String>) -> Result<Self, Error> {
        Self::new(SubjectType::User, name)
    }

    /// Creates the id of a machine client.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn machine(id: impl Into<String>) -> Result<Self, Error> {
        Self::new(SubjectType::Machine, id)
    }

    /// Creates the id of a customer's credential from the name that the customer logs in with.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn customer(name: impl Into<String>) -> Result<Self, Error> {
        Self::new(SubjectType::Customer, name)
    }

    /// Sets the organization of a user or of a customer's credential. It has no effect on the id of a machine client,
    /// which is unique in the service.
    #[must_use]
    pub fn organization(self, organization_id: impl Into<Option<OrganizationId>>) -> Self {
        match self.subject_type {
            SubjectType::Machine => self,
            SubjectType::User | SubjectType::Customer => {
                Self { organization_id: organization_id.into(), ..self }
            }
        }
    }

    /// Returns the kind of principal.
    #[must_use]
    pub fn subject_type(&self) -> SubjectType {
        self.subject_type
    }

    /// Returns the name, or the id of a machine client.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the organization that the name is unique in. It is `None` for machine clients: see
    /// [`Entity::organization_id`](crate::Entity::organization_id).
    #[must_use]
    pub fn organization_id(&self) -> Option<&OrganizationId> {
        self.organization_id.as_ref()
    }

    /// Returns a text for a column that a store searches by: the name and, if the id has an organization, the control
    /// character U+001F and the organization. Among ids of one kind, the text is unique, and its byte order is the
    /// order of the ids.
    #[must_use]
    pub fn to_index_text(&self) -> Cow<'_, str> {
        self.within_organization(&self.name)
    }

    /// Returns a text that only ids of the same organization yield.
    pub(super) fn within_organization<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match &self.organization_id {
            None => Cow::Borrowed(text),
            Some(organization_id) => Cow::Owned(format!("{text}{SEPARATOR}{organization_id}")),
        }
    }

    /// Returns the same id with another name.
    pub(in crate::service) fn renamed(&self, name: impl Into<String>) -> Result<Self, Error> {
        let renamed = Self::new(self.subject_type, name)?;
        Ok(renamed.organization(self.organization_id.clone()))
    }

    /// Returns one text for all names that look alike.
    pub(crate) fn distinct_name(&self) -> String {
        folded_digest(&self.name)
    }
}

/// Writes `entity:aa-1`: the kind and the [index text](EntityId::to_index_text), unique across the kinds.
impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.subject_type, self.to_index_text())
    }
}
