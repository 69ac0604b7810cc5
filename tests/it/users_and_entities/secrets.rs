//! Secrets, from the first to the last: how they are read and reset, and when they end.

use std::time::Duration;

use countersign::{Entity, Grant, Policy};
use serde_json::json;

use super::{
    DAY, JSON, READ, RESET, SECRET, TRANSACTION, WRONG_ENTITY, WRONG_SECRET,
    all_that_a_caller_sees, assert_bad_request, assert_envelope, assert_error, claims_in, complete,
    complete_for, complete_with, entity_login, manager, manager_with, service, service_with,
    text_in, token_of,
};
use crate::support::{Fixture, START, member_names};

#[tokio::test]
async fn a_secret_is_answered_with_its_expiry_in_both_of_the_documented_forms() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    fixture.clock.advance(Duration::from_micros(1_234_567));
    for route in [RESET, READ] {
        let answer = server.post(route, Some(&manager), &complete()).await.expect(200);
        let body = assert_envelope(&answer);
        let expected =
            ["entityId", "expirationDate", "expiresOn", "secret", "timestamp", "txnId", "ver"];
        assert_eq!(member_names(&body), expected);
        assert_eq!(body["txnId"], TRANSACTION);
        assert_eq!(body["entityId"], "aa-1");
        assert_eq!(body["expiresOn"], START + 1 + 180 * 86_400);
        assert_eq!(body["expirationDate"], "2026-06-30T00:00:01.234");
        assert_eq!(body["timestamp"], "2026-01-01T00:00:01.234Z");
    }
}

#[tokio::test]
async fn secret_expiry_days_is_an_integer_of_at_least_one() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    let numbers = ["0", "-1", "-0", "1.5", "100.0", "1e2", "\"100\"", "true", "[1]", "{}"];
    for route in [READ, RESET] {
        for number in numbers {
            let good = complete().to_string();
            let body = format!("{},\"secretExpiryDays\":{number}}}", &good[..good.len() - 1]);
            let answer = server.post_text(route, Some(&manager), Some(JSON), body).await;
            assert_bad_request(&answer, "secretExpiryDays must be an integer of at least 1");
        }
    }
    entity_login(&server, "aa-1", SECRET).await.expect(200);
}

#[tokio::test]
async fn a_secret_lives_as_long_as_asked_for_up_to_the_maximum() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    for (asked, days, told) in [
        (None, 180, false),
        (Some(json!(null)), 180, false),
        (Some(json!(1)), 1, false),
        (Some(json!(180)), 180, false),
        (Some(json!(181)), 180, true),
        (Some(json!(u64::MAX)), 180, true),
    ] {
        let mut body = complete();
        if let Some(asked) = asked {
            body["secretExpiryDays"] = asked;
        }
        let answer = server.post(RESET, Some(&manager), &body).await.expect(200).json();
        assert_eq!(answer["expiresOn"], START + days * 86_400, "{body}");
        let message = "secretExpiryDays is above the maximum and was set to 180 days";
        assert_eq!(answer.get("message"), told.then(|| json!(message)).as_ref(), "{body}");
    }
}

#[tokio::test]
async fn the_default_and_the_maximum_of_a_secrets_life_follow_the_policy() {
    let change =
        |policy: Policy| policy.secrets(|secrets| secrets.lifetime_days(7).max_lifetime_days(30));
    let (fixture, server) = service_with(change).await;
    let manager = manager(&fixture);
    let by_default = server.post(RESET, Some(&manager), &complete()).await.expect(200).json();
    assert_eq!(by_default["expiresOn"], START + 7 * 86_400);
    let body = complete_with("secretExpiryDays", json!(31));
    let cut = server.post(RESET, Some(&manager), &body).await.expect(200).json();
    assert_eq!(cut["expiresOn"], START + 30 * 86_400);
    assert!(text_in(&cut, "message").contains("30 days"), "{cut}");
}

#[tokio::test]
async fn a_secret_is_generated_and_never_chosen() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    let mut known = vec![SECRET.to_owned()];
    for _ in 0..3 {
        let body = complete_with("secret", json!("chosen-by-the-caller"));
        let answer = server.post(RESET, Some(&manager), &body).await.expect(200).json();
        let secret = text_in(&answer, "secret");
        let base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        assert_eq!(secret.len(), 43, "256 bits in base64url without padding: {secret}");
        assert!(secret.bytes().all(base64url), "{secret}");
        assert!(!known.contains(&secret));
        known.push(secret);
    }
    let current = known.pop().unwrap();
    entity_login(&server, "aa-1", &current).await.expect(200);
    for old in known.iter().map(String::as_str).chain(["chosen-by-the-caller"]) {
        entity_login(&server, "aa-1", old).await.expect(401);
    }
}

#[tokio::test]
async fn reading_answers_the_same_secret_as_often_as_asked_and_never_extends_it() {
    let (fixture, server) = service().await;
    let read = async |days: Option<u64>| {
        let mut body = complete();
        if let Some(days) = days {
            body["secretExpiryDays"] = json!(days);
        }
        let manager = manager(&fixture);
        let answer = server.post(READ, Some(&manager), &body).await.expect(200).json();
        assert_eq!(answer.get("message"), None, "{answer}");
        (answer["secret"].clone(), answer["expiresOn"].clone(), answer["expirationDate"].clone())
    };
    let first = read(None).await;
    assert_eq!(first.0, SECRET);
    for days in [None, Some(1), Some(180), Some(1_000), None] {
        fixture.clock.advance(30 * DAY);
        assert_eq!(read(days).await, first);
    }
    // 150 days have passed; a month later the secret has expired, and reading it changes nothing.
    entity_login(&server, "aa-1", SECRET).await.expect(200);
    fixture.clock.advance(30 * DAY);
    assert_eq!(read(None).await, first);
    assert_error(&entity_login(&server, "aa-1", SECRET).await, 401, "Unauthorized", WRONG_SECRET);
}

#[tokio::test]
async fn an_entity_gets_its_first_secret_by_reading_where_resetting_is_permitted_too() {
    let fixture = Fixture::new();
    for id in ["aa-1", "aa-2"] {
        fixture.tokens.register(Entity::machine(id).unwrap()).await.unwrap();
    }
    let server = fixture.serve().await;
    let reader = manager_with(&fixture, json!({}), &["ReadEntitySecret"]);
    let answer = server.post(READ, Some(&reader), &complete()).await;
    assert_error(&answer, 401, "Unauthorized", WRONG_ENTITY);
    let unknown = server.post(READ, Some(&reader), &complete_for("unknown")).await;
    assert_eq!(all_that_a_caller_sees(&answer), all_that_a_caller_sees(&unknown));

    let manager = manager(&fixture);
    let body = complete_with("secretExpiryDays", json!(7));
    let first = server.post(READ, Some(&manager), &body).await.expect(200).json();
    assert_eq!(first["expiresOn"], START + 7 * 86_400);
    entity_login(&server, "aa-1", &text_in(&first, "secret")).await.expect(200);
    // Now that there is one, reading it needs no more than the permission to read.
    let again = server.post(READ, Some(&reader), &complete()).await.expect(200).json();
    assert_eq!(again["secret"], first["secret"]);
    assert_eq!(again["expiresOn"], first["expiresOn"]);

    let mut above = complete_for("aa-2");
    above["secretExpiryDays"] = json!(181);
    let cut = server.post(READ, Some(&manager), &above).await.expect(200).json();
    assert!(text_in(&cut, "message").contains("180 days"), "{cut}");
}

#[tokio::test]
async fn a_reset_ends_the_old_secret_at_once() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    entity_login(&server, "aa-1", SECRET).await.expect(200);
    let reset = server.post(RESET, Some(&manager), &complete()).await.expect(200).json();
    let rejected = entity_login(&server, "aa-1", SECRET).await;
    assert_error(&rejected, 401, "Unauthorized", WRONG_SECRET);
    entity_login(&server, "aa-1", &text_in(&reset, "secret")).await.expect(200);
    let read = server.post(READ, Some(&manager), &complete()).await.expect(200).json();
    assert_eq!(read["secret"], reset["secret"]);
}

#[tokio::test]
async fn a_policy_lets_the_old_secret_live_on_for_a_while() {
    let (fixture, server) =
        service_with(|policy| policy.secrets(|secrets| secrets.overlap(5 * DAY))).await;
    let reset = async || {
        let manager = manager(&fixture);
        let answer = server.post(RESET, Some(&manager), &complete()).await.expect(200);
        text_in(&answer.json(), "secret")
    };
    let second = reset().await;
    fixture.clock.advance(5 * DAY - Duration::from_micros(1));
    for secret in [SECRET, &second] {
        let answer = entity_login(&server, "aa-1", secret).await.expect(200).json();
        assert_eq!(answer.get("message"), None);
    }
    fixture.clock.advance(Duration::from_micros(1));
    entity_login(&server, "aa-1", SECRET).await.expect(401);
    // Only the one before lives on, not the one before that.
    let third = reset().await;
    let fourth = reset().await;
    for (secret, status) in [(&second, 401), (&third, 200), (&fourth, 200)] {
        entity_login(&server, "aa-1", secret).await.expect(status);
    }
}

#[tokio::test]
async fn the_overlap_never_outlives_the_old_secrets_own_expiry() {
    let (fixture, server) =
        service_with(|policy| policy.secrets(|secrets| secrets.overlap(5 * DAY))).await;
    let body = complete_with("secretExpiryDays", json!(1));
    let answer = server.post(RESET, Some(&manager(&fixture)), &body).await.expect(200);
    let short = text_in(&answer.json(), "secret");
    server.post(RESET, Some(&manager(&fixture)), &complete()).await.expect(200);
    fixture.clock.advance(DAY - Duration::from_micros(1));
    entity_login(&server, "aa-1", &short).await.expect(200);
    fixture.clock.advance(Duration::from_micros(1));
    entity_login(&server, "aa-1", &short).await.expect(401);
}

#[tokio::test]
async fn a_secret_ends_exactly_when_it_says() {
    let (fixture, server) = service().await;
    fixture.clock.advance(180 * DAY - Duration::from_micros(1));
    entity_login(&server, "aa-1", SECRET).await.expect(200);
    fixture.clock.advance(Duration::from_micros(1));
    let answer = entity_login(&server, "aa-1", SECRET).await;
    assert_error(&answer, 401, "Unauthorized", WRONG_SECRET);
}

#[tokio::test]
async fn within_the_grace_period_an_expired_secret_yields_a_token_and_a_warning() {
    let (fixture, server) =
        service_with(|policy| policy.secrets(|secrets| secrets.grace(5 * DAY))).await;
    fixture.clock.advance(180 * DAY);
    let late = entity_login(&server, "aa-1", SECRET).await.expect(200);
    let body = assert_envelope(&late);
    assert_eq!(body["message"], "The secret is expired and within the grace period");
    assert_eq!(body["expiresIn"], 86_400);
    assert_eq!(claims_in(&fixture, &late)["sub"], "aa-1");
    entity_login(&server, "aa-1", "wrong").await.expect(401);
    fixture.clock.advance(5 * DAY - Duration::from_micros(1));
    entity_login(&server, "aa-1", SECRET).await.expect(200);
    fixture.clock.advance(Duration::from_micros(1));
    let answer = entity_login(&server, "aa-1", SECRET).await;
    assert_error(&answer, 401, "Unauthorized", WRONG_SECRET);
}

#[tokio::test]
async fn tokens_that_were_issued_before_a_reset_stay_valid_to_their_end() {
    let (fixture, server) = service().await;
    let login = entity_login(&server, "aa-1", SECRET).await.expect(200);
    let token = text_in(&login.json(), "accessToken");
    fixture.clock.advance(Duration::from_secs(10));
    server.post(RESET, Some(&manager(&fixture)), &complete()).await.expect(200);
    assert!(fixture.tokens.validator().validate(&token).is_ok());
    fixture.clock.advance(DAY - Duration::from_secs(11));
    assert!(fixture.tokens.validator().validate(&token).is_ok());
}

#[tokio::test]
async fn a_policy_takes_issued_tokens_back_at_a_reset() {
    let (fixture, server) =
        service_with(|policy| policy.secrets(|secrets| secrets.revoke_tokens_on_reset(true))).await;
    fixture.machine("aa-2", SECRET).await;
    fixture.clock.advance(Duration::from_secs(10));
    let login = async |id: &str, secret: &str| {
        let answer = entity_login(&server, id, secret).await.expect(200);
        text_in(&answer.json(), "accessToken")
    };
    let validate = |token: &str| fixture.tokens.validator().validate(token).is_ok();
    let (old, others) = (login("aa-1", SECRET).await, login("aa-2", SECRET).await);
    let namesake = token_of(&fixture, Grant::user("aa-1"));
    let manager = manager(&fixture);
    fixture.clock.advance(Duration::from_secs(10));
    let reset = server.post(RESET, Some(&manager), &complete()).await.expect(200).json();
    assert!(!validate(&old), "a token of the old secret");
    assert!(validate(&others), "a token of another entity");
    assert!(validate(&namesake), "a token of a user of the same name");
    assert!(validate(&manager), "the manager's own token");
    fixture.clock.advance(Duration::from_secs(1));
    assert!(
        validate(&login("aa-1", &text_in(&reset, "secret")).await),
        "a token of the new secret"
    );
}

#[tokio::test]
async fn a_rejected_reset_leaves_the_secret_as_it_was() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    for (field, value) in
        [("secretExpiryDays", json!(0)), ("ver", json!("2.0.0")), ("txnId", json!(""))]
    {
        server.post(RESET, Some(&manager), &complete_with(field, value)).await.expect(400);
    }
    server.post(RESET, None, &complete()).await.expect(401);
    let read = server.post(READ, Some(&manager), &complete()).await.expect(200).json();
    assert_eq!(read["secret"], SECRET);
}
