//! What fetches the keys of an issuer: a trait.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::Error;

/// Fetches the keys of a trusted issuer, where neither HTTP nor a file will do: see
/// [`TrustedIssuer::key_fetcher`](crate::TrustedIssuer::key_fetcher).
///
/// When to fetch is not its concern: it is called when a token needs keys, once a cooldown at most, and by one task at
/// a time. A call that takes longer than the issuer's `fetch_timeout` is cancelled, and counts as failed.
///
/// ```
/// use countersign::trusted_issuer::{JwkSet, KeyFetcher};
/// use countersign::{Error, ErrorKind};
///
/// /// Keys that a process beside this one keeps.
/// #[derive(Debug)]
/// struct Sidecar;
///
/// #[async_trait::async_trait]
/// impl KeyFetcher for Sidecar {
///     async fn fetch(&self) -> Result<JwkSet, Error> {
///         # async fn ask() -> Result<Vec<u8>, std::io::Error> { Ok(Vec::new()) }
///         let set = ask().await.map_err(|error| {
///             Error::new(ErrorKind::Unavailable, "the sidecar is down").with_source(error)
///         })?;
///         Ok(JwkSet::new(set))
///     }
///
///     fn name(&self) -> String {
///         "sidecar".to_owned()
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    note = "implement `KeyFetcher` for a type of yours, with `#[async_trait]`"
)]
#[async_trait]
pub trait KeyFetcher: fmt::Debug + Send + Sync {
    /// Fetches the JWK Set (RFC 7517 §5).
    ///
    /// # Errors
    ///
    /// Of any kind. The message and its sources are logged, and returned by
    /// [`Validator::fetch_keys`](crate::Validator::fetch_keys): they must not have a secret.
    async fn fetch(&self) -> Result<JwkSet, Error>;

    /// Returns where the keys are, for the log: without a secret.
    fn name(&self) -> String;
}

/// A JWK Set as it was fetched, and how long it may be kept: the result of a [`KeyFetcher`].
#[derive(Clone, Debug)]
#[must_use]
pub struct JwkSet {
    pub(super) text: Vec<u8>,
    pub(super) max_age: Option<Duration>,
}

impl JwkSet {
    /// Creates a set of the text of a JWK Set, which is read later.
    pub fn new(text: impl Into<Vec<u8>>) -> Self {
        Self { text: text.into(), max_age: None }
    }

    /// Sets how long the keys may be used. Default: the issuer's
    /// [`default_max_age`](crate::TrustedIssuer::default_max_age).
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }
}
