//! The settings of a trusted issuer that say how its keys are reached.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Error;
use crate::jose::KeyRing;
use crate::validate::trusted::TrustedIssuer;
use crate::validate::trusted::remote::{KeyFetcher, KeyPlace, KeySource};

impl TrustedIssuer {
    /// Adds a root certificate, or several, in PEM: for an issuer whose certificate is by a private authority. The
    /// roots of the system are trusted, too.
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.policy.reach.root_certificates.push(pem.into());
        self
    }

    /// Sets the proxy that the keys are fetched through, as `http://proxy.example.com:3128`. A name and password in it
    /// are sent to the proxy, and are not logged. Default: none; the variables of the environment are not read.
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.policy.reach.proxy = Some(url.into());
        self
    }

    /// Sets the file of a bearer token that the metadata and the keys are requested with. It is read again at each
    /// fetch, since Kubernetes replaces it. The token is not logged. It is sent only to the origin (RFC 6454 §4) of the
    /// issuer, or of the [`jwks_url`](Self::jwks_url) where that is set; so set that one where the metadata name
    /// another origin that asks for the token, too.
    ///
    /// ```
    /// # #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))] {
    /// use countersign::TrustedIssuer;
    ///
    /// // In a pod: the issuer of the cluster's service accounts.
    /// # fn example() -> Result<(), std::io::Error> {
    /// let account = std::path::Path::new("/var/run/secrets/kubernetes.io/serviceaccount");
    /// let cluster = TrustedIssuer::new("https://kubernetes.default.svc.cluster.local")
    ///     .audience("https://api.example.com")
    ///     .untyped_tokens()
    ///     .jwks_url("https://kubernetes.default.svc/openid/v1/jwks")
    ///     .root_certificate(std::fs::read(account.join("ca.crt"))?)
    ///     .bearer_file(account.join("token"));
    /// # Ok(()) }
    /// # }
    /// ```
    pub fn bearer_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.policy.reach.bearer_file = Some(path.into());
        self
    }

    /// Sets the keys themselves: nothing is fetched. What the host does to the ring afterwards holds at once.
    pub fn keys(mut self, keys: KeyRing) -> Self {
        self.policy.reach.place = Some(KeyPlace::Ring(keys));
        self
    }

    /// Sets the file of the JWK Set (RFC 7517 §5), in place of a URL. It is read again by the rules by which keys are
    /// fetched again: after about three quarters of [`default_max_age`](Self::default_max_age), and when a token names
    /// an unknown `kid`, at most once a [`cooldown`](Self::cooldown).
    pub fn jwks_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.policy.reach.place = Some(KeyPlace::File(path.into()));
        self
    }

    /// Sets what fetches the keys, in place of HTTP.
    pub fn key_fetcher(mut self, fetcher: impl KeyFetcher + 'static) -> Self {
        self.policy.reach.place = Some(KeyPlace::Fetcher(Arc::new(fetcher)));
        self
    }

    /// Has the keys at hand, wherever its settings say that they are.
    #[cfg(all(feature = "testing", any(feature = "aws-lc-rs", feature = "rust-crypto")))]
    pub(crate) fn keys_of_test(mut self, keys: KeyRing) -> Self {
        self.jwks_url = None;
        self.keys(keys)
    }

    pub(super) fn key_source(&self) -> Result<KeySource, Error> {
        KeySource::new(&self.policy, self.jwks_url.is_some(), || self.key_location())
    }
}
