use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::custom_claims::custom_claims_of;
use crate::error::Error;
use crate::service::model::entity::Entity;
use crate::service::model::session::{Held, Session};
use crate::service::model::subject::SubjectRef;
use crate::token::acl::Acl;
use crate::token::claims::SubjectType;
use crate::token::identifier::SessionId;
use crate::token::organization::Organization;

/// The claims of a token to be issued, for a host that authenticates its holder itself. It is the argument of
/// [`issue`](crate::TokenService::issue), and what a handler behind an [`IssueLayer`](crate::IssueLayer) returns in
/// an [`Issue`](crate::Issue).
///
/// ```
/// # async fn example(tokens: countersign::TokenService) -> Result<(), countersign::Error> {
/// use std::time::Duration;
///
/// use countersign::{Acl, AclEntry, Grant, OrganizationId};
///
/// let orders = AclEntry::new([("organizationId", ["org_1"])], ["GetOrders"])?;
/// let grant = Grant::customer("cus_1")
///     .organization(OrganizationId::new("org_1")?)
///     .acl(Acl::new([orders]))
///     .lifetime(Duration::from_secs(900));
/// let issued = tokens.issue(grant).await?;
/// assert_eq!(issued.expires_in(), Duration::from_secs(900));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Grant {
    pub(in crate::service) subject_type: SubjectType,
    pub(in crate::service) subject: String,
    pub(in crate::service) session_id: Option<SessionId>,
    pub(in crate::service) audiences: Option<Vec<String>>,
    pub(in crate::service) organization: Option<Organization>,
    pub(in crate::service) acl: Acl,
    pub(in crate::service) custom_claims: Map<String, Value>,
    pub(in crate::service) lifetime: Option<Duration>,
}

impl Grant {
    /// Creates a grant for a principal of this kind. Its token grants nothing until `acl` is set.
    pub fn new(subject_type: SubjectType, subject: impl Into<String>) -> Self {
        Self {
            subject_type,
            subject: subject.into(),
            session_id: None,
            audiences: None,
            organization: None,
            acl: Acl::default(),
            custom_claims: Map::new(),
            lifetime: None,
        }
    }

    /// Creates a grant for a user, who belongs to no organization until `organization` is set. Its `sub` is `name`,
    /// changed only by the policy's [`principals.normalize_names`](crate::policy::Principals::normalize_names), even
    /// if the policy sets [`principals.opaque_subjects`](crate::policy::Principals::opaque_subjects): for a
    /// registered user, use [`issue_for`](crate::TokenService::issue_for). A user of the same name in another
    /// organization is another principal: if that user is disabled or blocked, this grant is not affected.
    pub fn user(name: impl Into<String>) -> Self {
        Self::new(SubjectType::User, name)
    }

    /// Creates a grant for a customer.
    pub fn customer(id: impl Into<String>) -> Self {
        Self::new(SubjectType::Customer, id)
    }

    /// Sets the ACL.
    pub fn acl(mut self, acl: Acl) -> Self {
        self.acl = acl;
        self
    }

    /// Sets the `customClaims`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidFields`](crate::ErrorKind::InvalidFields) if they do not serialize to a JSON object.
    pub fn custom_claims(mut self, custom_claims: impl Serialize) -> Result<Self, Error> {
        self.custom_claims = custom_claims_of(custom_claims)?;
        Ok(self)
    }

    /// Adds one of the service's audiences. Default: all of them, or those of the registered principal with this
    /// name.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.get_or_insert_default().push(audience.into());
        self
    }

    /// Binds the token to an organization, or to none with [`Organization::All`].
    pub fn organization(mut self, organization: impl Into<Organization>) -> Self {
        self.organization = Some(organization.into());
        self
    }

    /// Sets the lifetime, in whole seconds. Default: the policy's.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    pub(in crate::service) fn subject_ref(&self) -> SubjectRef<'_> {
        SubjectRef {
            subject_type: self.subject_type,
            organization_id: self.organization.as_ref().and_then(Organization::id),
            id: &self.subject,
        }
    }

    /// Returns the grant of a customer's session: with the session's claims, and the part of its ACL that the
    /// customer still holds.
    pub(in crate::service) fn of_session(session: &Session, held: Held) -> Self {
        Self {
            session_id: Some(session.id.clone()),
            organization: Some(
                session.organization_id.clone().map_or(Organization::All, Organization::One),
            ),
            acl: held.acl,
            audiences: held.audiences,
            custom_claims: session.custom_claims.clone(),
            ..Self::new(SubjectType::Customer, session.customer_id.as_str())
        }
    }

    /// Returns the grant of a registered principal, under its opaque id if the policy sets that.
    pub(in crate::service) fn of_entity(entity: &Entity, is_opaque: bool) -> Self {
        Self {
            audiences: entity.audiences.clone(),
            organization: entity.organization.clone(),
            acl: entity.acl.clone(),
            custom_claims: entity.custom_claims.clone(),
            ..Self::new(entity.id().subject_type(), entity.subject(is_opaque))
        }
    }
}
