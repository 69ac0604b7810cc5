use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::service::model::revocation::{Revocation, RevocationTarget};
use crate::service::store::record::{FORM, Fault, Form, read_subject_type};
use crate::token::identifier::{SessionId, TokenId};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RevocationForm<'a> {
    form: u32,
    target: TargetForm<'a>,
    until: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum TargetForm<'a> {
    Token(Cow<'a, str>),
    Session(Cow<'a, SessionId>),
    SubjectBefore { subject_type: Cow<'a, str>, subject: Cow<'a, str>, before: u64 },
    EntityChanged { subject_type: Cow<'a, str>, name: Cow<'a, str> },
}

impl<'a> RevocationForm<'a> {
    pub(super) fn of(revocation: &'a Revocation) -> Self {
        let target = match &revocation.target {
            RevocationTarget::Token(id) => TargetForm::Token(id.as_str().into()),
            RevocationTarget::Session(id) => TargetForm::Session(Cow::Borrowed(id)),
            RevocationTarget::SubjectBefore { subject_type, subject, before } => {
                TargetForm::SubjectBefore {
                    subject_type: subject_type.as_str().into(),
                    subject: subject.as_str().into(),
                    before: before.as_micros(),
                }
            }
            RevocationTarget::EntityChanged { subject_type, name } => TargetForm::EntityChanged {
                subject_type: subject_type.as_str().into(),
                name: name.as_str().into(),
            },
        };
        Self { form: FORM, target, until: revocation.until.as_micros() }
    }

    pub(super) fn into_revocation(self) -> Result<Revocation, Fault> {
        let target = match self.target {
            // A token of somebody else's making may have any `jti`.
            TargetForm::Token(id) => RevocationTarget::Token(TokenId::from_signed_claim(&id)),
            TargetForm::Session(id) => RevocationTarget::Session(id.into_owned()),
            TargetForm::SubjectBefore { subject_type, subject, before } => {
                RevocationTarget::SubjectBefore {
                    subject_type: read_subject_type(&subject_type)?,
                    subject: subject.into_owned(),
                    before: Timestamp::from_micros(before),
                }
            }
            TargetForm::EntityChanged { subject_type, name } => RevocationTarget::EntityChanged {
                subject_type: read_subject_type(&subject_type)?,
                name: name.into_owned(),
            },
        };
        Ok(Revocation { target, until: Timestamp::from_micros(self.until) })
    }
}

impl Form for RevocationForm<'_> {
    fn number(&self) -> u32 {
        self.form
    }
}
