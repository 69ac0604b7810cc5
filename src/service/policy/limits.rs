//! Limits that hold for every list and all claims that are to be in a token.

use serde_json::{Map, Value};

use crate::error::InvalidField;
use crate::service::policy::Policy;
use crate::token::acl::Acl;

impl Policy {
    /// What is wrong with a list.
    pub(crate) fn acl_fault(&self, acl: &Acl) -> Option<InvalidField> {
        let is_rejected = acl.uses_trailing_wildcards() && !self.trailing_wildcards;
        is_rejected.then(|| InvalidField::new("acl", "must not use wildcards but `*` alone"))
    }

    /// What is wrong with custom claims.
    pub(crate) fn custom_claims_fault(&self, claims: &Map<String, Value>) -> Option<InvalidField> {
        let limit = self.max_custom_claims_len;
        let len = serde_json::to_vec(claims).map_or(usize::MAX, |json| json.len());
        let message = || format!("must be at most {limit} bytes of JSON");
        (len > limit).then(|| InvalidField::new("customClaims", message()))
    }
}
