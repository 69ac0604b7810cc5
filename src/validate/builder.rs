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
use crate::validate::proxies::TrustedProxies;
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
    /// Sets the keys that verify tokens.
    pub fn keys(self, keys: KeyRing) -> ValidatorBuilder {
        ValidatorBuilder::new(self.issuer, self.audience, keys)
    }
}

/// Builds a [`Validator`]: the optional settings, then [`build`](Self::build).
#[derive(Clone, Debug)]
#[must_use]
pub struct ValidatorBuilder {
    /// `None` where only the tokens of trusted issuers are accepted.
    issuer: Option<String>,
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
    pub(crate) trusted_proxies: TrustedProxies,
    pub(crate) trusted_issuers: Vec<Arc<dyn IssuerSettings>>,
}

impl ValidatorBuilder {
    pub(crate) fn new(issuer: String, audience: String, keys: KeyRing) -> Self {
        Self { issuer: Some(issuer), audiences: vec![audience], ..Self::of(keys) }
    }

    /// One without own tokens.
    #[cfg(feature = "remote-jwks")]
    pub(crate) fn of_others() -> Self {
        Self::of(KeyRing::empty())
    }

    fn of(keys: KeyRing) -> Self {
        Self {
            issuer: None,
            audiences: Vec::new(),
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
            trusted_proxies: TrustedProxies::default(),
            trusted_issuers: Vec::new(),
        }
    }

    /// Adds an audience. A token is accepted if its `aud` contains at least one of the validator's audiences.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Sets the algorithms to accept. Default: those of the keys.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = Some(algorithms.into_iter().collect());
        self
    }

    /// Sets how far the issuer's clock and this one may differ. Default: 60 seconds; maximum: 300.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Sets the length, in bytes, above which a token is rejected unread. Default: 8 KiB.
    pub fn max_token_len(mut self, bytes: usize) -> Self {
        self.max_token_len = bytes;
        self
    }

    /// Sets the longest lifetime, `exp` minus `iat`, of the issuer's own tokens. Default: no limit.
    /// A host that keeps revocations for a limited time must reject tokens that outlive them. Tokens of
    /// trusted issuers are not limited by it.
    pub fn max_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.max_token_lifetime = Some(lifetime);
        self
    }

    /// Sets the approximate size, in bytes, of the cache of verified tokens. Default: 64 MiB, which holds
    /// about 24,000 tokens with eight permissions each. Zero turns the cache off. A cached token's signature
    /// is not verified again; its expiry, its key and its revocation are checked on every request. Claims
    /// mapped from a trusted issuer's tokens count towards the size.
    pub fn token_cache_bytes(mut self, bytes: usize) -> Self {
        self.token_cache_bytes = bytes;
        self
    }

    /// Sets whether a permission may end in a wildcard, such as `Storefront*`. Default: off, and a token that
    /// has one is rejected.
    pub fn trailing_wildcards(mut self, allowed: bool) -> Self {
        self.trailing_wildcards = allowed;
        self
    }

    /// Sets whether the claims mapping of a trusted issuer must name an
    /// [`Organization`](crate::Organization): one, or all. Default: off, and a token mapped without one is bound
    /// to no organization. Turn it on in an app with tenants: a mapping that forgets the organization then
    /// rejects the token, where it would otherwise give access to every tenant.
    pub fn organization_required(mut self, required: bool) -> Self {
        self.organization_required = required;
        self
    }

    /// Sets a hook that makes the response to every rejected request: by a layer, by an extractor, or by a
    /// handler behind a layer that returns a [`Rejection`] or an [`Error`]. For a login handler, mount a layer that
    /// is [`optional`](crate::ValidateLayer::optional). Default: problem details (RFC 9457), and a status for gRPC.
    ///
    /// A handler's own errors, made by [`Error::new`], go through the hook, too. The rejections of axum's
    /// extractors, such as `Json` and `Path`, do not: take a `Result` of the extractor and convert it.
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
    /// The hook gets the rejection and the request's head, whose URI is the one that the client has sent, also where
    /// axum's routers are nested. It returns anything a handler may return. The
    /// rejection's [`headers`](Rejection::headers) that the response lacks, such as the challenge and
    /// `Cache-Control`, are added; a redirect gets no challenge. A 1xx, 2xx or 304 is replaced by the rejection's
    /// own status, and an error is logged, so that no hook turns a rejection into a success. With a hook, each
    /// request costs a copy of its head.
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

    /// Sets the clock. Default: the system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets the proxies in front of the host, for the client addresses in the audit log. Default: none.
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.trusted_proxies = proxies;
        self
    }

    /// Builds the validator.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the issuer or an audience is blank, the
    /// leeway is above 300 seconds, no key has one of the [`algorithms`](Self::algorithms), the `jwks_url` or a
    /// trusted issuer cannot be used, a trusted proxy is not a network, or the trusted proxies cover all addresses.
    pub fn build(self) -> Result<Validator, Error> {
        let Self { issuer, audiences, keys, leeway, clock, .. } = self;
        let is_blank = |name: &String| name.trim().is_empty();
        if issuer.as_ref().is_some_and(is_blank) || audiences.iter().any(is_blank) {
            return Err(Error::configuration("the issuer or an audience is blank"));
        }
        let has_own_settings =
            !audiences.is_empty() || self.algorithms.is_some() || self.max_token_lifetime.is_some();
        if issuer.is_none() && has_own_settings {
            return Err(Error::configuration(
                "audiences, algorithms and lifetimes of trusted issuers are set on each of them",
            ));
        }
        if leeway > MAX_LEEWAY {
            return Err(Error::configuration("the leeway must be at most 300 seconds"));
        }
        let fetch = self.fetch.map(|fetch| fetch.prepare(&clock, self.allows_http));
        let fetched_keys = fetch.transpose()?;
        let keys = fetched_keys.as_ref().map_or(keys, |fetched| fetched.ring().clone());
        let has_keys = |algorithm: Algorithm| match &fetched_keys {
            Some(fetched) => fetched.allows(algorithm),
            None => keys.has_algorithm(algorithm),
        };
        if !self.algorithms.iter().flatten().all(|algorithm| has_keys(*algorithm)) {
            return Err(Error::configuration("`algorithms` names one that no key has"));
        }
        let trusted_issuers = TrustedIssuers::new(
            &self.trusted_issuers,
            issuer.as_deref(),
            &clock,
            self.organization_required,
        )?;
        let accepts_own = issuer.is_some();
        let first_issuer = trusted_issuers.names().next().map(str::to_owned);
        let issuer = issuer.or(first_issuer);
        let issuer = issuer.ok_or_else(|| Error::configuration("there is no trusted issuer"))?;
        let cache = self.token_cache_bytes;
        telemetry::describe();
        Ok(Validator {
            rules: Arc::new(Rules {
                issuer,
                accepts_own,
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
                trusted_proxies: self.trusted_proxies,
                rejection_hook: self.rejection_hook,
            }),
        })
    }
}
