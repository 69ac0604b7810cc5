//! Checking tokens: what a service that only receives them needs.

pub(crate) mod builder;
mod cache;
mod checked;
mod explain;
mod fault;
pub(crate) mod issuers;
pub(crate) mod proxies;
pub(crate) mod revocations;
mod rules;
pub(crate) mod stages;
#[cfg(feature = "remote-jwks")]
pub(crate) mod trusted;

use std::sync::Arc;

use crate::audit::Subjects;
use crate::error::{Error, ErrorKind};
use crate::rejection::RejectionHook;
use crate::telemetry;
use crate::token::claims::Validated;
use crate::validate::checked::{Checked, Validity};
use crate::validate::explain::log_rejection;
use crate::validate::issuers::KeyFetch;
use crate::validate::proxies::TrustedProxies;
use crate::validate::rules::Rules;
use crate::validate::stages::NeedsIssuer;

pub use self::builder::ValidatorBuilder;
pub(crate) use self::fault::NotAccepted;
pub use self::fault::TokenFault;

/// Validates access tokens. Cheap to clone.
///
/// A token is accepted only if all of this holds:
///
/// 1. It is no longer than `max_token_len` (8 KiB): three segments of base64url without padding,
///    none of them empty.
/// 2. Header and claims are JSON objects in UTF-8, no member twice at any depth.
/// 3. `typ` is `at+jwt` (RFC 9068 §4); there is no `crit`, `b64`, `zip` or `enc`.
/// 4. `kid` names a key of the ring, `alg` is that key's own algorithm and is allowed, and the
///    signature verifies. Keys in the header are never used.
/// 5. `iss` equals the issuer, and `aud` contains one of the audiences; `sub`, `jti`, `client_id`, `subject_type` and `acl` are there.
/// 6. `exp` is in the future, and `nbf` and `iat` are not, each within the leeway. `exp` minus `iat` is at most
///    `max_token_lifetime`, where that is set; a `TokenService` always sets it.
/// 7. It has not been revoked.
///
/// A token whose `iss` is that of a `TrustedIssuer` (feature `remote-jwks`) is checked by that issuer's keys, types
/// and audiences instead. The host maps its claims. Revocations of this service do not reach it.
///
/// A host that issues tokens gets its validator from its `TokenService`. A service that only checks tokens builds
/// one, with the keys, or with the URL where the issuer publishes them (`jwks_url` in place of `keys`, feature
/// `remote-jwks`):
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

impl Validator {
    /// Returns the first stage of the builder, which takes the issuer, then the audience, then the keys. See
    /// [`builder`](crate::builder).
    pub fn builder() -> NeedsIssuer<Self> {
        NeedsIssuer::new()
    }

    /// Checks a token without waiting. If keys have to be fetched first, this starts the fetch, within a tokio
    /// runtime, and returns [`TokenFault::KeysUnavailable`] until they have been fetched.
    ///
    /// # Errors
    ///
    /// A [`TokenFault`] with the reason.
    pub fn validate(&self, token: &str) -> Result<Arc<Validated>, TokenFault> {
        if let Some(outcome) = self.recall(token.as_bytes()) {
            return outcome;
        }
        self.validate_anew(token)
    }

    /// Checks a token that is not remembered.
    pub(crate) fn validate_anew(&self, token: &str) -> Result<Arc<Validated>, TokenFault> {
        let outcome = self.check(token).map_err(|not_accepted| not_accepted.fault);
        if let Err(fault) = outcome {
            log_rejection(&self.rules, token.as_bytes(), fault);
        }
        telemetry::validated(outcome.as_ref().map_or_else(|fault| fault.as_str(), |_| "accepted"));
        outcome
    }

    /// Checks a token like [`validate`](Self::validate), but waits if keys have to be fetched first, for at most the
    /// timeout of the fetch.
    ///
    /// # Errors
    ///
    /// Those of [`validate`](Self::validate).
    pub async fn validate_fetching(&self, token: &str) -> Result<Arc<Validated>, TokenFault> {
        if let Some(fetch) = self.fetch_for(token) {
            fetch.await;
        }
        self.validate(token)
    }

    /// Fetches the keys that are not known yet, so that the first requests need not wait: those at the validator's
    /// `jwks_url` and those of all trusted issuers. Keys that cannot be fetched now are fetched when a token needs
    /// them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if the keys of an issuer cannot be fetched now. The message names the issuer and says
    /// why; the source is the error of the fetch, with its own sources.
    pub async fn fetch_keys(&self) -> Result<(), Error> {
        let rules = &*self.rules;
        let now = || rules.clock.now();
        let own = || rules.fetched_keys.as_ref().filter(|fetched| !fetched.are_usable(now()));
        // All begin before the first is waited for.
        let fetches: Vec<_> = rules
            .trusted_issuers
            .without_keys(now())
            .filter_map(|(_, issuer)| issuer.fetch_keys(now()))
            .chain(own().and_then(|fetched| fetched.fetch(now())))
            .collect();
        for fetch in fetches {
            fetch.await;
        }
        if let Some(fetched) = own() {
            return Err(no_keys(&rules.issuer, fetched.last_failure()));
        }
        match rules.trusted_issuers.without_keys(now()).next() {
            None => Ok(()),
            Some((name, issuer)) => Err(no_keys(name, issuer.last_failure())),
        }
    }

    /// Returns whether there are issuers whose keys may have to be waited for.
    pub(crate) fn may_wait(&self) -> bool {
        !self.rules.trusted_issuers.is_empty() || self.rules.fetched_keys.is_some()
    }

    /// Returns the fetch of keys that has to complete before a token can be checked. Starts it where
    /// none is in progress.
    pub(crate) fn fetch_for(&self, token: &str) -> Option<KeyFetch> {
        let rules = &*self.rules;
        let known = rules.cache.as_ref().and_then(|cache| cache.get(token.as_bytes()));
        let is_known = known.is_some_and(|it| rules.keys_are_unchanged(&it, rules.clock.now()));
        if is_known || token.len() > rules.max_token_len {
            return None;
        }
        rules.examine(token).err().and_then(|not_accepted| not_accepted.fetch)
    }

    fn check(&self, token: &str) -> Result<Arc<Validated>, NotAccepted> {
        let rules = &*self.rules;
        if token.len() > rules.max_token_len {
            return Err(TokenFault::TooLong.into());
        }
        // What can be rejected without a signature gets no further than this.
        let candidate = rules.examine(token)?;
        let verify = || rules.verify(&candidate);
        let Some(cache) = &rules.cache else { return Ok(verify()?.validated) };
        let is_still_good = |known: &Checked| rules.is_still_good(known, rules.clock.now());
        let checked = cache.check(token.as_bytes(), is_still_good, || verify().map(Arc::new))?;
        Ok(Arc::clone(&checked.validated))
    }

    /// What came of a token that was checked before, if it is remembered: whether it is good still.
    pub(crate) fn recall(&self, token: &[u8]) -> Option<Result<Arc<Validated>, TokenFault>> {
        let rules = &*self.rules;
        let cache = rules.cache.as_ref()?;
        let checked = cache.get(token)?;
        let now = rules.clock.now();
        if !rules.keys_are_unchanged(&checked, now) {
            cache.remove(token);
            return None;
        }
        let outcome = match rules.check_changes(&checked, now) {
            Ok(()) => Ok(Arc::clone(&checked.validated)),
            Err(fault) if fault.is_temporary() => Err(fault),
            Err(fault) => {
                cache.remove(token);
                Err(fault)
            }
        };
        if let Err(fault) = outcome {
            log_rejection(rules, token, fault);
        }
        telemetry::validated(outcome.as_ref().map_or_else(|fault| fault.as_str(), |_| "accepted"));
        Some(outcome)
    }

    /// Checks whether this validator would still accept a token that this or another validator has checked before.
    ///
    /// # Errors
    ///
    /// [`TokenFault::Issuer`], [`TokenFault::Audience`], [`TokenFault::LifetimeTooLong`], [`TokenFault::Claims`],
    /// [`TokenFault::UnknownKey`], [`TokenFault::Algorithm`], [`TokenFault::Expired`], [`TokenFault::NotYetValid`],
    /// [`TokenFault::Revoked`], [`TokenFault::RevocationsUnavailable`] and [`TokenFault::KeysUnavailable`].
    pub fn recheck(&self, validated: &Validated) -> Result<(), TokenFault> {
        // Another validator may have checked it, so nothing is taken as known.
        let rules = &*self.rules;
        let now = rules.clock.now();
        let validity = Validity::of(validated.claims());
        if validated.is_mapped() {
            let issuer = rules.trusted_issuers.by_name(validated.issuer());
            issuer.ok_or(TokenFault::Issuer)?.recheck(validated, now)?;
            rules.check_list(validated.claims())?;
            return rules.check_times(&validity, now);
        }
        if !rules.accepts_own {
            return Err(TokenFault::Issuer);
        }
        rules.check_keys_have_come()?;
        if !rules.keys_are_usable(now) {
            // The fetch is for the next request; this one does not wait.
            let _ = rules.fetched_keys.as_ref().and_then(|fetched| fetched.fetch(now));
            return Err(TokenFault::KeysUnavailable);
        }
        let key = rules.keys.find_same(validated.key(), now).ok_or_else(|| rules.no_key())?;
        if !rules.allows_algorithm(key.algorithm()) {
            return Err(TokenFault::Algorithm);
        }
        rules.check_claims(validated.claims())?;
        rules.check_times(&validity, now)?;
        rules.check_revocations(validated)
    }

    /// Returns the accepted issuer: the `iss` of the tokens. Of a validator for trusted issuers alone, the first of them.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.rules.issuer
    }

    /// How subjects are named in the audit log.
    pub(crate) fn subjects(&self) -> &Subjects {
        &self.rules.subjects
    }

    pub(crate) fn rejection_hook(&self) -> &RejectionHook {
        &self.rules.rejection_hook
    }

    pub(crate) fn trusted_proxies(&self) -> &TrustedProxies {
        &self.rules.trusted_proxies
    }
}

/// Returns the error of an issuer without keys.
fn no_keys(issuer: &str, failure: Option<Arc<Error>>) -> Error {
    let Some(failure) = failure else {
        let problem = format!("the keys of {issuer} cannot be fetched now");
        return Error::new(ErrorKind::Unavailable, problem);
    };
    let problem = format!("the keys of {issuer} cannot be fetched: {}", failure.message());
    Error::new(ErrorKind::Unavailable, problem).with_source(failure)
}
