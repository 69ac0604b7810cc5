//! The list of sessions, a page at a time.

use std::time::Duration;

use countersign::{Grant, NewSession};
use serde_json::{Value, json};

use super::{
    LIST_PERMISSION, MINUTE, NAME, START_PERMISSION, assert_no_content, bearer_of_everything,
    bearer_of_everything_in, bearer_with, below, customers_in, fixture, log_in, log_out,
    register_credential, start_session, token_in, token_of,
};
use crate::support::problems::{assert_problem, invalid_fields};
use crate::support::sessions::SESSIONS;
use crate::support::{ISSUER, PASSWORD, member_names};

#[tokio::test]
async fn sessions_are_listed_a_hundred_at_a_time_the_oldest_first_and_without_their_tokens() {
    let (fixture, server) = fixture().await;
    let bearer = bearer_with(&fixture, &json!({}), &[LIST_PERMISSION]);
    register_credential(&fixture, NAME, |entity| entity).await;
    let mut tokens = vec![token_in(log_in(&server, NAME, PASSWORD).await)];
    for number in 1..=100 {
        fixture.clock.advance(Duration::from_secs(1));
        tokens.push(start_session(&fixture, &format!("cus_{number}"), None).await);
    }
    let answer = server.get(SESSIONS, Some(&bearer)).await;
    assert_eq!(answer.header("pagination-limit"), "100");
    assert_eq!(answer.header("pagination-offset"), "0");
    assert!(tokens.iter().all(|token| !answer.text().contains(token)));
    let sessions = answer.json();
    let common =
        ["_links", "createdTime", "customerId", "expiredTime", "otpRequired", "updatedTime"];
    let mut of_a_login = [&common[..], &["credentialId", "username"]].concat();
    of_a_login.sort_unstable();
    assert_eq!(member_names(&sessions[0]), of_a_login);
    assert_eq!(member_names(&sessions[1]), common);
    assert_eq!(sessions[1]["createdTime"], "2026-01-01T00:00:01.000Z");
    let customers = customers_in(answer, 101);
    assert_eq!(customers.len(), 100);
    assert_eq!(customers[0], "cus_1");
    let rest =
        customers_in(server.get(&format!("{SESSIONS}?offset=100"), Some(&bearer)).await, 101);
    assert_eq!(rest, ["cus_100"]);
}

#[tokio::test]
async fn a_page_is_as_large_and_as_far_on_as_asked_for() {
    let (fixture, server) = fixture().await;
    let bearer = bearer_of_everything(&fixture);
    for number in 0..5 {
        start_session(&fixture, &format!("cus_{number}"), None).await;
        fixture.clock.advance(Duration::from_secs(1));
    }
    for (query, limit, offset, expected) in [
        ("limit=2&offset=1", "2", "1", &["cus_1", "cus_2"][..]),
        ("limit=1", "1", "0", &["cus_0"]),
        ("offset=4&limit=1000", "1000", "4", &["cus_4"]),
        ("offset=5", "100", "5", &[]),
        ("limit=0", "0", "0", &[]),
        ("offset=10000", "100", "10000", &[]),
        ("limit=1&somethingElse=1&somethingElse=2", "1", "0", &["cus_0"]),
    ] {
        let answer = server.get(&format!("{SESSIONS}?{query}"), Some(&bearer)).await;
        assert_eq!(answer.header("pagination-limit"), limit);
        assert_eq!(answer.header("pagination-offset"), offset);
        assert_eq!(customers_in(answer, 5), expected, "{query}");
    }
}

#[tokio::test]
async fn what_is_no_page_is_a_422_that_names_every_fault() {
    let (fixture, server) = fixture().await;
    let bearer = bearer_of_everything(&fixture);
    for (query, fields) in [
        ("limit=", &["limit"][..]),
        ("limit=ten", &["limit"]),
        ("limit=-1", &["limit"]),
        ("limit=%2B1", &["limit"]),
        ("limit=1.0", &["limit"]),
        ("limit=%EF%BC%91", &["limit"]),
        ("limit=1001", &["limit"]),
        ("limit=99999999999999999999999", &["limit"]),
        ("limit=1&limit=1", &["limit"]),
        ("offset=10001", &["offset"]),
        ("offset=-0", &["offset"]),
        ("offset=1&offset=2", &["offset"]),
        ("customerId=", &["customerId"]),
        ("customerId=cus_1&customerId=cus_1", &["customerId"]),
        ("customerId=a%00b", &["customerId"]),
        ("limit=x&offset=y&customerId=%20", &["customerId", "limit", "offset"]),
    ] {
        let answer = server.get(&format!("{SESSIONS}?{query}"), Some(&bearer)).await;
        assert_eq!(invalid_fields(&answer), fields, "{query}");
    }
}

#[tokio::test]
async fn the_list_may_be_of_one_customer_and_leaves_out_what_has_ended() {
    let (fixture, server) = fixture().await;
    let bearer = bearer_of_everything(&fixture);
    let list = async |query: &str| server.get(&format!("{SESSIONS}{query}"), Some(&bearer)).await;
    let short = |new: NewSession| new.lifetime(MINUTE);
    let (_, ended) = (fixture.session(short).await, start_session(&fixture, "cus_1", None).await);
    start_session(&fixture, "cus_2", None).await;
    assert_eq!(customers_in(list("?customerId=cus_1").await, 2), ["cus_1", "cus_1"]);
    assert_eq!(customers_in(list("?customerId=cus_2").await, 1), ["cus_2"]);
    assert_eq!(customers_in(list("?customerId=cus_3").await, 0), [""; 0]);
    assert_eq!(customers_in(list("?customerId=CUS_1").await, 0), [""; 0]);
    fixture.clock.advance(MINUTE - Duration::from_micros(1));
    assert_eq!(customers_in(list("?customerId=cus_1").await, 2).len(), 2);
    fixture.clock.advance(Duration::from_micros(1));
    assert_eq!(customers_in(list("").await, 2).len(), 2);
    assert_no_content(&log_out(&server, &ended).await);
    assert_eq!(customers_in(list("").await, 1), ["cus_2"]);
}

#[tokio::test]
async fn a_list_needs_a_bearer_with_the_permission_for_all_that_is_asked_for() {
    let (fixture, server) = fixture().await;
    let with = |scope: Value| bearer_with(&fixture, &scope, &[LIST_PERMISSION]);
    let of_cus_1 = json!({"customerId": ["cus_1"]});
    let of_org_1 = json!({"organizationId": ["org_1"]});
    let (root, one) = (SESSIONS.to_owned(), format!("{SESSIONS}?customerId=cus_1"));
    let other = format!("{SESSIONS}?customerId=cus_2");
    for (path, bearer, status) in [
        (&root, token_of(&fixture, Grant::user("ops")), 403),
        (&root, bearer_with(&fixture, &json!({}), &[START_PERMISSION]), 403),
        (&root, with(json!({})), 200),
        (&root, bearer_of_everything(&fixture), 200),
        (&root, with(of_cus_1.clone()), 403),
        (&one, with(of_cus_1.clone()), 200),
        (&other, with(of_cus_1), 403),
        (&root, with(of_org_1.clone()), 403),
        (&below("org_1", &root), with(of_org_1.clone()), 200),
        (&below("org_2", &root), with(of_org_1), 403),
        (&one, with(json!({"planId": ["p1"]})), 403),
    ] {
        let answer = server.get(path, Some(&bearer)).await;
        assert_eq!(answer.status().as_u16(), status, "{path}");
        if status == 403 {
            assert_problem(&answer, 403, "insufficient-permission");
            assert!(answer.header("www-authenticate").contains("error=\"insufficient_scope\""));
        }
    }
    let answer = server.get(SESSIONS, None).await;
    assert_problem(&answer, 401, "missing-token");
    assert_eq!(answer.json()["title"], "A bearer token is required");
    assert_eq!(answer.header("www-authenticate"), format!("Bearer realm=\"{ISSUER}\""));
    let answer = server.get(SESSIONS, Some("a.forged.token")).await;
    assert_problem(&answer, 401, "invalid-token");
    assert_eq!(answer.json()["title"], "The bearer token is not accepted");
    assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
    let answer = server.get(SESSIONS, Some("a b")).await;
    assert_problem(&answer, 400, "malformed-credentials");
    assert!(answer.header("www-authenticate").contains("error=\"invalid_request\""));
}

#[tokio::test]
async fn a_list_is_confined_to_the_organization_of_the_mount_and_of_the_bearer() {
    let (fixture, server) = fixture().await;
    start_session(&fixture, "cus_0", None).await;
    fixture.clock.advance(Duration::from_secs(1));
    start_session(&fixture, "cus_1", Some("org_1")).await;
    fixture.clock.advance(Duration::from_secs(1));
    start_session(&fixture, "cus_2", Some("org_2")).await;
    let list = async |path: &str, bearer: &str| server.get(path, Some(bearer)).await;
    let anywhere = bearer_of_everything(&fixture);
    let theirs = bearer_of_everything_in(&fixture, "org_1");
    let in_org_1 = below("org_1", SESSIONS);
    assert_eq!(customers_in(list(SESSIONS, &anywhere).await, 3), ["cus_0", "cus_1", "cus_2"]);
    assert_eq!(customers_in(list(&in_org_1, &anywhere).await, 1), ["cus_1"]);
    assert_eq!(customers_in(list(&below("org_3", SESSIONS), &anywhere).await, 0), [""; 0]);
    assert_eq!(customers_in(list(SESSIONS, &theirs).await, 1), ["cus_1"]);
    assert_eq!(customers_in(list(&in_org_1, &theirs).await, 1), ["cus_1"]);
    let elsewhere = list(&below("org_2", SESSIONS), &theirs).await;
    assert_problem(&elsewhere, 403, "insufficient-permission");
    assert_eq!(list(&in_org_1, &anywhere).await.json()[0]["_links"], json!([]));
}
