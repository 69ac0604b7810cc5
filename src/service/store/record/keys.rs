use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::service::model::key_schedule::{KeySchedule, RetiredKey, ScheduledKey};
use crate::service::model::sealing::Sealed;
use crate::service::store::record::{FORM, Form, base64};

#[derive(Serialize, Deserialize)]
pub(super) struct KeysForm<'a> {
    form: u32,
    keys: Vec<KeyForm<'a>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    retired: Vec<RetiredForm<'a>>,
    version: u64,
}

#[derive(Serialize, Deserialize)]
struct KeyForm<'a> {
    kid: Cow<'a, str>,
    #[serde(with = "base64")]
    sealed: Vec<u8>,
    announced_at: u64,
    signs_from: u64,
    retired_at: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct RetiredForm<'a> {
    kid: Cow<'a, str>,
    retired_at: u64,
}

impl<'a> KeysForm<'a> {
    pub(super) fn of(schedule: &'a KeySchedule) -> Self {
        let keys = schedule.keys.iter().map(KeyForm::of).collect();
        let retired = schedule.retired.iter().map(RetiredForm::of).collect();
        Self { form: FORM, keys, retired, version: schedule.version }
    }

    pub(super) fn into_schedule(self) -> KeySchedule {
        let keys = self.keys.into_iter().map(KeyForm::into_key).collect();
        let retired = self.retired.into_iter().map(RetiredForm::into_key).collect();
        KeySchedule { keys, retired, version: self.version }
    }
}

impl<'a> RetiredForm<'a> {
    fn of(key: &'a RetiredKey) -> Self {
        Self { kid: key.kid.as_str().into(), retired_at: key.retired_at.as_micros() }
    }

    fn into_key(self) -> RetiredKey {
        let retired_at = Timestamp::from_micros(self.retired_at);
        RetiredKey { kid: self.kid.into_owned(), retired_at }
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

impl Form for KeysForm<'_> {
    fn number(&self) -> u32 {
        self.form
    }
}
