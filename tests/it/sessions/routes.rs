//! What all routes have in common: methods, bodies, and the organization that they are below.

use std::time::Duration;

use countersign::Policy;
use http::Method;
use serde_json::{Value, json};

use super::{
    JSON, MINUTE, NAME, assert_no_content, bearer_of_everything, below, customers_in, fixture,
    log_out, passwordless_for, register_credential, send_empty, serve_everywhere, start_session,
};
use crate::support::problems::assert_problem;
use crate::support::sessions::{SESSIONS, code_path, exchange_path, session_path};
use crate::support::{Fixture, PASSWORD, send_raw};

#[tokio::test]
async fn another_method_is_a_405_that_names_those_there_are() {
    let (fixture, server) = fixture().await;
    let token = start_session(&fixture, "cus_1", None).await;
    for (path, methods, allowed) in [
        (SESSIONS.to_owned(), &["PUT", "PATCH", "DELETE", "BREW"][..], "GET, HEAD, POST"),
        (session_path(&token), &["POST", "PUT", "PATCH"], "GET, HEAD, DELETE"),
        (session_path("unknown"), &["POST"], "GET, HEAD, DELETE"),
        (code_path(&token), &["GET", "PUT", "DELETE"], "POST"),
        (exchange_path(&token), &["GET", "PUT", "DELETE"], "POST"),
    ] {
        for path in [below("org_1", &path), path] {
            for method in methods {
                let answer = send_empty(&server, method.parse().unwrap(), &path).await;
                assert_problem(&answer, 405, "method-not-allowed");
                assert_eq!(answer.header("allow"), allowed, "{method} {path}");
            }
        }
    }
    server.get(&session_path(&token), None).await.expect(200);
}

#[tokio::test]
async fn a_body_is_small_strict_json_and_says_so() {
    let (fixture, server) = fixture().await;
    register_credential(&fixture, NAME, |entity| entity).await;
    let token = fixture.session(|new| new.otp_required(true)).await;
    fixture.clock.advance(MINUTE);
    let login = json!({"username": NAME, "password": PASSWORD}).to_string();
    for (path, good) in [(SESSIONS.to_owned(), &*login), (code_path(&token), "{}")] {
        let post = async |media: Option<&str>, body: &str| {
            server.post_text(&path, None, media, body.to_owned()).await
        };
        for media in [
            None,
            Some("text/plain"),
            Some("application/x-www-form-urlencoded"),
            Some("application/problem+json"),
            Some("application/json; charset=latin1"),
        ] {
            let answer = post(media, good).await;
            assert_problem(&answer, 415, "unsupported-media-type");
        }
        let padded = format!("{good}{}", " ".repeat(16 * 1_024 - good.len()));
        let too_long = format!("{padded} ");
        assert_problem(&post(Some(JSON), &too_long).await, 413, "content-too-large");
        let twice = r#"{"username":"a","username":"a"}"#;
        for malformed in [twice, "{} {}", "\u{feff}{}", "[]", "\"x\"", "null", &"[".repeat(40)] {
            assert_problem(&post(Some(JSON), malformed).await, 400, "malformed-request");
        }
        let answer = post(Some("Application/JSON; charset=UTF-8"), &padded).await;
        assert!(answer.status().is_success(), "{answer:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_announced_as_too_long_is_a_413_before_anything_of_it_comes() {
    // Whoever waits for the body waits for longer than the test may take.
    let an_hour = Duration::from_secs(3_600);
    let policy = Policy::default().http(|http| http.body_deadline(an_hour));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let server = serve_everywhere(&fixture).await;
    let bearer = bearer_of_everything(&fixture);
    let token = start_session(&fixture, "cus_1", None).await;
    for (method, path) in [
        ("POST", SESSIONS.to_owned()),
        ("GET", SESSIONS.to_owned()),
        ("GET", session_path(&token)),
        ("DELETE", session_path(&token)),
        ("POST", exchange_path(&token)),
        ("POST", code_path(&token)),
        ("GET", "/.well-known/jwks.json".to_owned()),
    ] {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             authorization: Bearer {bearer}\r\n\
             content-type: {JSON}\r\ncontent-length: 16385\r\n\r\n"
        );
        let answer = send_raw(server.address, request.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 413 "), "{method} {path}: {head}");
        assert!(head.contains("content-type: application/problem+json"), "{head}");
        assert!(head.contains("cache-control: no-store"), "{head}");
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["type"], "urn:problem-type:countersign:content-too-large");
        assert_eq!(body["status"], 413);
    }
    server.get(&session_path(&token), None).await.expect(200);
}

#[tokio::test]
async fn below_an_organization_nothing_of_another_is_found() {
    let (fixture, server) = fixture().await;
    let token = start_session(&fixture, "cus_1", Some("org_1")).await;
    let homeless = start_session(&fixture, "cus_1", None).await;
    // The last three could be nobody's.
    for organization in ["org_2", "ORG_1", "%20", "%00", "%FF"] {
        for token in [&token, &homeless] {
            for (method, path) in [
                (Method::GET, session_path(token)),
                (Method::DELETE, session_path(token)),
                (Method::POST, exchange_path(token)),
                (Method::POST, code_path(token)),
            ] {
                let answer = send_empty(&server, method, &below(organization, &path)).await;
                assert_problem(&answer, 404, "not-found");
            }
        }
    }
    let in_org_1 = |path: String| below("org_1", &path);
    let answer = server.get(&in_org_1(session_path(&token)), None).await.expect(200).json();
    assert_eq!(answer["_links"], json!([]));
    assert_problem(&server.get(&in_org_1(session_path(&homeless)), None).await, 404, "not-found");
    assert_no_content(&send_empty(&server, Method::DELETE, &in_org_1(session_path(&token))).await);
    assert_no_content(&log_out(&server, &homeless).await);
}

#[tokio::test]
async fn below_an_organization_that_cannot_exist_nobody_starts_or_lists_sessions() {
    let (fixture, server) = fixture().await;
    register_credential(&fixture, NAME, |entity| entity).await;
    let bearer = bearer_of_everything(&fixture);
    for organization in ["%20", "%00", "%FF", &"o".repeat(257)] {
        let path = below(organization, SESSIONS);
        let login = json!({"username": NAME, "password": PASSWORD});
        let answer = server.post(&path, None, &login).await;
        assert_problem(&answer, 401, "invalid-credentials");
        let answer = server.post(&path, Some(&bearer), &passwordless_for("cus_1")).await;
        assert_problem(&answer, 403, "insufficient-permission");
        let answer = server.get(&path, Some(&bearer)).await;
        assert_problem(&answer, 403, "insufficient-permission");
    }
    assert_eq!(customers_in(server.get(SESSIONS, Some(&bearer)).await, 0), [""; 0]);
}
