//! Limits of every ACL, all custom claims, and requested expiries.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::error::InvalidField;
use crate::service::policy::Policy;
use crate::token::acl::Acl;
use crate::token::organization::Organization;

impl Policy {
    /// Returns the fault of an ACL.
    pub(crate) fn acl_fault(&self, acl: &Acl) -> Option<InvalidField> {
        let is_rejected = acl.uses_trailing_wildcards() && !self.tokens.trailing_wildcards;
        is_rejected.then(|| InvalidField::new("acl", "must not use wildcards but `*` alone"))
    }

    /// Returns the fault of the organization of a principal, grant or session.
    pub(crate) fn organization_fault(
        &self,
        organization: Option<&Organization>,
    ) -> Option<InvalidField> {
        let message = "must be given: the policy requires one, or `Organization::All`";
        let is_missing = organization.is_none() && self.principals.organization_required;
        is_missing.then(|| InvalidField::new("organization", message))
    }

    /// Returns the fault of custom claims.
    pub(crate) fn custom_claims_fault(&self, claims: &Map<String, Value>) -> Option<InvalidField> {
        let limit = self.tokens.max_custom_claims_len;
        let len = serde_json::to_vec(claims).map_or(usize::MAX, |json| json.len());
        let message = || format!("must be at most {limit} bytes of JSON");
        (len > limit).then(|| InvalidField::new("customClaims", message()))
    }
}

impl Policy {
    /// Returns the fault of an ACL and custom claims that are each allowed, but together make every token with them
    /// longer than `max_token_len`.
    pub(crate) fn room_fault(
        &self,
        acl: &Acl,
        claims: &Map<String, Value>,
    ) -> Option<InvalidField> {
        let length = |json: serde_json::Result<Vec<u8>>| json.map_or(usize::MAX, |json| json.len());
        let (acl, claims) = (length(serde_json::to_vec(acl)), length(serde_json::to_vec(claims)));
        // In base64, next to all other claims, the header and the signature.
        let rest = REST_OF_TOKEN.min(self.tokens.max_len / 4);
        let room = (self.tokens.max_len - rest) / 4 * 3;
        let field = if acl >= claims { "acl" } else { "customClaims" };
        let message = || format!("must leave room in a token: list and claims have {room} bytes");
        (acl.saturating_add(claims) > room).then(|| InvalidField::new(field, message()))
    }
}

/// The length in base64 of a token without its ACL and custom claims: names of 256 bytes, and the signature of an
/// RSA key of 2048 bits.
const REST_OF_TOKEN: usize = 1536;

/// Returns the fault of an `expiredTime`. `asked` may be rounded down to `end`, which must be later than now.
pub(in crate::service) fn expiry_fault(
    asked: Timestamp,
    end: Timestamp,
    now: Timestamp,
    longest: Duration,
) -> Option<InvalidField> {
    let message = if end <= now {
        "must be later than now".to_owned()
    } else if asked > now + longest {
        format!("must be at most {} seconds from now", longest.as_secs())
    } else {
        return None;
    };
    Some(InvalidField::new("expiredTime", message))
}
