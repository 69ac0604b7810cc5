//! Identifiers, validated at their creation.

use std::fmt;

use crate::error::{Error, ErrorKind};
use crate::token::text;

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        ///
        /// 1 to 256 bytes, not blank, without control characters; taken exactly as written.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Creates an id from `text`.
            ///
            /// # Errors
            ///
            /// [`ErrorKind::InvalidRequest`] if it is blank, longer than 256 bytes, or contains control characters.
            pub fn new(text: impl AsRef<str>) -> Result<Self, Error> {
                let text = text.as_ref();
                if text::is_text(text, text::MAX_LEN) {
                    Ok(Self(text.into()))
                } else {
                    let problem = format!("{} {}", $kind, text::RULE);
                    Err(Error::new(ErrorKind::InvalidRequest, problem))
                }
            }

            /// Returns its text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = Error;

            fn try_from(text: &str) -> Result<Self, Error> {
                Self::new(text)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(text).map_err(serde::de::Error::custom)
            }
        }
    };
}

identifier! {
    /// The id of a customer: the subject of the tokens exchanged from its sessions.
    CustomerId, "a customer id"
}
identifier! {
    /// The organization that a principal or a session belongs to.
    OrganizationId, "an organization id"
}
identifier! {
    /// The public id of a session, as tokens carry it in `sid`; never the authentication token.
    SessionId, "a session id"
}
identifier! {
    /// The id of one access token, its `jti` (RFC 7519 §4.1.7).
    TokenId, "a token id"
}

impl TokenId {
    /// A `jti` as a trusted issuer wrote it: any text that is not empty.
    pub(crate) fn from_signed_claim(text: &str) -> Self {
        Self(text.into())
    }
}
