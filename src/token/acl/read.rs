//! Validates an ACL from any source, and reports all of its faults at once, with their paths.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Arguments;
use std::hash::Hash;
use std::sync::Arc;

use crate::error::InvalidField;
use crate::token::acl::raw::Raw;
use crate::token::acl::{Acl, AclEntry, MAX_SCOPE_KEY_LEN, Permission, Scope};
use crate::token::text::{self, is_text};

/// A fault of a value, with its path.
#[derive(Debug)]
pub(crate) struct AclFault {
    /// In dot notation, without the field's own name; empty for the value itself.
    pub(crate) path: String,
    pub(crate) message: String,
    /// Whether the value has a wrong JSON type, rather than an invalid content.
    wrong_type: bool,
}

impl AclFault {
    /// Returns its path with the field's own name in front: `acl.0.scope`.
    fn field(&self) -> String {
        if self.path.is_empty() { "acl".to_owned() } else { format!("acl.{}", self.path) }
    }

    /// Returns the field with its message, and whether the value is of a wrong JSON type.
    pub(crate) fn into_field(self) -> (InvalidField, bool) {
        let field = self.field();
        (InvalidField::new(field, self.message), self.wrong_type)
    }
}

/// More faults than a person fixes at once. Any client may send an ACL that is full of faults, and the response must
/// not be many times as long.
const MAX_FAULTS: usize = 32;

#[derive(Default)]
pub(super) struct Faults(Vec<AclFault>);

impl Faults {
    fn wrong_type(&mut self, path: Arguments<'_>, message: &str) {
        self.add(path, message, true);
    }

    fn invalid(&mut self, path: Arguments<'_>, message: &str) {
        self.add(path, message, false);
    }

    fn add(&mut self, path: Arguments<'_>, message: &str, wrong_type: bool) {
        if self.0.len() < MAX_FAULTS {
            self.0.push(AclFault { path: path.to_string(), message: message.into(), wrong_type });
        }
    }

    pub(super) fn or<T>(self, value: T) -> Result<T, Vec<AclFault>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}

/// Reads an ACL, and returns all of its faults at once.
pub(super) fn read_list(list: &Raw<'_>) -> Result<Acl, Vec<AclFault>> {
    let mut faults = Faults::default();
    let Raw::Array(array) = list else {
        faults.wrong_type(format_args!(""), "must be an array");
        return faults.or(Acl::default());
    };
    let entries = array.iter().enumerate();
    let acl = Acl::new(
        entries
            .filter_map(|(index, entry)| read_entry(entry, format_args!("{index}"), &mut faults)),
    );
    faults.or(acl)
}

/// Reads an entry. Its path is formatted only for a fault, which most ACLs do not have.
fn read_entry(entry: &Raw<'_>, path: Arguments<'_>, faults: &mut Faults) -> Option<AclEntry> {
    let Raw::Object(members) = entry else {
        faults.wrong_type(path, "must be an object");
        return None;
    };
    let mut required = |name| {
        let found = members.iter().find(|(key, _)| key == name);
        if found.is_none() {
            faults.invalid(format_args!("{path}.{name}"), "is required");
        }
        found.map(|(_, value)| value)
    };
    let (scope, permissions) = (required("scope"), required("permissions"));
    let scope = scope
        .map(|scope| read_scope(scope, format_args!("{path}.scope"), faults))
        .unwrap_or_default();
    let permissions = permissions
        .map(|list| read_permissions(list, format_args!("{path}.permissions"), faults))
        .unwrap_or_default();
    Some(AclEntry { scope, permissions: permissions.into() })
}

pub(super) fn read_scope(scope: &Raw<'_>, path: Arguments<'_>, faults: &mut Faults) -> Scope {
    let Raw::Object(members) = scope else {
        faults.wrong_type(path, "must be an object");
        return Scope::default();
    };
    let mut scope = BTreeMap::new();
    for (key, values) in members {
        if !is_text(key, MAX_SCOPE_KEY_LEN) {
            faults.invalid(path, "has a key that is blank, too long or holds control characters");
            continue;
        }
        let values = read_texts(values, format_args!("{path}.{key}"), faults, |text| {
            is_text(text, text::MAX_LEN).then(|| text.to_owned()).ok_or(text::RULE)
        });
        scope.insert(key.clone().into_owned(), values);
    }
    Scope(Arc::new(scope))
}

pub(super) fn read_permissions(
    list: &Raw<'_>,
    path: Arguments<'_>,
    faults: &mut Faults,
) -> Vec<Permission> {
    read_texts(list, path, faults, Permission::parse)
}

/// Reads texts, at least one, and drops duplicates.
fn read_texts<T: Eq + Hash>(
    list: &Raw<'_>,
    path: Arguments<'_>,
    faults: &mut Faults,
    parse: impl Fn(&str) -> Result<T, &'static str>,
) -> Vec<T> {
    let Raw::Array(array) = list else {
        faults.wrong_type(path, "must be an array of strings");
        return Vec::new();
    };
    if array.is_empty() {
        faults.invalid(path, "must not be empty");
    }
    let mut list = Vec::with_capacity(array.len());
    for (index, element) in array.iter().enumerate() {
        let Raw::Text(text) = element else {
            faults.wrong_type(format_args!("{path}.{index}"), "must be a string");
            continue;
        };
        match parse(text) {
            Ok(item) => list.push(item),
            Err(message) => faults.invalid(format_args!("{path}.{index}"), message),
        }
    }
    without_repetitions(list)
}

/// Returns the list without duplicates, in the order of first occurrence.
fn without_repetitions<T: Eq + Hash>(mut list: Vec<T>) -> Vec<T> {
    /// Up to this length, the list is searched linearly, which is faster than hashing. For longer ones, which any
    /// client may send, the time would be quadratic.
    const FEW: usize = 16;
    if list.len() <= FEW {
        let mut kept = 0;
        for at in 0..list.len() {
            if !list[..kept].contains(&list[at]) {
                list.swap(kept, at);
                kept += 1;
            }
        }
        list.truncate(kept);
        return list;
    }
    let mut seen = HashSet::with_capacity(list.len());
    let is_first: Vec<_> = list.iter().map(|item| seen.insert(item)).collect();
    list.into_iter().zip(is_first).filter_map(|(item, is_first)| is_first.then_some(item)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_list_twice_is_kept_where_it_stood_first_however_long_the_list_is() {
        for distinct in [1, 15, 16, 17, 1_000] {
            let once: Vec<_> = (0..distinct).map(|number| format!("Get{number}")).collect();
            let halves = once.iter().flat_map(|item| [item, &once[0], item]);
            assert_eq!(without_repetitions(halves.cloned().collect()), once);
            assert_eq!(without_repetitions([&once[..], &once[..]].concat()), once);
            assert_eq!(without_repetitions(once.clone()), once);
        }
    }

    #[test]
    fn a_list_of_many_is_read_in_a_time_that_grows_as_it_does() {
        /// Counts the comparisons.
        #[derive(Clone)]
        struct Counting<'a>(usize, &'a std::cell::Cell<usize>);
        impl PartialEq for Counting<'_> {
            fn eq(&self, other: &Self) -> bool {
                self.1.set(self.1.get() + 1);
                self.0 == other.0
            }
        }
        impl Eq for Counting<'_> {}
        impl Hash for Counting<'_> {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.0.hash(state);
            }
        }
        let compared = std::cell::Cell::new(0);
        let list: Vec<_> = (0..4_000).map(|number| Counting(number, &compared)).collect();
        assert_eq!(without_repetitions(list).len(), 4_000);
        assert!(compared.get() < 4_000, "it was compared {} times", compared.get());
    }

    #[test]
    fn a_claim_is_read_as_a_request_is() {
        for text in [
            r#"[]"#,
            r#"[{"scope":{},"permissions":["*"]}]"#,
            r#"[{"scope":{"b":["x","x"],"a":["1"]},"permissions":["Get","Get","Put*"]}]"#,
            r#"[{"permissions":["Get"],"more":[1,{"x":null}],"scope":{}}]"#,
            r#"{}"#,
            r#"null"#,
            r#"[null]"#,
            r#"[{"scope":{}}]"#,
            r#"[{"permissions":["Get"]}]"#,
            r#"[{"scope":[],"permissions":["Get"]}]"#,
            r#"[{"scope":{"a":[]},"permissions":["Get"]}]"#,
            r#"[{"scope":{"a":"1"},"permissions":["Get"]}]"#,
            r#"[{"scope":{"a":[1]},"permissions":["Get"]}]"#,
            r#"[{"scope":{" ":["1"]},"permissions":["Get"]}]"#,
            r#"[{"scope":{"a":[" "]},"permissions":["Get"]}]"#,
            r#"[{"scope":{"a":["\u0000"]},"permissions":["Get"]}]"#,
            r#"[{"scope":{},"permissions":[]}]"#,
            r#"[{"scope":{},"permissions":"Get"}]"#,
            r#"[{"scope":{},"permissions":["Get",1]}]"#,
            r#"[{"scope":{},"permissions":["Get Orders"]}]"#,
            r#"[{"scope":{},"permissions":["**"]}]"#,
        ] {
            let of_request = serde_json::from_str(text).ok();
            let of_request = of_request.and_then(|value| Acl::from_json(&value).ok());
            let of_claim = crate::json::from_slice(text.as_bytes()).ok();
            assert_eq!(of_claim, of_request, "{text}");
        }
        let many: Vec<_> = (0..100).map(|number| format!("Get{}", number % 40)).collect();
        let many = serde_json::json!([{"scope": {"a": many}, "permissions": many}]);
        let of_request = Acl::from_json(&many).unwrap();
        assert_eq!(of_request.entries()[0].permissions.len(), 40);
        let of_claim = crate::json::from_slice::<Acl>(many.to_string().as_bytes()).unwrap();
        assert_eq!(of_claim, of_request);
        for twice in [
            r#"[{"scope":{},"scope":{},"permissions":["Get"]}]"#,
            r#"[{"scope":{"a":["1"],"\u0061":["1"]},"permissions":["Get"]}]"#,
        ] {
            assert!(crate::json::from_slice::<Acl>(twice.as_bytes()).is_err(), "{twice}");
        }
    }

    #[test]
    fn of_members_with_the_same_name_a_configuration_has_the_last_one() {
        let text = r#"[{"scope": {"a": ["1"]}, "permissions": [], "permissions": ["Get"],
                        "scope": {"b": [], "b": ["2"]}}]"#;
        let acl: Acl = serde_json::from_str(text).unwrap();
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(acl, Acl::from_json(&value).unwrap());
        assert!(acl.allows("Get", &[("b", "2")]));
    }
}
