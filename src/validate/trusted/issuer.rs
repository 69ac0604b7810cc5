use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::Error;
use crate::jose::jwk_set::AcceptedAlgorithms;
use crate::jose::{Algorithm, CryptoProvider, is_media_type};
use crate::token::acl::AclEntry;
use crate::validate::trusted::claims::{ForeignClaims, MapClaims, MappedClaims, invalid_token};
use crate::validate::trusted::grants::{Condition, GrantRules};
use crate::validate::trusted::issuer_name::IssuerName;
use crate::validate::trusted::registered::AUDIENCE;
use crate::validate::trusted::remote::{KeyLocation, LONGEST, RemotePolicy, without_secrets};

/// A trusted issuer: another issuer whose tokens a validator accepts.
///
/// Its keys are fetched when one of its tokens needs them, and are cached. They are fetched again before they expire
/// and when a token names an unknown `kid`, but never more often than the cooldown allows. Requests that wait at the
/// same time share one fetch. While the issuer is down, or returns something that is not a JWK Set, the cached keys
/// stay in use. Until the first keys have been fetched, its tokens are rejected with a 503; the app starts without
/// them.
///
/// Its keys verify its own tokens only, whatever `kid` the tokens of others name. Its subjects are not principals of
/// a `TokenService`: the service's routes, which manage its own principals, accept none of these tokens, and its
/// revocations do not apply to them.
///
/// ```
/// # #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))] {
/// use countersign::trusted_issuer::MappedClaims;
/// use countersign::{Acl, AclEntry, SubjectType, TrustedIssuer};
///
/// let idp = TrustedIssuer::new("https://idp.example.com")
///     .audience("https://api.example.com")
///     .token_types(["JWT"])
///     .map_claims(|claims| {
///         // What a scope of theirs means here.
///         let scopes = claims.text("scope").unwrap_or_default().split(' ');
///         let permissions = scopes.filter(|scope| *scope == "orders").map(|_| "GetOrders");
///         let entries = permissions.map(|name| AclEntry::anywhere([name]));
///         let acl = Acl::new(entries.collect::<Result<Vec<_>, _>>()?);
///         let subject = claims.text("sub").unwrap_or_default();
///         Ok(MappedClaims::new(SubjectType::User, subject).acl(acl))
///     });
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct TrustedIssuer {
    pub(super) name: IssuerName,
    /// Those that a template is for.
    pub(super) tenants: Option<BTreeSet<String>>,
    pub(super) audiences: Vec<String>,
    pub(super) audience_claim: String,
    pub(super) types: TokenTypes,
    pub(super) conditions: Vec<Arc<Condition>>,
    /// Where the host maps the claims itself.
    pub(super) map: Option<MapClaims>,
    pub(super) grants: GrantRules,
    pub(super) provider: Arc<dyn CryptoProvider>,
    pub(super) policy: RemotePolicy,
    /// Where the keys are; where that is not told, its metadata say.
    pub(super) jwks_url: Option<String>,
}

impl TrustedIssuer {
    /// Creates a trusted issuer. The `iss` of its tokens must equal `issuer` exactly; `provider` prepares its keys. With
    /// the name of a claim in braces, as in `https://login.example.com/{tid}/v2.0`, it is a template: see
    /// [`tenants`](Self::tenants).
    ///
    /// The address of the keys is read from the issuer's metadata, at `/.well-known/oauth-authorization-server` (RFC
    /// 8414 §3) or `/.well-known/openid-configuration` (OpenID Connect Discovery 1.0 §4). The `issuer` in the
    /// metadata must equal this one exactly. [`jwks_url`](Self::jwks_url) sets the address instead.
    pub fn with_provider(
        issuer: impl Into<String>,
        provider: impl CryptoProvider + 'static,
    ) -> Self {
        Self {
            name: IssuerName::parse(issuer.into()),
            tenants: None,
            audiences: Vec::new(),
            audience_claim: AUDIENCE.to_owned(),
            types: TokenTypes::default(),
            conditions: Vec::new(),
            map: None,
            grants: GrantRules { scope_claims: vec!["scope".to_owned()], ..GrantRules::default() },
            provider: Arc::new(provider),
            policy: RemotePolicy::default(),
            jwks_url: None,
        }
    }

    /// Sets the tenants of an issuer that is a template: the values that the claim in its braces may have. A token is
    /// accepted if its `iss` is the template with the value of that claim, and the value is one of these. A token of
    /// another tenant costs no fetch. The tenants share their keys: set a [`jwks_url`](Self::jwks_url).
    ///
    /// ```
    /// # #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))] {
    /// use countersign::TrustedIssuer;
    ///
    /// let idp = TrustedIssuer::new("https://login.example.com/{tid}/v2.0")
    ///     .tenants(["8f1b4b6e", "0d2a5c77"])
    ///     .jwks_url("https://login.example.com/common/keys")
    ///     .audience("https://api.example.com");
    /// # }
    /// ```
    pub fn tenants<T: Into<String>>(mut self, tenants: impl IntoIterator<Item = T>) -> Self {
        self.tenants = Some(tenants.into_iter().map(Into::into).collect());
        self
    }

    /// Adds an audience. At least one is required; a token is accepted if its `aud` contains one of them exactly.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Sets the claim that is compared with the audiences, for issuers whose tokens have no `aud`. Default: `aud`.
    /// Amazon Cognito names the client of an access token in `client_id`, and others in `azp`: the audience is then the id
    /// of a client, or its origin. It is what [`Validated::audiences`](crate::Validated::audiences) returns.
    ///
    /// ```
    /// # #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))] {
    /// use countersign::TrustedIssuer;
    ///
    /// let idp = TrustedIssuer::new("https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_example")
    ///     .audience_claim("client_id")
    ///     .audience("7example23")
    ///     .untyped_tokens();
    /// # }
    /// ```
    pub fn audience_claim(mut self, name: impl Into<String>) -> Self {
        self.audience_claim = name.into();
        self
    }

    /// Sets the accepted algorithms. Default: each [`Algorithm`] but HS256, which is not possible, since a shared secret
    /// cannot be published. Each key is for one algorithm, its JWK's `alg`. An RSA key without one is for RS256 by
    /// default, and for each of those that are set here otherwise.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        let all: Vec<_> = algorithms.into_iter().collect();
        let rsa_by_default = all.iter().copied().filter(|algorithm| algorithm.is_rsa()).collect();
        self.policy.algorithms = AcceptedAlgorithms { all, rsa_by_default };
        self
    }

    /// Accepts tokens whose header has no `kid`, if the issuer has one key of the token's algorithm. Default: they are
    /// rejected.
    pub fn tokens_without_kid(mut self) -> Self {
        self.policy.accepts_missing_kid = true;
        self
    }

    /// Sets the URL of the issuer's JWK Set (RFC 7517 §5), in place of the one in its metadata. The parts that may be
    /// secret, user name, password and query, are not logged.
    pub fn jwks_url(mut self, url: impl Into<String>) -> Self {
        self.jwks_url = Some(url.into());
        self
    }

    /// Sets the accepted values of `typ`. Default: `at+jwt` (RFC 9068 §2.1). Many issuers write `JWT`; then only the
    /// audience distinguishes access tokens from the issuer's other tokens, such as ID tokens. Give an
    /// [`audience`](Self::audience) that only access tokens have.
    pub fn token_types<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.types.named = types.into_iter().map(Into::into).collect();
        self
    }

    /// Accepts tokens without a `typ` as well. The caveat of [`token_types`](Self::token_types) applies.
    pub fn untyped_tokens(mut self) -> Self {
        self.types.untyped = true;
        self
    }

    /// Adds a condition that the claims of a token must fulfil: otherwise it is rejected with a 401. For issuers that
    /// tell access tokens from others by a claim.
    pub fn only_if(
        mut self,
        condition: impl Fn(&ForeignClaims) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.conditions.push(Arc::new(condition));
        self
    }

    /// Sets the claims that have a token's scopes and roles, each a list of strings, or a string in which spaces separate
    /// them. A name that begins with `/` is a JSON pointer (RFC 6901), as `/realm_access/roles`. Default: `scope`.
    pub fn scope_claims<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.grants.scope_claims = names.into_iter().map(Into::into).collect();
        self
    }

    /// Grants `entry` to the tokens with that scope or role, in one of the [`scope_claims`](Self::scope_claims). Without
    /// a call, a token grants nothing, since only the host knows what another issuer's scopes mean here.
    ///
    /// ```
    /// # #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))] {
    /// use countersign::{AclEntry, TrustedIssuer};
    ///
    /// let idp = TrustedIssuer::new("https://idp.example.com")
    ///     .audience("https://api.example.com")
    ///     .grant("orders:read", AclEntry::anywhere(["GetOrders"])?);
    /// # }
    /// # Ok::<(), countersign::Error>(())
    /// ```
    pub fn grant(mut self, scope: impl Into<String>, entry: AclEntry) -> Self {
        self.grants.grants.push((scope.into(), entry));
        self
    }

    /// Sets which tokens are of machine clients. Default: none, all are of users.
    pub fn machines(
        mut self,
        is_machine: impl Fn(&ForeignClaims) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.grants.is_machine = Some(Arc::new(is_machine));
        self
    }

    /// Sets the function that maps the token's claims. Default: `sub` becomes the subject, scopes and roles become what
    /// [`grant`](Self::grant) says, and all claims that RFC 7519 §4.1 does not register become custom claims. If the
    /// function returns an error, the token is rejected with a 401.
    pub fn map_claims(
        mut self,
        map: impl Fn(&ForeignClaims) -> Result<MappedClaims, Error> + Send + Sync + 'static,
    ) -> Self {
        self.map = Some(MapClaims::new(map));
        self
    }

    /// Sets the function that maps the token's claims, read as a type of the host's. A token whose claims cannot be
    /// read as `T` is rejected with a 401.
    pub fn map_claims_as<T: DeserializeOwned>(
        self,
        map: impl Fn(T) -> Result<MappedClaims, Error> + Send + Sync + 'static,
    ) -> Self {
        self.map_claims(move |claims| {
            let claims = Value::Object(claims.as_object().clone());
            map(serde_json::from_value(claims)
                .map_err(|_| invalid_token("not of the host's type"))?)
        })
    }

    /// Sets the timeout of a fetch, including that of the metadata. Default: 5 seconds. A request that needs keys
    /// waits no longer than this.
    pub fn fetch_timeout(mut self, timeout: Duration) -> Self {
        self.policy.fetch_timeout = timeout;
        self
    }

    /// Sets the size, in bytes, above which a JWK Set is rejected. Default: 64 KiB.
    pub fn max_set_bytes(mut self, bytes: usize) -> Self {
        self.policy.max_set_bytes = bytes;
        self
    }

    /// Sets the minimum time between two fetches of the keys. Default: 30 seconds. Until the first successful fetch,
    /// retries start after one second.
    pub fn cooldown(mut self, cooldown: Duration) -> Self {
        self.policy.cooldown = cooldown;
        self
    }

    /// Sets the lifetime of the keys if the issuer's response does not state one. Default: 10 minutes. A `max-age` in
    /// its `Cache-Control` is used, limited to between 1 minute and 1 day. The keys are fetched again after about
    /// three quarters of their lifetime.
    pub fn default_max_age(mut self, max_age: Duration) -> Self {
        self.policy.default_max_age = max_age;
        self
    }

    /// Sets how long the keys are used while the issuer is unreachable. Default: 1 day. After that, its tokens are
    /// rejected with a 503. A key that the issuer withdraws during the outage is accepted for that long. It also
    /// limits the lifetime of the keys while the issuer is reachable.
    pub fn max_staleness(mut self, staleness: Duration) -> Self {
        self.policy.max_staleness = staleness;
        self
    }

    /// Allows fetching the keys over plain HTTP. An attacker on the network path can then replace them. For tests
    /// only.
    pub fn dangerous_allow_http(mut self) -> Self {
        self.policy.allows_http = true;
        self
    }

    pub(super) fn key_location(&self) -> Result<KeyLocation, Error> {
        match &self.jwks_url {
            Some(url) => KeyLocation::jwks(url),
            None => KeyLocation::metadata_of(self.name.as_str()),
        }
    }

    fn has_place_of_keys(&self) -> bool {
        self.jwks_url.is_some() || self.policy.reach.place.is_some()
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let policy = &self.policy;
        let is_blank = |text: &String| text.trim().is_empty();
        let problems = [
            (self.name.as_str().trim().is_empty(), "a trusted issuer must not be blank"),
            (
                matches!(self.name, IssuerName::Tenants { .. }) && !self.has_place_of_keys(),
                "a trusted issuer of many tenants needs a jwks_url",
            ),
            (
                self.map.is_some() && !self.grants.grants.is_empty(),
                "a trusted issuer's grants are the mapping's to say, if there is one",
            ),
            (is_blank(&self.audience_claim), "the claim of the audience must not be blank"),
            (
                self.audiences.is_empty() || self.audiences.iter().any(is_blank),
                "a trusted issuer needs an audience, and none may be blank",
            ),
            (
                policy.algorithms.all.is_empty()
                    || policy.algorithms.all.contains(&Algorithm::HS256),
                "a trusted issuer needs an algorithm, which must not be HS256: its key is a shared \
                 secret",
            ),
            (
                [
                    policy.fetch_timeout,
                    policy.cooldown,
                    policy.default_max_age,
                    policy.max_staleness,
                ]
                .iter()
                .any(|limit| *limit > LONGEST),
                "a trusted issuer's limits must not exceed a hundred years",
            ),
            (
                policy.fetch_timeout.is_zero()
                    || policy.cooldown.is_zero()
                    || policy.default_max_age.is_zero()
                    || policy.max_set_bytes == 0,
                "a trusted issuer's limits must not be zero",
            ),
        ];
        match problems.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, problem)) => Err(Error::configuration(problem)),
            None => self.name.check(self.tenants.as_ref()),
        }
    }
}

impl fmt::Debug for TrustedIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedIssuer")
            .field("issuer", &self.name.as_str())
            .field("audiences", &self.audiences)
            .field("jwks_url", &self.jwks_url.as_deref().map(without_secrets))
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// What tokens may say in `typ`.
#[derive(Clone, Debug)]
pub(super) struct TokenTypes {
    named: Vec<String>,
    untyped: bool,
}

impl Default for TokenTypes {
    fn default() -> Self {
        Self { named: vec!["at+jwt".to_owned()], untyped: false }
    }
}

impl TokenTypes {
    pub(super) fn contains(&self, typ: Option<&str>) -> bool {
        let Some(typ) = typ else { return self.untyped };
        self.named.iter().any(|named| is_media_type(typ, named))
    }
}

/// As the log says what is wanted.
impl fmt::Display for TokenTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.named.join(", "))?;
        if self.untyped { f.write_str(", or none") } else { Ok(()) }
    }
}
