//! Claims in random JSON: a validator reads what serde_json reads, and rejects names that come twice.

use std::fmt;

use countersign::Algorithm;
use countersign::faults::TokenFault;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::attacks::tokens::{Target, claims};

/// Text that is JSON for the most part: a value, written with white space and escapes, in which
/// a few bytes may be changed.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let changes = vec((any::<prop::sample::Index>(), prop::sample::select(BYTES)), 0..3);
    (value(), changes).prop_map(|(text, changes)| {
        let mut bytes = text.into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

const BYTES: &[u8] = b"{}[]\",:\\u0aAe+-. \t\n\0\x7f\xc3\xff";

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "null|true|false|-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,3})?",
        name(),
    ];
    leaf.prop_recursive(5, 32, 5, |inner| {
        let blank = "[ \t\n\r]{0,2}";
        let array = (vec(inner.clone(), 0..5), blank)
            .prop_map(|(values, blank)| format!("[{blank}{}]", values.join(",")));
        let member = (name(), blank, inner)
            .prop_map(|(name, blank, value)| format!("{name}{blank}:{value}"));
        let object = vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(" , ")));
        prop_oneof![array, object]
    })
}

/// Few of them, so that one comes twice now and then, and is written in another way.
fn name() -> impl Strategy<Value = String> {
    "\"(a|b|\\\\u0061|\\\\u0000|é|\\\\ud83d\\\\ude00|\\\\ud800|\\\\n){0,2}\""
}

/// Returns what serde_json reads, where no name comes twice.
fn read_by_serde_json(text: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(text).ok()?;
    let value: Value = serde_json::from_str(text).ok()?;
    let members = serde_json::from_str::<Counted>(text).ok()?.0;
    (members == count(&value)).then_some(value)
}

/// How many members there are, those that come twice counted twice.
struct Counted(usize);

impl<'de> serde::Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Count;
        impl<'de> Visitor<'de> for Count {
            type Value = Counted;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }
            fn visit_unit<E>(self) -> Result<Counted, E> {
                Ok(Counted(0))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Counted, E> {
                Ok(Counted(0))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Counted, E> {
                Ok(Counted(0))
            }
            fn visit_u64<E>(self, _: u64) -> Result<Counted, E> {
                Ok(Counted(0))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Counted, E> {
                Ok(Counted(0))
            }
            fn visit_str<E>(self, _: &str) -> Result<Counted, E> {
                Ok(Counted(0))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Counted, A::Error> {
                let mut all = 0;
                while let Some(Counted(inner)) = seq.next_element()? {
                    all += inner;
                }
                Ok(Counted(all))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Counted, A::Error> {
                let mut all = 0;
                while let Some((_, Counted(inner))) = map.next_entry::<String, Counted>()? {
                    all += inner + 1;
                }
                Ok(Counted(all))
            }
        }
        deserializer.deserialize_any(Count)
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(count).sum(),
        Value::Object(members) => members.values().map(|value| 1 + count(value)).sum(),
        _ => 0,
    }
}

/// Good claims and one more, whose value is written as it is.
fn claims_with(name: &str, value: &[u8]) -> Vec<u8> {
    let claims = claims().text();
    let open = claims.strip_suffix('}').unwrap();
    [open.as_bytes(), b",\"", name.as_bytes(), b"\":", value, b"}"].concat()
}

#[test]
fn random_json_is_read_as_by_serde_json_or_rejected() {
    let target = Target::of(Algorithm::HS256);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(4_096));
    let run = runner.run(&text(), |text| {
        // One is read, the other is skipped.
        let custom = [b"{\"x\":", &text[..], b"}"].concat();
        for (name, value) in [("customClaims", custom), ("unknown", text)] {
            let payload = claims_with(name, &value);
            let token = target.forger.forge_bytes(target.forger.header().text(), &payload);
            let expected = read_by_serde_json(&payload);
            let expected = expected.map(|all| all.get("customClaims").cloned().unwrap_or_default());
            let found = target.forgetful.validate(&token);
            let found = found.map(|validated| validated.custom_claims().clone());
            match expected {
                None => prop_assert_eq!(found, Err(TokenFault::Claims)),
                Some(Value::Object(custom)) => prop_assert_eq!(found, Ok(custom)),
                Some(_) => prop_assert_eq!(found, Ok(Map::new())),
            }
        }
        Ok(())
    });
    run.unwrap();
}
