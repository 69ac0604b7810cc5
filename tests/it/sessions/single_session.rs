//! What the holder of a token may do with its session: see it, and end it.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use countersign::ValidateLayer;
use http::header::COOKIE;
use http::{Method, Request};
use serde_json::json;

use super::{
    DAY, JSON, NAME, assert_no_content, fixture, log_in, log_out, register_credential, send_empty,
    start_session, token_in,
};
use crate::support::problems::assert_problem;
use crate::support::sessions::{code_path, exchange, exchange_path, present_code, session_path};
use crate::support::{Fixture, PASSWORD, Server};

#[tokio::test]
async fn whoever_holds_a_token_may_see_what_it_stands_for() {
    let (fixture, server) = fixture().await;
    register_credential(&fixture, NAME, |entity| entity).await;
    let started = log_in(&server, NAME, PASSWORD).await.expect(201).json();
    let token = started["token"].as_str().unwrap();
    let answer = server.get(&session_path(token), None).await.expect(200);
    assert_eq!(answer.header("content-type"), JSON);
    assert_eq!(answer.header("cache-control"), "no-store");
    let mut expected = started.clone();
    expected.as_object_mut().unwrap().remove("token");
    assert_eq!(answer.json(), expected);
    fixture.clock.advance(DAY - Duration::from_micros(1));
    server.get(&session_path(token), None).await.expect(200);
    fixture.clock.advance(Duration::from_micros(1));
    assert_problem(&server.get(&session_path(token), None).await, 404, "not-found");
    assert_problem(&log_out(&server, token).await, 404, "not-found");
}

#[tokio::test]
async fn whatever_bytes_a_token_is_made_of_it_is_a_404_where_no_session_answers_to_it() {
    let (fixture, server) = fixture().await;
    let token = start_session(&fixture, "cus_1", None).await;
    let encoded = format!("%{:02X}{}", token.as_bytes()[0], &token[1..]);
    let altered = [
        format!("{token}%20"),
        format!("%20{token}"),
        format!("{token}%00"),
        format!("{token}="),
        format!("..%2f{token}"),
        format!("x%2f..%2f{token}"),
        encoded.replace('%', "%25"),
        token[1..].to_owned(),
        "x".repeat(513),
        "x".repeat(8_000),
    ];
    let odd = [
        "x",
        ".",
        "..",
        "%2e%2e",
        "..%2f..%2fuser",
        "..%5c..",
        "%2f",
        "%00",
        "%0d%0aa:b",
        "%ff",
        "%c3%28",
        "%E2%82%AC",
        "a%20b",
        "%",
        "%zz",
        "%25",
        "'%20OR%201=1--",
        "$ne",
        "*",
        "cus_1",
    ];
    for segment in odd.into_iter().map(str::to_owned).chain(altered) {
        for (method, path) in [
            (Method::GET, session_path(&segment)),
            (Method::DELETE, session_path(&segment)),
            (Method::POST, code_path(&segment)),
            (Method::POST, exchange_path(&segment)),
        ] {
            let answer = send_empty(&server, method, &path).await;
            assert_problem(&answer, 404, "not-found");
            assert!(!answer.text().contains(&token));
        }
    }
    // The same token, percent-encoded where it need not be, is the same token (RFC 3986 §6.2.2.2).
    server.get(&session_path(&encoded), None).await.expect(200);
}

#[tokio::test]
async fn logging_out_ends_the_session_and_the_jwts_exchanged_from_it() {
    let (fixture, server) = fixture().await;
    let validated = ValidateLayer::new(fixture.tokens.validator().clone());
    let orders = Router::new().route("/orders", get(|| async { "orders" })).layer(validated);
    let shop = Server::start(orders).await;
    let token = start_session(&fixture, "cus_1", None).await;
    let other = start_session(&fixture, "cus_1", None).await;
    let keeping = || json!({"invalidate": false});
    let jwts = [
        token_in(exchange(&server, &token, &keeping()).await),
        token_in(exchange(&server, &token, &keeping()).await),
    ];
    let others = token_in(exchange(&server, &other, &keeping()).await);
    for jwt in &jwts {
        shop.get("/orders", Some(jwt)).await.expect(200);
    }
    assert_no_content(&log_out(&server, &token).await);
    for jwt in &jwts {
        shop.get("/orders", Some(jwt)).await.expect(401);
    }
    shop.get("/orders", Some(&others)).await.expect(200);
    assert_problem(&server.get(&session_path(&token), None).await, 404, "not-found");
    assert_problem(&log_out(&server, &token).await, 404, "not-found");
    assert_problem(&exchange(&server, &token, &json!({})).await, 404, "not-found");
    server.get(&session_path(&other), None).await.expect(200);
}

#[tokio::test]
async fn behind_the_exchange_layer_the_first_request_after_a_logout_is_a_401() {
    let fixture = Fixture::new();
    let shop = Router::new()
        .route("/orders", get(|| async { "orders" }))
        .layer(fixture.tokens.exchange_layer());
    let server = Server::start(shop.merge(fixture.tokens.router())).await;
    let token = start_session(&fixture, "cus_1", None).await;
    let by_cookie = async || {
        let cookie = format!("__Host-session={token}");
        server.send(Request::get("/orders").header(COOKIE, cookie).body("").unwrap()).await
    };
    // Twice: the second time, the layer has a JWT at hand.
    for _ in 0..2 {
        by_cookie().await.expect(200);
        server.get("/orders", Some(&token)).await.expect(200);
    }
    assert_no_content(&log_out(&server, &token).await);
    let rejected = [by_cookie().await, server.get("/orders", Some(&token)).await];
    for answer in rejected {
        assert!(answer.expect(401).header("www-authenticate").contains("invalid_token"));
    }
}

#[tokio::test]
async fn a_session_that_needs_a_code_may_be_ended_without_one() {
    let (fixture, server) = fixture().await;
    let token = fixture.session(|new| new.otp_required(true)).await;
    assert_eq!(server.get(&session_path(&token), None).await.json()["otpRequired"], true);
    assert_no_content(&log_out(&server, &token).await);
    present_code(&server, &token, &fixture.outbox.last_code()).await.expect(404);
}
