//! What every request and answer about a secret has: version, timestamp and transaction.

use std::time::Duration;

use serde_json::json;

use super::{
    ENTITY_TOKEN, READ, RESET, SECRET, TRANSACTION, USER_TOKEN, assert_bad_request,
    assert_envelope, assert_uuid, complete, complete_for, complete_with, complete_without,
    entity_login, manager, service, service_with,
};

#[tokio::test]
async fn the_timestamp_of_an_answer_is_now_in_utc_with_milliseconds() {
    let (fixture, server) = service().await;
    fixture.clock.set("2024-07-16T11:33:34.509999Z".parse().unwrap());
    let granted = entity_login(&server, "aa-1", SECRET).await.expect(200);
    let rejected = entity_login(&server, "aa-1", "wrong").await.expect(401);
    for answer in [granted, rejected] {
        assert_eq!(answer.json()["timestamp"], "2024-07-16T11:33:34.509Z");
    }
}

#[tokio::test]
async fn a_token_route_takes_no_transaction_id_and_answers_one_of_its_own() {
    let (_fixture, server) = service().await;
    for (route, name, status) in
        [(ENTITY_TOKEN, "secret", 200), (ENTITY_TOKEN, "id", 200), (USER_TOKEN, "password", 200)]
    {
        let answer = server.post(route, None, &complete()).await.expect(status);
        assert_uuid(&assert_envelope(&answer)["txnId"]);
        let answer = server.post(route, None, &complete_without(name)).await.expect(400);
        assert_uuid(&assert_envelope(&answer)["txnId"]);
    }
}

#[tokio::test]
async fn the_envelope_of_a_request_has_to_be_whole() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    for route in [READ, RESET] {
        for (field, message) in [
            ("entityId", "Entity Id is missing in the request"),
            ("ver", "ver is missing in the request"),
            ("timestamp", "timestamp is missing in the request"),
            ("txnId", "txnId is missing in the request"),
        ] {
            let answer = server.post(route, Some(&manager), &complete_without(field)).await;
            assert_bad_request(&answer, message);
            for blank in [json!(null), json!(""), json!(" "), json!("\t")] {
                let body = complete_with(field, blank);
                assert_bad_request(&server.post(route, Some(&manager), &body).await, message);
            }
            for other in [json!(1), json!(false), json!([]), json!({})] {
                let answer = server.post(route, Some(&manager), &complete_with(field, other)).await;
                assert_bad_request(&answer, &format!("{field} must be a string"));
            }
        }
        let nothing = server.post_text(route, Some(&manager), None, "").await;
        assert_bad_request(&nothing, "Entity Id is missing in the request");
    }
}

#[tokio::test]
async fn a_policy_lets_version_and_timestamp_be_left_out_and_checks_what_comes_of_them() {
    let (fixture, server) = service_with(|policy| {
        policy.http(|http| {
            http.optional_envelope(true).timestamp_skew(Some(Duration::from_secs(900)))
        })
    })
    .await;
    let manager = manager(&fixture);
    for route in [READ, RESET] {
        // As the documented collection has it.
        let collection = json!({"entityId": "aa-1", "txnId": TRANSACTION});
        let nulls = json!({"entityId": "aa-1", "txnId": "1", "ver": null, "timestamp": null});
        for body in [collection, nulls, complete_without("ver"), complete_without("timestamp")] {
            let answer = server.post(route, Some(&manager), &body).await.expect(200);
            assert_eq!(assert_envelope(&answer)["txnId"], body["txnId"]);
        }
        for (field, value, message) in [
            ("ver", json!("2.0.0"), "ver must be 1.x.y"),
            ("ver", json!(1), "ver must be a string"),
            ("ver", json!(" "), "ver is missing in the request"),
            ("timestamp", json!("now"), "timestamp must be a date-time of RFC 3339"),
            ("timestamp", json!(1), "timestamp must be a string"),
            ("timestamp", json!(""), "timestamp is missing in the request"),
            (
                "timestamp",
                json!("2026-01-01T00:15:01Z"),
                "timestamp is too far from the time of the service",
            ),
            ("txnId", json!(null), "txnId is missing in the request"),
            ("txnId", json!("a b"), "txnId must be 1 to 64 visible ASCII characters"),
            ("entityId", json!(null), "Entity Id is missing in the request"),
        ] {
            let body = complete_with(field, value);
            assert_bad_request(&server.post(route, Some(&manager), &body).await, message);
        }
    }
}

#[tokio::test]
async fn any_version_one_is_taken_and_no_other() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    for version in ["1.0.0", "1.2.3", "1.10.245"] {
        let body = complete_with("ver", json!(version));
        let answer = server.post(READ, Some(&manager), &body).await.expect(200);
        assert_eq!(answer.json()["ver"], "1.0.0");
    }
    for version in [
        "1",
        "1.0",
        "1.0.0.0",
        "2.0.0",
        "0.1.0",
        "11.0.0",
        "01.0.0",
        "v1.0.0",
        "1..0",
        "1.x.y",
        "1.0.-1",
        "1.0.+1",
        " 1.0.0",
        "1.0.0 ",
        "1.0.\u{661}",
    ] {
        let body = complete_with("ver", json!(version));
        assert_bad_request(&server.post(READ, Some(&manager), &body).await, "ver must be 1.x.y");
    }
}

#[tokio::test]
async fn a_timestamp_is_a_date_time_of_rfc_3339_and_may_be_of_any_age() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    for good in [
        "2026-01-01T00:00:00Z",
        "2024-07-16T11:33:34.509Z",
        "1971-01-01T05:30:00.123456+05:30",
        "9999-12-31T23:59:59Z",
    ] {
        let body = complete_with("timestamp", json!(good));
        server.post(READ, Some(&manager), &body).await.expect(200);
    }
    for bad in [
        "now",
        "1767225600",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-01-01 00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:00+0100",
    ] {
        let body = complete_with("timestamp", json!(bad));
        let answer = server.post(READ, Some(&manager), &body).await;
        assert_bad_request(&answer, "timestamp must be a date-time of RFC 3339");
    }
}

#[tokio::test]
async fn a_policy_limits_how_far_a_timestamp_may_be_from_now() {
    let (fixture, server) =
        service_with(|p| p.http(|http| http.timestamp_skew(Some(Duration::from_secs(900))))).await;
    let manager = manager(&fixture);
    for (timestamp, fits) in [
        ("2026-01-01T00:00:00Z", true),
        ("2026-01-01T00:15:00Z", true),
        ("2026-01-01T01:45:00+02:00", true),
        ("2026-01-01T00:15:00.001Z", false),
        ("2025-12-31T23:44:59.999Z", false),
        ("2026-01-01T00:00:00+02:00", false),
    ] {
        let body = complete_with("timestamp", json!(timestamp));
        let answer = server.post(READ, Some(&manager), &body).await;
        if fits {
            answer.expect(200);
        } else {
            assert_bad_request(&answer, "timestamp is too far from the time of the service");
        }
    }
}

#[tokio::test]
async fn a_transaction_id_is_up_to_64_visible_characters_and_may_come_again() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    let longest = "~".repeat(64);
    for good in ["1", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", &longest, "1"] {
        let body = complete_with("txnId", json!(good));
        let answer = server.post(READ, Some(&manager), &body).await.expect(200);
        assert_eq!(answer.json()["txnId"], good);
    }
    let too_long = "x".repeat(65);
    for bad in [&too_long, "a b", " a", "a\n", "a\u{0}", "\u{7f}", "\u{e9}"] {
        let body = complete_with("txnId", json!(bad));
        let answer = server.post(READ, Some(&manager), &body).await;
        assert_bad_request(&answer, "txnId must be 1 to 64 visible ASCII characters");
        assert_uuid(&answer.json()["txnId"]);
    }
}

#[tokio::test]
async fn an_error_echoes_the_transaction_id_wherever_it_could_be_read() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    for route in [READ, RESET] {
        let mut answers = vec![
            server.post(route, None, &complete()).await.expect(401),
            server.post(route, Some("a.forged.token"), &complete()).await.expect(401),
            server.post(route, Some(&manager), &complete_for("unknown")).await.expect(401),
        ];
        for (field, value) in [
            ("entityId", json!(null)),
            ("ver", json!("2.0.0")),
            ("timestamp", json!("now")),
            ("secretExpiryDays", json!(0)),
        ] {
            let body = complete_with(field, value);
            answers.push(server.post(route, Some(&manager), &body).await.expect(400));
        }
        for answer in answers {
            assert_eq!(assert_envelope(&answer)["txnId"], TRANSACTION);
        }
    }
}
