use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::token::acl::MAX_PERMISSION_LEN;

/// A permission, or a pattern of permissions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Permission {
    All,
    Exactly(Arc<str>),
    StartsWith(Arc<str>),
}

impl Permission {
    /// An operation id: 1 to 128 characters of RFC 6749's `scope-token` (§3.3) without `*`, so that a
    /// `WWW-Authenticate` header can contain it unchanged.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if text == "*" {
            return Ok(Self::All);
        }
        let (id, pattern) = match text.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (text, false),
        };
        let allowed = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e) && byte != b'*';
        if id.is_empty() || id.len() > MAX_PERMISSION_LEN || !id.bytes().all(allowed) {
            return Err("must be `*` or an operation id of 1 to 128 visible ASCII characters \
                        without `*`, `\"` and `\\`");
        }
        Ok(if pattern { Self::StartsWith(id.into()) } else { Self::Exactly(id.into()) })
    }

    /// Returns whether it is that operation id, and not a pattern.
    pub(super) fn is(&self, permission: &str) -> bool {
        matches!(self, Self::Exactly(id) if **id == *permission)
    }

    pub(super) fn grants(&self, permission: &str) -> bool {
        match self {
            Self::All => true,
            Self::Exactly(_) => self.is(permission),
            Self::StartsWith(prefix) => permission.starts_with(&**prefix),
        }
    }

    pub(super) fn covers(&self, narrower: &Self) -> bool {
        match (self, narrower) {
            (Self::All, _) => true,
            (_, Self::All) | (Self::Exactly(_), Self::StartsWith(_)) => false,
            (_, Self::Exactly(id)) => self.grants(id),
            (Self::StartsWith(wide), Self::StartsWith(narrow)) => narrow.starts_with(&**wide),
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Exactly(id) => f.write_str(id),
            Self::StartsWith(prefix) => write!(f, "{prefix}*"),
        }
    }
}

impl Serialize for Permission {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Exactly(id) => serializer.serialize_str(id),
            pattern => serializer.collect_str(pattern),
        }
    }
}
