//! Limits that hold for every list, all claims and the end of what is asked for.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::error::InvalidField;
use crate::service::policy::Policy;
use crate::token::acl::Acl;
use crate::token::organization::Organization;

impl Policy {
    /// What is wrong with a list.
    pub(crate) fn acl_fault(&self, acl: &Acl) -> Option<InvalidField> {
        let is_rejected = acl.uses_trailing_wildcards() && !self.trailing_wildcards;
        is_rejected.then(|| InvalidField::new("acl", "must not use wildcards but `*` alone"))
    }

    /// Returns what is wrong with the organization of a principal, grant or session.
    pub(crate) fn organization_fault(
        &self,
        organization: Option<&Organization>,
    ) -> Option<InvalidField> {
        let message = "must be given: the policy requires one, or `Organization::All`";
        let is_missing = organization.is_none() && self.organization_required;
        is_missing.then(|| InvalidField::new("organization", message))
    }

    /// What is wrong with custom claims.
    pub(crate) fn custom_claims_fault(&self, claims: &Map<String, Value>) -> Option<InvalidField> {
        let limit = self.max_custom_claims_len;
        let len = serde_json::to_vec(claims).map_or(usize::MAX, |json| json.len());
        let message = || format!("must be at most {limit} bytes of JSON");
        (len > limit).then(|| InvalidField::new("customClaims", message()))
    }
}

/// Returns what is wrong with an `expiredTime`. `asked` may be rounded down to `end`, which has to
/// be later than now.
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
