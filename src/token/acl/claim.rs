//! Reading the list of a token, which is done for every new one: in one pass, into what it becomes.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::json::{Name, Names, StrictIgnored};
use crate::token::acl::read::without_repetitions;
use crate::token::acl::{Acl, AclEntry, MAX_SCOPE_KEY_LEN, Permission, Scope};
use crate::token::text::{MAX_LEN, is_text};

/// Reads the list of a token in one pass, under the same rules and those of [`crate::json`]. Of what
/// is wrong with it, it tells the first.
pub(crate) struct ReadAcl;

impl<'de> DeserializeSeed<'de> for ReadAcl {
    type Value = Acl;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Acl, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ReadAcl {
    type Value = Acl;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an access-control list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Acl, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = elements.next_element_seed(ReadEntry)? {
            entries.push(entry);
        }
        Ok(Acl::new(entries))
    }
}

struct ReadEntry;

impl<'de> DeserializeSeed<'de> for ReadEntry {
    type Value = AclEntry;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<AclEntry, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ReadEntry {
    type Value = AclEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entry of an access-control list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<AclEntry, A::Error> {
        /// The claims, the list, the entry.
        const DEPTH: u8 = 3;
        let mut names = Names::default();
        let (mut scope, mut permissions) = (None, None);
        while let Some(name) = members.next_key_seed(Name)? {
            match &*name {
                "scope" => scope = Some(members.next_value_seed(ReadScope)?),
                "permissions" => {
                    permissions = Some(members.next_value_seed(ReadList(Permission::parse))?);
                }
                _ => members.next_value_seed(StrictIgnored::at(DEPTH))?,
            }
            names.insert(name)?;
        }
        let missing = A::Error::missing_field;
        Ok(AclEntry {
            scope: scope.ok_or_else(|| missing("scope"))?,
            permissions: permissions.ok_or_else(|| missing("permissions"))?.into(),
        })
    }
}

struct ReadScope;

impl<'de> DeserializeSeed<'de> for ReadScope {
    type Value = Scope;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scope, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ReadScope {
    type Value = Scope;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scope")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Scope, A::Error> {
        let mut scope = BTreeMap::new();
        while let Some(key) = members.next_key_seed(Name)? {
            if !is_text(&key, MAX_SCOPE_KEY_LEN) {
                return Err(A::Error::custom("has a scope key that is not well-formed"));
            }
            let values = members.next_value_seed(ReadList(|text: &str| {
                let fits = is_text(text, MAX_LEN).then(|| text.to_owned());
                fits.ok_or("has a scope value that is not well-formed")
            }))?;
            if scope.insert(key.into_owned(), values).is_some() {
                return Err(A::Error::custom("has a duplicate member name"));
            }
        }
        Ok(Scope(Arc::new(scope)))
    }
}

/// A list of texts that is not empty; what stands in it twice is kept once.
struct ReadList<F>(F);

impl<'de, T: Eq + Hash, F> DeserializeSeed<'de> for ReadList<F>
where
    F: Fn(&str) -> Result<T, &'static str>,
{
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Eq + Hash, F> Visitor<'de> for ReadList<F>
where
    F: Fn(&str) -> Result<T, &'static str>,
{
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(text) = elements.next_element_seed(Name)? {
            list.push((self.0)(&text).map_err(A::Error::custom)?);
        }
        if list.is_empty() {
            return Err(A::Error::custom("has an empty list"));
        }
        Ok(without_repetitions(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two readers of one form: what one takes, the other takes, and for the same.
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
            let of_claim = crate::json::parse_with(text.as_bytes(), ReadAcl).ok();
            assert_eq!(of_claim, of_request, "{text}");
        }
        let many: Vec<_> = (0..100).map(|number| format!("Get{}", number % 40)).collect();
        let many = serde_json::json!([{"scope": {"a": many}, "permissions": many}]);
        let of_request = Acl::from_json(&many).unwrap();
        assert_eq!(of_request.entries()[0].permissions.len(), 40);
        let of_claim = crate::json::parse_with(many.to_string().as_bytes(), ReadAcl).unwrap();
        assert_eq!(of_claim, of_request);
        for twice in [
            r#"[{"scope":{},"scope":{},"permissions":["Get"]}]"#,
            r#"[{"scope":{"a":["1"],"\u0061":["1"]},"permissions":["Get"]}]"#,
        ] {
            assert!(crate::json::parse_with(twice.as_bytes(), ReadAcl).is_err(), "{twice}");
        }
    }
}
