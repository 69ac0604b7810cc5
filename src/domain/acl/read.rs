//! Reading a list out of a request: all that is wrong with it is told at once, and where.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::domain::acl::{
    AclEntry, MAX_SCOPE_KEY_LEN, MAX_SCOPE_VALUE_LEN, Permission, Scope, is_text,
};

/// One thing that is wrong with a value, and where.
#[derive(Debug)]
pub(crate) struct Fault {
    /// In dot notation, without the field's own name; empty for the value itself.
    pub(crate) path: String,
    pub(crate) message: String,
    /// Whether it is of a wrong JSON type, rather than of the right type and a wrong content.
    #[cfg_attr(not(feature = "router"), allow(dead_code, reason = "the routes tell them apart"))]
    pub(crate) wrong_type: bool,
}

impl Fault {
    /// Where it is, with the field's own name in front: `acl.0.scope`.
    pub(crate) fn field(&self) -> String {
        if self.path.is_empty() { "acl".to_owned() } else { format!("acl.{}", self.path) }
    }
}

#[derive(Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn wrong_type(&mut self, path: &str, message: &str) {
        self.0.push(Fault { path: path.into(), message: message.into(), wrong_type: true });
    }

    fn invalid(&mut self, path: &str, message: impl Into<String>) {
        self.0.push(Fault { path: path.into(), message: message.into(), wrong_type: false });
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
            let fits = is_text(text, MAX_SCOPE_VALUE_LEN).then(|| text.to_owned());
            fits.ok_or("must be 1 to 256 bytes, not blank, without control characters")
        });
        scope.insert(key.clone(), values);
    }
    Scope(Arc::new(scope))
}

pub(super) fn read_permissions(value: &Value, path: &str, faults: &mut Faults) -> Vec<Permission> {
    read_list(value, path, faults, Permission::parse)
}

/// A list of texts that is not empty; what stands in it twice is kept once.
fn read_list<T: PartialEq>(
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
            Some(Ok(item)) if list.contains(&item) => {}
            Some(Ok(item)) => list.push(item),
            Some(Err(message)) => faults.invalid(&format!("{path}.{index}"), message),
            None => faults.wrong_type(&format!("{path}.{index}"), "must be a string"),
        }
    }
    list
}
