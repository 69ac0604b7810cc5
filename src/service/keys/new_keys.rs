//! Keys that are made for a change of the shared ones, off the executor's threads: one of RSA takes a second.

use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::jose::{Algorithm, CryptoProvider, PrivateKey, SigningKey};
use crate::service::model::key_schedule::{KeySchedule, ScheduledKey};

/// A key, and what signs with it.
type NewKey = (PrivateKey, SigningKey);

/// The keys that one change has had made. An attempt that finds too few is made again with one more.
#[derive(Default)]
pub(super) struct NewKeys {
    made: Vec<NewKey>,
    /// How many the attempt has asked for.
    asked: usize,
}

impl NewKeys {
    /// Begins an attempt, which may have what the ones before it had made.
    pub(super) fn begin(&mut self) {
        self.asked = 0;
    }

    pub(super) fn next(&mut self) -> Option<&NewKey> {
        self.asked += 1;
        self.made.get(self.asked - 1)
    }

    pub(super) fn are_too_few(&self) -> bool {
        self.asked > self.made.len()
    }

    pub(super) fn add(&mut self, made: NewKey) {
        self.made.push(made);
    }
}

pub(super) async fn make(
    algorithm: Algorithm,
    provider: Arc<dyn CryptoProvider>,
) -> Result<NewKey, Error> {
    let making = tokio::task::spawn_blocking(move || {
        let private = provider.generate(algorithm)?;
        let key = SigningKey::new(&private, &*provider)?;
        Ok((private, key))
    });
    making.await.map_err(|error| {
        Error::new(ErrorKind::Internal, "making a signing key failed").with_source(error)
    })?
}

/// Says in the log what was announced.
pub(super) fn log(before: Option<&KeySchedule>, after: &KeySchedule) {
    let is_new = |key: &&ScheduledKey| {
        before.is_none_or(|before| before.keys.iter().all(|known| known.kid != key.kid))
    };
    for key in after.keys.iter().filter(is_new) {
        tracing::info!(kid = key.kid(), signs_from = %key.signs_from, "a signing key is announced");
    }
}
