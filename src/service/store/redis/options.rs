//! The settings of a store in Redis.

use std::time::Duration;

use crate::error::Error;
use crate::service::store::redis::client::Acknowledgement;

const MAX_PREFIX_LEN: usize = 64;
/// How long replicas may be waited for: all writes share a connection, and wait with it.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Settings of a [`RedisStore`](crate::store::RedisStore).
///
/// ```
/// use std::time::Duration;
/// use countersign::store::RedisOptions;
///
/// let options = RedisOptions::default()
///     .prefix("auth:")
///     .wait_for_replicas(1, Duration::from_millis(500));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RedisOptions {
    pub(super) prefix: String,
    pub(super) acknowledgement: Option<Acknowledgement>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self { prefix: "countersign:".to_owned(), acknowledgement: None }
    }
}

impl RedisOptions {
    /// Sets the prefix of each key: 1 to 64 bytes, without braces, which have a meaning in a cluster. Default:
    /// `countersign:`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Makes each write wait, by `WAIT`, until that many replicas have it. If they do not within `timeout`, the store
    /// is reported as unavailable, but the write may have been made. Default: no waiting.
    ///
    /// The timeout must be between 1 millisecond and 1 second: all writes share a connection and wait with it. Reads
    /// use another one.
    ///
    /// It reduces the writes that a failover can lose, but does not exclude a loss, since another replica may take
    /// over. For a cluster, use the servers' `min-replicas-to-write` instead.
    pub fn wait_for_replicas(mut self, replicas: u32, timeout: Duration) -> Self {
        self.acknowledgement = Some(Acknowledgement { replicas, timeout });
        self
    }

    /// Returns what is wrong with the settings.
    pub(super) fn check(&self) -> Result<(), Error> {
        let prefix = &self.prefix;
        if prefix.is_empty() || prefix.len() > MAX_PREFIX_LEN || prefix.contains(['{', '}']) {
            return Err(Error::configuration("a prefix of keys is 1 to 64 bytes, without braces"));
        }
        let waits_well = |acknowledgement: &Acknowledgement| {
            (SHORTEST_WAIT..=LONGEST_WAIT).contains(&acknowledgement.timeout)
        };
        if !self.acknowledgement.as_ref().is_none_or(waits_well) {
            return Err(Error::configuration(
                "the timeout of wait_for_replicas must be 1 millisecond to 1 second",
            ));
        }
        Ok(())
    }
}
