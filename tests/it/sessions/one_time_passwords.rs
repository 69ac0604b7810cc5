//! Sessions that need a one-time password: who asks for one, and how it is sent again.

use std::time::Duration;

use countersign::store::MemoryStore;
use countersign::testing::{Calls, FaultyStore, StoreFault, StoreVerb};
use countersign::{Acl, Algorithm, Grant, KeyRing, Timestamp, TokenService};
use http::Method;
use serde_json::json;

use super::{
    MINUTE, NAME, assert_no_content, bearer_of_everything, below, customers_in, fixture, log_in,
    log_out, passwordless_for, register_credential, register_guarded_credential, send_empty,
    serve_everywhere, start_session, token_in,
};
use crate::support::problems::{assert_problem, invalid_fields};
use crate::support::sessions::{SESSIONS, code_path, exchange, present_code, send_again};
use crate::support::{
    AUDIENCE, Answer, Fixture, ISSUER, PASSWORD, START, Server, TestClock, wrong_code_for,
};

#[track_caller]
fn retry_after(answer: &Answer) -> u64 {
    answer.header("retry-after").parse().unwrap()
}

#[tokio::test]
async fn a_code_that_the_credential_asks_for_cannot_be_declined_by_the_caller() {
    let (fixture, server) = fixture().await;
    register_guarded_credential(&fixture, NAME).await;
    register_credential(&fixture, "open", |entity| entity).await;
    for (name, asked, required) in [
        (NAME, None, true),
        (NAME, Some(false), true),
        (NAME, Some(true), true),
        ("open", None, false),
        ("open", Some(false), false),
        ("open", Some(true), true),
    ] {
        let mut body = json!({"username": name, "password": PASSWORD});
        if let Some(asked) = asked {
            body["otpRequired"] = json!(asked);
        }
        let answer = server.post(SESSIONS, None, &body).await.expect(201);
        assert_eq!(answer.json()["otpRequired"], required, "{body}");
        let token = token_in(answer);
        if required {
            let missing = exchange(&server, &token, &json!({})).await;
            assert_problem(&missing, 401, "one-time-password-required");
            let message = fixture.outbox.last();
            assert_eq!(message.username.as_deref(), Some(name));
            assert_eq!(message.customer_id.as_str(), "cus_1");
            assert_eq!(message.expires_at, Timestamp::from_secs(START + 600));
            present_code(&server, &token, &fixture.outbox.last_code()).await.expect(201);
        } else {
            exchange(&server, &token, &json!({})).await.expect(201);
        }
    }
    assert_eq!(fixture.outbox.count(), 4);
}

#[tokio::test]
async fn a_code_with_blanks_around_and_within_is_the_code() {
    let (fixture, server) = fixture().await;
    for form in [" {a}{b} ", "{a} {b}", "\u{a0}{a}\u{a0}{b}\n"] {
        let token = fixture.session(|new| new.otp_required(true)).await;
        let code = fixture.outbox.last_code();
        let (a, b) = code.split_at(3);
        let presented = form.replace("{a}", a).replace("{b}", b);
        present_code(&server, &token, &presented).await.expect(201);
    }
    // It counts as a try like any other.
    let token = fixture.session(|new| new.otp_required(true)).await;
    let wrong = wrong_code_for(&fixture.outbox.last_code());
    let wrong = present_code(&server, &token, &format!("{} ", wrong)).await;
    assert_problem(&wrong, 401, "one-time-password-invalid");
}

#[tokio::test]
async fn where_nobody_sends_codes_none_can_be_asked_for() {
    let (clock, keys) = (TestClock::new(), KeyRing::generate(Algorithm::EdDSA).unwrap());
    let builder = TokenService::builder().issuer(ISSUER).audience(AUDIENCE).keys(keys);
    let tokens = builder.clock(clock).build().unwrap();
    let server = Server::start(tokens.router()).await;
    let bearer =
        tokens.issue(Grant::user("ops").acl(Acl::everything())).await.unwrap().access_token;
    let login = json!({"username": NAME, "password": PASSWORD});
    for mut body in [login, passwordless_for("cus_1")] {
        body["otpRequired"] = json!(true);
        let answer = server.post(SESSIONS, Some(bearer.expose()), &body).await;
        assert_eq!(invalid_fields(&answer), ["otpRequired"]);
    }
}

#[tokio::test]
async fn another_code_replaces_the_one_before() {
    let (fixture, server) = fixture().await;
    let token = fixture.session(|new| new.otp_required(true)).await;
    let first = fixture.outbox.last_code();
    fixture.clock.advance(MINUTE);
    assert_no_content(&send_again(&server, &token).await);
    let second = fixture.outbox.last_code();
    assert_eq!(fixture.outbox.count(), 2);
    // Once in a million times, both are the same.
    if first != second {
        let replaced = present_code(&server, &token, &first).await;
        assert_problem(&replaced, 401, "one-time-password-invalid");
    }
    // It has ten minutes of its own.
    fixture.clock.advance(10 * MINUTE - Duration::from_micros(1));
    present_code(&server, &token, &second).await.expect(201);
}

#[tokio::test]
async fn a_code_is_sent_again_after_the_cool_down_and_three_times_at_most() {
    let (fixture, server) = fixture().await;
    let token = fixture.session(|new| new.otp_required(true)).await;
    for _ in 0..3 {
        let soon = send_again(&server, &token).await;
        assert_problem(&soon, 429, "too-many-requests");
        assert_eq!(retry_after(&soon), 60);
        fixture.clock.advance(MINUTE - Duration::from_micros(1));
        let soon = send_again(&server, &token).await;
        assert_problem(&soon, 429, "too-many-requests");
        assert_eq!(retry_after(&soon), 1);
        fixture.clock.advance(Duration::from_micros(1));
        assert_no_content(&send_again(&server, &token).await);
    }
    for later in [MINUTE, 60 * MINUTE] {
        fixture.clock.advance(later);
        let spent = send_again(&server, &token).await;
        assert_problem(&spent, 429, "too-many-requests");
        let rest = START + 86_400 - fixture.tokens.now().as_secs();
        assert_eq!(retry_after(&spent), rest, "there is no more until the session ends");
    }
    assert_eq!(fixture.outbox.count(), 4);
}

#[tokio::test]
async fn wrong_tries_go_on_counting_over_codes_that_are_sent_again() {
    let (fixture, server) = fixture().await;
    let token = fixture.session(|new| new.otp_required(true)).await;
    for tries in [2, 2, 1] {
        for _ in 0..tries {
            let code = wrong_code_for(&fixture.outbox.last_code());
            let rejected = present_code(&server, &token, &code).await;
            assert_problem(&rejected, 401, "one-time-password-invalid");
        }
        fixture.clock.advance(MINUTE);
        let sent = send_again(&server, &token).await;
        assert_eq!(sent.status().as_u16(), if tries == 2 { 204 } else { 404 });
    }
    present_code(&server, &token, &fixture.outbox.last_code()).await.expect(404);
}

#[tokio::test]
async fn a_code_that_cannot_be_sent_leaves_the_one_before_good_and_costs_no_sending() {
    let (fixture, server) = fixture().await;
    let patient = fixture.session(|new| new.otp_required(true)).await;
    let hasty = fixture.session(|new| new.otp_required(true)).await;
    let code = fixture.outbox.last_code();
    fixture.outbox.break_down();
    for _ in 0..2 {
        fixture.clock.advance(MINUTE);
        for token in [&patient, &hasty] {
            let failed = send_again(&server, token).await;
            assert_problem(&failed, 503, "unavailable");
            assert!(retry_after(&failed) >= 1);
            assert!(!failed.text().contains("smtp"), "{failed:?}");
        }
    }
    present_code(&server, &hasty, &code).await.expect(201);
    fixture.outbox.mend();
    for _ in 0..3 {
        fixture.clock.advance(MINUTE);
        assert_no_content(&send_again(&server, &patient).await);
    }
    fixture.clock.advance(MINUTE);
    assert_problem(&send_again(&server, &patient).await, 429, "too-many-requests");
    present_code(&server, &patient, &fixture.outbox.last_code()).await.expect(201);
}

#[tokio::test]
async fn a_resend_that_the_store_fails_leaves_the_customer_a_code_that_works() {
    let unavailable = || StoreFault::unavailable("down");
    let lost = || StoreFault::lost_reply("reset");
    // The first write says that a code is being sent, the second is of the code.
    for (write, fault, sent, is_new) in [
        (0, unavailable(), 0, false),
        (0, lost(), 0, false),
        (1, unavailable(), 1, false),
        (1, lost(), 1, true),
    ] {
        let store = FaultyStore::new(MemoryStore::new());
        let fixture = Fixture::with(|builder| builder.session_store(store.clone()));
        let server = serve_everywhere(&fixture).await;
        let token = fixture.session(|new| new.otp_required(true)).await;
        let before = fixture.outbox.last_code();
        fixture.clock.advance(MINUTE);
        store.fail(Calls::from(StoreVerb::ReplaceSession).skip(write).take(1), fault);
        assert_problem(&send_again(&server, &token).await, 503, "unavailable");
        assert_eq!((store.faults_left(), fixture.outbox.count()), (0, 1 + sent));
        let code = if is_new { fixture.outbox.last_code() } else { before };
        present_code(&server, &token, &code).await.expect(201);
    }
}

#[tokio::test]
async fn a_code_is_sent_again_for_a_live_session_that_needs_one_alone() {
    let (fixture, server) = fixture().await;
    let open = start_session(&fixture, "cus_1", None).await;
    assert_problem(&send_again(&server, &open).await, 409, "conflict");
    let guarded = || fixture.session(|new| new.otp_required(true));
    let ended = guarded().await;
    assert_no_content(&log_out(&server, &ended).await);
    let expired = fixture.session(|new| new.otp_required(true).lifetime(MINUTE)).await;
    let used = guarded().await;
    present_code(&server, &used, &fixture.outbox.last_code()).await.expect(201);
    let homeless = guarded().await;
    fixture.clock.advance(MINUTE);
    let sent = fixture.outbox.count();
    for gone in [&ended, &expired, &used, "unknown"] {
        assert_problem(&send_again(&server, gone).await, 404, "not-found");
    }
    for organization in ["org_1", "%20"] {
        let elsewhere = below(organization, &code_path(&homeless));
        let answer = send_empty(&server, Method::POST, &elsewhere).await;
        assert_problem(&answer, 404, "not-found");
    }
    assert_eq!(fixture.outbox.count(), sent);
    assert_no_content(&send_again(&server, &homeless).await);
}

#[tokio::test]
async fn a_session_whose_code_cannot_be_sent_is_not_started() {
    let (fixture, server) = fixture().await;
    register_guarded_credential(&fixture, NAME).await;
    let bearer = bearer_of_everything(&fixture);
    fixture.outbox.break_down();
    let mut vouched = passwordless_for("cus_1");
    vouched["otpRequired"] = json!(true);
    for body in [json!({"username": NAME, "password": PASSWORD}), vouched] {
        let answer = server.post(SESSIONS, Some(&bearer), &body).await;
        assert_problem(&answer, 503, "unavailable");
        assert!(retry_after(&answer) >= 1);
        assert!(!answer.text().contains("smtp"), "{answer:?}");
    }
    assert_eq!(customers_in(server.get(SESSIONS, Some(&bearer)).await, 0), [""; 0]);
    fixture.outbox.mend();
    log_in(&server, NAME, PASSWORD).await.expect(201);
}
