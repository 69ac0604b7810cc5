//! Converts names as hosts and clients write them to ids.

use std::borrow::Cow;

use crate::audit::{Attempt, Operation};
use crate::error::{Error, ErrorKind};
use crate::service::audit::OwnedAttempt;
use crate::service::model::entity::{EntityId, is_subject_id};
use crate::service::request_context::RequestContext;
use crate::service::token_service::TokenService;
use crate::token::claims::SubjectType;
use crate::token::identifier::OrganizationId;

/// A name that a caller presented with a password, normalized if possible.
#[derive(Clone, Debug)]
pub(super) struct PresentedName {
    subject_type: SubjectType,
    organization: Option<OrganizationId>,
    /// Whether it was presented in an invalid organization.
    is_nowhere: bool,
    name: String,
    /// `None` if no principal can have it.
    id: Option<EntityId>,
}

impl PresentedName {
    pub(super) fn subject_type(&self) -> SubjectType {
        self.subject_type
    }

    pub(super) fn organization(&self) -> Option<&OrganizationId> {
        self.organization.as_ref()
    }

    /// Returns the organization that attempts are counted under: for an invalid one, an empty one, which no
    /// principal has.
    pub(super) fn counted_organization(&self) -> Option<&str> {
        let organization = self.organization().map(OrganizationId::as_str);
        if self.is_nowhere { Some("") } else { organization }
    }

    /// Returns the name that attempts are counted under.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn id(&self) -> Option<&EntityId> {
        self.id.as_ref()
    }

    /// Sets it as the subject of an attempt.
    pub(super) fn attempt<'a>(&'a self, attempt: Attempt<'a>) -> Attempt<'a> {
        let organization = self.organization().or(attempt.organization);
        Attempt { organization, ..attempt.of(self.subject_type, &self.name) }
    }
}

impl TokenService {
    /// Reads a name that was presented in `context`: it belongs to the organization of `context`, or to none.
    pub(super) fn presented(
        &self,
        subject_type: SubjectType,
        name: &str,
        context: &RequestContext,
    ) -> PresentedName {
        let organization = context.organization.clone();
        let is_nowhere = context.has_invalid_organization();
        let id = EntityId::new(subject_type, name).map(|id| id.organization(organization.clone()));
        let id = id.and_then(|id| self.normalized(&id)).ok();
        let name = id.as_ref().map_or(name, EntityId::name).to_owned();
        let id = id.filter(|_| !is_nowhere);
        PresentedName { subject_type, organization, is_nowhere, name, id }
    }

    /// Reads the name in an id that was presented in `context`: if only one of the two has an organization, the name
    /// belongs to that one; if they differ, no principal has it.
    pub(super) fn presented_id(&self, id: &EntityId, context: &RequestContext) -> PresentedName {
        let named = id.organization_id();
        let within = RequestContext {
            organization: context.organization.as_ref().or(named).cloned(),
            ..context.clone()
        };
        let presented = self.presented(id.subject_type(), id.name(), &within);
        let is_elsewhere = named.is_some() && named != presented.organization();
        PresentedName { id: presented.id.filter(|_| !is_elsewhere), ..presented }
    }

    /// Normalizes the id that a call is about, and sets it as the subject of the audited attempt; unchanged, if it
    /// cannot be normalized.
    pub(super) fn attempt_on(
        &self,
        operation: Operation,
        id: &EntityId,
    ) -> (Result<EntityId, Error>, OwnedAttempt) {
        let normalized = self.normalized(id);
        let named = normalized.as_ref().unwrap_or(id);
        let attempt = Attempt::new(operation).of_entity(named).to_owned();
        (normalized, attempt)
    }

    /// Returns an id with its name normalized according to the policy.
    pub(super) fn normalized(&self, id: &EntityId) -> Result<EntityId, Error> {
        renamed(id, self.normalized_name(id.subject_type(), id.name()))
    }

    /// Returns an id for a registration; normalizing its name again does not change it.
    pub(super) fn normalized_for_good(&self, id: &EntityId) -> Result<EntityId, Error> {
        renamed(id, self.name_normalized_for_good(id.subject_type(), id.name()))
    }

    /// Returns a normalized name that further normalization does not change; `None` if there is none.
    pub(super) fn name_normalized_for_good<'a>(
        &self,
        subject_type: SubjectType,
        name: &'a str,
    ) -> Option<Cow<'a, str>> {
        let normalized = self.normalized_name(subject_type, name)?;
        let again = self.normalized_name(subject_type, &normalized);
        let stays = again.is_some_and(|again| again == normalized);
        stays.then_some(normalized)
    }

    /// Returns a name normalized according to the policy; `None` if it cannot be. Machine clients' ids are not
    /// changed, nor are users' opaque ids, which are not names.
    pub(super) fn normalized_name<'a>(
        &self,
        subject_type: SubjectType,
        name: &'a str,
    ) -> Option<Cow<'a, str>> {
        let Some(normalize) = &self.inner.policy.principals.normalize_names else {
            return Some(Cow::Borrowed(name));
        };
        let is_name = match subject_type {
            SubjectType::Machine => false,
            SubjectType::User => !is_subject_id(name),
            SubjectType::Customer => true,
        };
        if !is_name {
            return Some(Cow::Borrowed(name));
        }
        let is_valid = |name: &String| EntityId::new(subject_type, name).is_ok();
        (normalize.0)(name).filter(is_valid).map(Cow::Owned)
    }
}

fn renamed(id: &EntityId, name: Option<Cow<'_, str>>) -> Result<EntityId, Error> {
    match name {
        Some(Cow::Borrowed(_)) => Ok(id.clone()),
        Some(Cow::Owned(name)) => id.renamed(name),
        None => Err(cannot_be_normalized()),
    }
}

fn cannot_be_normalized() -> Error {
    Error::new(ErrorKind::InvalidRequest, "the name cannot be normalized as the policy requires")
}
