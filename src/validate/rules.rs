use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::audit::Subjects;
use crate::clock::{Clock, Timestamp};
use crate::jose::{Algorithm, CompactJws, ExpiringKey, JoseHeader, JwsFault, KeyRing};
use crate::json;
use crate::rejection::RejectionHook;
use crate::sync::CheckedEpoch;
use crate::token::claims::{Claims, Validated};
use crate::validate::cache::TokenCache;
use crate::validate::checked::{Checked, CheckedIssuer, Validity, memory_of};
use crate::validate::issuers::{FetchedKeys, ForeignToken, TrustedIssuers};
use crate::validate::proxies::TrustedProxies;
use crate::validate::revocations::Revocations;
use crate::validate::{NotAccepted, TokenFault};

const SECOND: Duration = Duration::from_secs(1);

/// What a token has to be, to be accepted.
#[derive(Debug)]
pub(super) struct Rules {
    /// Its own, or the first of the others where it has none.
    pub(super) issuer: String,
    pub(super) accepts_own: bool,
    pub(super) audiences: Vec<String>,
    pub(super) keys: KeyRing,
    /// What fetches them, where they are fetched.
    pub(super) fetched_keys: Option<Box<dyn FetchedKeys>>,
    /// Those of the keys, where none are named.
    pub(super) algorithms: Option<Vec<Algorithm>>,
    pub(super) cache: Option<TokenCache>,
    pub(super) trusted_issuers: TrustedIssuers,
    pub(super) leeway: Duration,
    pub(super) max_token_len: usize,
    pub(super) max_token_lifetime: Option<Duration>,
    pub(super) trailing_wildcards: bool,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) revocations: Option<Arc<dyn Revocations>>,
    pub(super) subjects: Subjects,
    pub(super) trusted_proxies: TrustedProxies,
    pub(super) rejection_hook: RejectionHook,
}

/// A token whose signature is still to be checked.
pub(super) struct Candidate<'a> {
    token: &'a str,
    jws: CompactJws<'a>,
    payload: Vec<u8>,
    signature: Vec<u8>,
    signed_by: SignedBy,
}

/// The header of a token.
enum Header {
    /// To the letter that of one which this key has verified.
    Known(ExpiringKey),
    Read(Result<JoseHeader, JwsFault>),
}

/// Whose key a token names.
enum SignedBy {
    Own { found: ExpiringKey, epoch: u64 },
    Trusted { issuer: usize, token: Box<dyn ForeignToken> },
}

impl Rules {
    /// All that can be said of a token before its signature is checked.
    pub(super) fn examine<'a>(&self, token: &'a str) -> Result<Candidate<'a>, NotAccepted> {
        let now = self.clock.now();
        let jws = CompactJws::split(token)?;
        // Read before the keys: a change in between is noticed at the next check.
        let epoch = self.keys.epoch();
        // Other validators may have the same keys, and other rules.
        let is_allowed = |found: &ExpiringKey| {
            self.allows_algorithm(found.key.algorithm()) && self.keys_are_usable(now)
        };
        let known = self.keys.find_by_header(jws.header, now).filter(is_allowed);
        let header =
            known.map_or_else(|| Header::Read(JoseHeader::parse(jws.header)), Header::Known);
        // Others may call their tokens something else. All else is the same for all.
        match header {
            Header::Read(Err(fault)) if fault != JwsFault::WrongType => return Err(fault.into()),
            _ => {}
        }
        let (payload, signature) = (jws.payload()?, jws.signature()?);
        // Others may call their keys what one's own are called: whose it is, its `iss` says.
        let signed_by = match self.trusted_issuers.recognize(jws.header, &payload, now)? {
            Some((issuer, token)) => SignedBy::Trusted { issuer, token },
            None => {
                let found = match header {
                    Header::Known(found) => found,
                    Header::Read(header) => {
                        self.check_named_issuer(&payload)?;
                        self.find_key(&header?, now)?
                    }
                };
                SignedBy::Own { found, epoch }
            }
        };
        Ok(Candidate { token, jws, payload, signature, signed_by })
    }

    pub(super) fn verify(&self, candidate: &Candidate<'_>) -> Result<Checked, TokenFault> {
        let now = self.clock.now();
        let Candidate { token, jws, payload, signature, signed_by } = candidate;
        let (key, key_epoch) = match signed_by {
            SignedBy::Own { found, epoch } => (&found.key, *epoch),
            SignedBy::Trusted { token, .. } => (token.key(), token.key_epoch()),
        };
        if !key.verify(jws.signing_input.as_bytes(), signature) {
            return Err(TokenFault::Signature);
        }
        let (claims, issuer, size) = match signed_by {
            SignedBy::Own { found, .. } => {
                key.remember_header(jws.header);
                let claims: Claims = json::from_slice(payload).map_err(|_| TokenFault::Claims)?;
                self.check_claims(&claims)?;
                let not_revoked = CheckedEpoch::new(self.revocation_epoch());
                let issuer = CheckedIssuer::Own { key_until: found.until, not_revoked };
                (claims, issuer, memory_of(token, payload))
            }
            SignedBy::Trusted { issuer, token: foreign } => {
                let claims = foreign.claims(token)?;
                self.check_list(&claims)?;
                // What it was mapped to, which may be more than it says.
                let mapped = serde_json::to_vec(&claims).map_err(|_| TokenFault::Claims)?;
                let size = memory_of(token, &mapped);
                (claims, CheckedIssuer::Trusted(*issuer), size)
            }
        };
        let validity = Validity::of(&claims);
        self.check_times(&validity, now)?;
        let audience_claim = match signed_by {
            SignedBy::Own { .. } => None,
            SignedBy::Trusted { token, .. } => Some(token.audience_claim()),
        };
        let validated = Arc::new(Validated::new(claims, key.identity(), audience_claim));
        if !validated.is_mapped() {
            self.check_revocations(&validated)?;
        }
        Ok(Checked { validity, issuer, key_epoch, size, validated })
    }

    /// Returns whether nothing has changed that a token was checked by.
    pub(super) fn is_still_good(&self, checked: &Checked, now: Timestamp) -> bool {
        self.keys_are_unchanged(checked, now) && self.check_changes(checked, now).is_ok()
    }

    pub(super) fn keys_are_unchanged(&self, checked: &Checked, now: Timestamp) -> bool {
        match checked.issuer {
            CheckedIssuer::Own { key_until, .. } => {
                self.keys_are_usable(now)
                    && checked.key_epoch == self.keys.epoch()
                    && now < key_until
            }
            CheckedIssuer::Trusted(issuer) => {
                let issuer = self.trusted_issuers.get(issuer);
                issuer.is_some_and(|issuer| issuer.keys_are_unchanged(checked.key_epoch, now))
            }
        }
    }

    pub(super) fn allows_algorithm(&self, algorithm: Algorithm) -> bool {
        match &self.algorithms {
            Some(allowed) => allowed.contains(&algorithm),
            None => match &self.fetched_keys {
                Some(fetched) => fetched.allows(algorithm),
                None => self.keys.has_algorithm(algorithm),
            },
        }
    }

    /// Returns whether the keys may be relied on. Starts a fetch that is due.
    pub(super) fn keys_are_usable(&self, now: Timestamp) -> bool {
        self.fetched_keys.as_ref().is_none_or(|fetched| fetched.are_usable(now))
    }

    /// Rejects a token that says it is of somebody else, before its key is looked for: the developer is told of the
    /// issuer, and no keys are fetched for it.
    fn check_named_issuer(&self, payload: &[u8]) -> Result<(), TokenFault> {
        let claims = json::parse_object(payload).unwrap_or_default();
        match claims.get("iss").and_then(Value::as_str) {
            Some(name) if name != self.issuer || !self.accepts_own => Err(TokenFault::Issuer),
            None if !self.accepts_own => Err(TokenFault::Claims),
            // What else is wrong with it is found once its signature is verified.
            _ => Ok(()),
        }
    }

    /// Returns the names of all issuers whose tokens are accepted.
    pub(super) fn issuers(&self) -> impl Iterator<Item = &str> {
        let own = self.accepts_own.then_some(self.issuer.as_str());
        own.into_iter().chain(self.trusted_issuers.names())
    }

    fn find_key(&self, header: &JoseHeader, now: Timestamp) -> Result<ExpiringKey, NotAccepted> {
        self.check_keys_have_come()?;
        if !self.allows_algorithm(header.algorithm) {
            return Err(TokenFault::Algorithm.into());
        }
        let kid = header.kid.as_deref().ok_or(TokenFault::UnknownKey)?;
        if let Some(fetched) = &self.fetched_keys {
            let key = fetched.find(kid, header.algorithm, now)?;
            return Ok(ExpiringKey { key, until: Timestamp::MAX });
        }
        let found = self.keys.find(kid, header.algorithm, now);
        found.ok_or_else(|| self.no_key().into())
    }

    pub(super) fn check_keys_have_come(&self) -> Result<(), TokenFault> {
        if !self.keys.are_awaited() {
            return Ok(());
        }
        if let Some(revocations) = &self.revocations {
            revocations.remind_of_start();
        }
        Err(TokenFault::KeysUnavailable)
    }

    pub(super) fn no_key(&self) -> TokenFault {
        if self.keys.may_lack_keys() { TokenFault::KeysUnavailable } else { TokenFault::UnknownKey }
    }

    /// Checks what may have changed of a token since it was checked.
    pub(super) fn check_changes(
        &self,
        checked: &Checked,
        now: Timestamp,
    ) -> Result<(), TokenFault> {
        self.check_times(&checked.validity, now)?;
        let CheckedIssuer::Own { not_revoked, .. } = &checked.issuer else { return Ok(()) };
        not_revoked.check(self.revocation_epoch(), || self.check_revoked(&checked.validated))?;
        self.check_staleness()
    }

    fn revocation_epoch(&self) -> u64 {
        self.revocations.as_ref().map_or(0, |revocations| revocations.epoch())
    }

    pub(super) fn check_claims(&self, claims: &Claims) -> Result<(), TokenFault> {
        if claims.iss != self.issuer {
            return Err(TokenFault::Issuer);
        }
        if !claims.aud.iter().any(|audience| self.audiences.contains(audience)) {
            return Err(TokenFault::Audience);
        }
        self.check_lifetime(claims)?;
        self.check_list(claims)
    }

    fn check_lifetime(&self, claims: &Claims) -> Result<(), TokenFault> {
        // Both are whole seconds: a token whose end was rounded up to one lives no longer than said.
        let lifetime = Duration::from_secs(claims.exp.saturating_sub(claims.iat));
        let is_too_long = self
            .max_token_lifetime
            .is_some_and(|longest| lifetime >= longest.saturating_add(SECOND));
        if is_too_long { Err(TokenFault::LifetimeTooLong) } else { Ok(()) }
    }

    pub(super) fn check_list(&self, claims: &Claims) -> Result<(), TokenFault> {
        if claims.acl.uses_trailing_wildcards() && !self.trailing_wildcards {
            return Err(TokenFault::Claims);
        }
        Ok(())
    }

    pub(super) fn check_revocations(&self, validated: &Validated) -> Result<(), TokenFault> {
        self.check_revoked(validated)?;
        self.check_staleness()
    }

    fn check_revoked(&self, validated: &Validated) -> Result<(), TokenFault> {
        let is_revoked = self.revocations.as_ref().is_some_and(|all| all.contains(validated));
        if is_revoked { Err(TokenFault::Revoked) } else { Ok(()) }
    }

    fn check_staleness(&self) -> Result<(), TokenFault> {
        let Some(revocations) = self.revocations.as_ref().filter(|all| all.is_stale()) else {
            return Ok(());
        };
        revocations.remind_of_start();
        Err(TokenFault::RevocationsUnavailable)
    }

    pub(super) fn check_times(
        &self,
        validity: &Validity,
        now: Timestamp,
    ) -> Result<(), TokenFault> {
        if validity.expires_at + self.leeway <= now {
            return Err(TokenFault::Expired);
        }
        if validity.begins_at > now + self.leeway {
            return Err(TokenFault::NotYetValid);
        }
        Ok(())
    }
}
