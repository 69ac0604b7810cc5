use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};

use crate::clock::Timestamp;
use crate::service::model::revocation::{Revocation, RevocationTarget};
use crate::service::model::subject::Subject;
use crate::service::store::FeedEvent;
use crate::service::store::record::{FORM, Form, RecordFault, entity_id, read_subject_type};
use crate::token::identifier::{OrganizationId, SessionId, TokenId};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventForm<'a> {
    form: u32,
    target: TargetForm<'a>,
    until: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
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
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        blocks: bool,
    },
    EntityChanged {
        subject_type: Cow<'a, str>,
        name: Cow<'a, str>,
    },
}

impl<'a> EventForm<'a> {
    pub(super) fn of(event: &'a FeedEvent) -> Self {
        let target = match event {
            FeedEvent::Revoked(revocation) => TargetForm::of(&revocation.target),
            FeedEvent::EntityChanged { id, .. } => TargetForm::EntityChanged {
                subject_type: id.subject_type().as_str().into(),
                name: id.name().into(),
            },
        };
        Self { form: FORM, target, until: event.until().as_micros() }
    }

    pub(super) fn into_event(self) -> Result<FeedEvent, RecordFault> {
        let until = Timestamp::from_micros(self.until);
        let target = match self.target {
            // A token of somebody else's making may have any `jti`.
            TargetForm::Token(id) => RevocationTarget::Token(TokenId::from_signed_claim(&id)),
            TargetForm::Session(id) => RevocationTarget::Session(id.into_owned()),
            TargetForm::SubjectBefore {
                subject_type,
                organization_id,
                subject,
                before,
                blocks,
            } => {
                let subject_type = read_subject_type(&subject_type)?;
                let before = Timestamp::from_micros(before);
                match organization_id {
                    Some(organization_id) => {
                        let subject = Subject::new(subject_type, &*subject)
                            .organization(organization_id.map(Cow::into_owned));
                        RevocationTarget::SubjectBefore { subject, before, blocks }
                    }
                    None => {
                        let subject = subject.into_owned();
                        RevocationTarget::SubjectAnywhereBefore { subject_type, subject, before }
                    }
                }
            }
            TargetForm::EntityChanged { subject_type, name } => {
                let id = entity_id(&subject_type, name)?;
                return Ok(FeedEvent::EntityChanged { id, until });
            }
        };
        Ok(Revocation { target, until }.into())
    }
}

impl<'a> TargetForm<'a> {
    fn of(target: &'a RevocationTarget) -> Self {
        match target {
            RevocationTarget::Token(id) => Self::Token(id.as_str().into()),
            RevocationTarget::Session(id) => Self::Session(Cow::Borrowed(id)),
            RevocationTarget::SubjectBefore { subject, before, blocks } => Self::SubjectBefore {
                subject_type: subject.subject_type().as_str().into(),
                organization_id: Some(subject.organization_id().map(Cow::Borrowed)),
                subject: subject.id().into(),
                before: before.as_micros(),
                blocks: *blocks,
            },
            RevocationTarget::SubjectAnywhereBefore { subject_type, subject, before } => {
                Self::SubjectBefore {
                    subject_type: subject_type.as_str().into(),
                    organization_id: None,
                    subject: subject.as_str().into(),
                    before: before.as_micros(),
                    blocks: false,
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
