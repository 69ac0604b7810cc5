//! One event for each outcome of an authentication, on the target `countersign::audit`.

use std::borrow::Cow;
use std::fmt::Write;
use std::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::domain::claims::{SubjectType, Validated};
use crate::domain::identifier::{OrganizationId, SessionId, TokenId};
use crate::error::{Error, ErrorKind};
use crate::telemetry;

/// Where the events go.
pub(crate) const TARGET: &str = "countersign::audit";

/// What was attempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Authorize,
    ChangePassword,
    DisableEntity,
    EnableEntity,
    EndSession,
    Exchange,
    ImportSecret,
    IssueEntityToken,
    IssueToken,
    IssueUserToken,
    ListSessions,
    PhantomToken,
    ReadSecret,
    RemoveEntity,
    ResetSecret,
    RetireKey,
    RevokeSubject,
    RevokeToken,
    RotateKeys,
    SendOneTimePassword,
    SetPassword,
    StartSession,
    Validate,
}

impl Operation {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::ChangePassword => "change_password",
            Self::DisableEntity => "disable_entity",
            Self::EnableEntity => "enable_entity",
            Self::EndSession => "end_session",
            Self::Exchange => "exchange",
            Self::ImportSecret => "import_secret",
            Self::IssueEntityToken => "issue_entity_token",
            Self::IssueToken => "issue_token",
            Self::IssueUserToken => "issue_user_token",
            Self::ListSessions => "list_sessions",
            Self::PhantomToken => "phantom_token",
            Self::ReadSecret => "read_secret",
            Self::RemoveEntity => "remove_entity",
            Self::ResetSecret => "reset_secret",
            Self::RetireKey => "retire_key",
            Self::RevokeSubject => "revoke_subject",
            Self::RevokeToken => "revoke_token",
            Self::RotateKeys => "rotate_keys",
            Self::SendOneTimePassword => "send_one_time_password",
            Self::SetPassword => "set_password",
            Self::StartSession => "start_session",
            Self::Validate => "validate",
        }
    }
}

/// What is known of an attempt, to be told with its outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) operation: Operation,
    pub(crate) subject: Option<(SubjectType, &'a str)>,
    /// On whose word it is done, where that is somebody else's.
    pub(crate) actor: Option<(SubjectType, &'a str)>,
    pub(crate) organization: Option<&'a OrganizationId>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) session: Option<&'a SessionId>,
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
            token: None,
        }
    }

    /// An attempt with a good token.
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

/// How subjects are named in the log.
#[derive(Clone)]
pub(crate) enum Subjects {
    /// By a digest under this key: who has the log learns which events are of one subject, and not
    /// whose they are.
    Digested(Zeroizing<[u8; 32]>),
    Shown,
    /// Not at all: there is no key.
    Omitted,
}

impl Subjects {
    fn name<'a>(&self, subject_type: SubjectType, subject: &'a str) -> Option<Cow<'a, str>> {
        match self {
            Self::Digested(key) => {
                let mut mac = Hmac::<Sha256>::new_from_slice(&key[..]).ok()?;
                mac.update(subject_type.as_str().as_bytes());
                mac.update(&[0]);
                mac.update(subject.as_bytes());
                let mut hex = String::with_capacity(32);
                for byte in mac.finalize().into_bytes().iter().take(16) {
                    let _ = write!(hex, "{byte:02x}");
                }
                Some(Cow::Owned(hex))
            }
            // What is longer is nobody's name, but somebody's to choose.
            Self::Shown if subject.len() <= 256 => Some(Cow::Borrowed(subject)),
            Self::Shown | Self::Omitted => None,
        }
    }
}

impl std::fmt::Debug for Subjects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Digested(_) => "Digested([redacted])",
            Self::Shown => "Shown",
            Self::Omitted => "Omitted",
        })
    }
}

/// Writes the event of an outcome, at a level that has to be known to the compiler.
macro_rules! write_event {
    ($level:expr, $subjects:expr, $attempt:expr, $outcome:expr, $reason:expr) => {
        // Digests are made only for those who listen.
        if tracing::enabled!(target: TARGET, $level) {
            let attempt: &Attempt<'_> = $attempt;
            let subject = attempt.subject.and_then(|(kind, name)| $subjects.name(kind, name));
            let actor = attempt.actor.and_then(|(kind, name)| $subjects.name(kind, name));
            tracing::event!(
                target: TARGET,
                $level,
                outcome = $outcome,
                operation = attempt.operation.as_str(),
                subject_kind = attempt.subject.map(|(kind, _)| kind.as_str()),
                subject = subject.as_deref(),
                actor_kind = attempt.actor.map(|(kind, _)| kind.as_str()),
                actor = actor.as_deref(),
                reason = $reason,
                organization_id = attempt.organization.map(OrganizationId::as_str),
                client_address = attempt.address.map(tracing::field::display),
                sid = attempt.session.map(SessionId::as_str),
                jti = attempt.token.map(TokenId::as_str),
            );
        }
    };
}

/// It was let through.
pub(crate) fn accepted(subjects: &Subjects, attempt: &Attempt<'_>) {
    let no_reason: Option<&str> = None;
    write_event!(tracing::Level::INFO, subjects, attempt, "accepted", no_reason);
}

/// It was let through, as happens with every request: for those who want to hear of each.
pub(crate) fn accepted_quietly(subjects: &Subjects, attempt: &Attempt<'_>) {
    let no_reason: Option<&str> = None;
    write_event!(tracing::Level::TRACE, subjects, attempt, "accepted", no_reason);
}

/// It was not, for a reason that the caller may not have been told.
pub(crate) fn refused(subjects: &Subjects, attempt: &Attempt<'_>, reason: &'static str) {
    telemetry::refused(attempt.operation.as_str(), reason);
    write_event!(tracing::Level::INFO, subjects, attempt, "refused", Some(reason));
}

/// It could not be told whether it should be.
pub(crate) fn failed(subjects: &Subjects, attempt: &Attempt<'_>, reason: &'static str) {
    telemetry::refused(attempt.operation.as_str(), reason);
    write_event!(tracing::Level::WARN, subjects, attempt, "failed", Some(reason));
}

/// Whatever came of it.
pub(crate) fn concluded<T>(subjects: &Subjects, attempt: &Attempt<'_>, outcome: &Result<T, Error>) {
    match outcome {
        Ok(_) => accepted(subjects, attempt),
        Err(error) => match error.kind() {
            ErrorKind::Unavailable
            | ErrorKind::Overloaded
            | ErrorKind::Internal
            | ErrorKind::Configuration => failed(subjects, attempt, error.reason()),
            _ => refused(subjects, attempt, error.reason()),
        },
    }
}
