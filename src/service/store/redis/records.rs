//! Records with a version. Each is a hash under a key of its own, and every change of it is one
//! script over that one key: so it is atomic, and in a cluster touches one slot.
//!
//! A command may be made twice where its answer was lost, by this store or by the cluster's client.
//! So each write names its writer, and the second time finds that it has been made.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::service::store::StoreError;
use crate::service::store::redis::client::{RedisClient, Script};
use crate::service::store::retry::{Retried, answer_lost};

/// How long what was taken is kept aside for its taker. Longer than a call is made again.
const TAKEN_RECORD_TTL: Duration = Duration::from_secs(10);

/// A record to be written.
#[derive(Debug)]
pub(super) struct VersionedRecord<'a> {
    pub(super) key: String,
    pub(super) version: u64,
    pub(super) text: String,
    /// What tells it from others that were under its key, and stays as long as it is there: a session's
    /// public id, the claim by which an entity was registered. Empty where it has none, or stays as it is.
    pub(super) id: Cow<'a, str>,
    /// What is known of a session beside its record. Others have none, and are kept for ever.
    pub(super) session: Option<SessionFields>,
}

/// What a session is purged by.
#[derive(Debug)]
pub(super) struct SessionFields {
    /// When it ends, in microseconds.
    pub(super) end: u64,
    /// Until when the server is to keep it, in microseconds.
    pub(super) keep_until: u64,
    /// The caller's present, in microseconds.
    pub(super) now: u64,
}

/// What came of taking a record.
pub(super) enum Taken {
    Record { text: String, id: String },
    Nothing,
    OtherVersion,
}

pub(super) struct VersionedRecords {
    client: Arc<RedisClient>,
    get: Script,
    insert: Script,
    replace: Script,
    take: Script,
}

impl VersionedRecords {
    pub(super) fn new(client: Arc<RedisClient>) -> Self {
        Self {
            client,
            get: Script::new(include_str!("scripts/get.lua")),
            insert: Script::new(concat!(
                include_str!("scripts/time.lua"),
                include_str!("scripts/insert.lua")
            )),
            replace: Script::new(concat!(
                include_str!("scripts/time.lua"),
                include_str!("scripts/replace.lua")
            )),
            take: Script::new(include_str!("scripts/take.lua")),
        }
    }

    pub(super) async fn insert(&self, record: &VersionedRecord<'_>) -> Result<(), StoreError> {
        let arguments = write_arguments(record);
        let keys = [&*record.key];
        let Retried { value: inserted, is_repeated } =
            self.client.run_and_wait(&self.insert, &keys, &arguments).await?;
        if inserted { Ok(()) } else { Err(conflict(is_repeated)) }
    }

    /// Returns the end that was replaced, where it is known.
    pub(super) async fn replace(
        &self,
        record: &VersionedRecord<'_>,
        expected_version: u64,
    ) -> Result<Option<u64>, StoreError> {
        let mut arguments = write_arguments(record);
        arguments.push(expected_version.to_string());
        let keys = [&*record.key];
        let Retried { value, is_repeated } =
            self.client.run_and_wait(&self.replace, &keys, &arguments).await?;
        let (replaced, end): (bool, String) = value;
        if replaced { Ok(end.parse().ok()) } else { Err(conflict(is_repeated)) }
    }

    /// Takes a record, if it is of that version, and of that id.
    pub(super) async fn take(
        &self,
        key: &str,
        version: Option<u64>,
        id: Option<&str>,
    ) -> Result<Taken, StoreError> {
        let arguments = [
            new_writer_id(),
            version.map(|version| version.to_string()).unwrap_or_default(),
            id.unwrap_or_default().to_owned(),
            TAKEN_RECORD_TTL.as_millis().to_string(),
        ];
        let taken = self.client.run_and_wait(&self.take, &[key], &arguments).await?;
        let (found, text, id): (i64, String, String) = taken.value;
        Ok(match found {
            1 => Taken::Record { text, id },
            0 => Taken::Nothing,
            _ => Taken::OtherVersion,
        })
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.client.run(&self.get, &[key], &[]).await
    }
}

/// Where a write was made again, the first may have been carried out, and have been written over
/// since.
fn conflict(is_repeated: bool) -> StoreError {
    if is_repeated { answer_lost() } else { StoreError::Conflict }
}

/// Returns the arguments of a script that writes.
fn write_arguments(record: &VersionedRecord<'_>) -> Vec<String> {
    let (end, keep_until, now) = match &record.session {
        Some(session) => (session.end, session.keep_until.to_string(), session.now),
        None => (0, String::new(), 0),
    };
    vec![
        new_writer_id(),
        record.version.to_string(),
        record.text.clone(),
        record.id.clone().into_owned(),
        end.to_string(),
        keep_until,
        now.to_string(),
    ]
}

/// Returns a name for one write, and its repetitions.
pub(super) fn new_writer_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
