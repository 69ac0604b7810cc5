//! Reads the fields of a request, each of its required type or absent.

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::error::InvalidField;
use crate::token::acl::Acl;

/// Returns a text that is present and not blank.
pub(super) fn nonblank_text(
    members: &Map<String, Value>,
    name: &str,
) -> Result<Option<String>, String> {
    let text = text(members, name)?.filter(|text| !text.trim().is_empty());
    Ok(text.map(str::to_owned))
}

/// Returns a text that is present.
pub(super) fn text<'a>(
    members: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a str>, String> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong_type(name, "a string")),
    }
}

/// Reads a request's fields, and collects the faults of their contents. A wrong JSON type is an error at once, with
/// a message for the caller.
pub(super) struct Fields<'a> {
    members: &'a Map<String, Value>,
    invalid: Vec<InvalidField>,
}

impl<'a> Fields<'a> {
    pub(super) fn of(members: &'a Map<String, Value>) -> Self {
        Self { members, invalid: Vec::new() }
    }

    /// The faults found so far.
    pub(super) fn into_invalid(self) -> Vec<InvalidField> {
        self.invalid
    }

    fn invalid(&mut self, name: &str, message: impl Into<String>) {
        self.invalid.push(InvalidField::new(name, message));
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, String> {
        text(self.members, name)
    }

    /// Reads a text that is required and must not be blank.
    pub(super) fn required<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&'a str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, String> {
        let Some(text) = self.text(name)?.filter(|text| !text.trim().is_empty()) else {
            self.invalid(name, "is missing");
            return Ok(None);
        };
        let parsed = parse(text).map_err(|message| self.invalid(name, message));
        Ok(parsed.ok())
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, String> {
        match self.members.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(wrong_type(name, "a boolean")),
        }
    }

    pub(super) fn object(&self, name: &str) -> Result<Option<&'a Map<String, Value>>, String> {
        match self.members.get(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(wrong_type(name, "an object")),
        }
    }

    pub(super) fn time(&mut self, name: &str) -> Result<Option<Timestamp>, String> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let time = text.parse().ok();
        if time.is_none() {
            self.invalid(name, "must be a date-time of RFC 3339");
        }
        Ok(time)
    }

    /// Reads the ACL, which may be absent but not empty. Null members within it count as absent, too.
    pub(super) fn acl(&mut self) -> Result<Option<Acl>, String> {
        let Some(value) = self.members.get("acl") else { return Ok(None) };
        let faults = match Acl::from_json(&without_nulls(value)) {
            Ok(acl) if acl.is_empty() => {
                self.invalid("acl", "must not be empty");
                return Ok(None);
            }
            Ok(acl) => return Ok(Some(acl)),
            Err(faults) => faults,
        };
        for fault in faults {
            let (invalid, wrong_type) = fault.into_field();
            if wrong_type {
                return Err(format!("{} {}", invalid.field, invalid.message));
            }
            self.invalid.push(invalid);
        }
        Ok(None)
    }
}

/// Returns the value without null members, at any depth. Null elements of arrays stay.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let set = members.iter().filter(|(_, member)| !member.is_null());
            Value::Object(set.map(|(name, member)| (name.clone(), without_nulls(member))).collect())
        }
        Value::Array(elements) => Value::Array(elements.iter().map(without_nulls).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn wrong_type(name: &str, expected: &str) -> String {
    format!("{name} must be {expected}")
}
