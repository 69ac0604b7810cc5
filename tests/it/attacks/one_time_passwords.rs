//! One-time passwords.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign::{Acl, Grant, Timestamp};
use http::Request;
use serde_json::json;

use crate::attacks::service::{MINUTE, at_once, retry_after, serve, session_with_code};
use crate::support::problems::assert_problem;
use crate::support::sessions::{SESSIONS, code_path, exchange, present_code, send_again};
use crate::support::{Fixture, START, wrong_code_for};

#[tokio::test]
async fn a_code_that_was_used_is_never_good_again() {
    let fixture = Fixture::new();
    let server = serve(&fixture).await;
    let (token, code) = session_with_code(&fixture).await;
    let keeping = |code: &str| json!({"oneTimePassword": code, "invalidate": false});
    exchange(&server, &token, &keeping(&code)).await.expect(201);
    let again = exchange(&server, &token, &keeping(&code)).await;
    assert_problem(&again, 401, "one-time-password-invalid");
    fixture.clock.set(Timestamp::from_secs(START - 60));
    present_code(&server, &token, &code).await.expect(401);
    fixture.clock.set(Timestamp::from_secs(START + 60));
    send_again(&server, &token).await.expect(204);
    let next = fixture.outbox.last_code();
    // Once in a million times, both are the same.
    if next != code {
        present_code(&server, &token, &code).await.expect(401);
    }
    present_code(&server, &token, &next).await.expect(201);
    present_code(&server, &token, &next).await.expect(404);
}

#[tokio::test]
async fn the_code_of_one_session_is_nothing_to_another_of_the_same_customer() {
    let fixture = Fixture::new();
    let server = serve(&fixture).await;
    let (first, first_code) = session_with_code(&fixture).await;
    let (mut second, mut second_code) = session_with_code(&fixture).await;
    while second_code == first_code {
        (second, second_code) = session_with_code(&fixture).await;
    }
    for _ in 0..4 {
        let rejected = present_code(&server, &second, &first_code).await;
        assert_problem(&rejected, 401, "one-time-password-invalid");
    }
    present_code(&server, &second, &second_code).await.expect(201);
    // What went wrong there has cost nothing here.
    present_code(&server, &first, &first_code).await.expect(201);
}

#[tokio::test]
async fn an_expired_code_stays_so_though_the_clock_steps_back() {
    let fixture = Fixture::new();
    let server = serve(&fixture).await;
    let (token, code) = session_with_code(&fixture).await;
    fixture.clock.advance(10 * MINUTE);
    let late = present_code(&server, &token, &code).await;
    assert_problem(&late, 401, "one-time-password-invalid");
    for seconds in [599, 0, -3_600] {
        fixture.clock.set(Timestamp::from_secs(START.saturating_add_signed(seconds)));
        let revived = present_code(&server, &token, &code).await;
        assert_problem(&revived, 401, "one-time-password-invalid");
    }
}

#[tokio::test]
async fn a_clock_that_steps_back_wins_neither_tries_nor_codes() {
    let fixture = Fixture::new();
    let server = serve(&fixture).await;
    let (token, mut code) = session_with_code(&fixture).await;
    for step in 1..=4 {
        present_code(&server, &token, &wrong_code_for(&code)).await.expect(401);
        fixture.clock.set(Timestamp::from_secs(START - 600 * step));
        let sent = send_again(&server, &token).await;
        assert_eq!(sent.status().as_u16(), if step <= 3 { 204 } else { 429 });
        code = fixture.outbox.last_code();
    }
    assert_eq!(fixture.outbox.count(), 4);
    present_code(&server, &token, &wrong_code_for(&code)).await.expect(401);
    present_code(&server, &token, &code).await.expect(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_have_a_code_sent_again_at_once_one_does() {
    let fixture = Fixture::new();
    let servers = [serve(&fixture).await, serve(&fixture).await];
    let (token, _) = session_with_code(&fixture).await;
    fixture.clock.advance(MINUTE);
    let path = code_path(&token);
    let again = |number: usize| {
        (servers[number % 2].address, Request::post(&path).body(String::new()).unwrap())
    };
    let statuses = at_once((0..100).map(again)).await;
    assert_eq!(statuses, BTreeMap::from([(204, 1), (429, 99)]));
    assert_eq!(fixture.outbox.count(), 2);
    present_code(&servers[0], &token, &fixture.outbox.last_code()).await.expect(201);
}

#[tokio::test]
async fn codes_that_are_sent_again_or_fail_to_be_do_not_reset_the_count() {
    let fixture = Fixture::new();
    let server = serve(&fixture).await;
    let (token, _) = session_with_code(&fixture).await;
    let guess = async || {
        let code = wrong_code_for(&fixture.outbox.last_code());
        present_code(&server, &token, &code).await.expect(401);
    };
    guess().await;
    guess().await;
    fixture.clock.advance(MINUTE);
    send_again(&server, &token).await.expect(204);
    guess().await;
    fixture.outbox.break_down();
    fixture.clock.advance(MINUTE);
    send_again(&server, &token).await.expect(503);
    guess().await;
    guess().await;
    present_code(&server, &token, &fixture.outbox.last_code()).await.expect(404);
}

#[tokio::test]
async fn wrong_codes_count_over_all_sessions_of_a_customer() {
    let fixture = Fixture::new();
    let server = serve(&fixture).await;
    let mut compared = 0;
    for _ in 0..5 {
        let (token, code) = session_with_code(&fixture).await;
        for _ in 0..4 {
            let answer = present_code(&server, &token, &wrong_code_for(&code)).await;
            match answer.status().as_u16() {
                401 => compared += 1,
                _ => assert_problem(&answer, 429, "too-many-requests"),
            }
        }
    }
    assert_eq!(compared, 10);
    let (token, code) = session_with_code(&fixture).await;
    let told = present_code(&server, &token, &code).await;
    assert_problem(&told, 429, "too-many-requests");
    fixture.clock.advance(Duration::from_secs(retry_after(&told)));
    present_code(&server, &token, &code).await.expect(201);
}

#[tokio::test]
async fn a_customer_is_not_sent_codes_without_end() {
    let fixture = Fixture::new();
    let server = serve(&fixture).await;
    let bearer = fixture.tokens.issue(Grant::user("ops").acl(Acl::everything())).await.unwrap();
    let bearer = bearer.access_token.expose();
    let start = async |customer: &str| {
        let body = json!({"mode": "passwordless", "customerId": customer, "otpRequired": true});
        server.post(SESSIONS, Some(bearer), &body).await
    };
    for _ in 0..10 {
        start("cus_1").await.expect(201);
    }
    let told = start("cus_1").await;
    assert_problem(&told, 429, "too-many-requests");
    start("cus_2").await.expect(201);
    assert_eq!(fixture.outbox.count(), 11);
    let listed = server.get(SESSIONS, Some(bearer)).await.expect(200);
    assert_eq!(listed.header("pagination-total"), "11", "what was rejected has left nothing");
    fixture.clock.advance(Duration::from_secs(retry_after(&told)));
    start("cus_1").await.expect(201);
}
