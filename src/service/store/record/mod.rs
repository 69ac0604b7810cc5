//! Entities, sessions, revocations and signing keys as text, for stores that last.
//!
//! The format is JSON and private: it may change with any release, and only this module reads it. Every record
//! contains the number of its format. A release reads all earlier formats, and writes the latest one that the
//! previous release can read as well; unknown members are ignored. A record in a later format is
//! [`StoreError::Corrupt`]; but an entry of the feed states how a release handles it that does not know its format
//! ([`read_event`]).
//!
//! No record contains a secret in clear text: session keys and codes are stored as digests, secrets and signing keys
//! are sealed, passwords are hashed.
//!
//! An author of a store keeps the text beside the columns that its queries need:
//!
//! ```
//! use countersign::store::record;
//! use countersign::{Acl, Entity};
//!
//! let machine = Entity::machine("aa-1")?.acl(Acl::everything());
//! let text = record::write_entity(&machine)?;
//! assert_eq!(record::read_entity(&text)?.acl, machine.acl);
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```

mod entity;
mod event;
mod keys;
mod session;

use std::borrow::Cow;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::service::model::entity::{Entity, EntityId};
use crate::service::model::key_schedule::KeySchedule;
use crate::service::model::sealing::KeyedDigest;
use crate::service::model::session::Session;
use crate::service::store::FeedEvent;
use crate::service::store::StoreError;
use crate::service::store::record::entity::EntityForm;
use crate::service::store::record::event::{EventForm, FallbackForm};
use crate::service::store::record::keys::KeysForm;
use crate::service::store::record::session::SessionForm;
use crate::telemetry;
use crate::token::claims::SubjectType;

/// The form that is written. A change of any field is a new number, and a function that reads the
/// old one; but for a new member that may be absent, and that a release may lose which does not know it.
/// A new form is read by one release, and written from the next one on.
const FORM: u32 = 1;
/// The metric of records that cannot be read.
pub(in crate::service) const UNREADABLE: &str = "countersign_unreadable_records_total";

/// Writes an entity as text.
///
/// # Errors
///
/// [`StoreError::Corrupt`] if it cannot be written as JSON.
pub fn write_entity(entity: &Entity) -> Result<String, StoreError> {
    write(&EntityForm::of(entity))
}

/// Reads the text that [`write_entity`] of this release or an earlier one wrote.
///
/// # Errors
///
/// [`StoreError::Corrupt`] if it is not a record of an entity, or is in a later format.
pub fn read_entity(text: &str) -> Result<Entity, StoreError> {
    read::<EntityForm<'_>>(text)?.into_entity().map_err(StoreError::corrupt)
}

/// Writes a session as text.
///
/// # Errors
///
/// [`StoreError::Corrupt`] if it cannot be written as JSON.
pub fn write_session(session: &Session) -> Result<String, StoreError> {
    write(&SessionForm::of(session))
}

/// Reads the text that [`write_session`] of this release or an earlier one wrote.
///
/// # Errors
///
/// [`StoreError::Corrupt`] if it is not a record of a session, or is in a later format.
pub fn read_session(text: &str) -> Result<Session, StoreError> {
    read::<SessionForm<'_>>(text)?.into_session().map_err(StoreError::corrupt)
}

/// Writes an entry of the feed as text.
///
/// # Errors
///
/// [`StoreError::Corrupt`] where it cannot be written as JSON, or is one that could not be read.
pub fn write_event(event: &FeedEvent) -> Result<String, StoreError> {
    write(&EventForm::of(event).map_err(StoreError::corrupt)?)
}

/// Reads the text that [`write_event`] of any release wrote. `position` is the position of the entry in the feed, for
/// the log.
///
/// It returns no error, so that one entry that cannot be read does not keep a node from reading the others. An entry
/// in a later format states how it is handled: it is ignored ([`FeedEvent::Skipped`]), or revokes something that this
/// release knows. An entry that states neither is [`FeedEvent::Unreadable`].
#[must_use]
pub fn read_event(record: impl AsRef<[u8]>, position: &str) -> FeedEvent {
    let record = record.as_ref();
    let text = std::str::from_utf8(record).map_err(|_| RecordFault::Value("UTF-8"));
    let read = text.and_then(|text| {
        let known = read_form::<EventForm<'_>>(text).and_then(EventForm::into_event);
        known.or_else(|fault| FallbackForm::read(text).unwrap_or(Err(fault)))
    });
    read.unwrap_or_else(|fault| {
        count_unreadable("event");
        FeedEvent::Unreadable { position: position.into(), reason: fault.to_string() }
    })
}

/// Reads a record of a list, which is not to fail for one of a later form: that is left out.
#[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
pub(super) fn readable<T>(
    kind: &'static str,
    record: &str,
    read: impl FnOnce(&str) -> Result<T, StoreError>,
) -> Option<T> {
    let not_read = |error: &StoreError| {
        count_unreadable(kind);
        tracing::warn!(kind, ?error, "store: a record cannot be read and is left out of a list");
    };
    read(record).inspect_err(not_read).ok()
}

fn count_unreadable(kind: &'static str) {
    telemetry::count(UNREADABLE, &[("kind", kind)]);
}

/// Writes signing keys as text.
///
/// # Errors
///
/// [`StoreError::Corrupt`] if they cannot be written as JSON.
pub fn write_keys(schedule: &KeySchedule) -> Result<String, StoreError> {
    write(&KeysForm::of(schedule))
}

/// Reads the text that [`write_keys`] of this release or an earlier one wrote.
///
/// # Errors
///
/// [`StoreError::Corrupt`] if it is not a record of signing keys, or is in a later format.
pub fn read_keys(text: &str) -> Result<KeySchedule, StoreError> {
    read::<KeysForm<'_>>(text).map(KeysForm::into_schedule)
}

fn write(form: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(form).map_err(|error| StoreError::corrupt(RecordFault::of_json(&error)))
}

/// What is read is of a number that is known. Only what cannot be read is read for its number alone:
/// it may be of a later form, which is to be told.
fn read<F: Form>(text: &str) -> Result<F, StoreError> {
    read_form(text).map_err(StoreError::corrupt)
}

fn read_form<F: Form>(text: &str) -> Result<F, RecordFault> {
    let corrupt = |error| RecordFault::of_json(&error);
    let (number, read) = match serde_json::from_str::<F>(text) {
        Ok(form) => (form.number(), Ok(form)),
        Err(error) => {
            let numbered: Numbered = serde_json::from_str(text).map_err(corrupt)?;
            (numbered.form, Err(error))
        }
    };
    match number {
        FORM => read.map_err(corrupt),
        unknown => Err(RecordFault::UnknownForm(unknown)),
    }
}

/// A form that says which one it is.
trait Form: DeserializeOwned {
    fn number(&self) -> u32;
}

#[derive(Deserialize)]
struct Numbered {
    form: u32,
}

/// Why a record cannot be read. It quotes nothing of the record, which may end up in a log.
#[derive(Debug)]
enum RecordFault {
    Json { category: serde_json::error::Category, line: usize, column: usize },
    UnknownForm(u32),
    Value(&'static str),
}

impl RecordFault {
    fn of_json(error: &serde_json::Error) -> Self {
        Self::Json { category: error.classify(), line: error.line(), column: error.column() }
    }
}

impl fmt::Display for RecordFault {
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

impl std::error::Error for RecordFault {}

fn read_subject_type(text: &str) -> Result<SubjectType, RecordFault> {
    SubjectType::parse(text).ok_or(RecordFault::Value("a subject type"))
}

fn entity_id(subject_type: &str, name: Cow<'_, str>) -> Result<EntityId, RecordFault> {
    EntityId::new(read_subject_type(subject_type)?, name).map_err(|_| RecordFault::Value("a name"))
}

fn keyed_digest(bytes: Vec<u8>) -> Result<KeyedDigest, RecordFault> {
    let bytes = bytes.try_into().map_err(|_| RecordFault::Value("a digest"))?;
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
    use serde_json::{Value, json};

    use super::*;
    use crate::clock::Timestamp;
    use crate::service::model::authentication_token::SessionKey;
    use crate::token::identifier::{CustomerId, SessionId};

    /// What is said of a text that is no record.
    fn rejection(text: &str) -> String {
        let Err(StoreError::Corrupt(source)) = read::<KeysForm<'_>>(text) else {
            panic!("{text} has to be corrupt")
        };
        source.to_string()
    }

    #[test]
    fn a_later_form_is_named_whether_or_not_it_looks_like_one_that_is_known() {
        assert!(read::<KeysForm<'_>>(r#"{"form":1,"keys":[],"version":1}"#).is_ok());
        assert!(read::<KeysForm<'_>>(r#"{"form":1,"keys":[],"version":1,"more":{}}"#).is_ok());
        for later in [
            r#"{"form":2,"keys":[],"version":1}"#,
            r#"{"form":2,"keys":{},"more":[{"form":1}]}"#,
            r#"{"keys":null,"form":2}"#,
        ] {
            assert!(rejection(later).starts_with("a record of form 2,"), "{}", rejection(later));
        }
    }

    #[test]
    fn what_is_no_record_is_rejected_as_that() {
        for damaged in [
            "",
            "[]",
            r#"{"keys":[],"version":1}"#,
            r#"{"form":"1","keys":[],"version":1}"#,
            r#"{"form":-1,"keys":[],"version":1}"#,
            r#"{"form":1,"keys":[]}"#,
            r#"{"form":1,"form":1,"keys":[],"version":1}"#,
            r#"{"form":1,"keys":[],"keys":[],"version":1}"#,
            r#"{"form":1,"keys":[],"version":1} x"#,
            r#"{"form":2,"keys":[],"version":1} x"#,
        ] {
            assert!(rejection(damaged).starts_with("not a record: "), "{damaged}");
        }
    }

    fn read_text(text: &str) -> FeedEvent {
        read_event(text, "7")
    }

    #[test]
    fn an_entry_of_a_later_form_says_what_is_made_of_it() {
        let known = read_text(r#"{"form":1,"target":{"session":"sid-1"},"until":9,"more":[1]}"#);
        assert!(matches!(known, FeedEvent::Revoked(_)));
        for later in [
            r#"{"form":2,"device":{"id":7},"until":9,"otherwise":{"revoke":{"session":"sid-1"}}}"#,
            r#"{"form":3,"target":7,"until":9,"otherwise":{"revoke":{"session":"sid-1"}},"more":0}"#,
            r#"{"form":1,"target":{"device":7},"until":9,"otherwise":{"revoke":{"session":"sid-1"}}}"#,
        ] {
            assert_eq!(read_text(later), known, "{later}");
        }
        let skipped = read_text(r#"{"form":2,"colour":"red","until":9,"otherwise":"skip"}"#);
        assert_eq!(skipped, FeedEvent::Skipped);
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_told_with_its_position_and_nothing_of_its_content() {
        for damaged in [
            "",
            "canary",
            r#"{"form":2,"target":{"canary":1},"until":9}"#,
            r#"{"form":2,"until":9,"otherwise":"canary"}"#,
            r#"{"form":2,"until":9,"otherwise":{"revoke":{"canary":1}}}"#,
            r#"{"form":1,"target":{"subject_before":{"subject_type":"canary"}},"until":9}"#,
        ] {
            let FeedEvent::Unreadable { position, reason } = read_text(damaged) else {
                panic!("{damaged} cannot be read")
            };
            assert!(&*position == "7" && !reason.contains("canary"), "{damaged}: {reason}");
        }
        assert!(matches!(read_event([0xff], "7"), FeedEvent::Unreadable { .. }));
    }

    #[test]
    fn members_that_a_later_release_adds_are_ignored_at_every_depth() {
        let retired = r#"{"kid":"k","retired_at":1,"more":1}"#;
        let keys = format!(r#"{{"form":1,"keys":[],"retired":[{retired}],"version":1}}"#);
        assert_eq!(read_keys(&keys).unwrap().retired()[0].kid(), "k");
        let session = Session::new(
            SessionKey::from_bytes([7; 32]),
            SessionId::new("sid-1").unwrap(),
            CustomerId::new("cus_1").unwrap(),
            Timestamp::MIN,
            Timestamp::MAX,
        );
        let mut text: Value = serde_json::from_str(&write_session(&session).unwrap()).unwrap();
        let digest = "A".repeat(48);
        text["start"] = json!({"request": digest, "until": 9, "more": 1});
        text["exchanges"] =
            json!([{"key": digest, "request": digest, "answer": "AA", "until": 9, "more": 1}]);
        assert_eq!(read_session(&text.to_string()).unwrap().id().as_str(), "sid-1");
    }
}
