//! Names of things, checked once and then trusted.

use std::fmt;

use crate::error::{Error, ErrorKind};

/// Longest identifier in bytes: room for an e-mail address (RFC 5321 §4.5.3.1: 254).
const MAX_LEN: usize = 256;

fn check(kind: &'static str, text: &str) -> Result<(), Error> {
    let problem = if text.trim().is_empty() {
        "must not be blank"
    } else if text.len() > MAX_LEN {
        "must be at most 256 bytes long"
    } else if text.chars().any(char::is_control) {
        "must not hold control characters"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidRequest, format!("{kind} {problem}")))
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        ///
        /// 1 to 256 bytes, not blank, without control characters; taken exactly as written.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Checks `text` and keeps it.
            ///
            /// # Errors
            ///
            /// [`ErrorKind::InvalidRequest`] where it is blank, longer than 256 bytes, or holds
            /// control characters.
            pub fn new(text: impl AsRef<str>) -> Result<Self, Error> {
                check($kind, text.as_ref())?;
                Ok(Self(text.as_ref().into()))
            }

            /// The text it was made from.
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
    /// The organization that an entity or a session belongs to.
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
    /// A `jti` as somebody whose keys are trusted wrote it: any text that is not empty.
    pub(crate) fn from_signed_claim(text: &str) -> Self {
        Self(text.into())
    }
}
