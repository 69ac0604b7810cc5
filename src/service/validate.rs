//! Checking tokens: what a service that only receives them needs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::domain::claims::{Claims, ReadClaims, Standing, Validated};
use crate::domain::revocation::RevocationSet;
use crate::error::{Error, ErrorKind};
use crate::jose::{Algorithm, CompactJws, Found, JoseHeader, JwsFault, KeyRing};
use crate::json;
use crate::service::audit::Subjects;
use crate::service::proxies::TrustedProxies;
use crate::service::token_cache::TokenCache;
use crate::service::trusted::{ForeignToken, Recognised, TrustedIssuer, TrustedIssuers};
use crate::sync::GoodAsOf;
use crate::telemetry;

pub(crate) use crate::jose::remote::KeyFlight;

/// The longest token that is looked at, in bytes: what a request's headers have room for.
pub(crate) const DEFAULT_MAX_TOKEN_LEN: usize = 8 * 1024;
/// Clocks of machines differ by a little.
pub(crate) const DEFAULT_LEEWAY: Duration = Duration::from_secs(60);
/// What tokens that were checked may take.
pub(crate) const DEFAULT_TOKEN_CACHE_BYTES: usize = 64 * 1024 * 1024;
const MAX_LEEWAY: Duration = Duration::from_secs(300);

/// Checks access tokens. Cheap to clone.
///
/// A token is accepted only if all of this holds:
///
/// 1. It is no longer than `max_token_len` (8 KiB): three segments of base64url without padding,
///    none of them empty.
/// 2. Header and claims are JSON objects in UTF-8, no member twice at any depth.
/// 3. `typ` is `at+jwt` (RFC 9068 §4); there is no `crit`, `b64`, `zip` or `enc`.
/// 4. `kid` names a key of the ring, `alg` is that key's own algorithm and is allowed, and the
///    signature is good. Keys in the header are never used.
/// 5. `iss` equals, `aud` contains; `sub`, `jti`, `client_id`, `subject_type` and `acl` are there.
/// 6. `exp` is to come, `nbf` and `iat` are not, give or take the leeway.
/// 7. It has not been revoked.
///
/// A host that issues tokens gets its validator from its `TokenService`; one that only checks
/// them builds it:
///
/// ```
/// # #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))] {
/// use countersign::{Algorithm, KeyRing, Validator};
///
/// # let jwks = KeyRing::generate(Algorithm::EdDSA)?.to_jwks(countersign::Timestamp::MIN);
/// let validator = Validator::builder()
///     .issuer("https://auth.example.com")
///     .audience("https://api.example.com")
///     .keys(KeyRing::from_jwks(jwks.as_bytes())?)
///     .build()?;
///
/// assert!(validator.validate("a.forged.token").is_err());
/// # }
/// # Ok::<(), countersign::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Validator {
    rules: Arc<Rules>,
}

#[derive(Debug)]
struct Rules {
    issuer: String,
    audiences: Vec<String>,
    keys: KeyRing,
    /// Those of the keys, where none are named.
    algorithms: Option<Vec<Algorithm>>,
    cache: Option<TokenCache>,
    trusted: TrustedIssuers,
    leeway: Duration,
    max_token_len: usize,
    trailing_wildcards: bool,
    clock: Arc<dyn Clock>,
    revocations: Arc<RevocationSet>,
    subjects: Subjects,
    trusted_proxies: TrustedProxies,
}

impl Validator {
    /// Begins one; `issuer`, `audience` and `keys` have to be given.
    pub fn builder() -> ValidatorBuilder {
        ValidatorBuilder::default()
    }

    /// Checks a token, without waiting for anything. Where the keys of a trusted issuer have to be
    /// fetched first, it has that begun, within a tokio runtime, and answers
    /// [`TokenFault::KeysUnknown`] until they have come.
    ///
    /// # Errors
    ///
    /// A [`TokenFault`] that says what is wrong with it.
    pub fn validate(&self, token: &str) -> Result<Arc<Validated>, TokenFault> {
        if let Some(outcome) = self.recall(token.as_bytes()) {
            return outcome;
        }
        self.validate_anew(token)
    }

    /// The same, of a token that is not remembered.
    pub(crate) fn validate_anew(&self, token: &str) -> Result<Arc<Validated>, TokenFault> {
        let outcome = self.check(token).map_err(|refused| match refused {
            Refused::Fault(fault) => fault,
            // Who can wait has waited.
            Refused::Waits(_) => TokenFault::KeysUnknown,
        });
        telemetry::validated(outcome.as_ref().map_or_else(|fault| fault.as_str(), |_| "accepted"));
        outcome
    }

    /// Whether there are issuers whose keys may have to be waited for.
    pub(crate) fn may_wait(&self) -> bool {
        !self.rules.trusted.is_empty()
    }

    /// The fetch of keys that has to be waited for before a token can be checked.
    pub(crate) fn flight_for(&self, token: &str) -> Option<KeyFlight> {
        let rules = &*self.rules;
        let stands = |known: Arc<Validated>| rules.keys_are_unchanged(&known, rules.clock.now());
        let known = rules.cache.as_ref().and_then(|cache| cache.get(token.as_bytes()));
        let is_known = known.is_some_and(stands);
        if is_known || token.len() > rules.max_token_len {
            return None;
        }
        match rules.examine(token) {
            Err(Refused::Waits(flight)) => Some(flight),
            _ => None,
        }
    }

    fn check(&self, token: &str) -> Result<Arc<Validated>, Refused> {
        let rules = &*self.rules;
        if token.len() > rules.max_token_len {
            return Err(TokenFault::TooLong.into());
        }
        // What can be refused without a signature gets no further than this.
        let candidate = rules.examine(token)?;
        let outcome = match &rules.cache {
            Some(cache) => {
                let is_still_good =
                    |known: &Validated| rules.is_still_good(known, rules.clock.now());
                cache.check(token.as_bytes(), is_still_good, || rules.verify(&candidate))
            }
            None => rules.verify(&candidate),
        };
        Ok(outcome?)
    }

    /// What came of a token that was checked before, if it is remembered: whether it is good still.
    pub(crate) fn recall(&self, token: &[u8]) -> Option<Result<Arc<Validated>, TokenFault>> {
        let rules = &*self.rules;
        let cache = rules.cache.as_ref()?;
        let validated = cache.get(token)?;
        let now = rules.clock.now();
        if !rules.keys_are_unchanged(&validated, now) {
            cache.remove(token);
            return None;
        }
        let outcome = match rules.check_changes(&validated, now) {
            Ok(()) => Ok(validated),
            // Nothing is wrong with the token.
            Err(TokenFault::RevocationsUnknown) => Err(TokenFault::RevocationsUnknown),
            Err(fault) => {
                cache.remove(token);
                Err(fault)
            }
        };
        telemetry::validated(outcome.as_ref().map_or_else(|fault| fault.as_str(), |_| "accepted"));
        Some(outcome)
    }

    /// Whether a token that was checked before, by whatever validator, would still be accepted by
    /// this one.
    ///
    /// # Errors
    ///
    /// [`TokenFault::Issuer`], [`TokenFault::Audience`], [`TokenFault::Claims`],
    /// [`TokenFault::UnknownKey`], [`TokenFault::Algorithm`], [`TokenFault::Expired`], [`TokenFault::NotYetValid`],
    /// [`TokenFault::Revoked`], [`TokenFault::RevocationsUnknown`] and [`TokenFault::KeysUnknown`].
    pub fn recheck(&self, validated: &Validated) -> Result<(), TokenFault> {
        // Another validator may have checked it, so nothing is taken as known.
        let rules = &*self.rules;
        let now = rules.clock.now();
        if validated.standing().trusted.is_some() {
            rules.trusted.recheck(validated, now)?;
            rules.check_list(validated.claims())?;
            return rules.check_times(validated.standing(), now);
        }
        if rules.keys.are_awaited() {
            return Err(TokenFault::KeysUnknown);
        }
        let key = rules.keys.find_same(validated.standing().key, now);
        let key = key.ok_or_else(|| rules.no_key())?;
        if !rules.allows_algorithm(key.algorithm()) {
            return Err(TokenFault::Algorithm);
        }
        rules.check_claims(validated.claims())?;
        rules.check_times(validated.standing(), now)?;
        rules.check_revocations(validated)
    }

    /// Whose tokens it accepts: their `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.rules.issuer
    }

    /// How subjects are named in the audit log.
    pub(crate) fn subjects(&self) -> &Subjects {
        &self.rules.subjects
    }

    pub(crate) fn trusted_proxies(&self) -> &TrustedProxies {
        &self.rules.trusted_proxies
    }

    #[cfg_attr(not(feature = "remote-jwks"), allow(dead_code, reason = "there are none"))]
    pub(crate) fn trusted(&self) -> &TrustedIssuers {
        &self.rules.trusted
    }

    #[cfg_attr(not(feature = "remote-jwks"), allow(dead_code, reason = "nothing is fetched"))]
    pub(crate) fn now(&self) -> Timestamp {
        self.rules.clock.now()
    }
}

/// Why a token is not accepted, or not yet.
enum Refused {
    Fault(TokenFault),
    Waits(KeyFlight),
}

impl<F: Into<TokenFault>> From<F> for Refused {
    fn from(fault: F) -> Self {
        Self::Fault(fault.into())
    }
}

/// A token whose signature is still to be checked.
struct Candidate<'a> {
    token: &'a str,
    jws: CompactJws<'a>,
    payload: Vec<u8>,
    signature: Vec<u8>,
    signed_by: SignedBy,
}

/// Whose key a token names.
enum SignedBy {
    /// One's own, and the generation of the keys that it was found in.
    Own(Found, u64),
    Trusted(ForeignToken),
}

impl Rules {
    /// All that can be said of a token before its signature is checked.
    fn examine<'a>(&self, token: &'a str) -> Result<Candidate<'a>, Refused> {
        let now = self.clock.now();
        let jws = CompactJws::split(token)?;
        // Before what it is the number of: what changes from here on is checked again.
        let keys = self.keys.generation();
        // Other validators may have the same keys, and other rules.
        let is_allowed = |found: &Found| self.allows_algorithm(found.key.algorithm());
        let known = self.keys.find_by_header(jws.header, now).filter(is_allowed);
        let header = if known.is_none() { Some(JoseHeader::parse(jws.header)) } else { None };
        // Others may call their tokens something else. All else is the same for all.
        match header {
            Some(Err(fault)) if fault != JwsFault::WrongType => return Err(fault.into()),
            _ => {}
        }
        let (payload, signature) = (jws.payload()?, jws.signature()?);
        // Others may call their keys what one's own are called: whose it is, its `iss` says.
        let signed_by = match self.trusted.recognise(jws.header, &payload, now) {
            Some(Recognised::Token(token)) => SignedBy::Trusted(token),
            Some(Recognised::Waits(flight)) => return Err(Refused::Waits(flight)),
            Some(Recognised::Fault(fault)) => return Err(fault.into()),
            None => SignedBy::Own(
                match (known, header) {
                    (Some(known), _) => known,
                    (None, Some(header)) => self.find_key(&header?, now)?,
                    (None, None) => return Err(TokenFault::UnknownKey.into()),
                },
                keys,
            ),
        };
        Ok(Candidate { token, jws, payload, signature, signed_by })
    }

    fn verify(&self, candidate: &Candidate<'_>) -> Result<Arc<Validated>, TokenFault> {
        let now = self.clock.now();
        let Candidate { token, jws, payload, signature, signed_by } = candidate;
        let (key, key_until, keys, trusted) = match signed_by {
            SignedBy::Own(Found { key, until }, keys) => (key, *until, *keys, None),
            SignedBy::Trusted(foreign) => {
                (foreign.key(), Timestamp::MAX, foreign.generation(), Some(foreign.issuer()))
            }
        };
        if !key.verify(jws.signing_input.as_bytes(), signature) {
            return Err(TokenFault::Signature);
        }
        let claims = match signed_by {
            SignedBy::Own(..) => {
                key.remember_header(jws.header);
                let claims = json::parse_with(payload, ReadClaims);
                let claims = claims.map_err(|_| TokenFault::Claims)?;
                self.check_claims(&claims)?;
                claims
            }
            SignedBy::Trusted(foreign) => {
                let claims = self.trusted.claims(foreign, token)?;
                self.check_list(&claims)?;
                claims
            }
        };
        let standing = Standing {
            revocations: GoodAsOf::new(self.revocations.generation()),
            keys,
            key_until,
            trusted,
            expires_at: Timestamp::from_secs(claims.exp),
            begins_at: Timestamp::from_secs(claims.nbf.unwrap_or_default().max(claims.iat)),
            key: key.identity(),
        };
        self.check_times(&standing, now)?;
        let validated = Validated::new(claims, standing);
        self.check_revocations(&validated)?;
        Ok(Arc::new(validated))
    }

    /// Whether nothing has changed that a token was checked by.
    fn is_still_good(&self, validated: &Validated, now: Timestamp) -> bool {
        self.keys_are_unchanged(validated, now) && self.check_changes(validated, now).is_ok()
    }

    fn keys_are_unchanged(&self, validated: &Validated, now: Timestamp) -> bool {
        let standing = validated.standing();
        match standing.trusted {
            None => standing.keys == self.keys.generation() && now < standing.key_until,
            Some(issuer) => self.trusted.keys_are_unchanged(issuer, standing.keys, now),
        }
    }

    fn allows_algorithm(&self, algorithm: Algorithm) -> bool {
        match &self.algorithms {
            Some(allowed) => allowed.contains(&algorithm),
            None => self.keys.has_algorithm(algorithm),
        }
    }

    fn find_key(&self, header: &JoseHeader, now: Timestamp) -> Result<Found, TokenFault> {
        if self.keys.are_awaited() {
            return Err(TokenFault::KeysUnknown);
        }
        if !self.allows_algorithm(header.algorithm) {
            return Err(TokenFault::Algorithm);
        }
        let found = self.keys.find(&header.kid, header.algorithm, now);
        found.ok_or_else(|| self.no_key())
    }

    fn no_key(&self) -> TokenFault {
        if self.keys.may_lack_keys() { TokenFault::KeysUnknown } else { TokenFault::UnknownKey }
    }

    /// What may have changed of a token that was checked before.
    fn check_changes(&self, validated: &Validated, now: Timestamp) -> Result<(), TokenFault> {
        self.check_times(validated.standing(), now)?;
        if validated.standing().trusted.is_some() {
            return Ok(());
        }
        let generation = self.revocations.generation();
        let not_revoked = &validated.standing().revocations;
        not_revoked.check(generation, || self.check_revoked(validated))?;
        self.check_staleness()
    }

    fn check_claims(&self, claims: &Claims) -> Result<(), TokenFault> {
        if claims.iss != self.issuer {
            return Err(TokenFault::Issuer);
        }
        if !claims.aud.iter().any(|audience| self.audiences.contains(audience)) {
            return Err(TokenFault::Audience);
        }
        self.check_list(claims)
    }

    fn check_list(&self, claims: &Claims) -> Result<(), TokenFault> {
        if claims.acl.uses_trailing_wildcards() && !self.trailing_wildcards {
            return Err(TokenFault::Claims);
        }
        Ok(())
    }

    fn check_revocations(&self, validated: &Validated) -> Result<(), TokenFault> {
        // What is taken back here names one's own tokens and subjects.
        if validated.standing().trusted.is_some() {
            return Ok(());
        }
        self.check_revoked(validated)?;
        self.check_staleness()
    }

    fn check_revoked(&self, validated: &Validated) -> Result<(), TokenFault> {
        if self.revocations.contains(validated) {
            return Err(TokenFault::Revoked);
        }
        Ok(())
    }

    fn check_staleness(&self) -> Result<(), TokenFault> {
        if self.revocations.is_stale() {
            return Err(TokenFault::RevocationsUnknown);
        }
        Ok(())
    }

    fn check_times(&self, standing: &Standing, now: Timestamp) -> Result<(), TokenFault> {
        if standing.expires_at + self.leeway <= now {
            return Err(TokenFault::Expired);
        }
        if standing.begins_at > now + self.leeway {
            return Err(TokenFault::NotYetValid);
        }
        Ok(())
    }
}

/// Why a token is refused. For logs and metrics: a caller is told only whether it has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenFault {
    /// It is longer than the policy allows.
    TooLong,
    /// It is no compact JWS, or its header is no strict JSON object.
    Malformed,
    /// Its `typ` is not that of an access token.
    Type,
    /// Its header asks for something that is not supported.
    UnsupportedHeader,
    /// Its algorithm is unknown or not allowed.
    Algorithm,
    /// No key of the ring has its `kid`, is for its algorithm and has not retired.
    UnknownKey,
    /// The signature is not good.
    Signature,
    /// Its claims are no strict JSON object, or one is missing or of a wrong form.
    Claims,
    /// It is from another issuer.
    Issuer,
    /// It is for another audience.
    Audience,
    /// It is not valid yet, or claims to have been issued in the future.
    NotYetValid,
    /// It has expired.
    Expired,
    /// It has been taken back.
    Revoked,
    /// Nothing is wrong with it, but whether it has been taken back elsewhere cannot be told: the
    /// store has been out of reach for longer than the policy's `max_revocation_staleness`. No
    /// fault of the caller's, who is told to try again.
    RevocationsUnknown,
    /// Whether anything is wrong with it cannot be told: the keys that it would be checked with have
    /// not come yet. No fault of the caller's, who is told to try again.
    KeysUnknown,
}

impl TokenFault {
    /// A short name for metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Type => "wrong_type",
            Self::UnsupportedHeader => "unsupported_header",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::RevocationsUnknown => "revocations_unknown",
            Self::KeysUnknown => "keys_unknown",
        }
    }
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "the access token has expired",
            Self::RevocationsUnknown => "whether the access token was taken back cannot be told",
            Self::KeysUnknown => "whether the access token is valid cannot be told yet",
            _ => "the access token is not valid",
        })
    }
}

impl std::error::Error for TokenFault {}

impl From<JwsFault> for TokenFault {
    fn from(fault: JwsFault) -> Self {
        match fault {
            JwsFault::Malformed => Self::Malformed,
            JwsFault::UnknownAlgorithm => Self::Algorithm,
            JwsFault::NoKeyId => Self::UnknownKey,
            JwsFault::WrongType => Self::Type,
            JwsFault::UnsupportedHeader => Self::UnsupportedHeader,
        }
    }
}

/// Builds a [`Validator`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ValidatorBuilder {
    issuer: Option<String>,
    audiences: Vec<String>,
    keys: Option<KeyRing>,
    algorithms: Option<Vec<Algorithm>>,
    leeway: Option<Duration>,
    max_token_len: Option<usize>,
    token_cache_bytes: Option<usize>,
    trailing_wildcards: bool,
    clock: Option<Arc<dyn Clock>>,
    revocations: Arc<RevocationSet>,
    subjects: Subjects,
    trusted_proxies: Vec<String>,
    pub(super) trusted_issuers: Vec<TrustedIssuer>,
}

impl Default for ValidatorBuilder {
    fn default() -> Self {
        Self {
            issuer: None,
            audiences: Vec::new(),
            keys: None,
            algorithms: None,
            leeway: None,
            max_token_len: None,
            token_cache_bytes: None,
            trailing_wildcards: false,
            clock: None,
            revocations: Arc::default(),
            subjects: Subjects::Omitted,
            trusted_proxies: Vec::new(),
            trusted_issuers: Vec::new(),
        }
    }
}

impl ValidatorBuilder {
    /// Whose tokens to accept: `iss` has to equal it to the letter.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Whom tokens have to be for: `aud` has to contain it to the letter. Given several times,
    /// any of them does.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// The keys that tokens may be signed with.
    pub fn keys(mut self, keys: KeyRing) -> Self {
        self.keys = Some(keys);
        self
    }

    /// The algorithms to allow; by default those of the keys.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = Some(algorithms.into_iter().collect());
        self
    }

    /// How much clocks may differ: 60 seconds by default, at most 300.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = Some(leeway);
        self
    }

    /// The longest token to look at, in bytes: 8 KiB by default.
    pub fn max_token_len(mut self, bytes: usize) -> Self {
        self.max_token_len = Some(bytes);
        self
    }

    /// How much memory tokens may take that were checked before, in bytes, about: 64 MiB by
    /// default, which is room for some 13,000 with eight permissions. A token is checked whole once
    /// while it is remembered; its times, its key and whether it was taken back are looked at with
    /// every request. Zero turns it off.
    pub fn token_cache_bytes(mut self, bytes: usize) -> Self {
        self.token_cache_bytes = Some(bytes);
        self
    }

    /// Whether permissions such as `Storefront*` count. Off by default: a token that has one is
    /// refused then.
    pub fn trailing_wildcards(mut self, allowed: bool) -> Self {
        self.trailing_wildcards = allowed;
        self
    }

    /// Where the time comes from; the system's clock by default.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    #[cfg_attr(not(feature = "service"), allow(dead_code, reason = "fed by the service"))]
    pub(crate) fn revocations(mut self, revocations: Arc<RevocationSet>) -> Self {
        self.revocations = revocations;
        self
    }

    /// The proxies in front of the host, as networks in CIDR notation or single addresses: none.
    /// What they say in `X-Forwarded-For` is what the audit log has for a client's address.
    pub fn trusted_proxies<T: Into<String>>(
        mut self,
        networks: impl IntoIterator<Item = T>,
    ) -> Self {
        self.trusted_proxies = networks.into_iter().map(Into::into).collect();
        self
    }

    #[cfg_attr(not(feature = "service"), allow(dead_code, reason = "told by the service"))]
    pub(crate) fn trusted_issuers(mut self, issuers: Vec<TrustedIssuer>) -> Self {
        self.trusted_issuers = issuers;
        self
    }

    #[cfg_attr(not(feature = "service"), allow(dead_code, reason = "named by the service"))]
    pub(crate) fn subjects(mut self, subjects: Subjects) -> Self {
        self.subjects = subjects;
        self
    }

    /// Puts it together.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] where issuer, audience or keys are missing or blank, the
    /// leeway is above 300 seconds, an algorithm is allowed that no key is for, or a trusted proxy
    /// is no network.
    pub fn build(self) -> Result<Validator, Error> {
        let missing = |problem: &'static str| Error::new(ErrorKind::Configuration, problem);
        let issuer = self.issuer.filter(|issuer| !issuer.trim().is_empty());
        let issuer = issuer.ok_or_else(|| missing("an issuer has to be given"))?;
        if self.audiences.is_empty() || self.audiences.iter().any(|name| name.trim().is_empty()) {
            return Err(missing("an audience has to be given, and none may be blank"));
        }
        let keys = self.keys.ok_or_else(|| missing("keys have to be given"))?;
        let leeway = self.leeway.unwrap_or(DEFAULT_LEEWAY);
        if leeway > MAX_LEEWAY {
            return Err(missing("the leeway may be 300 seconds at most"));
        }
        let known = keys.algorithms();
        if !self.algorithms.iter().flatten().all(|algorithm| known.contains(algorithm)) {
            return Err(missing("an algorithm is allowed that no key is for"));
        }
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let trusted = TrustedIssuers::new(self.trusted_issuers, &issuer, &clock)?;
        let cache = self.token_cache_bytes.unwrap_or(DEFAULT_TOKEN_CACHE_BYTES);
        telemetry::describe();
        Ok(Validator {
            rules: Arc::new(Rules {
                issuer,
                audiences: self.audiences,
                keys,
                algorithms: self.algorithms,
                cache: (cache > 0).then(|| TokenCache::new(cache)),
                leeway,
                max_token_len: self.max_token_len.unwrap_or(DEFAULT_MAX_TOKEN_LEN),
                trailing_wildcards: self.trailing_wildcards,
                trusted,
                clock,
                revocations: self.revocations,
                subjects: self.subjects,
                trusted_proxies: TrustedProxies::parse(&self.trusted_proxies)?,
            }),
        })
    }
}
