//! Access-control lists: who may do what, where.
//!
//! An [`Acl`] is a list of entries; each grants its *permissions* within its *scope*.
//!
//! ```json
//! [{"scope": {"organizationId": ["org_1"]}, "permissions": ["GetOrders", "PostOrder"]}]
//! ```
//!
//! 1. A scope key that is absent does not restrict; one that is there restricts to its values.
//!    Keys AND, values OR, entries OR. Any key may be used: `organizationId`, `productId`,
//!    `planId` and `customFieldName` are merely the documented ones.
//! 2. A permission is an operation id. `*` alone grants all; `Storefront*` grants what begins with
//!    `Storefront` where the policy opens that.
//! 3. An empty list is never written by a caller ("none" to some, "all" to others). An ACL without
//!    entries, which a host may register, grants nothing.
//! 4. An entry *lies within* an ACL where each of its permissions is granted by one single entry
//!    there whose scope covers the entry's.
//!
//! ```
//! use countersign::{Acl, AclEntry};
//!
//! let held = Acl::new([AclEntry::new([("organizationId", ["org_1", "org_2"])], ["*"])?]);
//! let asked = Acl::new([AclEntry::new([("organizationId", ["org_1"])], ["GetOrders"])?]);
//!
//! assert!(asked.narrows(&held));
//! assert!(!held.narrows(&asked));
//! assert!(asked.allows("GetOrders", &[("organizationId", "org_1")]));
//! assert!(!asked.allows("GetOrders", &[("organizationId", "org_2")]));
//! # Ok::<(), countersign::Error>(())
//! ```

mod claim;
mod index;
mod read;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::domain::acl::index::Index;
use crate::domain::acl::read::{Faults, read_entry, read_permissions, read_scope};
use crate::error::{Error, ErrorKind, InvalidField};

pub(crate) use self::claim::ReadAcl;
pub(crate) use self::read::Fault;

/// Up to so many permissions, looking at each is faster than an index.
const FEW: usize = 8;
const MAX_PERMISSION_LEN: usize = 128;
const MAX_SCOPE_KEY_LEN: usize = 64;
const MAX_SCOPE_VALUE_LEN: usize = 256;

/// An access-control list; see the [module docs](self). The default one grants nothing.
#[derive(Clone, Default)]
pub struct Acl {
    list: Arc<List>,
}

#[derive(Default)]
struct List {
    entries: Box<[AclEntry]>,
    /// Of all entries together.
    permissions: usize,
    /// Made when a long list is first asked what it allows.
    index: OnceLock<Index>,
}

impl PartialEq for Acl {
    fn eq(&self, other: &Self) -> bool {
        self.entries() == other.entries()
    }
}

impl Eq for Acl {}

impl Acl {
    /// A list of entries.
    pub fn new(entries: impl IntoIterator<Item = AclEntry>) -> Self {
        let entries: Box<[AclEntry]> = entries.into_iter().collect();
        let permissions = entries.iter().map(|entry| entry.permissions.len()).sum();
        Self { list: Arc::new(List { entries, permissions, index: OnceLock::new() }) }
    }

    /// Everything, everywhere: `[{"scope": {}, "permissions": ["*"]}]`.
    #[must_use]
    pub fn everything() -> Self {
        Self::new([AclEntry { scope: Scope::default(), permissions: [Permission::All].into() }])
    }

    /// Its entries, in order.
    #[must_use]
    pub fn entries(&self) -> &[AclEntry] {
        &self.list.entries
    }

    /// Whether it grants nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// Whether one entry grants `permission` where the scope has these values.
    ///
    /// A key that an entry restricts and that `scope` does not name is not allowed: what is
    /// unknown is not inside.
    #[must_use]
    pub fn allows(&self, permission: &str, scope: &[(&str, &str)]) -> bool {
        let entries = self.entries();
        if self.list.permissions <= FEW {
            return entries.iter().any(|entry| entry.allows(permission, scope));
        }
        let index = self.list.index.get_or_init(|| Index::new(entries));
        index
            .granting(permission)
            .any(|number| entries.get(number).is_some_and(|entry| entry.scope.contains(scope)))
    }

    /// About what it takes in memory, in bytes, its index included.
    pub(crate) fn size(&self) -> usize {
        const ENTRY: usize = 768;
        const TEXT: usize = 160;
        let texts = |entry: &AclEntry| {
            let values = entry.scope.0.values().flatten();
            values.map(|value| value.len() + TEXT).sum::<usize>()
        };
        let entries = self.entries().iter().map(|entry| ENTRY + texts(entry)).sum::<usize>();
        entries + self.list.permissions * TEXT
    }

    /// Whether every entry lies within `wider`.
    #[must_use]
    pub fn narrows(&self, wider: &Self) -> bool {
        self.first_beyond([wider]).is_none()
    }

    /// The index of the first entry that lies within none of `grants`.
    #[must_use]
    pub fn first_beyond<'a>(&self, grants: impl IntoIterator<Item = &'a Self>) -> Option<usize> {
        let grants: Vec<_> = grants.into_iter().collect();
        self.entries().iter().position(|entry| !grants.iter().any(|grant| entry.lies_within(grant)))
    }

    /// What both grant: a request is allowed by the result exactly where it is allowed by both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        Self::new(
            self.entries()
                .iter()
                .flat_map(|a| other.entries().iter().filter_map(move |b| a.intersect(b))),
        )
    }

    /// Whether a permission other than `*` ends in a wildcard.
    #[must_use]
    pub fn uses_trailing_wildcards(&self) -> bool {
        let trailing = |permission: &Permission| matches!(permission, Permission::StartsWith(_));
        self.entries().iter().any(|entry| entry.permissions.iter().any(trailing))
    }

    /// Reads a list from JSON, telling all that is wrong with it at once.
    pub(crate) fn from_json(value: &Value) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let entries: Vec<_> = match value.as_array() {
            Some(array) => array
                .iter()
                .enumerate()
                .filter_map(|(index, entry)| read_entry(entry, &index.to_string(), &mut faults))
                .collect(),
            None => {
                faults.wrong_type("", "must be an array");
                Vec::new()
            }
        };
        faults.or(Self::new(entries))
    }
}

/// One grant: permissions within a scope; see the [module docs](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclEntry {
    scope: Scope,
    permissions: Arc<[Permission]>,
}

impl AclEntry {
    /// Permissions within a scope. The scope is given as keys with their values; an empty one does
    /// not restrict.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidFields`] where a list is empty, or a key, value or permission is blank,
    /// too long, or not made of the characters that it may have.
    pub fn new<K, V, P>(
        scope: impl IntoIterator<Item = (K, V)>,
        permissions: impl IntoIterator<Item = P>,
    ) -> Result<Self, Error>
    where
        K: Into<String>,
        V: IntoIterator,
        V::Item: Into<String>,
        P: Into<String>,
    {
        let texts = |values: V| values.into_iter().map(|v| Value::String(v.into())).collect();
        let scope: serde_json::Map<_, _> = scope
            .into_iter()
            .map(|(key, values)| (key.into(), Value::Array(texts(values))))
            .collect();
        let permissions: Vec<_> =
            permissions.into_iter().map(|permission| Value::String(permission.into())).collect();
        let mut faults = Faults::default();
        let scope = read_scope(&Value::Object(scope), "scope", &mut faults);
        let permissions = read_permissions(&Value::Array(permissions), "permissions", &mut faults);
        let fields = |faults: Vec<Fault>| {
            faults.into_iter().map(|fault| InvalidField::new(fault.path, fault.message)).collect()
        };
        faults
            .or(Self { scope, permissions: permissions.into() })
            .map_err(|faults| Error::from_invalid_fields(fields(faults)))
    }

    /// Its permissions as text, in order.
    pub fn permissions(&self) -> impl Iterator<Item = String> + '_ {
        self.permissions.iter().map(Permission::to_string)
    }

    /// The keys that its scope restricts, with their values.
    pub fn scope(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.scope.0.iter().map(|(key, values)| (key.as_str(), values.as_slice()))
    }

    fn allows(&self, permission: &str, scope: &[(&str, &str)]) -> bool {
        self.permissions.iter().any(|held| held.grants(permission)) && self.scope.contains(scope)
    }

    fn lies_within(&self, wider: &Acl) -> bool {
        self.permissions.iter().all(|permission| {
            wider.entries().iter().any(|entry| {
                entry.permissions.iter().any(|held| held.covers(permission))
                    && entry.scope.covers(&self.scope)
            })
        })
    }

    fn intersect(&self, other: &Self) -> Option<Self> {
        let scope = self.scope.intersect(&other.scope)?;
        let mut permissions = Vec::new();
        for (a, b) in
            self.permissions.iter().flat_map(|a| other.permissions.iter().map(move |b| (a, b)))
        {
            // Two patterns either lie one within the other or have nothing in common.
            let common = if a.covers(b) {
                b
            } else if b.covers(a) {
                a
            } else {
                continue;
            };
            if !permissions.contains(common) {
                permissions.push(common.clone());
            }
        }
        (!permissions.is_empty()).then(|| Self { scope, permissions: permissions.into() })
    }
}

/// Where an entry holds: every key must have one of its values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Scope(Arc<BTreeMap<String, Vec<String>>>);

impl Scope {
    fn contains(&self, request: &[(&str, &str)]) -> bool {
        // A key that is asked for twice has to fit both times.
        self.0.iter().all(|(key, values)| {
            let mut asked = request.iter().filter(|(name, _)| name == key).peekable();
            asked.peek().is_some() && asked.all(|(_, value)| values.iter().any(|v| v == value))
        })
    }

    fn covers(&self, narrower: &Self) -> bool {
        self.0.iter().all(|(key, values)| {
            narrower
                .0
                .get(key)
                .is_some_and(|inner| inner.iter().all(|value| values.contains(value)))
        })
    }

    /// `None` where no request can be in both.
    fn intersect(&self, other: &Self) -> Option<Self> {
        let mut keys = (*self.0).clone();
        for (key, theirs) in other.0.iter() {
            match keys.get_mut(key) {
                Some(ours) => ours.retain(|value| theirs.contains(value)),
                None => {
                    keys.insert(key.clone(), theirs.clone());
                }
            }
        }
        keys.values().all(|values| !values.is_empty()).then(|| Self(Arc::new(keys)))
    }
}

/// One permission, or a pattern of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Permission {
    All,
    Exactly(Arc<str>),
    StartsWith(Arc<str>),
}

impl Permission {
    /// An operation id: 1 to 128 characters of RFC 6749's `scope-token` (§3.3) without `*`, so
    /// that it can be named in a `WWW-Authenticate` header as it is.
    fn parse(text: &str) -> Result<Self, &'static str> {
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

    fn grants(&self, permission: &str) -> bool {
        match self {
            Self::All => true,
            Self::Exactly(id) => **id == *permission,
            Self::StartsWith(prefix) => permission.starts_with(&**prefix),
        }
    }

    fn covers(&self, narrower: &Self) -> bool {
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

/// Not blank, not too long, without control characters.
fn is_text(text: &str, max_len: usize) -> bool {
    !text.trim().is_empty() && text.len() <= max_len && !text.chars().any(char::is_control)
}

impl fmt::Debug for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries().iter()).finish()
    }
}

impl Serialize for Acl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.entries().iter())
    }
}

impl Serialize for AclEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entry = serializer.serialize_struct("AclEntry", 2)?;
        entry.serialize_field("scope", &*self.scope.0)?;
        entry.serialize_field("permissions", &self.permissions.as_ref())?;
        entry.end()
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

/// For a host's own configuration: the form of the [module docs](self), an empty list allowed.
impl<'de> Deserialize<'de> for Acl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::from_json(&value).map_err(|faults| {
            let first = faults.into_iter().next();
            let text = first.map(|fault| format!("{} {}", fault.field(), fault.message));
            serde::de::Error::custom(text.unwrap_or_default())
        })
    }
}

impl TryFrom<&Value> for Acl {
    type Error = Error;

    fn try_from(value: &Value) -> Result<Self, Error> {
        Self::deserialize(value)
            .map_err(|error| Error::new(ErrorKind::InvalidRequest, error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn acl(value: &Value) -> Acl {
        Acl::from_json(value).unwrap_or_else(|faults| unreachable!("{faults:?}"))
    }

    #[test]
    fn keys_and_values_or_entries_or() {
        let acl = acl(&json!([
            {"scope": {"a": ["1", "2"], "b": ["x"]}, "permissions": ["Get"]},
            {"scope": {}, "permissions": ["Put"]},
        ]));
        assert!(acl.allows("Get", &[("a", "2"), ("b", "x"), ("c", "?")]));
        assert!(!acl.allows("Get", &[("a", "2"), ("b", "y")]));
        assert!(!acl.allows("Get", &[("a", "2")]));
        assert!(acl.allows("Put", &[]));
        assert!(!acl.allows("put", &[]));
        assert!(!acl.allows("Get", &[("a", "2"), ("a", "3"), ("b", "x")]));
    }

    #[test]
    fn a_long_list_allows_what_its_entries_allow() {
        let many: Vec<_> = (0..40).map(|n| format!("Many{n}")).collect();
        let acl = acl(&json!([
            {"scope": {"a": ["1"]}, "permissions": many},
            {"scope": {"a": ["2"]}, "permissions": ["Many1", "Get*", "G*"]},
            {"scope": {"a": ["3"]}, "permissions": ["*"]},
        ]));
        for permission in ["Many1", "Many39", "Many40", "Get", "GetOrders", "G", "", "é", "M"] {
            for value in ["1", "2", "3", "4"] {
                let scope = [("a", value)];
                let expected = acl.entries().iter().any(|entry| entry.allows(permission, &scope));
                assert_eq!(acl.allows(permission, &scope), expected, "{permission} {value}");
            }
        }
    }

    #[test]
    fn each_permission_needs_one_single_entry_that_covers_it() {
        let wide = acl(&json!([
            {"scope": {"a": ["1"]}, "permissions": ["Get"]},
            {"scope": {"a": ["2"]}, "permissions": ["Get", "Put"]},
        ]));
        let within = acl(&json!([{"scope": {"a": ["2"]}, "permissions": ["Put", "Get"]}]));
        let spread = acl(&json!([{"scope": {"a": ["1", "2"]}, "permissions": ["Get"]}]));
        let unrestricted = acl(&json!([{"scope": {}, "permissions": ["Get"]}]));
        assert!(within.narrows(&wide));
        assert!(!spread.narrows(&wide));
        assert!(!unrestricted.narrows(&wide));
        assert_eq!(spread.first_beyond([&wide, &Acl::everything()]), None);
    }

    #[test]
    fn a_wildcard_is_covered_by_a_wider_one_alone() {
        let of = |permission: &str| acl(&json!([{"scope": {}, "permissions": [permission]}]));
        assert!(of("Store*").narrows(&of("S*")));
        assert!(of("Store").narrows(&of("Store*")));
        assert!(of("Store*").narrows(&of("*")));
        assert!(!of("S*").narrows(&of("Store*")));
        assert!(!of("*").narrows(&of("Store*")));
        assert!(!of("Store*").narrows(&of("Store")));
        assert!(of("Store*").uses_trailing_wildcards());
        assert!(!of("*").uses_trailing_wildcards());
    }

    #[test]
    fn permissions_that_only_look_like_patterns_are_refused() {
        for bad in ["", " ", "Store**", "a:*:b", "*Store", "**", "a\\*", "Get Orders", "é", "a\"b"]
        {
            let value = json!([{"scope": {}, "permissions": [bad]}]);
            assert!(Acl::from_json(&value).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn all_faults_are_told_at_once_with_their_place() {
        let faults = Acl::from_json(&json!([
            {"scope": {"a": []}, "permissions": []},
            {"permissions": [1]},
            {"scope": {"planId": [""]}, "permissions": ["Get"]},
        ]))
        .unwrap_err();
        let paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
        let expected =
            ["0.scope.a", "0.permissions", "1.scope", "1.permissions.0", "2.scope.planId.0"];
        assert_eq!(paths, expected);
    }

    #[test]
    fn the_intersection_allows_what_both_allow() {
        let a = acl(&json!([{"scope": {"a": ["1", "2"]}, "permissions": ["Get*"]}]));
        let b = acl(
            &json!([{"scope": {"a": ["2", "3"], "b": ["x"]}, "permissions": ["GetOrders", "Put"]}]),
        );
        let both = a.intersect(&b);
        assert!(both.allows("GetOrders", &[("a", "2"), ("b", "x")]));
        assert!(!both.allows("GetOrders", &[("a", "3"), ("b", "x")]));
        assert!(!both.allows("Put", &[("a", "2"), ("b", "x")]));
        assert!(both.narrows(&a) && both.narrows(&b));
    }

    #[test]
    fn what_was_read_is_written_again_unchanged() {
        let value = json!([{"scope": {"planId": ["b", "a"]}, "permissions": ["Z", "A*", "*"]}]);
        assert_eq!(serde_json::to_value(acl(&value)).ok(), Some(value));
    }
}
