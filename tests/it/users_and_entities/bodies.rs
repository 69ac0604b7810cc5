//! What a request's body may be: forms and JSON, their media types, and how much of them is read.

use std::net::SocketAddr;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use serde_json::{Value, json};

use super::{
    ENTITY_TOKEN, FORM, JSON, READ, RESET, ROUTES, SECRET, USER_TOKEN, WRONG_PASSWORD,
    WRONG_SECRET, assert_bad_request, assert_envelope, assert_error, assert_uuid, complete,
    complete_with, manager, service, service_with, text_in,
};
use crate::support::{self, PASSWORD};

/// Sends bytes as they are, and returns the status and the body of what comes back.
async fn send_raw(address: SocketAddr, request: &[u8]) -> (u16, Value) {
    let answer = support::send_raw(address, request).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    assert!(head.to_ascii_lowercase().contains("cache-control: no-store"), "{head}");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {answer}")))
}

#[tokio::test]
async fn a_password_or_secret_of_over_a_kibibyte_is_a_400_and_one_of_a_megabyte_a_413() {
    let (_fixture, server) = service().await;
    for (route, field, message) in
        [(USER_TOKEN, "password", WRONG_PASSWORD), (ENTITY_TOKEN, "secret", WRONG_SECRET)]
    {
        let login = async |length: usize| {
            server.post(route, None, &complete_with(field, json!("x".repeat(length)))).await
        };
        assert_error(&login(1024).await, 401, "Unauthorized", message);
        let too_long = format!("{field} must be at most 1024 bytes long");
        assert_bad_request(&login(1025).await, &too_long);
        let bytes_count = complete_with(field, json!("\u{e4}".repeat(513)));
        assert_bad_request(&server.post(route, None, &bytes_count).await, &too_long);

        // Most of the megabyte is announced and never sent: the answer does not wait for it.
        let head = format!(
            "POST {route} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: {JSON}\r\ncontent-length: 1048576\r\n\r\n{{\"{field}\":\""
        );
        let request = [head.into_bytes(), vec![b'x'; 20 * 1024]].concat();
        let (status, body) = send_raw(server.address, &request).await;
        assert_eq!((status, &body["errorCode"]), (413, &json!("Payload Too Large")));
    }
}

#[tokio::test]
async fn unknown_fields_are_ignored() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    let mut body = complete();
    body["unknown"] = json!({"a": [null, 1.5, {"b": "c"}]});
    body["secretExpiry"] = json!("soon");
    for route in ROUTES {
        server.post(route, Some(&manager), &body).await.expect(200);
        let secret = server.post(READ, Some(&manager), &body).await.expect(200).json();
        body["secret"] = secret["secret"].clone();
    }
    fixture.machine("aa-2", SECRET).await;
    for form in [
        "id=aa-2&secret=a+secret+that+the+tests+know&scope[a]=b",
        "scope[a]=b&scope[]=c&scope%5Ba%5D.b=d&&=&id=aa-2&secret=a+secret+that+the+tests+know&",
    ] {
        server.post_text(ENTITY_TOKEN, None, Some(FORM), form).await.expect(200);
    }
}

#[tokio::test]
async fn a_body_with_a_field_twice_is_rejected_and_told_which() {
    let (_fixture, server) = service().await;
    for (form, told) in [
        ("username=a&username=b&password=c", "the field `username`"),
        ("username=a&password=c&password=c", "the field `password`"),
        ("username=a&%75sername=a&password=c", "the field `username`"),
        ("username=a&password=c&other=1&other=2", "the field `other`"),
        // What may be a secret that has lost its name is not told.
        ("username=a&hunter2&hunter2", "a field"),
    ] {
        let answer = server.post_text(USER_TOKEN, None, Some(FORM), form).await;
        assert_bad_request(&answer, &format!("The request's form has {told} twice"));
    }
    for (json, told) in [
        (r#"{"username":"a","\u0075sername":"a"}"#, "has the member `username` twice"),
        (r#"{"x":[{"entityId":1,"entityId":1}]}"#, "has the member `entityId` twice"),
        (r#"{"hunter2":1,"hunter2":1}"#, "has a duplicate member name"),
    ] {
        let answer = server.post_text(USER_TOKEN, None, Some(JSON), json).await;
        assert_bad_request(&answer, &format!("The request's JSON {told}"));
    }
}

#[tokio::test]
async fn a_form_that_is_no_utf_8_is_rejected() {
    let (_fixture, server) = service().await;
    for form in [
        &b"username=a&password=%FF"[..],
        b"username=a&password=%C3%28",
        b"username=a&password=\xff",
        b"username=%ED%A0%80&password=b",
        b"username=a&password=b&%C3=x",
    ] {
        let answer = server.post_text(USER_TOKEN, None, Some(FORM), form).await;
        assert_bad_request(&answer, "The request's form must be valid UTF-8");
    }
}

#[tokio::test]
async fn json_is_read_strictly() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    let good = complete().to_string();
    let with = |more: &str| format!("{},{more}}}", &good[..good.len() - 1]).into_bytes();
    let nested =
        |depth: usize| with(&format!("\"x\":{}{}", "[".repeat(depth - 1), "]".repeat(depth - 1)));
    let bad = [
        with(r#""id":"aa-1""#),
        with(r#""\u0069d":"aa-1""#),
        with(r#""txnId":"another""#),
        with(r#""x":{"a":1,"a":2}"#),
        with(r#""x":[{"b":{"c":1,"\u0063":1}}]"#),
        with(r#""x":"\ud800""#),
        with(r#""x":NaN"#),
        with(r#""x":1e400"#),
        with(r#""x":01"#),
        with(r#""x":'y'"#),
        with(r#""x":1,"#),
        with("\"x\":\"\u{1}\""),
        nested(33),
        nested(8_000),
        format!("{good}x").into_bytes(),
        format!("{good}{good}").into_bytes(),
        format!("{good}\0").into_bytes(),
        format!("\u{feff}{good}").into_bytes(),
        good.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        [&with("\"x\":\"")[..good.len() + 4], b"\xff\"}"].concat(),
        [good.as_bytes(), b" \xff"].concat(),
        good[..good.len() - 1].into(),
        b"[]".to_vec(),
        b"null".to_vec(),
        b"\"text\"".to_vec(),
        b" ".to_vec(),
    ];
    for route in ROUTES {
        for body in &bad {
            let answer = server.post_text(route, Some(&manager), Some(JSON), body.clone()).await;
            let told = answer.expect(400);
            let message = text_in(&assert_envelope(&told), "errorMsg");
            assert!(message.starts_with("The request's JSON "), "{message}");
            assert_error(&told, 400, "Bad Request", &message);
            assert!(!told.text().contains(PASSWORD) && !told.text().contains(SECRET), "{told:?}");
            assert_uuid(&told.json()["txnId"]);
        }
    }
    for body in [nested(32), with("\"x\":1 ,\n\"\\u0079\":\"\\ud83d\\ude00\"")] {
        server.post_text(USER_TOKEN, None, Some(JSON), body.clone()).await.expect(200);
        server.post_text(READ, Some(&manager), Some(JSON), body).await.expect(200);
    }
}

#[tokio::test]
async fn another_media_type_is_a_415_in_the_familys_words() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    let message = "The request's Content-Type is not one that this route takes";
    let wrong = [
        None,
        Some(""),
        Some("text/plain"),
        Some("text/json"),
        Some("application/problem+json"),
        Some("multipart/form-data; boundary=x"),
        Some("application/json; charset=iso-8859-1"),
        Some("application/json; charset=utf-16"),
        Some("application/json, application/json"),
        Some("application/x-www-form-urlencoded; charset=windows-1252"),
    ];
    for route in ROUTES {
        for media_type in wrong {
            let body = complete().to_string();
            let answer = server.post_text(route, Some(&manager), media_type, body).await;
            assert_error(&answer, 415, "Unsupported Media Type", message);
        }
        let twice = Request::builder()
            .method(Method::POST)
            .uri(route)
            .header(CONTENT_TYPE, JSON)
            .header(CONTENT_TYPE, JSON)
            .header(AUTHORIZATION, format!("Bearer {manager}"))
            .body(complete().to_string())
            .unwrap();
        assert_error(&server.send(twice).await, 415, "Unsupported Media Type", message);
    }
    for route in [READ, RESET] {
        let form = "entityId=aa-1&ver=1.0.0&txnId=1&timestamp=2026-01-01T00:00:00Z";
        let answer = server.post_text(route, Some(&manager), Some(FORM), form).await;
        assert_error(&answer, 415, "Unsupported Media Type", message);
    }
}

#[tokio::test]
async fn a_media_type_has_no_case_and_may_say_that_it_is_utf_8() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    for media_type in [
        "Application/JSON",
        "application/json;charset=utf-8",
        "application/json ; Charset=\"UTF-8\"",
    ] {
        let body = complete().to_string();
        server.post_text(ENTITY_TOKEN, None, Some(media_type), body.clone()).await.expect(200);
        server.post_text(READ, Some(&manager), Some(media_type), body).await.expect(200);
    }
    let form = "id=aa-1&secret=a+secret+that+the+tests+know";
    let media_type = "Application/X-WWW-Form-Urlencoded; charset=UTF-8";
    server.post_text(ENTITY_TOKEN, None, Some(media_type), form).await.expect(200);
}

#[tokio::test]
async fn a_body_of_over_16_kibibytes_is_a_413_whether_announced_or_chunked() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    let padded = |length: usize| {
        let mut body = complete_with("secret", json!(SECRET));
        body["x"] = json!("");
        let missing = length - body.to_string().len();
        body["x"] = json!("x".repeat(missing));
        assert_eq!(body.to_string().len(), length);
        body.to_string()
    };
    let message = "The request's body is too large";
    for route in [USER_TOKEN, ENTITY_TOKEN, READ] {
        let fits = padded(16 * 1024);
        server.post_text(route, Some(&manager), Some(JSON), fits).await.expect(200);
    }
    for route in ROUTES {
        let too_large = padded(16 * 1024 + 1);
        let answer = server.post_text(route, Some(&manager), Some(JSON), too_large.clone()).await;
        assert_error(&answer, 413, "Payload Too Large", message);

        // Every piece is small, there are merely too many, and the last one never comes.
        let mut request = format!(
            "POST {route} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             authorization: Bearer {manager}\r\n\
             content-type: {JSON}\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        for piece in too_large.as_bytes().chunks(100) {
            let piece = std::str::from_utf8(piece).unwrap();
            request.push_str(&format!("{:x}\r\n{piece}\r\n", piece.len()));
        }
        let (status, body) = send_raw(server.address, request.as_bytes()).await;
        assert_eq!(status, 413, "{body}");
        assert_eq!(body["errorCode"], "Payload Too Large");
        assert_eq!(body["errorMsg"], message);
    }
}

#[tokio::test]
async fn a_body_that_is_announced_as_too_long_is_a_413_before_anything_of_it_comes() {
    // Whoever waits for the body waits for longer than the test may take.
    let an_hour = Duration::from_secs(3_600);
    let (fixture, server) =
        service_with(|policy| policy.http(|http| http.body_deadline(an_hour))).await;
    let manager = manager(&fixture);
    for route in ROUTES {
        for length in ["16385", "1048576", "9223372036854775807"] {
            let request = format!(
                "POST {route} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                 authorization: Bearer {manager}\r\n\
                 content-type: {JSON}\r\ncontent-length: {length}\r\n\r\n"
            );
            let (status, body) = send_raw(server.address, request.as_bytes()).await;
            assert_eq!(status, 413, "{body}");
            assert_eq!(body["errorCode"], "Payload Too Large");
            assert_eq!(body["errorMsg"], "The request's body is too large");
            assert_eq!(body["ver"], "1.0.0");
            assert_uuid(&body["txnId"]);
        }
    }
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_is_a_408() {
    let (_fixture, server) =
        service_with(|policy| policy.http(|http| http.body_deadline(Duration::from_millis(5))))
            .await;
    for route in ROUTES {
        let request = format!(
            "POST {route} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: {JSON}\r\ncontent-length: 100\r\n\r\n{{\"username\":"
        );
        let (status, body) = send_raw(server.address, request.as_bytes()).await;
        assert_eq!((status, &body["errorCode"]), (408, &json!("Request Timeout")));
        assert_eq!(body["ver"], "1.0.0");
    }
}
