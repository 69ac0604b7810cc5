use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::clock::Timestamp;
use crate::service::model::revocation::{Revocation, RevocationTarget};
use crate::service::model::subject::Subject;
use crate::service::store::FeedEvent;
use crate::service::store::record::{FORM, Form, RecordFault, entity_id, read_subject_type};
use crate::token::identifier::{OrganizationId, SessionId, TokenId};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Serialize, Deserialize)]
pub(super) struct EventForm<'a> {
    form: u32,
    target: TargetForm<'a>,
    until: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TargetForm<'a> {
    Token(Cow<'a, str>),
    Session(Cow<'a, SessionId>),
    SubjectBefore {
        subject_type: Cow<'a, str>,
        /// Absent in older records, which are of any organization; null is of none.
        #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
        organization_id: Option<Option<Cow<'a, OrganizationId>>>,
        subject: Cow<'a, str>,
        before: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issued_before: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        blocked_until: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        made_by: Option<u64>,
    },
    EntityChanged {
        subject_type: Cow<'a, str>,
        name: Cow<'a, str>,
        /// Absent in older records, and where it is no part of the id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        organization_id: Option<Cow<'a, OrganizationId>>,
    },
}

impl<'a> EventForm<'a> {
    pub(super) fn of(event: &'a FeedEvent) -> Result<Self, RecordFault> {
        let target = match event {
            FeedEvent::Revoked(revocation) => TargetForm::of(&revocation.target),
            FeedEvent::EntityChanged { id, .. } => TargetForm::EntityChanged {
                subject_type: id.subject_type().as_str().into(),
                name: id.name().into(),
                organization_id: id.organization_id().map(Cow::Borrowed),
            },
            FeedEvent::Skipped | FeedEvent::Unreadable { .. } => {
                return Err(RecordFault::Value("the event"));
            }
        };
        Ok(Self { form: FORM, target, until: event.until().as_micros() })
    }

    pub(super) fn into_event(self) -> Result<FeedEvent, RecordFault> {
        self.target.into_event(Timestamp::from_micros(self.until))
    }
}

/// What an entry of a later form says to a release that does not know it.
#[derive(Deserialize)]
pub(super) struct FallbackForm<'a> {
    until: u64,
    otherwise: Otherwise<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Otherwise<'a> {
    /// Nothing is lost without it.
    Skip,
    /// More than was asked for, and nothing less.
    Revoke(TargetForm<'a>),
}

impl FallbackForm<'_> {
    /// Returns what is made of an entry; none where it does not say.
    pub(super) fn read(text: &str) -> Option<Result<FeedEvent, RecordFault>> {
        let fallback: Self = serde_json::from_str(text).ok()?;
        Some(match fallback.otherwise {
            Otherwise::Skip => Ok(FeedEvent::Skipped),
            Otherwise::Revoke(target) => target.into_event(Timestamp::from_micros(fallback.until)),
        })
    }
}

impl<'a> TargetForm<'a> {
    fn into_event(self, until: Timestamp) -> Result<FeedEvent, RecordFault> {
        let target = match self {
            // A token of somebody else's making may have any `jti`.
            Self::Token(id) => RevocationTarget::Token(TokenId::from_signed_claim(&id)),
            Self::Session(id) => RevocationTarget::Session(id.into_owned()),
            Self::SubjectBefore {
                subject_type,
                organization_id,
                subject,
                before,
                issued_before,
                blocked_until,
                made_by,
            } => {
                let subject_type = read_subject_type(&subject_type)?;
                let before = Timestamp::from_micros(before);
                let issued_before = issued_before.map_or(before + SECOND, Timestamp::from_micros);
                let blocked_until = blocked_until.map(Timestamp::from_micros);
                match organization_id {
                    Some(organization_id) => {
                        let subject = Subject::new(subject_type, &*subject)
                            .organization(organization_id.map(Cow::into_owned));
                        RevocationTarget::SubjectBefore {
                            subject,
                            before,
                            issued_before,
                            blocked_until,
                            made_by,
                        }
                    }
                    None => {
                        let subject = subject.into_owned();
                        RevocationTarget::SubjectAnywhereBefore { subject_type, subject, before }
                    }
                }
            }
            Self::EntityChanged { subject_type, name, organization_id } => {
                let id = entity_id(&subject_type, name)?;
                let id = id.organization(organization_id.map(Cow::into_owned));
                return Ok(FeedEvent::EntityChanged { id, until });
            }
        };
        Ok(Revocation { target, until }.into())
    }

    fn of(target: &'a RevocationTarget) -> Self {
        match target {
            RevocationTarget::Token(id) => Self::Token(id.as_str().into()),
            RevocationTarget::Session(id) => Self::Session(Cow::Borrowed(id)),
            RevocationTarget::SubjectBefore {
                subject,
                before,
                issued_before,
                blocked_until,
                made_by,
            } => Self::SubjectBefore {
                subject_type: subject.subject_type().as_str().into(),
                organization_id: Some(subject.organization_id().map(Cow::Borrowed)),
                subject: subject.id().into(),
                before: before.as_micros(),
                issued_before: Some(issued_before.as_micros()),
                blocked_until: blocked_until.map(Timestamp::as_micros),
                made_by: *made_by,
            },
            RevocationTarget::SubjectAnywhereBefore { subject_type, subject, before } => {
                Self::SubjectBefore {
                    subject_type: subject_type.as_str().into(),
                    organization_id: None,
                    subject: subject.as_str().into(),
                    before: before.as_micros(),
                    issued_before: None,
                    blocked_until: None,
                    made_by: None,
                }
            }
        }
    }
}

/// Reads a member that is there, null or not.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

impl Form for EventForm<'_> {
    fn number(&self) -> u32 {
        self.form
    }
}
