use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::clock::{Clock, Timestamp};
use crate::error::Error;
use crate::jose::material::base64url;
use crate::jose::{JoseHeader, VerifyingKey};
use crate::token::claims::{Claims, Validated};
use crate::token::identifier::TokenId;
use crate::validate::issuers::{ForeignToken, IssuerSettings, IssuerVerifier, KeyFetch};
use crate::validate::trusted::TrustedIssuer;
use crate::validate::trusted::claims::{ForeignClaims, MapClaims, MappedClaims};
use crate::validate::trusted::grants::Condition;
use crate::validate::trusted::issuer::TokenTypes;
use crate::validate::trusted::issuer_name::IssuerName;
use crate::validate::trusted::registered::RegisteredClaims;
use crate::validate::trusted::remote::RemoteKeys;
use crate::validate::{NotAccepted, TokenFault};

/// A trusted issuer with its keys.
#[derive(Debug)]
struct PreparedIssuer {
    terms: Arc<Terms>,
    types: TokenTypes,
    keys: Arc<RemoteKeys>,
}

/// What the claims of an issuer's tokens have to be, and what they mean.
struct Terms {
    name: IssuerName,
    tenants: Option<BTreeSet<String>>,
    audiences: Vec<String>,
    audience_claim: Arc<str>,
    conditions: Vec<Arc<Condition>>,
    map: MapClaims,
    /// Whether the mapping has to say which organizations a principal belongs to.
    organization_required: bool,
}

/// A token that says it is of a trusted issuer, with the key that it names.
struct NamedToken {
    terms: Arc<Terms>,
    key: VerifyingKey,
    key_epoch: u64,
    claims: ForeignClaims,
}

impl IssuerSettings for TrustedIssuer {
    fn issuer(&self) -> &str {
        self.name.as_str()
    }

    fn prepare(
        &self,
        clock: &Arc<dyn Clock>,
        organization_required: bool,
    ) -> Result<Box<dyn IssuerVerifier>, Error> {
        self.check()?;
        let source = self.key_source()?;
        let (provider, policy) = (Arc::clone(&self.provider), self.policy.clone());
        Ok(Box::new(PreparedIssuer {
            keys: Arc::new(RemoteKeys::new(source, provider, policy, Arc::clone(clock))),
            types: self.types.clone(),
            terms: Arc::new(Terms {
                name: self.name.clone(),
                tenants: self.tenants.clone(),
                audiences: self.audiences.clone(),
                audience_claim: self.audience_claim.as_str().into(),
                conditions: self.conditions.clone(),
                map: self.map.clone().unwrap_or_else(|| {
                    let grants = self.grants.clone();
                    MapClaims::new(move |claims| grants.map(claims))
                }),
                organization_required,
            }),
        }))
    }
}

impl IssuerVerifier for PreparedIssuer {
    fn recognizes(&self, iss: &str) -> bool {
        self.terms.name.is_of(iss)
    }

    fn find_key(
        &self,
        header: &str,
        claims: Map<String, Value>,
        now: Timestamp,
    ) -> Result<Box<dyn ForeignToken>, NotAccepted> {
        let header = JoseHeader::parse_typed(header, |typ| self.types.contains(typ))?;
        if !self.keys.allows(header.algorithm) {
            return Err(TokenFault::Algorithm.into());
        }
        // Before the keys, so that a tenant that is not allowed has none fetched.
        let iss = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        if !self.terms.name.names_its_tenant(iss, &claims) {
            return Err(TokenFault::Issuer.into());
        }
        self.terms.check_tenant(iss)?;
        // Read before the keys: a change in between is noticed at the next check.
        let key_epoch = self.keys.epoch();
        let key = self.keys.find_for_token(header.kid.as_deref(), header.algorithm, now)?;
        let (terms, claims) = (Arc::clone(&self.terms), ForeignClaims::new(claims));
        Ok(Box::new(NamedToken { terms, key, key_epoch, claims }))
    }

    fn keys_are_unchanged(&self, epoch: u64, now: Timestamp) -> bool {
        self.keys.refresh_ahead(now);
        self.keys.are_good(now) && self.keys.epoch() == epoch
    }

    fn recheck(&self, validated: &Validated, now: Timestamp) -> Result<(), TokenFault> {
        if validated.audience_claim() != Some(&self.terms.audience_claim) {
            return Err(TokenFault::Audience);
        }
        self.terms.check_tenant(validated.issuer())?;
        self.terms.check_audience(validated.audiences())?;
        self.keys.refresh_ahead(now);
        if !self.keys.are_good(now) {
            // The fetch is for the next request; this one does not wait.
            let _ = self.keys.fetch(now);
            return Err(TokenFault::KeysUnavailable);
        }
        let key = self.keys.find_same(validated.key(), now).ok_or(TokenFault::UnknownKey)?;
        if self.keys.allows(key.algorithm()) { Ok(()) } else { Err(TokenFault::Algorithm) }
    }

    fn has_usable_keys(&self, now: Timestamp) -> bool {
        self.keys.are_good(now)
    }

    fn fetch_keys(&self, now: Timestamp) -> Option<KeyFetch> {
        self.keys.fetch(now).map(|fetch| fetch.completed())
    }

    fn last_failure(&self) -> Option<Arc<Error>> {
        self.keys.last_failure()
    }

    fn explain(&self, fault: TokenFault, claims: &Map<String, Value>) -> Option<String> {
        let Terms { audiences, audience_claim, .. } = &*self.terms;
        match fault {
            TokenFault::Type => Some(format!("expected: {}", self.types)),
            TokenFault::Audience => {
                Some(format!("expected in `{audience_claim}`: {}", audiences.join(", ")))
            }
            TokenFault::Claims => Some(match RegisteredClaims::read(claims, audience_claim) {
                Err(wrong) => wrong.problem,
                Ok(_) => "a condition or the mapping has rejected them".to_owned(),
            }),
            _ => None,
        }
    }
}

impl Terms {
    fn check_tenant(&self, iss: &str) -> Result<(), TokenFault> {
        let is_allowed = match (&self.tenants, self.name.tenant(iss)) {
            (None, _) => true,
            (Some(tenants), Some(tenant)) => tenants.contains(tenant),
            (Some(_), None) => false,
        };
        if is_allowed { Ok(()) } else { Err(TokenFault::Issuer) }
    }

    fn check_audience(&self, aud: &[String]) -> Result<(), TokenFault> {
        let is_for_us = aud.iter().any(|audience| self.audiences.contains(audience));
        if is_for_us { Ok(()) } else { Err(TokenFault::Audience) }
    }
}

impl ForeignToken for NamedToken {
    fn key(&self) -> &VerifyingKey {
        &self.key
    }

    fn key_epoch(&self) -> u64 {
        self.key_epoch
    }

    fn audience_claim(&self) -> Arc<str> {
        Arc::clone(&self.terms.audience_claim)
    }

    fn claims(&self, text: &str) -> Result<Claims, TokenFault> {
        let (terms, claims) = (&self.terms, &self.claims);
        let read = RegisteredClaims::read(claims.as_object(), &terms.audience_claim);
        let RegisteredClaims { audiences, exp, nbf, iat, jti } =
            read.map_err(|wrong| wrong.fault)?;
        terms.check_audience(&audiences)?;
        if !terms.conditions.iter().all(|condition| condition(claims)) {
            return Err(TokenFault::Claims);
        }
        let jti = match jti {
            Some(jti) => TokenId::from_signed_claim(&jti),
            // A digest of the token stands in for the id.
            None => {
                let digest = base64url(&Sha256::digest(text.as_bytes()));
                TokenId::from_signed_claim(&format!("sha256-{digest}"))
            }
        };
        let mapped = terms.map.map(claims).map_err(|error| {
            tracing::debug!(
                issuer = terms.name.as_str(), %error,
                "trusted issuer: claims rejected by the mapping, token rejected"
            );
            TokenFault::Claims
        })?;
        let MappedClaims { subject, subject_type, client_id, organization, acl, custom_claims } =
            mapped;
        if organization.is_none() && terms.organization_required {
            tracing::debug!(
                issuer = terms.name.as_str(),
                "trusted issuer: the mapping gave no organization, token rejected; have it give one, \
                 or `Organization::All`"
            );
            return Err(TokenFault::Claims);
        }
        Ok(Claims {
            iss: claims.text("iss").unwrap_or_default().to_owned(),
            sub: subject,
            subject_type,
            aud: audiences,
            iat: iat.unwrap_or_default(),
            nbf,
            exp,
            // Revocations do not apply to it.
            after_revocation_us: None,
            jti,
            client_id,
            sid: None,
            organization_id: organization.and_then(|organization| organization.id().cloned()),
            acl,
            custom_claims,
        })
    }
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms")
            .field("name", &self.name.as_str())
            .field("audiences", &self.audiences)
            .finish_non_exhaustive()
    }
}
