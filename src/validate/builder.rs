use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;

use crate::audit::Subjects;
use crate::clock::{Clock, SystemClock};
use crate::error::Error;
use crate::jose::{Algorithm, KeyRing};
use crate::rejection::{IntoResponse, Rejection, RejectionHook};
use crate::telemetry;
use crate::validate::Validator;
use crate::validate::cache::TokenCache;
use crate::validate::issuers::{FetchSettings, IssuerSettings, TrustedIssuers};
use crate::validate::proxies::ProxySetting;
use crate::validate::revocations::Revocations;
use crate::validate::rules::Rules;
use crate::validate::stages::NeedsKeys;

/// The longest token that is looked at, in bytes: what a request's headers have room for.
pub(crate) const DEFAULT_MAX_TOKEN_LEN: usize = 8 * 1024;
/// Clocks of machines differ by a little.
pub(crate) const DEFAULT_LEEWAY: Duration = Duration::from_secs(60);
/// What tokens that were checked may take.
pub(crate) const DEFAULT_TOKEN_CACHE_BYTES: usize = 64 * 1024 * 1024;
const MAX_LEEWAY: Duration = Duration::from_secs(300);

impl NeedsKeys<Validator> {
    /// The keys that tokens may be signed with.
    pub fn keys(self, keys: KeyRing) -> ValidatorBuilder {
        ValidatorBuilder::new(self.issuer, self.audience, keys)
    }
}

/// Builds a [`Validator`]: its optional settings.
#[derive(Clone, Debug)]
#[must_use]
pub struct ValidatorBuilder {
    issuer: String,
    pub(crate) audiences: Vec<String>,
    keys: KeyRing,
    /// Where the keys are fetched from, in the place of the ring.
    pub(crate) fetch: Option<Arc<dyn FetchSettings>>,
    pub(crate) allows_http: bool,
    algorithms: Option<Vec<Algorithm>>,
    leeway: Duration,
    max_token_len: usize,
    max_token_lifetime: Option<Duration>,
    token_cache_bytes: usize,
    trailing_wildcards: bool,
    organization_required: bool,
    pub(crate) rejection_hook: RejectionHook,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) revocations: Option<Arc<dyn Revocations>>,
    pub(crate) subjects: Subjects,
    pub(crate) trusted_proxies: ProxySetting,
    pub(crate) trusted_issuers: Vec<Arc<dyn IssuerSettings>>,
}

impl ValidatorBuilder {
    pub(crate) fn new(issuer: String, audience: String, keys: KeyRing) -> Self {
        Self {
            issuer,
            audiences: vec![audience],
            keys,
            fetch: None,
            allows_http: false,
            algorithms: None,
            leeway: DEFAULT_LEEWAY,
            max_token_len: DEFAULT_MAX_TOKEN_LEN,
            max_token_lifetime: None,
            token_cache_bytes: DEFAULT_TOKEN_CACHE_BYTES,
            trailing_wildcards: false,
            organization_required: false,
            rejection_hook: RejectionHook::default(),
            clock: Arc::new(SystemClock),
            revocations: None,
            subjects: Subjects::default(),
            trusted_proxies: ProxySetting::default(),
            trusted_issuers: Vec::new(),
        }
    }

    /// A further audience: `aud` has to contain any one of them.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// The algorithms to allow; by default those of the keys.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = Some(algorithms.into_iter().collect());
        self
    }

    /// How much clocks may differ: 60 seconds by default, at most 300.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// The longest token to look at, in bytes: 8 KiB by default.
    pub fn max_token_len(mut self, bytes: usize) -> Self {
        self.max_token_len = bytes;
        self
    }

    /// The longest life that a token of the issuer may have, from its `iat` to its `exp`: any by
    /// default. Whoever keeps revocations has to reject what lives longer than these are kept. It
    /// says nothing of the tokens of trusted issuers.
    pub fn max_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.max_token_lifetime = Some(lifetime);
        self
    }

    /// How much memory tokens may take that were checked before, in bytes, about: 64 MiB by
    /// default, which is room for some 24,000 with eight permissions. A token is checked whole once
    /// while it is remembered; its times, its key and whether it was revoked are looked at with
    /// every request. What a host maps the claims of a trusted issuer to counts, too. Zero turns it off.
    pub fn token_cache_bytes(mut self, bytes: usize) -> Self {
        self.token_cache_bytes = bytes;
        self
    }

    /// Whether permissions such as `Storefront*` count. Off by default: a token that has one is
    /// rejected then.
    pub fn trailing_wildcards(mut self, allowed: bool) -> Self {
        self.trailing_wildcards = allowed;
        self
    }

    /// Whether the tokens of trusted issuers have to be mapped to an
    /// [`Organization`](crate::Organization): one of them, or all. Off by default, and then those that
    /// are mapped to none are bound to none. In an app with tenants, turn it on: a mapping that forgot
    /// the organization rejects then, and does not give access to every one of them.
    pub fn organization_required(mut self, required: bool) -> Self {
        self.organization_required = required;
        self
    }

    /// Makes the responses of rejected requests: one hook for the layers, the extractors, and the
    /// [`Rejection`]s and [`Error`]s that handlers behind a layer return; a login is behind one that is
    /// [`optional`](crate::ValidateLayer::optional). By default they are problem details
    /// (RFC 9457), and for gRPC a status.
    ///
    /// A handler has its own errors answered in this way, too, by [`Error::new`]. What axum's extractors reject,
    /// as `Json` and `Path`, is axum's own, and no hook sees it: a handler that wants it in the same form takes a
    /// `Result` of the extractor.
    ///
    /// ```
    /// use axum::extract::Json;
    /// use axum::extract::rejection::JsonRejection;
    /// use countersign::{Error, ErrorKind};
    ///
    /// # #[derive(serde::Deserialize)]
    /// # struct Order { item: String }
    /// # fn is_sold(_: &str) -> bool { true }
    /// async fn order(order: Result<Json<Order>, JsonRejection>) -> Result<&'static str, Error> {
    ///     let invalid = |fault: JsonRejection| Error::new(ErrorKind::InvalidRequest, fault.body_text());
    ///     let Json(order) = order.map_err(invalid)?;
    ///     if !is_sold(&order.item) {
    ///         return Err(Error::new(ErrorKind::NotFound, "There is no such item"));
    ///     }
    ///     Ok("ordered")
    /// }
    /// ```
    ///
    /// The hook sees the rejection and the head of the request, and returns what a handler may return. Its
    /// response gets the [`headers`](Rejection::headers) that it lacks, so that neither the challenge nor
    /// `Cache-Control` is forgotten; a redirect has no challenge. In the place of a 1xx, 2xx or 304, which
    /// would pass for what was asked for, the response gets the rejection's own status, and the log an error.
    /// With a hook, each request costs a copy of its head.
    ///
    /// ```
    /// use axum::Json;
    /// use axum::response::{IntoResponse, Redirect};
    ///
    /// # fn example(builder: countersign::builder::ValidatorBuilder) -> countersign::builder::ValidatorBuilder {
    /// builder.reject_with(|rejection, request| {
    ///     let is_page = request.headers.get("accept").is_some_and(|value| {
    ///         value.to_str().is_ok_and(|text| text.contains("text/html"))
    ///     });
    ///     if is_page && rejection.status() == http::StatusCode::UNAUTHORIZED {
    ///         return Redirect::to("/login").into_response();
    ///     }
    ///     (rejection.status(), Json(serde_json::json!({"error": rejection.code()}))).into_response()
    /// })
    /// # }
    /// ```
    pub fn reject_with<R: IntoResponse>(
        mut self,
        hook: impl Fn(&Rejection, &Parts) -> R + Send + Sync + 'static,
    ) -> Self {
        self.rejection_hook = RejectionHook::new(hook);
        self
    }

    /// Where the time comes from; the system's clock by default.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The proxies in front of the host, as networks in CIDR notation or single addresses: none.
    /// What they say in `X-Forwarded-For` is what the audit log has for a client's address.
    pub fn trusted_proxies<T: Into<String>>(
        mut self,
        networks: impl IntoIterator<Item = T>,
    ) -> Self {
        self.trusted_proxies = ProxySetting::networks(networks);
        self
    }

    /// Trusts `X-Forwarded-For` from every peer, so that every client chooses the address that the
    /// audit log has for it.
    pub fn dangerous_trust_any_proxy(mut self) -> Self {
        self.trusted_proxies = ProxySetting::Any;
        self
    }

    /// Puts it together.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) where issuer or an audience is
    /// blank, the leeway is above 300 seconds, an algorithm is allowed that no key
    /// is for, keys cannot be fetched from their URL, a trusted proxy is no network, or all addresses
    /// are one.
    pub fn build(self) -> Result<Validator, Error> {
        let Self { issuer, audiences, keys, leeway, clock, .. } = self;
        if issuer.trim().is_empty() || audiences.iter().any(|name| name.trim().is_empty()) {
            return Err(Error::configuration("the issuer or an audience is blank"));
        }
        if leeway > MAX_LEEWAY {
            return Err(Error::configuration("the leeway may be 300 seconds at most"));
        }
        let fetch = self.fetch.map(|fetch| fetch.prepare(&clock, self.allows_http));
        let fetched_keys = fetch.transpose()?;
        let keys = fetched_keys.as_ref().map_or(keys, |fetched| fetched.ring().clone());
        let has_keys = |algorithm: Algorithm| match &fetched_keys {
            Some(fetched) => fetched.allows(algorithm),
            None => keys.has_algorithm(algorithm),
        };
        if !self.algorithms.iter().flatten().all(|algorithm| has_keys(*algorithm)) {
            return Err(Error::configuration("an algorithm is allowed that no key is for"));
        }
        let trusted_issuers = TrustedIssuers::new(
            &self.trusted_issuers,
            &issuer,
            &clock,
            self.organization_required,
        )?;
        let cache = self.token_cache_bytes;
        telemetry::describe();
        Ok(Validator {
            rules: Arc::new(Rules {
                issuer,
                audiences,
                keys,
                fetched_keys,
                algorithms: self.algorithms,
                cache: (cache > 0).then(|| TokenCache::new(cache)),
                leeway,
                max_token_len: self.max_token_len,
                max_token_lifetime: self.max_token_lifetime,
                trailing_wildcards: self.trailing_wildcards,
                trusted_issuers,
                clock,
                revocations: self.revocations,
                subjects: self.subjects,
                trusted_proxies: self.trusted_proxies.parse()?,
                rejection_hook: self.rejection_hook,
            }),
        })
    }
}
