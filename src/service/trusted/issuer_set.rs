use std::sync::Arc;

use serde::de::DeserializeSeed as _;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::clock::{Clock, Timestamp};
use crate::domain::claims::{Audience, Claims, NumericDate, Validated};
use crate::domain::identifier::TokenId;
use crate::error::{Error, ErrorKind};
use crate::jose::remote::{Fetcher, RemoteKey, RemoteKeys};
use crate::jose::{JoseHeader, VerifyingKey};
use crate::json;
use crate::service::trusted::claims::{ForeignClaims, MapClaims, MappedClaims};
use crate::service::trusted::issuer::{TokenTypes, TrustedIssuer};
use crate::service::validate::{NotAccepted, TokenFault};

/// The issuers that are trusted beside one's own.
#[derive(Debug)]
pub(crate) struct TrustedIssuers {
    issuers: Vec<PreparedIssuer>,
}

#[derive(Debug)]
struct PreparedIssuer {
    issuer: String,
    audiences: Vec<String>,
    types: TokenTypes,
    map: MapClaims,
    keys: Arc<RemoteKeys>,
}

/// A token that says it is of a trusted issuer, with the key that it names. Its signature is still to
/// be checked.
pub(crate) struct ForeignToken {
    issuer: usize,
    key: VerifyingKey,
    key_generation: u64,
    claims: ForeignClaims,
}

impl ForeignToken {
    pub(crate) fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// That of the issuer's keys, in which it was found.
    pub(crate) fn key_generation(&self) -> u64 {
        self.key_generation
    }

    /// Which of the issuers it is of.
    pub(crate) fn issuer(&self) -> usize {
        self.issuer
    }
}

impl TrustedIssuers {
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] where one contradicts itself, or two have the same name.
    pub(crate) fn new(
        configured: Vec<TrustedIssuer>,
        own: &str,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let mut issuers: Vec<PreparedIssuer> = Vec::new();
        for issuer in configured {
            let is_known = issuers.iter().any(|known| known.issuer == issuer.issuer);
            if is_known || issuer.issuer == own {
                let problem = "a trusted issuer is given twice, or is the service itself";
                return Err(Error::new(ErrorKind::Configuration, problem));
            }
            issuer.check()?;
            let fetcher = Fetcher::new(issuer.source()?, &issuer.policy)?;
            let clock = Arc::clone(clock);
            issuers.push(PreparedIssuer {
                keys: Arc::new(RemoteKeys::new(fetcher, issuer.provider, issuer.policy, clock)),
                issuer: issuer.issuer,
                audiences: issuer.audiences,
                types: issuer.types,
                map: issuer.map,
            });
        }
        Ok(Self { issuers })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// Whose token it is and which key it names, by its header and its claims, neither of which is
    /// proven yet; nothing where it does not say that it is of a trusted issuer.
    pub(crate) fn recognise(
        &self,
        header: &str,
        payload: &[u8],
        now: Timestamp,
    ) -> Result<Option<ForeignToken>, NotAccepted> {
        let Some((issuer, claims)) = self.find_issuer(payload) else { return Ok(None) };
        let trusted = &self.issuers[issuer];
        let header = JoseHeader::parse_typed(header, |typ| trusted.types.contains(typ))?;
        if !trusted.keys.allows(header.algorithm) {
            return Err(TokenFault::Algorithm.into());
        }
        // Before what it is the number of.
        let key_generation = trusted.keys.generation();
        let key = match trusted.keys.find(&header.kid, header.algorithm, now) {
            RemoteKey::Known(key) => key,
            RemoteKey::UnderWay(flight) => return Err(flight.into()),
            RemoteKey::Unknown => return Err(TokenFault::UnknownKey.into()),
            RemoteKey::OutOfReach => return Err(TokenFault::KeysUnavailable.into()),
        };
        Ok(Some(ForeignToken { issuer, key, key_generation, claims: ForeignClaims::new(claims) }))
    }

    fn find_issuer(&self, payload: &[u8]) -> Option<(usize, Map<String, Value>)> {
        if self.issuers.is_empty() {
            return None;
        }
        let claims = json::parse_object(payload).ok()?;
        let name = claims.get("iss")?.as_str()?;
        let issuer = self.issuers.iter().position(|issuer| issuer.issuer == name)?;
        Some((issuer, claims))
    }

    /// The claims of a token whose signature is good, `text`.
    pub(crate) fn claims(&self, token: &ForeignToken, text: &str) -> Result<Claims, TokenFault> {
        let trusted = self.issuers.get(token.issuer).ok_or(TokenFault::Issuer)?;
        let claims = &token.claims;
        let aud = claims.get("aud").and_then(|aud| Audience.deserialize(aud).ok());
        let aud = aud.ok_or(TokenFault::Claims)?;
        if !aud.iter().any(|audience| trusted.audiences.contains(audience)) {
            return Err(TokenFault::Audience);
        }
        let exp = numeric_date(claims.get("exp"))?.ok_or(TokenFault::Claims)?;
        let (nbf, iat) = (numeric_date(claims.get("nbf"))?, numeric_date(claims.get("iat"))?);
        let jti = match claims.get("jti") {
            Some(Value::String(jti)) if !jti.is_empty() => TokenId::from_signed_claim(jti),
            Some(_) => return Err(TokenFault::Claims),
            // It is called by what nobody else's is.
            None => {
                let digest = crate::jose::base64url(&Sha256::digest(text.as_bytes()));
                TokenId::from_signed_claim(&format!("sha256-{digest}"))
            }
        };
        let mapped = trusted.map.map(claims).map_err(|error| {
            tracing::debug!(issuer = trusted.issuer, %error, "claims of another issuer are refused");
            TokenFault::Claims
        })?;
        let MappedClaims { subject, subject_type, client_id, organization_id, acl, custom_claims } =
            mapped;
        Ok(Claims {
            iss: trusted.issuer.clone(),
            sub: subject,
            subject_type,
            aud,
            iat: iat.unwrap_or_default(),
            nbf,
            exp,
            jti,
            client_id,
            sid: None,
            organization_id,
            acl,
            custom_claims,
        })
    }

    /// Whether an issuer's keys are those that a token was checked by, and good still.
    pub(crate) fn keys_are_unchanged(
        &self,
        issuer: usize,
        generation: u64,
        now: Timestamp,
    ) -> bool {
        self.issuers.get(issuer).is_some_and(|trusted| {
            trusted.keys.refresh_ahead(now);
            trusted.keys.are_good(now) && trusted.keys.generation() == generation
        })
    }

    /// Whether a token of another issuer, which was checked by whatever validator, would be accepted
    /// by this one, but for its times and its list.
    pub(crate) fn recheck(&self, validated: &Validated, now: Timestamp) -> Result<(), TokenFault> {
        let trusted = self.issuers.iter().find(|trusted| trusted.issuer == validated.issuer());
        let trusted = trusted.ok_or(TokenFault::Issuer)?;
        if !validated.audiences().iter().any(|name| trusted.audiences.contains(name)) {
            return Err(TokenFault::Audience);
        }
        trusted.keys.refresh_ahead(now);
        if !trusted.keys.are_good(now) {
            // They will be there the next time, where they can be had.
            let _nobody_waits = trusted.keys.fetch(now);
            return Err(TokenFault::KeysUnavailable);
        }
        let key = trusted.keys.find_same(validated.standing().key, now);
        let key = key.ok_or(TokenFault::UnknownKey)?;
        if trusted.keys.allows(key.algorithm()) { Ok(()) } else { Err(TokenFault::Algorithm) }
    }

    /// The keys of each.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Arc<RemoteKeys>> {
        self.issuers.iter().map(|trusted| &trusted.keys)
    }
}

fn numeric_date(claim: Option<&Value>) -> Result<Option<u64>, TokenFault> {
    let seconds = claim.map(|claim| NumericDate.deserialize(claim));
    seconds.transpose().map_err(|_| TokenFault::Claims)
}
