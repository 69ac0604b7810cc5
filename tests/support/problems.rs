//! Problem details, as the routes of sessions answer them.

use serde_json::Value;

use crate::support::Answer;

#[track_caller]
pub fn assert_problem(answer: &Answer, status: u16, kind: &str) {
    assert_eq!(answer.status().as_u16(), status, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.header("cache-control"), "no-store");
    let body = answer.json();
    assert_eq!(body["type"], format!("urn:problem-type:countersign:{kind}"));
    assert_eq!(body["status"], status);
    assert!(body["title"].is_string() && body["detail"].is_string());
}

/// The fields that an answer calls invalid, in the order of the alphabet.
#[track_caller]
pub fn invalid_fields(answer: &Answer) -> Vec<String> {
    assert_problem(answer, 422, "invalid-fields");
    let body = answer.json();
    let told = |field: &Value| {
        assert!(!field["message"].as_str().unwrap().is_empty());
        field["field"].as_str().unwrap().to_owned()
    };
    let mut fields: Vec<_> = body["invalidFields"].as_array().unwrap().iter().map(told).collect();
    let (first, count) = (&body["invalidFields"][0], fields.len());
    let first = format!("{} {}", fields[0], first["message"].as_str().unwrap());
    assert_eq!(body["detail"], format!("{first} (fault 1 of {count}, see invalidFields)"));
    fields.sort();
    fields
}
