use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::Error;
use crate::jose::{Algorithm, CryptoProvider, is_media_type};
use crate::validate::trusted::claims::{ForeignClaims, MapClaims, MappedClaims, invalid_token};
use crate::validate::trusted::remote::{KeyLocation, LONGEST, RemotePolicy, without_secrets};

/// A trusted issuer: its tokens are accepted beside one's own.
///
/// Its keys are fetched when a token of its needs them, and kept. They are fetched again ahead of
/// their end and for a `kid` that is unknown, never more often than the cooldown allows, and one
/// fetch serves all who wait for it. While the issuer is down, or answers what is no key set, those that
/// are known serve on. Until they have come, its tokens are answered 503; the app starts without.
///
/// Its keys verify its tokens alone, whatever `kid` others name. Its subjects are nobody's here:
/// the routes of a `TokenService`, which manage its own principals, accept
/// none of its tokens, and revocations do not reach them.
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
    pub(super) issuer: String,
    pub(super) audiences: Vec<String>,
    pub(super) types: TokenTypes,
    pub(super) map: MapClaims,
    pub(super) provider: Arc<dyn CryptoProvider>,
    pub(super) policy: RemotePolicy,
    /// Where the keys are; where that is not told, its metadata say.
    jwks_url: Option<String>,
}

impl TrustedIssuer {
    /// One whose `iss` is that, to the letter, with keys that are prepared by a provider.
    ///
    /// Where its keys are its metadata say, at `/.well-known/oauth-authorization-server`
    /// (RFC 8414 §3) or `/.well-known/openid-configuration` (OpenID Connect Discovery 1.0 §4). Their
    /// `issuer` has to be this one, to the letter. [`jwks_url`](Self::jwks_url) tells it instead.
    pub fn with_provider(
        issuer: impl Into<String>,
        provider: impl CryptoProvider + 'static,
    ) -> Self {
        Self {
            issuer: issuer.into(),
            audiences: Vec::new(),
            types: TokenTypes::default(),
            map: MapClaims::default(),
            provider: Arc::new(provider),
            policy: RemotePolicy::default(),
            jwks_url: None,
        }
    }

    /// Whom its tokens have to be for: `aud` has to contain it to the letter. Given several times, any
    /// of them does. One has to be given.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// The algorithms that its keys may be for: EdDSA, ES256 and RS256. HS256 is none: a secret is not
    /// published.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.policy.algorithms = algorithms.into_iter().collect();
        self
    }

    /// Where its JWK Set is (RFC 7517 §5), in the place of what its metadata say. What of it may be a
    /// secret, a name and a password or a query, is in no log.
    pub fn jwks_url(mut self, url: impl Into<String>) -> Self {
        self.jwks_url = Some(url.into());
        self
    }

    /// What its tokens call themselves in `typ`, in the place of `at+jwt` (RFC 9068 §2.1): many
    /// issuers say `JWT`. Such an issuer's other tokens, ID tokens among them, are kept out by their
    /// audience alone, so give one that no other sort of token has.
    pub fn token_types<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.types.named = types.into_iter().map(Into::into).collect();
        self
    }

    /// Accepts its tokens, too, where they say nothing in `typ`. See
    /// [`token_types`](Self::token_types) for what that means.
    pub fn untyped_tokens(mut self) -> Self {
        self.types.untyped = true;
        self
    }

    /// How its claims are read. By default `sub` is a user, who may do nothing, since what permissions
    /// of another issuer mean here is the host's to say. A token whose claims are rejected is a 401.
    pub fn map_claims(
        mut self,
        map: impl Fn(&ForeignClaims) -> Result<MappedClaims, Error> + Send + Sync + 'static,
    ) -> Self {
        self.map = MapClaims::new(map);
        self
    }

    /// How its claims are read, out of a type of the host's. A token whose claims do not read as it is a 401.
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

    /// How long a fetch may take, metadata included: 5 seconds. A request that waits for keys waits no
    /// longer.
    pub fn fetch_timeout(mut self, timeout: Duration) -> Self {
        self.policy.fetch_timeout = timeout;
        self
    }

    /// The longest JWK Set that is read, in bytes: 64 KiB.
    pub fn max_set_bytes(mut self, bytes: usize) -> Self {
        self.policy.max_set_bytes = bytes;
        self
    }

    /// How long its keys are not fetched again, whoever asks: 30 seconds. Keys that have never come
    /// are asked for sooner, after a second at first.
    pub fn cooldown(mut self, cooldown: Duration) -> Self {
        self.policy.cooldown = cooldown;
        self
    }

    /// How old its keys may get where it does not say: 10 minutes. What it says, by `Cache-Control`,
    /// counts from a minute to a day. They are fetched again when three quarters of that are over.
    pub fn default_max_age(mut self, max_age: Duration) -> Self {
        self.policy.default_max_age = max_age;
        self
    }

    /// How old its keys may get while it cannot be asked: a day. Then its tokens are answered 503. A
    /// key that it has ended meanwhile is accepted for as long. Where it can be asked, they get as old
    /// as it says, and no older than this.
    pub fn max_staleness(mut self, staleness: Duration) -> Self {
        self.policy.max_staleness = staleness;
        self
    }

    /// Lets its keys come over plain HTTP: whoever is in between may put their own in their place. For
    /// tests.
    pub fn dangerous_allow_http(mut self) -> Self {
        self.policy.allows_http = true;
        self
    }

    pub(super) fn key_location(&self) -> Result<KeyLocation, Error> {
        match &self.jwks_url {
            Some(url) => KeyLocation::jwks(url),
            None => KeyLocation::metadata_of(&self.issuer),
        }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let policy = &self.policy;
        let is_blank = |text: &String| text.trim().is_empty();
        let problems = [
            (is_blank(&self.issuer), "a trusted issuer has to have a name"),
            (
                self.audiences.is_empty() || self.audiences.iter().any(is_blank),
                "a trusted issuer's tokens have to be for an audience, and none may be blank",
            ),
            (
                policy.algorithms.is_empty() || policy.algorithms.contains(&Algorithm::HS256),
                "a trusted issuer has to have an algorithm, and HS256 is none: secrets are not \
                 published",
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
                "a trusted issuer's limits must be no longer than a hundred years",
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
            None => Ok(()),
        }
    }
}

impl fmt::Debug for TrustedIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedIssuer")
            .field("issuer", &self.issuer)
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
