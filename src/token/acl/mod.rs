//! Access-control lists: who may do what, in which scope.

mod entry;
mod index;
mod permission;
mod raw;
mod read;

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::error::{Error, ErrorKind};
use crate::token::acl::entry::Scope;
use crate::token::acl::index::Index;
use crate::token::acl::permission::Permission;
use crate::token::acl::raw::Raw;
use crate::token::acl::read::read_list;
use crate::token::identifier::OrganizationId;

pub use self::entry::AclEntry;
pub(crate) use self::read::AclFault;

/// Up to this many permissions, a linear search is faster than an index.
const FEW: usize = 8;
const MAX_PERMISSION_LEN: usize = 128;
const MAX_SCOPE_KEY_LEN: usize = 64;
/// The scope key for organizations.
pub(crate) const ORGANIZATION: &str = "organizationId";

/// An access-control list: who may do what, in which scope. The default grants nothing.
///
/// It is a list of entries; each grants its *permissions* within its *scope*.
///
/// ```json
/// [{"scope": {"organizationId": ["org_1"]}, "permissions": ["GetOrders", "PostOrder"]}]
/// ```
///
/// 1. A scope key that is absent does not restrict; one that is present restricts to its values. Keys AND, values
///    OR, entries OR. Any key may be used: `organizationId`, `productId`, `planId` and `customFieldName` are merely
///    the documented ones.
/// 2. A permission is an operation id. `*` alone grants all; `Storefront*` grants every id that begins with
///    `Storefront`, if the policy allows that.
/// 3. A caller must not send an empty list ("none" to some, "all" to others). An ACL without entries, which a host
///    may register, grants nothing.
/// 4. A principal that is bound to an organization holds nothing outside it: its ACL is read as if each entry were
///    scoped to that `organizationId`. See [`Validated::allows`](crate::Validated::allows).
/// 5. An entry *lies within* an ACL if each of its permissions is granted by one single entry there whose scope
///    covers the entry's.
///
/// ```
/// use countersign::{Acl, AclEntry};
///
/// let held = Acl::new([AclEntry::new([("organizationId", ["org_1", "org_2"])], ["*"])?]);
/// let asked = Acl::new([AclEntry::new([("organizationId", ["org_1"])], ["GetOrders"])?]);
///
/// assert!(asked.narrows(&held));
/// assert!(!held.narrows(&asked));
/// assert!(asked.allows("GetOrders", &[("organizationId", "org_1")]));
/// assert!(!asked.allows("GetOrders", &[("organizationId", "org_2")]));
/// # Ok::<(), countersign::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Acl {
    list: Arc<List>,
}

#[derive(Default)]
struct List {
    entries: Box<[AclEntry]>,
    /// The number of permissions in all entries.
    permissions: usize,
    /// Built at the first check of a long ACL.
    index: OnceLock<Index>,
}

impl PartialEq for Acl {
    fn eq(&self, other: &Self) -> bool {
        self.entries() == other.entries()
    }
}

impl Eq for Acl {}

impl Acl {
    /// Creates an ACL from entries.
    pub fn new(entries: impl IntoIterator<Item = AclEntry>) -> Self {
        let entries: Box<[AclEntry]> = entries.into_iter().collect();
        let permissions = entries.iter().map(|entry| entry.permissions.len()).sum();
        Self { list: Arc::new(List { entries, permissions, index: OnceLock::new() }) }
    }

    /// Returns the ACL that grants everything: `[{"scope": {}, "permissions": ["*"]}]`.
    #[must_use]
    pub fn everything() -> Self {
        Self::new([AclEntry { scope: Scope::default(), permissions: [Permission::All].into() }])
    }

    /// Returns its entries, in order.
    #[must_use]
    pub fn entries(&self) -> &[AclEntry] {
        &self.list.entries
    }

    /// Returns whether it grants nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// Returns whether one entry grants `permission` in a scope with these values.
    ///
    /// An entry that restricts a key which `scope` does not name does not match: an unknown value is not inside.
    #[must_use]
    pub fn allows(&self, permission: &str, scope: &[(&str, &str)]) -> bool {
        self.allows_by_name(&[], permission, scope)
    }

    /// Checks [`allows`](Self::allows) with the rule that a permission in `by_name` must be named: no wildcard
    /// grants it.
    pub(crate) fn allows_by_name(
        &self,
        by_name: &[&str],
        permission: &str,
        scope: &[(&str, &str)],
    ) -> bool {
        let entries = self.entries();
        if by_name.contains(&permission) {
            return entries
                .iter()
                .any(|entry| entry.names(permission) && entry.scope.contains(scope));
        }
        if self.list.permissions <= FEW {
            return entries.iter().any(|entry| entry.allows(permission, scope));
        }
        let index = self.list.index.get_or_init(|| Index::new(entries));
        index
            .granting(permission)
            .any(|number| entries.get(number).is_some_and(|entry| entry.scope.contains(scope)))
    }

    /// Checks [`allows`](Self::allows) for a principal that is bound to `organization`: in each entry,
    /// `organizationId` is restricted to that one.
    pub(crate) fn allows_within(
        &self,
        organization: Option<&OrganizationId>,
        permission: &str,
        scope: &[(&str, &str)],
    ) -> bool {
        let is_inside = organization.is_none_or(|id| {
            let mut asked = scope.iter().filter(|(key, _)| *key == ORGANIZATION).peekable();
            asked.peek().is_some() && asked.all(|(_, value)| *value == id.as_str())
        });
        is_inside && self.allows(permission, scope)
    }

    /// Returns the ACL as a principal holds it that is bound to `organization`.
    #[must_use]
    pub(crate) fn within(&self, organization: Option<&OrganizationId>) -> Self {
        let Some(id) = organization else { return self.clone() };
        Self::new(self.entries().iter().filter_map(|entry| entry.within(id)))
    }

    /// Returns whether every entry lies within `wider`.
    #[must_use]
    pub fn narrows(&self, wider: &Self) -> bool {
        self.first_beyond([wider]).is_none()
    }

    /// Returns the index of the first entry that lies within none of `grants`.
    #[must_use]
    pub fn first_beyond<'a>(&self, grants: impl IntoIterator<Item = &'a Self>) -> Option<usize> {
        let grants: Vec<_> = grants.into_iter().cloned().collect();
        self.first_beyond_within(None, &[], &grants)
    }

    /// Returns [`first_beyond`](Self::first_beyond) of an ACL for a holder that is bound to `organization`; a
    /// permission in `by_name` lies within no wildcard.
    pub(crate) fn first_beyond_within(
        &self,
        organization: Option<&OrganizationId>,
        by_name: &[&str],
        grants: &[Self],
    ) -> Option<usize> {
        let is_given =
            |entry: &AclEntry| grants.iter().any(|grant| entry.lies_within(grant, by_name));
        self.entries().iter().position(|entry| match organization {
            None => !is_given(entry),
            Some(id) => !entry.within(id).is_some_and(|entry| is_given(&entry)),
        })
    }

    /// Returns the intersection: it allows a request if and only if both allow it.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        Self::new(
            self.entries()
                .iter()
                .flat_map(|a| other.entries().iter().filter_map(move |b| a.intersect(b))),
        )
    }

    /// Returns whether a permission other than `*` ends in a wildcard.
    #[must_use]
    pub fn uses_trailing_wildcards(&self) -> bool {
        let trailing = |permission: &Permission| matches!(permission, Permission::StartsWith(_));
        self.entries().iter().any(|entry| entry.permissions.iter().any(trailing))
    }

    /// Reads an ACL from JSON, and reports all of its faults at once.
    pub(crate) fn from_json(value: &Value) -> Result<Self, Vec<AclFault>> {
        read_list(&Raw::deserialize(value).unwrap_or(Raw::Other))
    }
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

/// For a host's own configuration: the format of [`Acl`] in tokens, in which an empty list is allowed.
impl<'de> Deserialize<'de> for Acl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_list(&Raw::deserialize(deserializer)?)
            .map_err(|faults| serde::de::Error::custom(text_of_first(faults)))
    }
}

impl TryFrom<&Value> for Acl {
    type Error = Error;

    fn try_from(value: &Value) -> Result<Self, Error> {
        Self::from_json(value)
            .map_err(|faults| Error::new(ErrorKind::InvalidRequest, text_of_first(faults)))
    }
}

fn text_of_first(faults: Vec<AclFault>) -> String {
    let first = faults.into_iter().next().map(|fault| fault.into_field().0);
    first.map(|invalid| format!("{} {}", invalid.field, invalid.message)).unwrap_or_default()
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
    fn what_has_to_be_named_is_granted_by_no_wildcard_and_given_by_nobody_who_does_not_hold_it() {
        const BY_NAME: &[&str] = &["GetIt"];
        let scopes = [json!({}), json!({"a": ["1"]}), json!({"a": ["1", "2"]})];
        let patterns = ["*", "Get*", "G*", "GetIt", "GetIt*", "GetOther"];
        let entries: Vec<_> = scopes
            .iter()
            .flat_map(|scope| {
                patterns.map(|pattern| json!({"scope": scope, "permissions": [pattern]}))
            })
            .collect();
        let lists = || {
            let pairs = entries.iter().flat_map(|a| entries.iter().map(move |b| (a, b)));
            pairs.map(|(a, b)| acl(&json!([a, b])))
        };
        for list in lists() {
            let is_named = list.entries().iter().any(|entry| entry.names("GetIt"));
            let allowed = |value| list.allows_by_name(BY_NAME, "GetIt", &[("a", value)]);
            assert!(is_named || !allowed("1"), "{list:?}");
            assert_eq!(list.first_beyond_within(None, BY_NAME, std::slice::from_ref(&list)), None);
            for asked in &entries {
                let asked = acl(&json!([asked]));
                let is_given =
                    asked.first_beyond_within(None, BY_NAME, std::slice::from_ref(&list)).is_none();
                assert!(!is_given || asked.narrows(&list));
                for value in ["1", "2", "3"] {
                    let given = asked.allows_by_name(BY_NAME, "GetIt", &[("a", value)]);
                    assert!(!is_given || !given || allowed(value), "{asked:?} {list:?}");
                    let other = asked.allows_by_name(BY_NAME, "GetOther", &[("a", value)]);
                    assert_eq!(other, asked.allows("GetOther", &[("a", value)]));
                }
            }
        }
    }

    #[test]
    fn permissions_that_only_look_like_patterns_are_rejected() {
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
