//! The audit events of the token service.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::audit::{Attempt, Operation, Subjects, failed, rejected};
use crate::error::{Error, ErrorKind};
use crate::service::actor::Actor;
use crate::service::model::entity::EntityId;
use crate::service::model::session::Session;
use crate::service::request_context::RequestContext;
use crate::service::telemetry;
use crate::token::claims::SubjectType;
use crate::token::identifier::{CustomerId, OrganizationId, SessionId, TokenId};

impl Operation {
    pub(in crate::service) const BLOCK_SUBJECT: Self = Self("block_subject");
    pub(in crate::service) const CHANGE_PASSWORD: Self = Self("change_password");
    pub(in crate::service) const CONFIRM_ONE_TIME_PASSWORD: Self =
        Self("confirm_one_time_password");
    pub(in crate::service) const DISABLE_ENTITY: Self = Self("disable_entity");
    pub(in crate::service) const ENABLE_ENTITY: Self = Self("enable_entity");
    pub(in crate::service) const END_SESSION: Self = Self("end_session");
    pub(in crate::service) const EXCHANGE: Self = Self("exchange");
    pub(in crate::service) const IMPORT_SECRET: Self = Self("import_secret");
    pub(in crate::service) const ISSUE_MACHINE_TOKEN: Self = Self("issue_machine_token");
    pub(in crate::service) const ISSUE_TOKEN: Self = Self("issue_token");
    pub(in crate::service) const ISSUE_USER_TOKEN: Self = Self("issue_user_token");
    pub(in crate::service) const LIST_ENTITIES: Self = Self("list_entities");
    pub(in crate::service) const LIST_SESSIONS: Self = Self("list_sessions");
    pub(in crate::service) const LOG_OUT: Self = Self("log_out");
    pub(in crate::service) const PHANTOM_TOKEN: Self = Self("phantom_token");
    pub(in crate::service) const READ_SECRET: Self = Self("read_secret");
    pub(in crate::service) const REMOVE_ENTITY: Self = Self("remove_entity");
    pub(in crate::service) const RESET_SECRET: Self = Self("reset_secret");
    pub(in crate::service) const RETIRE_KEY: Self = Self("retire_key");
    pub(in crate::service) const REVOKE_SUBJECT: Self = Self("revoke_subject");
    pub(in crate::service) const REVOKE_TOKEN: Self = Self("revoke_token");
    pub(in crate::service) const ROTATE_KEYS: Self = Self("rotate_keys");
    pub(in crate::service) const SAME_ORIGIN: Self = Self("same_origin");
    pub(in crate::service) const SEND_ONE_TIME_PASSWORD: Self = Self("send_one_time_password");
    pub(in crate::service) const UPDATE_ENTITY: Self = Self("update_entity");
    pub(in crate::service) const SET_PASSWORD: Self = Self("set_password");
    pub(in crate::service) const START_SESSION: Self = Self("start_session");
}

/// The longest name that an event shows. No principal has a longer one.
const MAX_SHOWN_LEN: usize = 256;

impl Subjects {
    /// Names subjects in plain text.
    pub(in crate::service) fn shown() -> Self {
        Self(Some(Arc::new(|_, name| (name.len() <= MAX_SHOWN_LEN).then(|| name.to_owned()))))
    }

    /// Names subjects by a digest under `key`: a reader of the log can correlate the events of a subject, but not
    /// identify it.
    pub(in crate::service) fn digested(key: Zeroizing<[u8; 32]>) -> Self {
        Self(Some(Arc::new(move |subject_type, name| {
            let mut mac = Hmac::<Sha256>::new_from_slice(&key[..]).ok()?;
            mac.update(subject_type.as_str().as_bytes());
            mac.update(&[0]);
            mac.update(name.as_bytes());
            let mut hex = String::with_capacity(32);
            for byte in mac.finalize().into_bytes().iter().take(16) {
                let _ = write!(hex, "{byte:02x}");
            }
            Some(hex)
        })))
    }
}

impl RequestContext {
    /// Returns an attempt from this address and organization.
    pub(crate) fn attempt(&self, operation: Operation) -> Attempt<'_> {
        Attempt {
            organization: self.organization.as_ref(),
            address: self.address,
            ..Attempt::new(operation)
        }
    }
}

impl<'a> Attempt<'a> {
    /// Names the subject.
    pub(in crate::service) fn of(self, subject_type: SubjectType, subject: &'a str) -> Self {
        Self { subject: Some((subject_type, subject)), ..self }
    }

    /// Names a registered principal as the subject.
    pub(in crate::service) fn of_entity(self, id: &'a EntityId) -> Self {
        let organization = id.organization_id().or(self.organization);
        Self { organization, ..self.of(id.subject_type(), id.name()) }
    }

    /// Names the bearer as the actor, and its token until the operation yields another. For the host, no actor is
    /// named.
    pub(in crate::service) fn by(self, actor: impl Into<Actor<'a>>) -> Self {
        let Some(bearer) = actor.into().bearer() else { return self };
        Self {
            actor: Some((bearer.subject_type(), bearer.subject())),
            organization: self.organization.or(bearer.organization_id()),
            token: Some(bearer.token_id()),
            ..self
        }
    }

    /// Adds the details that became known since the attempt began. A subject that is already named stays: it is the
    /// name that the customer logged in with.
    fn with_details(self, details: &'a AuditDetails) -> Self {
        let session = details.session.get();
        let customer = session.map(|session| (SubjectType::Customer, session.customer.as_str()));
        let organization = session.and_then(|session| session.organization.as_ref());
        Self {
            subject: self.subject.or(customer),
            organization: organization.or(self.organization),
            session: session.map(|session| &session.id).or(self.session),
            fresh_session: details.fresh_session.get(),
            token: details.issued.get().or(self.token),
            ..self
        }
    }
}

/// An attempt that outlives its request.
#[derive(Debug)]
pub(in crate::service) struct OwnedAttempt {
    operation: Operation,
    subject: Option<(SubjectType, String)>,
    actor: Option<(SubjectType, String)>,
    organization: Option<OrganizationId>,
    address: Option<IpAddr>,
    session: Option<SessionId>,
    token: Option<TokenId>,
}

impl Attempt<'_> {
    pub(in crate::service) fn to_owned(self) -> OwnedAttempt {
        let named = |(kind, name): (SubjectType, &str)| (kind, name.to_owned());
        OwnedAttempt {
            operation: self.operation,
            subject: self.subject.map(named),
            actor: self.actor.map(named),
            organization: self.organization.cloned(),
            address: self.address,
            session: self.session.cloned(),
            token: self.token.cloned(),
        }
    }
}

impl OwnedAttempt {
    pub(in crate::service) fn borrowed(&self) -> Attempt<'_> {
        Attempt {
            subject: self.subject.as_ref().map(|(kind, name)| (*kind, name.as_str())),
            actor: self.actor.as_ref().map(|(kind, name)| (*kind, name.as_str())),
            organization: self.organization.as_ref(),
            address: self.address,
            session: self.session.as_ref(),
            token: self.token.as_ref(),
            ..Attempt::new(self.operation)
        }
    }
}

/// Details that become known while an operation runs, for its audit event, whether or not it succeeds.
#[derive(Debug, Default)]
pub(in crate::service) struct AuditDetails {
    session: OnceLock<AuditedSession>,
    fresh_session: OnceLock<SessionId>,
    issued: OnceLock<TokenId>,
    is_replayed: OnceLock<()>,
}

/// The details of a session that never change.
#[derive(Debug)]
struct AuditedSession {
    id: SessionId,
    customer: CustomerId,
    organization: Option<OrganizationId>,
}

impl AuditDetails {
    /// Notes the session that was found or started.
    pub(in crate::service) fn session(&self, session: &Session) {
        self.session.get_or_init(|| AuditedSession {
            id: session.id.clone(),
            customer: session.customer_id.clone(),
            organization: session.organization_id.clone(),
        });
    }

    /// Notes the session that replaced the one that was found.
    pub(in crate::service) fn fresh_session(&self, id: &SessionId) {
        self.fresh_session.get_or_init(|| id.clone());
    }

    /// Notes the token that is issued; it is counted with the event.
    pub(in crate::service) fn issued(&self, token: &TokenId) {
        self.issued.get_or_init(|| token.clone());
    }

    /// Notes that the caller gets the stored response to an earlier identical request.
    pub(in crate::service) fn replayed(&self) {
        self.is_replayed.get_or_init(|| ());
    }
}

/// Writes the event of an outcome.
pub(in crate::service) fn concluded<T>(
    subjects: &Subjects,
    attempt: Attempt<'_>,
    details: &AuditDetails,
    outcome: &Result<T, Error>,
) {
    let attempt = &attempt.with_details(details);
    let is_replayed = details.is_replayed.get().is_some();
    if outcome.is_ok() && details.issued.get().is_some() && !is_replayed {
        telemetry::issued(attempt.operation.as_str());
    }
    let no_reason: Option<&str> = None;
    match outcome {
        Ok(_) if is_replayed => {
            write_event!(tracing::Level::INFO, subjects, attempt, "replayed", no_reason);
        }
        Ok(_) => write_event!(tracing::Level::INFO, subjects, attempt, "accepted", no_reason),
        Err(error) => match error.kind() {
            ErrorKind::Unavailable
            | ErrorKind::Overloaded
            | ErrorKind::Internal
            | ErrorKind::Configuration => failed(subjects, attempt, error.reason()),
            _ => rejected(subjects, attempt, error.reason()),
        },
    }
}
