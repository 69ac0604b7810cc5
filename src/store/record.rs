//! Entities, sessions, revocations and signing keys as text, for stores that keep them as documents.
//!
//! The form is JSON and private: what is in it may change with any release, and is read by this
//! module alone. Every record carries the number of its form. A release reads all forms that there
//! ever were, and writes the latest; a number that it does not know is [`StoreError::Corrupt`].
//! Nothing in a record is a secret in the clear: session keys and codes are digests, secrets and
//! signing keys are sealed, passwords are hashed.
//!
//! Whoever writes a store of their own keeps the text beside the columns that their queries need:
//!
//! ```
//! use countersign::store::record;
//! use countersign::{Acl, Entity};
//!
//! let machine = Entity::entity("aa-1")?.with_acl(Acl::everything());
//! let text = record::write_entity(&machine)?;
//! assert_eq!(record::read_entity(&text)?.acl(), machine.acl());
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```

use std::borrow::Cow;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::domain::acl::Acl;
use crate::domain::claims::SubjectType;
use crate::domain::entity::{Entity, EntityId, EntityKind};
use crate::domain::identifier::{CustomerId, OrganizationId, SessionId, TokenId};
use crate::domain::key_schedule::{KeySchedule, ScheduledKey};
use crate::domain::one_time_password::{OneTimePasswordState, StoredCode};
use crate::domain::password::PasswordHash;
use crate::domain::revocation::{Revocation, RevocationTarget};
use crate::domain::sealing::{KeyedDigest, Sealed};
use crate::domain::secret::{Secrets, StoredSecret};
use crate::domain::session::{Session, SessionKey};
use crate::store::StoreError;

/// The form that is written. A change of any field is a new number, and a function that reads the
/// old one.
const FORM: u32 = 1;

/// An entity as text.
///
/// # Errors
///
/// [`StoreError::Corrupt`] where it cannot be written as JSON.
pub fn write_entity(entity: &Entity) -> Result<String, StoreError> {
    write(&EntityForm::of(entity))
}

/// What [`write_entity`] gave, of this release or an earlier one.
///
/// # Errors
///
/// [`StoreError::Corrupt`] where it is no record of an entity, or of a later form.
pub fn read_entity(text: &str) -> Result<Entity, StoreError> {
    read::<EntityForm<'_>>(text)?.into_entity().map_err(StoreError::corrupt)
}

/// A session as text.
///
/// # Errors
///
/// [`StoreError::Corrupt`] where it cannot be written as JSON.
pub fn write_session(session: &Session) -> Result<String, StoreError> {
    write(&SessionForm::of(session))
}

/// What [`write_session`] gave, of this release or an earlier one.
///
/// # Errors
///
/// [`StoreError::Corrupt`] where it is no record of a session, or of a later form.
pub fn read_session(text: &str) -> Result<Session, StoreError> {
    read::<SessionForm<'_>>(text)?.into_session().map_err(StoreError::corrupt)
}

/// A revocation as text.
///
/// # Errors
///
/// [`StoreError::Corrupt`] where it cannot be written as JSON.
pub fn write_revocation(revocation: &Revocation) -> Result<String, StoreError> {
    write(&RevocationForm::of(revocation))
}

/// What [`write_revocation`] gave, of this release or an earlier one.
///
/// # Errors
///
/// [`StoreError::Corrupt`] where it is no record of a revocation, or of a later form.
pub fn read_revocation(text: &str) -> Result<Revocation, StoreError> {
    read::<RevocationForm<'_>>(text)?.into_revocation().map_err(StoreError::corrupt)
}

/// Signing keys as text.
///
/// # Errors
///
/// [`StoreError::Corrupt`] where they cannot be written as JSON.
pub fn write_keys(schedule: &KeySchedule) -> Result<String, StoreError> {
    write(&KeysForm::of(schedule))
}

/// What [`write_keys`] gave, of this release or an earlier one.
///
/// # Errors
///
/// [`StoreError::Corrupt`] where it is no record of signing keys, or of a later form.
pub fn read_keys(text: &str) -> Result<KeySchedule, StoreError> {
    read::<KeysForm<'_>>(text).map(KeysForm::into_schedule)
}

fn write(form: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(form).map_err(|error| StoreError::corrupt(Fault::of_json(&error)))
}

/// What is read is of a number that is known. Only what cannot be read is read for its number alone:
/// it may be of a later form, which is to be told.
fn read<F: Form>(text: &str) -> Result<F, StoreError> {
    let corrupt = |error| StoreError::corrupt(Fault::of_json(&error));
    let (number, read) = match serde_json::from_str::<F>(text) {
        Ok(form) => (form.number(), Ok(form)),
        Err(error) => {
            let numbered: Numbered = serde_json::from_str(text).map_err(corrupt)?;
            (numbered.form, Err(error))
        }
    };
    match number {
        FORM => read.map_err(corrupt),
        unknown => Err(StoreError::corrupt(Fault::UnknownForm(unknown))),
    }
}

/// A form that says which one it is.
trait Form: DeserializeOwned {
    fn number(&self) -> u32;
}

impl Form for EntityForm<'_> {
    fn number(&self) -> u32 {
        self.form
    }
}

impl Form for SessionForm<'_> {
    fn number(&self) -> u32 {
        self.form
    }
}

impl Form for RevocationForm<'_> {
    fn number(&self) -> u32 {
        self.form
    }
}

impl Form for KeysForm<'_> {
    fn number(&self) -> u32 {
        self.form
    }
}

#[derive(Deserialize)]
struct Numbered {
    form: u32,
}

/// Why a record cannot be read. It quotes nothing of the record, which may end up in a log.
#[derive(Debug)]
enum Fault {
    Json { category: serde_json::error::Category, line: usize, column: usize },
    UnknownForm(u32),
    Value(&'static str),
}

impl Fault {
    fn of_json(error: &serde_json::Error) -> Self {
        Self::Json { category: error.classify(), line: error.line(), column: error.column() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json { category, line, column } => {
                write!(f, "not a record: {category:?} error in line {line}, column {column}")
            }
            Self::UnknownForm(form) => {
                write!(f, "a record of form {form}, and this release knows none above {FORM}")
            }
            Self::Value(which) => write!(f, "not a record: {which} has no valid value"),
        }
    }
}

impl std::error::Error for Fault {}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntityForm<'a> {
    form: u32,
    subject_type: Cow<'a, str>,
    name: Cow<'a, str>,
    credential: CredentialForm<'a>,
    acl: Cow<'a, Acl>,
    custom_claims: Cow<'a, Map<String, Value>>,
    organization_id: Option<Cow<'a, OrganizationId>>,
    disabled: bool,
    password_set_at: Option<u64>,
    version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum CredentialForm<'a> {
    Password(Cow<'a, str>),
    Secrets { current: Option<SecretForm<'a>>, previous: Option<SecretForm<'a>> },
    Customer { password: Cow<'a, str>, customer_id: Cow<'a, CustomerId>, otp_required: bool },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretForm<'a> {
    id: Cow<'a, str>,
    #[serde(with = "base64")]
    sealed: Vec<u8>,
    #[serde(with = "base64")]
    digest: Vec<u8>,
    is_generated: bool,
    created_at: u64,
    expires_at: u64,
}

impl<'a> EntityForm<'a> {
    fn of(entity: &'a Entity) -> Self {
        let credential = match &entity.kind {
            EntityKind::User { password } => CredentialForm::Password(password.as_phc().into()),
            EntityKind::Entity { secrets } => CredentialForm::Secrets {
                current: secrets.current.as_ref().map(SecretForm::of),
                previous: secrets.previous.as_ref().map(SecretForm::of),
            },
            EntityKind::Customer { password, customer_id, otp_required } => {
                CredentialForm::Customer {
                    password: password.as_phc().into(),
                    customer_id: Cow::Borrowed(customer_id),
                    otp_required: *otp_required,
                }
            }
        };
        Self {
            form: FORM,
            subject_type: entity.id.subject_type().as_str().into(),
            name: entity.id.name().into(),
            credential,
            acl: Cow::Borrowed(&entity.acl),
            custom_claims: Cow::Borrowed(&entity.custom_claims),
            organization_id: entity.organization_id.as_ref().map(Cow::Borrowed),
            disabled: entity.disabled,
            password_set_at: entity.password_set_at.map(Timestamp::as_micros),
            version: entity.version,
        }
    }

    fn into_entity(self) -> Result<Entity, Fault> {
        let id = entity_id(&self.subject_type, self.name)?;
        let hash = |phc: Cow<'_, str>| {
            PasswordHash::from_phc(phc).map_err(|_| Fault::Value("a password's hash"))
        };
        let kind = match (id.subject_type(), self.credential) {
            (SubjectType::User, CredentialForm::Password(phc)) => {
                EntityKind::User { password: hash(phc)? }
            }
            (SubjectType::Entity, CredentialForm::Secrets { current, previous }) => {
                let current = current.map(SecretForm::into_secret).transpose()?;
                let previous = previous.map(SecretForm::into_secret).transpose()?;
                EntityKind::Entity { secrets: Secrets { current, previous } }
            }
            (
                SubjectType::Customer,
                CredentialForm::Customer { password, customer_id, otp_required },
            ) => {
                let customer_id = customer_id.into_owned();
                EntityKind::Customer { password: hash(password)?, customer_id, otp_required }
            }
            _ => return Err(Fault::Value("the credential")),
        };
        Ok(Entity {
            id,
            kind,
            acl: self.acl.into_owned(),
            custom_claims: self.custom_claims.into_owned(),
            organization_id: self.organization_id.map(Cow::into_owned),
            disabled: self.disabled,
            password_set_at: self.password_set_at.map(Timestamp::from_micros),
            version: self.version,
        })
    }
}

impl<'a> SecretForm<'a> {
    fn of(secret: &'a StoredSecret) -> Self {
        Self {
            id: secret.id.as_str().into(),
            sealed: secret.sealed.as_bytes().to_vec(),
            digest: secret.digest.to_bytes().to_vec(),
            is_generated: secret.is_generated,
            created_at: secret.created_at.as_micros(),
            expires_at: secret.expires_at.as_micros(),
        }
    }

    fn into_secret(self) -> Result<StoredSecret, Fault> {
        Ok(StoredSecret {
            id: self.id.into_owned(),
            sealed: Sealed::from_bytes(self.sealed),
            digest: keyed_digest(self.digest)?,
            is_generated: self.is_generated,
            created_at: Timestamp::from_micros(self.created_at),
            expires_at: Timestamp::from_micros(self.expires_at),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionForm<'a> {
    form: u32,
    #[serde(with = "base64")]
    key: Vec<u8>,
    id: Cow<'a, SessionId>,
    customer_id: Cow<'a, CustomerId>,
    organization_id: Option<Cow<'a, OrganizationId>>,
    credential: Option<EntityIdForm<'a>>,
    acl: Cow<'a, Acl>,
    custom_claims: Cow<'a, Map<String, Value>>,
    one_time_password: Option<OneTimePasswordForm>,
    created_at: u64,
    updated_at: u64,
    expires_at: u64,
    version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntityIdForm<'a> {
    subject_type: Cow<'a, str>,
    name: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OneTimePasswordForm {
    code: Option<CodeForm>,
    tries_left: u32,
    resends_left: u32,
    sent_at: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CodeForm {
    #[serde(with = "base64")]
    digest: Vec<u8>,
    expires_at: u64,
}

impl<'a> SessionForm<'a> {
    fn of(session: &'a Session) -> Self {
        let credential = session.credential.as_ref().map(|id| EntityIdForm {
            subject_type: id.subject_type().as_str().into(),
            name: id.name().into(),
        });
        Self {
            form: FORM,
            key: session.key.as_bytes().to_vec(),
            id: Cow::Borrowed(&session.id),
            customer_id: Cow::Borrowed(&session.customer_id),
            organization_id: session.organization_id.as_ref().map(Cow::Borrowed),
            credential,
            acl: Cow::Borrowed(&session.acl),
            custom_claims: Cow::Borrowed(&session.custom_claims),
            one_time_password: session.one_time_password.as_ref().map(OneTimePasswordForm::of),
            created_at: session.created_at.as_micros(),
            updated_at: session.updated_at.as_micros(),
            expires_at: session.expires_at.as_micros(),
            version: session.version,
        }
    }

    fn into_session(self) -> Result<Session, Fault> {
        let key = self.key.try_into().map_err(|_| Fault::Value("the key"))?;
        let credential = self.credential.map(|id| entity_id(&id.subject_type, id.name));
        Ok(Session {
            key: SessionKey::from_bytes(key),
            id: self.id.into_owned(),
            customer_id: self.customer_id.into_owned(),
            organization_id: self.organization_id.map(Cow::into_owned),
            credential: credential.transpose()?,
            acl: self.acl.into_owned(),
            custom_claims: self.custom_claims.into_owned(),
            one_time_password: self
                .one_time_password
                .map(OneTimePasswordForm::into_state)
                .transpose()?,
            created_at: Timestamp::from_micros(self.created_at),
            updated_at: Timestamp::from_micros(self.updated_at),
            expires_at: Timestamp::from_micros(self.expires_at),
            version: self.version,
        })
    }
}

impl OneTimePasswordForm {
    fn of(state: &OneTimePasswordState) -> Self {
        let code = state.code.as_ref().map(|code| CodeForm {
            digest: code.digest.to_bytes().to_vec(),
            expires_at: code.expires_at.as_micros(),
        });
        Self {
            code,
            tries_left: state.tries_left,
            resends_left: state.resends_left,
            sent_at: state.sent_at.as_micros(),
        }
    }

    fn into_state(self) -> Result<OneTimePasswordState, Fault> {
        let code = self.code.map(|code| {
            let expires_at = Timestamp::from_micros(code.expires_at);
            keyed_digest(code.digest).map(|digest| StoredCode { digest, expires_at })
        });
        Ok(OneTimePasswordState {
            code: code.transpose()?,
            tries_left: self.tries_left,
            resends_left: self.resends_left,
            sent_at: Timestamp::from_micros(self.sent_at),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RevocationForm<'a> {
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
    fn of(revocation: &'a Revocation) -> Self {
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

    fn into_revocation(self) -> Result<Revocation, Fault> {
        let target = match self.target {
            // A token of somebody else's making may have any `jti`.
            TargetForm::Token(id) => RevocationTarget::Token(TokenId::from_signed_claim(&id)),
            TargetForm::Session(id) => RevocationTarget::Session(id.into_owned()),
            TargetForm::SubjectBefore { subject_type, subject, before } => {
                RevocationTarget::SubjectBefore {
                    subject_type: sort(&subject_type)?,
                    subject: subject.into_owned(),
                    before: Timestamp::from_micros(before),
                }
            }
            TargetForm::EntityChanged { subject_type, name } => RevocationTarget::EntityChanged {
                subject_type: sort(&subject_type)?,
                name: name.into_owned(),
            },
        };
        Ok(Revocation { target, until: Timestamp::from_micros(self.until) })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysForm<'a> {
    form: u32,
    keys: Vec<KeyForm<'a>>,
    version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyForm<'a> {
    kid: Cow<'a, str>,
    #[serde(with = "base64")]
    sealed: Vec<u8>,
    announced_at: u64,
    signs_from: u64,
    retired_at: Option<u64>,
}

impl<'a> KeysForm<'a> {
    fn of(schedule: &'a KeySchedule) -> Self {
        let keys = schedule.keys.iter().map(KeyForm::of).collect();
        Self { form: FORM, keys, version: schedule.version }
    }

    fn into_schedule(self) -> KeySchedule {
        let keys = self.keys.into_iter().map(KeyForm::into_key).collect();
        KeySchedule { keys, version: self.version }
    }
}

impl<'a> KeyForm<'a> {
    fn of(key: &'a ScheduledKey) -> Self {
        Self {
            kid: key.kid.as_str().into(),
            sealed: key.sealed.as_bytes().to_vec(),
            announced_at: key.announced_at.as_micros(),
            signs_from: key.signs_from.as_micros(),
            retired_at: key.retired_at.map(Timestamp::as_micros),
        }
    }

    fn into_key(self) -> ScheduledKey {
        ScheduledKey {
            kid: self.kid.into_owned(),
            sealed: Sealed::from_bytes(self.sealed),
            announced_at: Timestamp::from_micros(self.announced_at),
            signs_from: Timestamp::from_micros(self.signs_from),
            retired_at: self.retired_at.map(Timestamp::from_micros),
        }
    }
}

fn sort(text: &str) -> Result<SubjectType, Fault> {
    SubjectType::parse(text).ok_or(Fault::Value("a subject type"))
}

fn entity_id(subject_type: &str, name: Cow<'_, str>) -> Result<EntityId, Fault> {
    EntityId::new(sort(subject_type)?, name).map_err(|_| Fault::Value("a name"))
}

fn keyed_digest(bytes: Vec<u8>) -> Result<KeyedDigest, Fault> {
    let bytes = bytes.try_into().map_err(|_| Fault::Value("a digest"))?;
    Ok(KeyedDigest::from_bytes(bytes))
}

/// Bytes as base64url without padding (RFC 4648 §5).
mod base64 {
    use ::base64::Engine;
    use ::base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&URL_SAFE_NO_PAD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        URL_SAFE_NO_PAD.decode(text).map_err(|_| D::Error::custom("not base64url"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a text that is no record.
    fn refusal(text: &str) -> String {
        let Err(StoreError::Corrupt(source)) = read::<KeysForm<'_>>(text) else {
            panic!("{text} has to be corrupt")
        };
        source.to_string()
    }

    #[test]
    fn a_later_form_is_named_whether_or_not_it_looks_like_one_that_is_known() {
        assert!(read::<KeysForm<'_>>(r#"{"form":1,"keys":[],"version":1}"#).is_ok());
        for later in [
            r#"{"form":2,"keys":[],"version":1}"#,
            r#"{"form":2,"keys":{},"more":[{"form":1}]}"#,
            r#"{"keys":null,"form":2}"#,
        ] {
            assert!(refusal(later).starts_with("a record of form 2,"), "{}", refusal(later));
        }
    }

    #[test]
    fn what_is_no_record_is_refused_as_that() {
        for damaged in [
            "",
            "[]",
            r#"{"keys":[],"version":1}"#,
            r#"{"form":"1","keys":[],"version":1}"#,
            r#"{"form":-1,"keys":[],"version":1}"#,
            r#"{"form":1,"keys":[]}"#,
            r#"{"form":1,"form":1,"keys":[],"version":1}"#,
            r#"{"form":1,"keys":[],"keys":[],"version":1}"#,
            r#"{"form":1,"keys":[],"version":1,"more":0}"#,
            r#"{"form":1,"keys":[],"version":1} x"#,
            r#"{"form":2,"keys":[],"version":1} x"#,
        ] {
            assert!(refusal(damaged).starts_with("not a record: "), "{damaged}");
        }
    }
}
