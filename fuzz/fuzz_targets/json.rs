//! JSON is read as serde_json reads it, but for names that come twice and nesting that goes deep,
//! which are rejected. It is tried where anything may stand: in the custom claims of a token.

#![no_main]

use std::fmt;
use std::sync::LazyLock;

use countersign::TokenService;
use countersign_fuzz::{claims, header, service, sign};
use libfuzzer_sys::fuzz_target;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

static SERVICE: LazyLock<TokenService> = LazyLock::new(|| service(0));
static HEADER: LazyLock<String> = LazyLock::new(header);
/// What the claims and their `customClaims` leave of thirty-two.
const DEPTH: usize = 30;

fuzz_target!(|text: &str| {
    let custom = format!(r#"{{"x":{text}}}"#);
    let token = sign(HEADER.as_bytes(), claims(&custom).as_bytes());
    if token.len() > 8_192 {
        return;
    }
    let accepted = SERVICE.validator().validate(&token);
    let whole = serde_json::from_str::<Value>(&claims(&custom));
    if let Ok(validated) = &accepted {
        // The text may have closed what it stands in and opened something else.
        let whole = whole.unwrap();
        assert_eq!(Value::Object(validated.custom_claims().clone()), whole["customClaims"]);
        let Shape { members, .. } = serde_json::from_str(&claims(&custom)).unwrap();
        assert_eq!(members, count(&whole));
    }
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        let shape: Shape = serde_json::from_str(text).unwrap();
        let is_good = shape.members == count(&value) && shape.depth <= DEPTH;
        assert_eq!(accepted.is_ok(), is_good);
    }
});

/// How many members a text has, those that come twice counted twice, and how deep it goes.
struct Shape {
    members: usize,
    depth: usize,
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(LEAF)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(LEAF)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(LEAF)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(LEAF)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(LEAF)
    }

    fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
        Ok(LEAF)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Shape, A::Error> {
        let mut shape = LEAF;
        while let Some(inner) = elements.next_element::<Shape>()? {
            shape.members += inner.members;
            shape.depth = shape.depth.max(inner.depth);
        }
        Ok(Shape { depth: shape.depth + 1, ..shape })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Shape, A::Error> {
        let mut shape = LEAF;
        while let Some((_, inner)) = members.next_entry::<String, Shape>()? {
            shape.members += inner.members + 1;
            shape.depth = shape.depth.max(inner.depth);
        }
        Ok(Shape { depth: shape.depth + 1, ..shape })
    }
}

const LEAF: Shape = Shape { members: 0, depth: 0 };

fn count(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(count).sum(),
        Value::Object(members) => members.values().map(|value| 1 + count(value)).sum(),
        _ => 0,
    }
}
