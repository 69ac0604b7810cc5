//! Whatever stands in `Authorization`, a request gets through with the good token alone, and is
//! answered as RFC 6750 says otherwise.

#![no_main]

use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use countersign::Grant;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Request};
use libfuzzer_sys::fuzz_target;

struct House {
    app: Router,
    good: String,
}

static HOUSE: LazyLock<House> = LazyLock::new(|| {
    let service = countersign_fuzz::service(1 << 20);
    let good = countersign_fuzz::runtime()
        .block_on(service.issue(Grant::user("jane@example.com")))
        .unwrap()
        .access_token;
    let app = Router::new().route("/", get(async || "")).layer(service.validate_layer());
    House { app, good: good.expose().to_owned() }
});

fuzz_target!(|bytes: &[u8]| {
    let House { app, good } = &*HOUSE;
    let mut request = Request::get("/").body(Body::empty()).unwrap();
    // A line each, for it may come more than once.
    let mut values = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(line).replace("$GOOD", good);
        let Ok(value) = HeaderValue::from_bytes(line.as_bytes()) else { return };
        request.headers_mut().append(AUTHORIZATION, value);
        values.push(line);
    }
    let answer = countersign_fuzz::answer(app, request);
    let is_good = match &values[..] {
        [value] => value.split_once(' ').is_some_and(|(scheme, token)| {
            scheme.eq_ignore_ascii_case("bearer") && token.trim_start_matches(' ') == *good
        }),
        _ => false,
    };
    match answer.status().as_u16() {
        200 => assert!(is_good, "{values:?}"),
        400 | 401 => {
            assert!(!is_good, "{values:?}");
            let challenge = answer.headers()[WWW_AUTHENTICATE].to_str().unwrap();
            assert!(challenge.starts_with("Bearer realm="));
        }
        other => panic!("answered {other}"),
    }
});
