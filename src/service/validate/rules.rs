use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::domain::claims::{Claims, Origin, ReadClaims, Standing, Validated};
use crate::domain::revocation::RevocationSet;
use crate::jose::{
    Algorithm, CompactJws, ExpiringKey, JoseHeader, JwsFault, KeyRing, VerifyingKey,
};
use crate::json;
use crate::service::audit::Subjects;
use crate::service::proxies::TrustedProxies;
use crate::service::token_cache::TokenCache;
use crate::service::trusted::{ForeignToken, TrustedIssuers};
use crate::service::validate::{NotAccepted, TokenFault};
use crate::sync::GoodAsOf;

/// What a token has to be, to be accepted.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) issuer: String,
    pub(super) audiences: Vec<String>,
    pub(super) keys: KeyRing,
    /// Those of the keys, where none are named.
    pub(super) algorithms: Option<Vec<Algorithm>>,
    pub(super) cache: Option<TokenCache>,
    pub(super) trusted: TrustedIssuers,
    pub(super) leeway: Duration,
    pub(super) max_token_len: usize,
    pub(super) trailing_wildcards: bool,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) revocations: Arc<RevocationSet>,
    pub(super) subjects: Subjects,
    pub(super) trusted_proxies: TrustedProxies,
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
    Own { found: ExpiringKey, generation: u64 },
    Trusted(ForeignToken),
}

impl SignedBy {
    fn key(&self) -> &VerifyingKey {
        match self {
            Self::Own { found, .. } => &found.key,
            Self::Trusted(foreign) => foreign.key(),
        }
    }

    /// That of its issuer's keys, in which it was found.
    fn key_generation(&self) -> u64 {
        match self {
            Self::Own { generation, .. } => *generation,
            Self::Trusted(foreign) => foreign.key_generation(),
        }
    }
}

impl Rules {
    /// All that can be said of a token before its signature is checked.
    pub(super) fn examine<'a>(&self, token: &'a str) -> Result<Candidate<'a>, NotAccepted> {
        let now = self.clock.now();
        let jws = CompactJws::split(token)?;
        // Before what it is the number of: what changes from here on is checked again.
        let generation = self.keys.generation();
        // Other validators may have the same keys, and other rules.
        let is_allowed = |found: &ExpiringKey| self.allows_algorithm(found.key.algorithm());
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
        let signed_by = match self.trusted.recognise(jws.header, &payload, now)? {
            Some(foreign) => SignedBy::Trusted(foreign),
            None => {
                let found = match header {
                    Header::Known(found) => found,
                    Header::Read(header) => self.find_key(&header?, now)?,
                };
                SignedBy::Own { found, generation }
            }
        };
        Ok(Candidate { token, jws, payload, signature, signed_by })
    }

    pub(super) fn verify(&self, candidate: &Candidate<'_>) -> Result<Arc<Validated>, TokenFault> {
        let now = self.clock.now();
        let Candidate { token, jws, payload, signature, signed_by } = candidate;
        let key = signed_by.key();
        if !key.verify(jws.signing_input.as_bytes(), signature) {
            return Err(TokenFault::Signature);
        }
        let (claims, origin) = match signed_by {
            SignedBy::Own { found, .. } => {
                key.remember_header(jws.header);
                let claims = json::parse_with(payload, ReadClaims);
                let claims = claims.map_err(|_| TokenFault::Claims)?;
                self.check_claims(&claims)?;
                let not_revoked = GoodAsOf::new(self.revocations.generation());
                (claims, Origin::Own { key_until: found.until, not_revoked })
            }
            SignedBy::Trusted(foreign) => {
                let claims = self.trusted.claims(foreign, token)?;
                self.check_list(&claims)?;
                (claims, Origin::Trusted(foreign.issuer()))
            }
        };
        let standing = Standing::new(&claims, origin, key.identity(), signed_by.key_generation());
        self.check_times(&standing, now)?;
        let validated = Validated::new(claims, standing);
        self.check_revocations(&validated)?;
        Ok(Arc::new(validated))
    }

    /// Whether nothing has changed that a token was checked by.
    pub(super) fn is_still_good(&self, validated: &Validated, now: Timestamp) -> bool {
        self.keys_are_unchanged(validated, now) && self.check_changes(validated, now).is_ok()
    }

    pub(super) fn keys_are_unchanged(&self, validated: &Validated, now: Timestamp) -> bool {
        let standing = validated.standing();
        match standing.origin {
            Origin::Own { key_until, .. } => {
                standing.key_generation == self.keys.generation() && now < key_until
            }
            Origin::Trusted(issuer) => {
                self.trusted.keys_are_unchanged(issuer, standing.key_generation, now)
            }
        }
    }

    pub(super) fn allows_algorithm(&self, algorithm: Algorithm) -> bool {
        match &self.algorithms {
            Some(allowed) => allowed.contains(&algorithm),
            None => self.keys.has_algorithm(algorithm),
        }
    }

    fn find_key(&self, header: &JoseHeader, now: Timestamp) -> Result<ExpiringKey, TokenFault> {
        if self.keys.are_awaited() {
            return Err(TokenFault::KeysUnavailable);
        }
        if !self.allows_algorithm(header.algorithm) {
            return Err(TokenFault::Algorithm);
        }
        let found = self.keys.find(&header.kid, header.algorithm, now);
        found.ok_or_else(|| self.no_key())
    }

    pub(super) fn no_key(&self) -> TokenFault {
        if self.keys.may_lack_keys() { TokenFault::KeysUnavailable } else { TokenFault::UnknownKey }
    }

    /// What may have changed of a token that was checked before.
    pub(super) fn check_changes(
        &self,
        validated: &Validated,
        now: Timestamp,
    ) -> Result<(), TokenFault> {
        self.check_times(validated.standing(), now)?;
        let Origin::Own { not_revoked, .. } = &validated.standing().origin else { return Ok(()) };
        not_revoked.check(self.revocations.generation(), || self.check_revoked(validated))?;
        self.check_staleness()
    }

    pub(super) fn check_claims(&self, claims: &Claims) -> Result<(), TokenFault> {
        if claims.iss != self.issuer {
            return Err(TokenFault::Issuer);
        }
        if !claims.aud.iter().any(|audience| self.audiences.contains(audience)) {
            return Err(TokenFault::Audience);
        }
        self.check_list(claims)
    }

    pub(super) fn check_list(&self, claims: &Claims) -> Result<(), TokenFault> {
        if claims.acl.uses_trailing_wildcards() && !self.trailing_wildcards {
            return Err(TokenFault::Claims);
        }
        Ok(())
    }

    pub(super) fn check_revocations(&self, validated: &Validated) -> Result<(), TokenFault> {
        if matches!(validated.standing().origin, Origin::Trusted(_)) {
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
            return Err(TokenFault::RevocationsUnavailable);
        }
        Ok(())
    }

    pub(super) fn check_times(
        &self,
        standing: &Standing,
        now: Timestamp,
    ) -> Result<(), TokenFault> {
        if standing.expires_at + self.leeway <= now {
            return Err(TokenFault::Expired);
        }
        if standing.begins_at > now + self.leeway {
            return Err(TokenFault::NotYetValid);
        }
        Ok(())
    }
}
