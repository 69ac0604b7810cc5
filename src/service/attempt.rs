//! What is known of an attempt, gathered for the audit log.

use crate::domain::claims::{SubjectType, Validated};
use crate::domain::entity::EntityId;
use crate::domain::session::Session;
use crate::service::audit::{Attempt, Operation};
use crate::service::caller::Caller;

impl Caller {
    /// An attempt of whoever calls.
    pub(crate) fn attempt(&self, operation: Operation) -> Attempt<'_> {
        Attempt {
            organization: self.organization.as_ref(),
            address: self.address,
            ..Attempt::new(operation)
        }
    }
}

impl<'a> Attempt<'a> {
    /// Upon a registered principal.
    pub(crate) fn of_entity(self, id: &'a EntityId) -> Self {
        Self { subject: Some((id.subject_type(), id.name())), ..self }
    }

    /// Upon a session, if it was found.
    pub(crate) fn of_session(self, session: Option<&'a Session>) -> Self {
        let Some(session) = session else { return self };
        Self {
            subject: Some((SubjectType::Customer, session.customer_id.as_str())),
            organization: session.organization_id(),
            session: Some(&session.id),
            ..self
        }
    }

    /// On the word of a bearer, whose token it names until there is another.
    pub(crate) fn by(self, bearer: &'a Validated) -> Self {
        Self {
            actor: Some((bearer.subject_type(), bearer.subject())),
            organization: self.organization.or(bearer.organization_id()),
            token: Some(bearer.token_id()),
            ..self
        }
    }
}
