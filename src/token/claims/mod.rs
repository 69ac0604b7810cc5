//! The claims of an access token: those of RFC 9068 and this crate's own.

mod read;
mod validated;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json;
use crate::token::acl::Acl;
use crate::token::identifier::{OrganizationId, SessionId, TokenId};

#[cfg(feature = "remote-jwks")]
pub(crate) use self::read::audience;
pub use self::validated::Validated;

/// The kind of principal that a token was issued to: the claim `subject_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SubjectType {
    /// A user, who logs in with a name and a password.
    User,
    /// A machine client with an id and a secret; `entity` on the wire.
    #[serde(rename = "entity")]
    Machine,
    /// A customer, with a session.
    Customer,
}

impl SubjectType {
    /// Returns the value of the claim.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Machine => "entity",
            Self::Customer => "customer",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::User, Self::Machine, Self::Customer].into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for SubjectType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The claims of an access token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    #[serde(deserialize_with = "read::filled")]
    pub(crate) sub: String,
    #[serde(deserialize_with = "read::subject_type")]
    pub(crate) subject_type: SubjectType,
    #[serde(serialize_with = "write_audience", deserialize_with = "read::audience")]
    pub(crate) aud: Vec<String>,
    #[serde(deserialize_with = "read::numeric_date")]
    pub(crate) iat: u64,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::some_date"
    )]
    pub(crate) nbf: Option<u64>,
    #[serde(deserialize_with = "read::numeric_date")]
    pub(crate) exp: u64,
    /// Microseconds since 1970: the latest revocation of the subject that the issuer knew of. Present only if that
    /// revocation could otherwise be taken to include this token.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::some_date"
    )]
    pub(crate) after_revocation_us: Option<u64>,
    #[serde(deserialize_with = "read::token_id")]
    pub(crate) jti: TokenId,
    #[serde(deserialize_with = "read::filled")]
    pub(crate) client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sid: Option<SessionId>,
    #[serde(rename = "organizationId", skip_serializing_if = "Option::is_none")]
    pub(crate) organization_id: Option<OrganizationId>,
    pub(crate) acl: Acl,
    #[serde(rename = "customClaims", default, skip_serializing_if = "Map::is_empty")]
    #[serde(deserialize_with = "json::object")]
    pub(crate) custom_claims: Map<String, Value>,
}

/// RFC 7519 §4.1.3: a single audience may be a plain string, which every client can read.
fn write_audience<S: serde::Serializer>(audiences: &[String], s: S) -> Result<S::Ok, S::Error> {
    match audiences {
        [one] => s.serialize_str(one),
        several => s.collect_seq(several),
    }
}
