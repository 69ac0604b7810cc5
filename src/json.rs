//! JSON read strictly (RFC 8259), for everything that comes from outside.
//!
//! A parser that takes the last of two equal names, and another behind it that takes the first,
//! are two opinions about one signed text. So: valid UTF-8 throughout, no name twice in an object
//! at any depth (after unescaping), nesting of at most [`MAX_DEPTH`], nothing after the value. The
//! rules hold for members nobody reads, too.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// How many arrays and objects may stand within one another.
pub(crate) const MAX_DEPTH: u8 = 32;

/// Why a text is not JSON that is accepted here; never quotes a value.
#[derive(Debug)]
pub(crate) struct JsonError {
    message: String,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Reads `bytes` as one object.
pub(crate) fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, JsonError> {
    match parse_with(bytes, StrictValue::root())? {
        Value::Object(members) => Ok(members),
        _ => Err(JsonError { message: "must be a JSON object".into() }),
    }
}

/// Reads `bytes` with a seed of one's own, which has to apply the rules below its first level
/// itself: see [`StrictValue`] and [`StrictIgnored`].
pub(crate) fn parse_with<'de, S: DeserializeSeed<'de>>(
    bytes: &'de [u8],
    seed: S,
) -> Result<S::Value, JsonError> {
    // serde_json leaves strings it skips unchecked; from_utf8 looks at all of them.
    let text = std::str::from_utf8(bytes)
        .map_err(|_| JsonError { message: "must be valid UTF-8".into() })?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = seed.deserialize(&mut deserializer).map_err(|error| describe(&error))?;
    deserializer.end().map_err(|error| describe(&error))?;
    Ok(value)
}

/// serde_json quotes what it found ("invalid type: string \"hunter2\""), which may be a secret.
fn describe(error: &serde_json::Error) -> JsonError {
    let message = match error.classify() {
        serde_json::error::Category::Data => {
            let text = error.to_string();
            let position = text.rfind(" at line ").unwrap_or(text.len());
            let message = text.get(..position).unwrap_or_default();
            if message.starts_with("invalid type") || message.starts_with("invalid value") {
                format!("has a value of a wrong type at column {}", error.column())
            } else {
                message.to_owned()
            }
        }
        serde_json::error::Category::Eof => "ends too early".to_owned(),
        _ => format!("is not valid JSON at line {} column {}", error.line(), error.column()),
    };
    JsonError { message }
}

/// The names of one object, to find the one that comes twice.
pub(crate) struct Names<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

impl Default for Names<'_> {
    fn default() -> Self {
        Self { few: Vec::with_capacity(Self::FEW), many: HashSet::new() }
    }
}

impl<'de> Names<'de> {
    /// Up to here a list is searched, which is faster than hashing and never quadratic.
    const FEW: usize = 16;

    /// Notes `name`.
    ///
    /// # Errors
    ///
    /// Where it has been noted before.
    pub(crate) fn insert<E: serde::de::Error>(&mut self, name: Cow<'de, str>) -> Result<(), E> {
        let fresh = if self.many.is_empty() && self.few.len() < Self::FEW {
            let fresh = !self.few.contains(&name);
            self.few.push(name);
            fresh
        } else {
            self.many.extend(self.few.drain(..));
            self.many.insert(name)
        };
        if fresh { Ok(()) } else { Err(E::custom("has a duplicate member name")) }
    }
}

/// A member's name, borrowed from the text where it has no escapes.
pub(crate) struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member name")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(name))
            }
            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(name.to_owned()))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

/// Builds a [`Value`] under the rules of this module.
#[derive(Clone, Copy)]
pub(crate) struct StrictValue {
    depth: u8,
}

impl StrictValue {
    pub(crate) fn root() -> Self {
        Self { depth: 0 }
    }

    /// For a value that is a member of an object read by hand.
    pub(crate) fn member() -> Self {
        Self { depth: 1 }
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        deeper(self.depth).map(|depth| Self { depth })
    }
}

fn deeper<E: serde::de::Error>(depth: u8) -> Result<u8, E> {
    if depth >= MAX_DEPTH { Err(E::custom("is nested too deeply")) } else { Ok(depth + 1) }
}

impl<'de> DeserializeSeed<'de> for StrictValue {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let below = self.deeper()?;
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(below)? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let below = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key_seed(Name)? {
            let value = members.next_value_seed(below)?;
            if object.insert(name.into_owned(), value).is_some() {
                return Err(A::Error::custom("has a duplicate member name"));
            }
        }
        Ok(Value::Object(object))
    }
}

/// Walks over a value that nobody reads, under the rules of this module, keeping nothing.
#[derive(Clone, Copy)]
pub(crate) struct StrictIgnored {
    depth: u8,
}

impl StrictIgnored {
    /// For a value that is a member of an object read by hand.
    pub(crate) fn member() -> Self {
        Self::at(1)
    }

    /// For a value within so many arrays and objects that are read by hand.
    pub(crate) fn at(depth: u8) -> Self {
        Self { depth }
    }
}

impl<'de> DeserializeSeed<'de> for StrictIgnored {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictIgnored {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let below = Self { depth: deeper(self.depth)? };
        while elements.next_element_seed(below)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let below = Self { depth: deeper(self.depth)? };
        let mut names = Names::default();
        while let Some(name) = members.next_key_seed(Name)? {
            names.insert(name)?;
            members.next_value_seed(below)?;
        }
        Ok(())
    }
}

/// A string, and nothing that could be made into one.
pub(crate) struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = String;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E>(self, text: &str) -> Result<String, E> {
                Ok(text.to_owned())
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_comes_twice_is_rejected_at_any_depth_and_behind_escapes() {
        for text in [r#"{"a":1,"a":2}"#, r#"{"a":1,"\u0061":2}"#, r#"{"x":[{"b":{"a":1,"a":1}}]}"#]
        {
            assert!(parse_object(text.as_bytes()).is_err(), "{text}");
            assert!(parse_with(text.as_bytes(), StrictIgnored { depth: 0 }).is_err(), "{text}");
        }
        let many: String = (0..100).map(|n| format!("\"n{n}\":1,")).collect();
        let twice = format!("{{{many}\"n50\":1}}");
        assert!(parse_with(twice.as_bytes(), StrictIgnored { depth: 0 }).is_err());
    }

    #[test]
    fn nesting_is_counted_to_thirty_two() {
        let nested =
            |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert!(parse_object(nested(32).as_bytes()).is_ok());
        assert!(parse_object(nested(33).as_bytes()).is_err());
        assert!(parse_object(nested(100_000).as_bytes()).is_err());
    }

    #[test]
    fn other_encodings_and_what_is_no_text_are_rejected() {
        for bytes in [
            &b"\xEF\xBB\xBF{}"[..],
            b"{\0}",
            b"\xFF\xFE{\0}\0",
            b"{\"a\":\"\\ud800\"}",
            b"{\"a\":\"\xC3\x28\"}",
            b"{} {}",
            b"{}x",
            b"[]",
            b"",
            b"{\"a\":NaN}",
            b"{\"a\":1e400}",
            b"{'a':1}",
            b"{\"a\":01}",
        ] {
            assert!(parse_object(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_quoting_the_value() {
        let error = parse_with(br#"{"password":"hunter2","#, StrictValue::root()).unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
        let error = parse_with(br#"{"a":"hunter2"}"#, Text).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
