//! Which `iss` an issuer's tokens may have: one, or one for each tenant.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::error::Error;

/// More than a tenant's id has anywhere.
const LONGEST_TENANT: usize = 128;

/// The `iss` of an issuer's tokens.
#[derive(Clone, Debug)]
pub(super) enum IssuerName {
    One(String),
    /// One for each tenant, whose id is a claim, too.
    Tenants {
        text: String,
        prefix: String,
        claim: String,
        suffix: String,
    },
}

impl IssuerName {
    /// Reads a name: with `{claim}` in it, it is a template.
    pub(super) fn parse(text: String) -> Self {
        let parts = text.split_once('{').and_then(|(prefix, rest)| {
            let (claim, suffix) = rest.split_once('}')?;
            Some((prefix.to_owned(), claim.to_owned(), suffix.to_owned()))
        });
        match parts {
            Some((prefix, claim, suffix)) => Self::Tenants { text, prefix, claim, suffix },
            None => Self::One(text),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::One(text) | Self::Tenants { text, .. } => text,
        }
    }

    /// Returns the tenant whose issuer `iss` is. Its id has no slash, so that it is one segment of a path.
    pub(super) fn tenant<'a>(&self, iss: &'a str) -> Option<&'a str> {
        let Self::Tenants { prefix, suffix, .. } = self else { return None };
        let tenant = iss.strip_prefix(prefix.as_str())?.strip_suffix(suffix.as_str())?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let fits = (1..=LONGEST_TENANT).contains(&tenant.len()) && tenant.bytes().all(is_plain);
        fits.then_some(tenant)
    }

    /// Returns whether a token with this `iss` is one of the issuer's, of an allowed tenant or another.
    pub(super) fn is_of(&self, iss: &str) -> bool {
        match self {
            Self::One(name) => name == iss,
            Self::Tenants { .. } => self.tenant(iss).is_some(),
        }
    }

    /// Returns whether the claims name the tenant that their `iss` does.
    pub(super) fn names_its_tenant(&self, iss: &str, claims: &Map<String, Value>) -> bool {
        match self {
            Self::One(_) => true,
            Self::Tenants { claim, .. } => {
                self.tenant(iss) == claims.get(claim).and_then(Value::as_str)
            }
        }
    }

    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if it is a template without tenants, or the other
    /// way round, or has more than one part to be replaced.
    pub(super) fn check(&self, tenants: Option<&BTreeSet<String>>) -> Result<(), Error> {
        let problem = match (self, tenants) {
            (Self::One(text), _) if text.contains(['{', '}']) => {
                "is not a template that can be read"
            }
            (Self::One(_), Some(_)) => "is no template, and has tenants",
            (Self::One(_), None) => return Ok(()),
            (Self::Tenants { claim, suffix, .. }, _)
                if claim.is_empty() || suffix.contains(['{', '}']) =>
            {
                "is a template with more than one part, or with one without a name"
            }
            (Self::Tenants { .. }, None) => "is a template, and needs its tenants",
            (Self::Tenants { .. }, Some(tenants)) if tenants.is_empty() => "allows no tenant",
            (Self::Tenants { .. }, Some(_)) => return Ok(()),
        };
        Err(Error::configuration(format!("the trusted issuer {} {problem}", self.as_str())))
    }
}
