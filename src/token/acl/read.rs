//! Reading a list out of a request: what is wrong with it is told at once, and where.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use serde_json::Value;

use crate::error::InvalidField;
use crate::token::acl::{AclEntry, MAX_SCOPE_KEY_LEN, Permission, Scope};
use crate::token::text::{self, is_text};

/// One thing that is wrong with a value, and where.
#[derive(Debug)]
pub(crate) struct Fault {
    /// In dot notation, without the field's own name; empty for the value itself.
    pub(crate) path: String,
    pub(crate) message: String,
    /// Whether it is of a wrong JSON type, rather than of the right type and a wrong content.
    wrong_type: bool,
}

impl Fault {
    /// Where it is, with the field's own name in front: `acl.0.scope`.
    fn field(&self) -> String {
        if self.path.is_empty() { "acl".to_owned() } else { format!("acl.{}", self.path) }
    }

    /// Returns the field with its message, and whether the value is of a wrong JSON type.
    pub(crate) fn into_field(self) -> (InvalidField, bool) {
        let field = self.field();
        (InvalidField::new(field, self.message), self.wrong_type)
    }
}

/// More than anybody mends at once. Anybody may send a list that is wrong all over, and the answer must
/// not be many times as long.
const MAX_FAULTS: usize = 32;

#[derive(Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn wrong_type(&mut self, path: &str, message: &str) {
        self.add(path, message, true);
    }

    fn invalid(&mut self, path: &str, message: &str) {
        self.add(path, message, false);
    }

    fn add(&mut self, path: &str, message: &str, wrong_type: bool) {
        if self.0.len() < MAX_FAULTS {
            self.0.push(Fault { path: path.into(), message: message.into(), wrong_type });
        }
    }

    pub(super) fn or<T>(self, value: T) -> Result<T, Vec<Fault>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}

pub(super) fn read_entry(entry: &Value, path: &str, faults: &mut Faults) -> Option<AclEntry> {
    let Some(members) = entry.as_object() else {
        faults.wrong_type(path, "must be an object");
        return None;
    };
    for name in ["scope", "permissions"] {
        if !members.contains_key(name) {
            faults.invalid(&format!("{path}.{name}"), "is required");
        }
    }
    let scope = members
        .get("scope")
        .map(|value| read_scope(value, &format!("{path}.scope"), faults))
        .unwrap_or_default();
    let permissions = members
        .get("permissions")
        .map(|value| read_permissions(value, &format!("{path}.permissions"), faults))
        .unwrap_or_default();
    Some(AclEntry { scope, permissions: permissions.into() })
}

pub(super) fn read_scope(value: &Value, path: &str, faults: &mut Faults) -> Scope {
    let Some(members) = value.as_object() else {
        faults.wrong_type(path, "must be an object");
        return Scope::default();
    };
    let mut scope = BTreeMap::new();
    for (key, values) in members {
        if !is_text(key, MAX_SCOPE_KEY_LEN) {
            faults.invalid(path, "has a key that is blank, too long or holds control characters");
            continue;
        }
        let path = format!("{path}.{key}");
        let values = read_list(values, &path, faults, |text| {
            is_text(text, text::MAX_LEN).then(|| text.to_owned()).ok_or(text::RULE)
        });
        scope.insert(key.clone(), values);
    }
    Scope(Arc::new(scope))
}

pub(super) fn read_permissions(value: &Value, path: &str, faults: &mut Faults) -> Vec<Permission> {
    read_list(value, path, faults, Permission::parse)
}

/// A list of texts that is not empty; what stands in it twice is kept once.
fn read_list<T: Eq + Hash>(
    value: &Value,
    path: &str,
    faults: &mut Faults,
    parse: impl Fn(&str) -> Result<T, &'static str>,
) -> Vec<T> {
    let Some(array) = value.as_array() else {
        faults.wrong_type(path, "must be an array of strings");
        return Vec::new();
    };
    if array.is_empty() {
        faults.invalid(path, "must not be empty");
    }
    let mut list = Vec::with_capacity(array.len());
    for (index, element) in array.iter().enumerate() {
        match element.as_str().map(&parse) {
            Some(Ok(item)) => list.push(item),
            Some(Err(message)) => faults.invalid(&format!("{path}.{index}"), message),
            None => faults.wrong_type(&format!("{path}.{index}"), "must be a string"),
        }
    }
    without_repetitions(list)
}

/// The list, with what stands in it twice kept where it stood first.
pub(super) fn without_repetitions<T: Eq + Hash>(list: Vec<T>) -> Vec<T> {
    /// Up to here the list is searched, which is faster than hashing. A longer one would take a time
    /// that grows with its square, and anybody may send one.
    const FEW: usize = 16;
    if list.len() <= FEW {
        let mut kept = Vec::with_capacity(list.len());
        for item in list {
            if !kept.contains(&item) {
                kept.push(item);
            }
        }
        return kept;
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
        /// Counts how often it was compared.
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
}
