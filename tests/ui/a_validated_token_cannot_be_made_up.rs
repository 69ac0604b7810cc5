//! Holding a `Validated` is the proof that a token was checked.

fn main() {
    let _ = countersign::Validated::new();
    let _: countersign::Validated = Default::default();
    let _: countersign::Validated = serde_json::from_str("{}").unwrap();
}
