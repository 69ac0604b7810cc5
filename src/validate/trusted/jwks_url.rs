//! The validator of a service that only checks tokens: the keys of its issuer are fetched from a URL.

use std::fmt;
use std::sync::Arc;

use crate::clock::{Clock, Timestamp};
use crate::error::Error;
use crate::jose::jwk_set::AcceptedAlgorithms;
use crate::jose::{Algorithm, CryptoProvider, KeyRing, VerifyingKey};
use crate::validate::issuers::{FetchSettings, FetchedKeys, KeyFetch};
use crate::validate::stages::NeedsKeys;
use crate::validate::trusted::remote::{
    HttpFetcher, KeyLocation, KeySource, RemoteKeys, RemotePolicy, without_secrets,
};
use crate::validate::{NotAccepted, Validator, ValidatorBuilder};

impl NeedsKeys<Validator> {
    /// Sets the URL of the issuer's JWK Set, in place of the keys: for a service that only checks the tokens of
    /// another one. A `TokenService` serves its JWK Set at `/.well-known/jwks.json`.
    ///
    /// The keys are fetched when a token needs them, and are cached. They are fetched again before they expire and
    /// when a token names an unknown `kid`, but at most once every 30 seconds; requests that wait at the same time
    /// share one fetch. While they cannot be fetched, the cached keys stay in use for at most a day. Until the first
    /// fetch succeeds, tokens are rejected with a 503, so the app can start without the keys;
    /// [`fetch_keys`](Validator::fetch_keys) fetches them before the first request.
    ///
    /// Tokens are checked by the same rules as with local keys; keys for EdDSA, ES256 and RS256 are accepted.
    /// Revocations are not known to this validator: issue tokens that live for minutes, or run a `TokenService` over
    /// the shared store.
    ///
    /// Plain `http` is accepted only for a loopback address, unless
    /// [`dangerous_allow_http`](ValidatorBuilder::dangerous_allow_http) is set.
    ///
    /// ```
    /// # #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))] {
    /// use countersign::Validator;
    ///
    /// let validator = Validator::builder()
    ///     .issuer("https://auth.example.com")
    ///     .audience("https://api.example.com")
    ///     .jwks_url("https://auth.example.com/.well-known/jwks.json")
    ///     .build()?;
    /// # }
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn jwks_url_with(
        self,
        url: impl Into<String>,
        provider: impl CryptoProvider + 'static,
    ) -> ValidatorBuilder {
        let settings = JwksUrl { url: url.into(), provider: Arc::new(provider) };
        let mut builder = ValidatorBuilder::new(self.issuer, self.audience, KeyRing::empty());
        builder.fetch = Some(Arc::new(settings));
        builder
    }
}

impl ValidatorBuilder {
    /// Allows fetching the keys of a `jwks_url` from other machines over plain HTTP. An attacker on the network path
    /// can then replace them. For tests only.
    pub fn dangerous_allow_http(mut self) -> Self {
        self.allows_http = true;
        self
    }
}

/// The settings of keys that are at a URL.
struct JwksUrl {
    url: String,
    provider: Arc<dyn CryptoProvider>,
}

impl FetchSettings for JwksUrl {
    fn prepare(
        &self,
        clock: &Arc<dyn Clock>,
        allows_http: bool,
    ) -> Result<Box<dyn FetchedKeys>, Error> {
        let location = KeyLocation::jwks(&self.url)?;
        let allows_http = allows_http || location.is_on_loopback();
        // Those that a service signs with.
        let algorithms = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256];
        let algorithms = AcceptedAlgorithms::stated(algorithms);
        let policy = RemotePolicy { allows_http, algorithms, ..RemotePolicy::default() };
        let source = KeySource::Fetched(Arc::new(HttpFetcher::new(location, &policy)?));
        let (provider, clock) = (Arc::clone(&self.provider), Arc::clone(clock));
        Ok(Box::new(KeysAtUrl(Arc::new(RemoteKeys::new(source, provider, policy, clock)))))
    }
}

impl fmt::Debug for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwksUrl").field("url", &without_secrets(&self.url)).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct KeysAtUrl(Arc<RemoteKeys>);

impl FetchedKeys for KeysAtUrl {
    fn ring(&self) -> &KeyRing {
        self.0.ring()
    }

    fn allows(&self, algorithm: Algorithm) -> bool {
        self.0.allows(algorithm)
    }

    fn find(
        &self,
        kid: &str,
        algorithm: Algorithm,
        now: Timestamp,
    ) -> Result<VerifyingKey, NotAccepted> {
        self.0.find_for_token(Some(kid), algorithm, now)
    }

    fn are_usable(&self, now: Timestamp) -> bool {
        self.0.refresh_ahead(now);
        self.0.are_good(now)
    }

    fn fetch(&self, now: Timestamp) -> Option<KeyFetch> {
        self.0.fetch(now).map(|fetch| fetch.completed())
    }

    fn last_failure(&self) -> Option<Arc<Error>> {
        self.0.last_failure()
    }
}
