//! One event for each outcome of an authentication, on the target `countersign::audit`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::telemetry;
use crate::token::claims::{SubjectType, Validated};
use crate::token::identifier::{OrganizationId, SessionId, TokenId};

/// The target of the audit events.
pub(crate) const TARGET: &str = "countersign::audit";

/// An operation, with its name in events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operation(pub(crate) &'static str);

impl Operation {
    pub(crate) const AUTHORIZE: Self = Self("authorize");
    pub(crate) const VALIDATE: Self = Self("validate");

    pub(crate) fn as_str(self) -> &'static str {
        self.0
    }
}

/// What is known of an attempt, for the event of its outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) operation: Operation,
    pub(crate) subject: Option<(SubjectType, &'a str)>,
    /// The actor, if it is not the subject itself.
    pub(crate) actor: Option<(SubjectType, &'a str)>,
    pub(crate) organization: Option<&'a OrganizationId>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) session: Option<&'a SessionId>,
    /// The token or session that replaced it.
    pub(crate) fresh_session: Option<&'a SessionId>,
    pub(crate) token: Option<&'a TokenId>,
}

impl<'a> Attempt<'a> {
    pub(crate) fn new(operation: Operation) -> Self {
        Self {
            operation,
            subject: None,
            actor: None,
            organization: None,
            address: None,
            session: None,
            fresh_session: None,
            token: None,
        }
    }

    /// Returns an attempt with a valid token.
    pub(crate) fn with(operation: Operation, validated: &'a Validated) -> Self {
        Self {
            subject: Some((validated.subject_type(), validated.subject())),
            organization: validated.organization_id(),
            session: validated.session_id(),
            token: Some(validated.token_id()),
            ..Self::new(operation)
        }
    }
}

/// Names subjects in events. [`Subjects::default`] leaves their names out.
#[derive(Clone, Default)]
pub(crate) struct Subjects(pub(crate) Option<Arc<NameSubject>>);

pub(crate) type NameSubject = dyn Fn(SubjectType, &str) -> Option<String> + Send + Sync;

impl Subjects {
    pub(crate) fn name(&self, subject_type: SubjectType, subject: &str) -> Option<String> {
        self.0.as_ref().and_then(|name| name(subject_type, subject))
    }
}

impl fmt::Debug for Subjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subjects")
    }
}

/// Writes the event of an outcome. The level is a macro argument because `tracing` needs it at compile time.
macro_rules! write_event {
    ($level:expr, $subjects:expr, $attempt:expr, $outcome:expr, $reason:expr) => {
        // Digests are computed only if a subscriber is interested.
        if tracing::enabled!(target: $crate::audit::TARGET, $level) {
            let attempt: &$crate::audit::Attempt<'_> = $attempt;
            let subject = attempt.subject.and_then(|(kind, name)| $subjects.name(kind, name));
            let actor = attempt.actor.and_then(|(kind, name)| $subjects.name(kind, name));
            tracing::event!(
                target: $crate::audit::TARGET,
                $level,
                outcome = $outcome,
                operation = attempt.operation.as_str(),
                subject_kind = attempt.subject.map(|(kind, _)| kind.as_str()),
                subject = subject.as_deref(),
                actor_kind = attempt.actor.map(|(kind, _)| kind.as_str()),
                actor = actor.as_deref(),
                reason = $reason,
                organization_id = attempt.organization.map($crate::token::identifier::OrganizationId::as_str),
                client_address = attempt.address.map(tracing::field::display),
                sid = attempt.session.map($crate::token::identifier::SessionId::as_str),
                fresh_sid = attempt.fresh_session.map($crate::token::identifier::SessionId::as_str),
                jti = attempt.token.map($crate::token::identifier::TokenId::as_str),
            );
        }
    };
}

/// The attempt was admitted. This happens on every request, so the level is low.
pub(crate) fn accepted_quietly(subjects: &Subjects, attempt: &Attempt<'_>) {
    let no_reason: Option<&str> = None;
    write_event!(tracing::Level::TRACE, subjects, attempt, "accepted", no_reason);
}

/// The attempt was rejected. The caller may not have been told the reason.
pub(crate) fn rejected(subjects: &Subjects, attempt: &Attempt<'_>, reason: &'static str) {
    telemetry::rejected(attempt.operation.as_str(), reason);
    write_event!(tracing::Level::INFO, subjects, attempt, "rejected", Some(reason));
}

/// The attempt could not be decided.
pub(crate) fn failed(subjects: &Subjects, attempt: &Attempt<'_>, reason: &'static str) {
    telemetry::rejected(attempt.operation.as_str(), reason);
    write_event!(tracing::Level::WARN, subjects, attempt, "failed", Some(reason));
}
