//! What the scopes and roles of a trusted issuer's tokens mean here, by a list of the host's.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::Error;
use crate::token::acl::{Acl, AclEntry};
use crate::token::claims::SubjectType;
use crate::validate::trusted::claims::{ForeignClaims, MappedClaims, invalid_token};

/// Claims that mean the same in every token, and are read for what they mean.
const REGISTERED: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];
/// Where issuers name the client that a token was issued to.
const CLIENT_CLAIMS: [&str; 4] = ["client_id", "azp", "cid", "appid"];

/// What the claims of a token may fulfil.
pub(super) type Condition = dyn Fn(&ForeignClaims) -> bool + Send + Sync;

/// How the claims of an issuer's tokens are mapped, where the host does not do so itself.
#[derive(Clone, Default)]
pub(super) struct GrantRules {
    /// Names of claims, and JSON pointers to members of them.
    pub(super) scope_claims: Vec<String>,
    /// Values of these claims, each with what it grants.
    pub(super) grants: Vec<(String, AclEntry)>,
    pub(super) is_machine: Option<Arc<Condition>>,
}

impl GrantRules {
    /// Maps the claims: the subject, what its scopes and roles grant, and its other claims as custom claims.
    pub(super) fn map(&self, claims: &ForeignClaims) -> Result<MappedClaims, Error> {
        let subject = claims.text("sub").ok_or_else(|| invalid_token("there is no subject"))?;
        let client = CLIENT_CLAIMS.iter().find_map(|name| claims.text(name));
        let is_machine = self.is_machine.as_ref().is_some_and(|is_machine| is_machine(claims));
        let kind = if is_machine { SubjectType::Machine } else { SubjectType::User };
        let mapped = MappedClaims::new(kind, subject)
            .client_id(client.unwrap_or(subject))
            .acl(Acl::new(self.granted(claims.as_object())));
        let mut custom = claims.as_object().clone();
        custom.retain(|name, _| !REGISTERED.contains(&name.as_str()));
        mapped.custom_claims(custom)
    }

    fn granted(&self, claims: &Map<String, Value>) -> Vec<AclEntry> {
        let stated: Vec<&str> =
            self.scope_claims.iter().flat_map(|name| values(claims, name)).collect();
        let granted = self.grants.iter().filter(|(scope, _)| stated.contains(&scope.as_str()));
        granted.map(|(_, entry)| entry.clone()).collect()
    }
}

/// Returns the values of a claim: those of a list, or of a string, in which spaces separate them (RFC 6749 §3.3).
fn values<'a>(claims: &'a Map<String, Value>, name: &str) -> Vec<&'a str> {
    let value = match name.strip_prefix('/') {
        None => claims.get(name),
        // RFC 6901.
        Some(path) => {
            let (first, rest) = path.split_once('/').unwrap_or((path, ""));
            let rest = if rest.is_empty() { String::new() } else { format!("/{rest}") };
            claims.get(first).and_then(|value| value.pointer(&rest))
        }
    };
    match value {
        Some(Value::String(text)) => text.split(' ').filter(|value| !value.is_empty()).collect(),
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

impl fmt::Debug for GrantRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrantRules")
            .field("scope_claims", &self.scope_claims)
            .field("grants", &self.grants)
            .field("knows_machines", &self.is_machine.is_some())
            .finish()
    }
}
