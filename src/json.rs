//! Strict parsing of JSON (RFC 8259), for all external input.
//!
//! If one parser takes the last of two equal names and another takes the first, the two read one signed text
//! differently. So: valid UTF-8 throughout, no duplicate name in an object at any depth (after unescaping), nesting
//! of at most [`MAX_DEPTH`], nothing after the value. The rules also apply to ignored members. `null` is a value,
//! not an absent member, except in the bodies of requests, where the routes drop such members themselves.
//!
//! [`Strict`] applies the rules in the one pass that parses the text, so types need only `#[derive(Deserialize)]`.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The maximum nesting of arrays and objects.
const MAX_DEPTH: u8 = 32;

/// The reason why a text is rejected; never quotes a value.
#[derive(Debug)]
pub(crate) struct JsonError {
    message: String,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Parses `bytes` as one object.
pub(crate) fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, JsonError> {
    match from_slice(bytes)? {
        AnyValue(Value::Object(members)) => Ok(members),
        AnyValue(_) => Err(JsonError { message: "must be a JSON object".into() }),
    }
}

/// Parses `bytes` as a `T`.
pub(crate) fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, JsonError> {
    // serde_json does not check strings that it skips; from_utf8 checks all of them.
    let text = std::str::from_utf8(bytes)
        .map_err(|_| JsonError { message: "must be valid UTF-8".into() })?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let strict = Strict { inner: &mut deserializer, depth: 0 };
    let value = T::deserialize(strict).map_err(|error| describe(&error))?;
    deserializer.end().map_err(|error| describe(&error))?;
    Ok(value)
}

/// Deserializes a member that must be an object: for `#[serde(deserialize_with)]`.
pub(crate) fn object<'de, D: Deserializer<'de>>(from: D) -> Result<Map<String, Value>, D::Error> {
    match AnyValue::deserialize(from)? {
        AnyValue(Value::Object(members)) => Ok(members),
        AnyValue(_) => Err(D::Error::custom("has a member that is no object")),
    }
}

/// Returns a name that a message may quote. A name that is long, or holds anything but letters, may be a misplaced
/// secret.
pub(crate) fn plain_name(name: &str) -> Option<&str> {
    let is_plain = (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphabetic());
    is_plain.then_some(name)
}

/// serde_json quotes the value ("invalid type: string \"hunter2\""), which may be a secret.
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

/// Applies the rules of this module to serde_json's deserializer, a visitor, a seed or the elements of an array.
struct Strict<T> {
    inner: T,
    /// The number of arrays and objects around the value.
    depth: u8,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(Strict { inner: visitor, depth: self.depth })
    }

    /// Deserializes a number. To `deserialize_any`, it is a map if the host enables serde_json's
    /// `arbitrary_precision`.
    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_u64(visitor)
    }

    /// A member that is present has a value: `null` is not an absent member.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_some(self)
    }

    /// Deserializes an object. A derived implementation would also accept an array with the values in order.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_map(Strict { inner: visitor, depth: self.depth })
    }

    // Ignored values are checked like all others: serde_json would skip them unchecked.
    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Strict<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }
    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<V::Value, E> {
        self.inner.visit_bool(value)
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<V::Value, E> {
        self.inner.visit_i64(value)
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<V::Value, E> {
        self.inner.visit_u64(value)
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<V::Value, E> {
        self.inner.visit_f64(value)
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<V::Value, E> {
        self.inner.visit_str(value)
    }
    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<V::Value, E> {
        self.inner.visit_borrowed_str(value)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(Strict { inner: elements, depth: deeper(self.depth)? })
    }
    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        let depth = deeper(self.depth)?;
        self.inner.visit_map(Members { inner: members, depth, name: None, names: Names::new() })
    }
}

fn deeper<E: Error>(depth: u8) -> Result<u8, E> {
    if depth >= MAX_DEPTH { Err(E::custom("is nested too deeply")) } else { Ok(depth + 1) }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Strict { inner: from, depth: self.depth })
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_element_seed(Strict { inner: seed, depth: self.depth })
    }
}

/// The members of an object, under the rules of this module.
struct Members<'de, A> {
    inner: A,
    depth: u8,
    /// The name of the member whose value comes next.
    name: Option<Cow<'de, str>>,
    names: Names<'de>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<'de, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let Some(Name(name)) = self.inner.next_key()? else { return Ok(None) };
        let key = match &name {
            Cow::Borrowed(name) => seed.deserialize(BorrowedStrDeserializer::new(name)),
            Cow::Owned(name) => seed.deserialize(StrDeserializer::new(name)),
        };
        self.name = Some(name);
        key.map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let value = self.inner.next_value_seed(Strict { inner: seed, depth: self.depth })?;
        // Checked after the value, so that a fault within the value is the one reported.
        self.name.take().map_or(Ok(()), |name| self.names.insert(name))?;
        Ok(value)
    }
}

/// A member's name, borrowed from the text if it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Name<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// Up to this length, names are searched linearly, which is faster than hashing and still not quadratic.
const FEW: usize = 16;

/// The names of one object, to find duplicates.
struct Names<'de> {
    few: [&'de str; FEW],
    count: usize,
    /// The other names, and those with escapes.
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Names<'de> {
    fn new() -> Self {
        Self { few: [""; FEW], count: 0, many: HashSet::new() }
    }

    /// Records `name`.
    ///
    /// # Errors
    ///
    /// An error if it was recorded before.
    fn insert<E: Error>(&mut self, name: Cow<'de, str>) -> Result<(), E> {
        let (few, free) = self.few.split_at_mut(self.count);
        if few.contains(&&*name) || self.many.contains(&*name) {
            return Err(match plain_name(&name) {
                Some(name) => E::custom(format_args!("has the member `{name}` twice")),
                None => E::custom("has a duplicate member name"),
            });
        }
        match (name, free.first_mut()) {
            (Cow::Borrowed(name), Some(place)) => {
                *place = name;
                self.count += 1;
            }
            (name, _) => {
                self.many.insert(name);
            }
        }
        Ok(())
    }
}

/// Any value, without special meaning of any name. The `Deserialize` of [`Value`] treats some names as serde_json's
/// internal markers if certain features are on, and parses the text in them leniently.
struct AnyValue(Value);

impl<'de> Deserialize<'de> for AnyValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct AnyVisitor;
        impl<'de> Visitor<'de> for AnyVisitor {
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
                Ok(Value::from(value))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
                let mut array = Vec::new();
                while let Some(AnyValue(element)) = elements.next_element()? {
                    array.push(element);
                }
                Ok(Value::Array(array))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
                let mut object = Map::new();
                while let Some((name, AnyValue(value))) = members.next_entry()? {
                    object.insert(name, value);
                }
                Ok(Value::Object(object))
            }
        }
        from.deserialize_any(AnyVisitor).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IgnoredAny;

    use super::*;

    #[test]
    fn a_name_that_comes_twice_is_rejected_at_any_depth_and_behind_escapes() {
        for text in [r#"{"a":1,"a":2}"#, r#"{"a":1,"\u0061":2}"#, r#"{"x":[{"b":{"a":1,"a":1}}]}"#]
        {
            assert!(parse_object(text.as_bytes()).is_err(), "{text}");
            assert!(from_slice::<IgnoredAny>(text.as_bytes()).is_err(), "{text}");
        }
        let many: String = (0..100).map(|n| format!("\"n{n}\":1,")).collect();
        let twice = format!("{{{many}\"n50\":1}}");
        assert!(from_slice::<IgnoredAny>(twice.as_bytes()).is_err());
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
        let error = from_slice::<IgnoredAny>(br#"{"password":"hunter2","#).unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
        let error = from_slice::<String>(br#"{"a":"hunter2"}"#).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn a_member_that_is_null_is_not_one_that_is_left_out() {
        #[derive(Debug, Deserialize)]
        struct Form {
            text: Option<String>,
            number: Option<u64>,
            ignored: Option<IgnoredAny>,
        }
        let left_out: Form = from_slice(b"{}").unwrap();
        assert!(left_out.text.is_none() && left_out.number.is_none());
        assert!(left_out.ignored.is_none());
        for null in [r#"{"text":null}"#, r#"{"number":null}"#] {
            assert!(from_slice::<Form>(null.as_bytes()).is_err(), "{null}");
        }
        assert!(from_slice::<Form>(br#"{"ignored":null}"#).unwrap().ignored.is_some());
        assert!(from_slice::<Form>(b"[]").is_err());
        assert!(from_slice::<Form>(br#"["a",1,null]"#).is_err());
    }

    #[test]
    fn a_fault_of_a_value_is_told_before_the_name_that_comes_twice() {
        for (text, told) in [
            (r#"{"a":1,"a":2}"#, "has the member `a` twice"),
            (r#"{"a1":1,"a1":2}"#, "has a duplicate member name"),
            (r#"{"a":1,"a":"#, "ends too early"),
            (r#"{"a":1,"a":[}"#, "is not valid JSON at line 1 column 13"),
            (r#"{"a":1,"a":{"b":1,"b":1}"#, "has the member `b` twice"),
            (r#"{"a":1,"a":2} x"#, "has the member `a` twice"),
            (r#"[1] x"#, "is not valid JSON at line 1 column 5"),
            (r#"[1]"#, "must be a JSON object"),
        ] {
            assert_eq!(parse_object(text.as_bytes()).unwrap_err().to_string(), told, "{text}");
        }
    }

    #[test]
    fn names_that_serde_json_marks_its_own_with_are_names_like_others() {
        for mark in ["$serde_json::private::RawValue", "$serde_json::private::Number"] {
            let text = format!(r#"{{"a":{{"{mark}":"{{\"b\":1,\"b\":2}}"}}}}"#);
            let members = parse_object(text.as_bytes()).unwrap();
            assert_eq!(members["a"][mark], r#"{"b":1,"b":2}"#);
        }
    }
}
