//! Which custom claims a request may add to those of the host.

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind};
use crate::service::token_service::TokenService;
use crate::token::claims::Validated;

/// The maximum number of characters of a claim's name in an error.
const MAX_SHOWN_NAME: usize = 64;

impl TokenService {
    /// Merges the requested claims into the host's own, on behalf of `bearer`.
    ///
    /// A claim of the host is never changed. Another one may be set if the policy opens its name to all, if `bearer`
    /// passes on a value of its own that the policy allows, or if the host's rule permits it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::CustomClaimsNotAllowed`], which names the first claim that may not be set;
    /// [`ErrorKind::InvalidFields`] if all of them together are too long.
    pub(in crate::service) fn merge_custom_claims(
        &self,
        own: &Map<String, Value>,
        asked: &Map<String, Value>,
        bearer: Option<&Validated>,
    ) -> Result<Map<String, Value>, Error> {
        let policy = &self.inner.policy;
        let mut merged = own.clone();
        for (name, value) in asked {
            let is_allowed = match own.get(name) {
                Some(set_by_host) => set_by_host == value,
                None => {
                    policy.tokens.open_custom_claims.contains(name)
                        || bearer.is_some_and(|bearer| self.may_set_claim(bearer, name, value))
                }
            };
            if !is_allowed {
                let shown: String = name.chars().take(MAX_SHOWN_NAME).collect();
                let message = format!("customClaims.{shown} may not be set");
                return Err(Error::new(ErrorKind::CustomClaimsNotAllowed, message));
            }
            merged.insert(name.clone(), value.clone());
        }
        match policy.custom_claims_fault(&merged) {
            Some(fault) => Err(Error::from_invalid_fields(vec![fault])),
            None => Ok(merged),
        }
    }

    fn may_set_claim(&self, bearer: &Validated, name: &str, value: &Value) -> bool {
        let policy = &self.inner.policy;
        let passes_on =
            policy.tokens.delegated_custom_claims.iter().any(|delegated| delegated == name)
                && bearer.custom_claims().get(name) == Some(value);
        let rule = policy.tokens.custom_claims_rule.as_ref();
        passes_on || rule.is_some_and(|rule| (rule.0)(bearer, name, value))
    }
}
