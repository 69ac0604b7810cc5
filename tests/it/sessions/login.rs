//! Logging in with a password.

use countersign::store::MemoryStore;
use countersign::{OrganizationId, Policy, SealingKey, Timestamp};
use serde_json::json;

use super::{
    DAY, JSON, NAME, all_that_a_caller_sees, bearer_of_everything, below, claims_in, fixture,
    log_in, passwordless_for, register_credential, serve_everywhere, token_in,
};
use crate::support::problems::{assert_problem, invalid_fields};
use crate::support::sessions::{SESSIONS, exchange, session_path};
use crate::support::{Fixture, ISSUER, PASSWORD, START, acl_of};

#[tokio::test]
async fn a_login_is_answered_with_the_documented_session_and_nothing_else() {
    let (fixture, server) = fixture().await;
    register_credential(&fixture, NAME, |entity| entity).await;
    let nulls = json!({"mode": null, "otpRequired": null, "expiredTime": null, "customerId": null});
    for more in [json!({}), json!({"mode": "password"}), nulls] {
        let mut body = json!({"username": NAME, "password": PASSWORD, "somethingElse": [1]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = server.post(SESSIONS, None, &body).await.expect(201);
        assert_eq!(answer.header("content-type"), JSON);
        assert_eq!(answer.header("cache-control"), "no-store");
        // The only address it could name holds the token.
        assert!(answer.headers().get("location").is_none());
        let body = answer.json();
        let token = body["token"].as_str().unwrap().to_owned();
        let expected = json!({
            "username": NAME,
            "customerId": "cus_1",
            "token": token,
            "otpRequired": false,
            "credentialId": body["credentialId"],
            "expiredTime": "2026-01-02T00:00:00.000Z",
            "createdTime": "2026-01-01T00:00:00.000Z",
            "updatedTime": "2026-01-01T00:00:00.000Z",
            "_links": [],
        });
        assert_eq!(body, expected);
        let base64url = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        assert!(token.len() == 43 && token.bytes().all(base64url), "256 bits in base64url");
        server.get(&session_path(&token), None).await.expect(200);
    }
}

#[tokio::test]
async fn a_credential_is_known_by_an_id_that_stays_and_says_nothing_of_the_name() {
    let store = MemoryStore::new();
    let node = |key: u8| {
        let store = store.clone();
        Fixture::with(|builder| {
            builder
                .entity_store(store.clone())
                .session_store(store)
                .sealing_key(SealingKey::from_bytes([key; 32]))
        })
    };
    let first = node(1);
    for name in [NAME, "jane@example.com"] {
        register_credential(&first, name, |entity| entity).await;
    }
    let id = async |fixture: &Fixture, name: &str| {
        let server = fixture.serve().await;
        let body = log_in(&server, name, PASSWORD).await.expect(201).json();
        let id = body["credentialId"].as_str().unwrap().to_owned();
        // The same wherever the session is shown.
        let token = body["token"].as_str().unwrap();
        let verified = server.get(&session_path(token), None).await.expect(200).json();
        assert_eq!(verified["credentialId"], id);
        let bearer = bearer_of_everything(fixture);
        let listed = server.get(SESSIONS, Some(&bearer)).await.expect(200).json();
        let ids: Vec<_> =
            listed.as_array().unwrap().iter().map(|one| &one["credentialId"]).collect();
        assert!(ids.iter().any(|listed| **listed == *id), "{listed}");
        id
    };
    let known = id(&first, NAME).await;
    assert!(known.starts_with("cred_") && known.len() <= 50, "{known}");
    assert_eq!(id(&first, NAME).await, known, "another login");
    assert_eq!(id(&node(1), NAME).await, known, "another node, or the same after a restart");
    assert_ne!(id(&first, "jane@example.com").await, known);
    // Nobody computes it from the name: it is another one under another key.
    assert_ne!(id(&node(2), NAME).await, known);
}

#[tokio::test]
async fn a_mode_that_is_not_known_is_a_422() {
    let (fixture, server) = fixture().await;
    register_credential(&fixture, NAME, |entity| entity).await;
    for (mode, status) in [
        (json!("Password"), 422),
        (json!("otp"), 422),
        (json!(""), 422),
        (json!(["password"]), 400),
    ] {
        let body = json!({"mode": mode, "username": NAME, "password": PASSWORD});
        let answer = server.post(SESSIONS, None, &body).await;
        if status == 422 {
            assert_eq!(invalid_fields(&answer), ["mode"]);
        } else {
            assert_problem(&answer, 400, "malformed-request");
            assert!(answer.json()["detail"].as_str().unwrap().contains("mode"));
        }
    }
}

#[tokio::test]
async fn a_session_and_its_jwt_carry_what_the_credential_is_registered_with() {
    let fixture = Fixture::new();
    let server = serve_everywhere(&fixture).await;
    let acl = json!([{"scope": {"productId": ["p1"]}, "permissions": ["GetOrders"]}]);
    let custom = json!({"locale": "de"});
    register_credential(&fixture, NAME, |entity| {
        entity
            .acl(acl_of(acl.clone()))
            .custom_claims(custom.clone())
            .unwrap()
            .organization(OrganizationId::new("org_1").unwrap())
    })
    .await;
    let body = json!({"username": NAME, "password": PASSWORD});
    let token = token_in(server.post(&below("org_1", SESSIONS), None, &body).await);
    let claims = claims_in(&fixture, exchange(&server, &token, &json!({})).await);
    assert_eq!(claims["sub"], "cus_1");
    assert_eq!(claims["subject_type"], "customer");
    assert_eq!(claims["acl"], acl);
    assert_eq!(claims["customClaims"], custom);
    assert_eq!(claims["organizationId"], "org_1");
}

#[tokio::test]
async fn all_that_is_wrong_with_a_login_is_told_at_once() {
    let (fixture, server) = fixture().await;
    register_credential(&fixture, NAME, |entity| entity).await;
    let long = "p".repeat(1_025);
    for (body, fields) in [
        (json!({}), vec!["password", "username"]),
        (json!({"username": " ", "password": ""}), vec!["password", "username"]),
        (json!({"username": null, "password": null}), vec!["password", "username"]),
        (json!({"username": NAME, "password": "x", "expiredTime": "soon"}), vec!["expiredTime"]),
        (json!({"username": NAME, "password": long}), vec!["password"]),
        (
            json!({"password": long, "expiredTime": "1"}),
            vec!["expiredTime", "password", "username"],
        ),
    ] {
        let answer = server.post(SESSIONS, None, &body).await;
        assert_eq!(invalid_fields(&answer), fields, "{body}");
    }
    let answer = server.post(SESSIONS, None, &json!({"username": NAME, "password": long})).await;
    let detail = "password must be at most 1024 bytes long (fault 1 of 1, see invalidFields)";
    assert_eq!(answer.json()["detail"], detail);
    let answer = server.post_text(SESSIONS, None, None, "").await;
    let detail = "username is missing (fault 1 of 2, see invalidFields)";
    assert_eq!(answer.json()["detail"], detail);
    assert_eq!(invalid_fields(&answer), ["password", "username"], "no body is an empty object");
}

#[tokio::test]
async fn what_is_out_of_range_in_a_login_is_told_along_with_what_is_missing() {
    let (_, server) = fixture().await;
    let body = json!({"username": "", "expiredTime": "2020-01-01T00:00:00Z"});
    let answer = server.post(SESSIONS, None, &body).await;
    assert_eq!(invalid_fields(&answer), ["expiredTime", "password", "username"]);
}

#[tokio::test]
async fn a_value_of_a_wrong_type_is_a_400_that_names_the_field() {
    let (fixture, server) = fixture().await;
    let bearer = bearer_of_everything(&fixture);
    let login = json!({"username": NAME, "password": PASSWORD});
    for (body, name, value) in [
        (&login, "username", json!(1)),
        (&login, "password", json!([PASSWORD])),
        (&login, "otpRequired", json!("true")),
        (&login, "expiredTime", json!(1_767_225_700)),
        (&passwordless_for("cus_1"), "customerId", json!({"id": "cus_1"})),
        (&passwordless_for("cus_1"), "otpRequired", json!(1)),
        (&passwordless_for("cus_1"), "expiredTime", json!([null])),
        (&passwordless_for("cus_1"), "acl", json!({})),
        (&passwordless_for("cus_1"), "customClaims", json!([])),
    ] {
        let mut body = body.clone();
        body[name] = value;
        let answer = server.post(SESSIONS, Some(&bearer), &body).await;
        assert_problem(&answer, 400, "malformed-request");
        assert!(answer.json()["detail"].as_str().unwrap().contains(name), "{answer:?}");
    }
}

#[tokio::test]
async fn why_a_customer_is_not_logged_in_cannot_be_told() {
    let policy = Policy::default().passwords(|passwords| passwords.lifetime(Some(90 * DAY)));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let server = serve_everywhere(&fixture).await;
    register_credential(&fixture, NAME, |entity| entity).await;
    register_credential(&fixture, "disabled", |entity| entity.disabled(true)).await;
    let set_at = Timestamp::from_secs(START) - 90 * DAY;
    register_credential(&fixture, "expired", |entity| entity.password_set_at(set_at)).await;
    let elsewhere = OrganizationId::new("org_2").unwrap();
    register_credential(&fixture, "elsewhere", |entity| entity.organization(elsewhere)).await;
    fixture.user("a-user", json!([])).await;
    fixture.machine("a-machine", PASSWORD).await;

    let long = "n".repeat(300);
    let mut answers = Vec::new();
    for (name, password) in [
        ("unknown", PASSWORD),
        (NAME, "wrong"),
        (NAME, "correct horse battery staple "),
        ("disabled", PASSWORD),
        ("expired", PASSWORD),
        ("a-user", PASSWORD),
        ("a-machine", PASSWORD),
        // Of an organization, which this route is not below.
        ("elsewhere", PASSWORD),
        ("JO@example.com", PASSWORD),
        ("nul\u{0}in", PASSWORD),
        (&long, PASSWORD),
    ] {
        answers.push(log_in(&server, name, password).await);
    }
    for (organization, name) in [
        ("org_1", "elsewhere"),
        ("org_1", NAME),
        ("%20", NAME),
        ("%00", "elsewhere"),
        ("%FF", "elsewhere"),
    ] {
        let body = json!({"username": name, "password": PASSWORD});
        answers.push(server.post(&below(organization, SESSIONS), None, &body).await);
    }
    for answer in &answers {
        assert_problem(answer, 401, "invalid-credentials");
        assert_eq!(answer.header("www-authenticate"), format!("Bearer realm=\"{ISSUER}\""));
        assert_eq!(all_that_a_caller_sees(answer), all_that_a_caller_sees(&answers[0]));
    }
    let body = json!({"username": "elsewhere", "password": PASSWORD});
    server.post(&below("org_2", SESSIONS), None, &body).await.expect(201);
    log_in(&server, NAME, PASSWORD).await.expect(201);
}

#[tokio::test]
async fn a_session_ends_later_than_now_and_within_thirty_days() {
    let (fixture, server) = fixture().await;
    register_credential(&fixture, NAME, |entity| entity).await;
    let login = json!({"username": NAME, "password": PASSWORD});
    for (time, ends) in [
        ("2025-12-31T23:59:59Z", None),
        ("2026-01-01T00:00:00Z", None),
        ("2026-01-01T02:00:00+02:00", None),
        ("2026-01-01T00:00:00.001Z", Some("2026-01-01T00:00:00.001Z")),
        ("2026-01-01T03:00:00+02:00", Some("2026-01-01T01:00:00.000Z")),
        ("2026-01-31T00:00:00Z", Some("2026-01-31T00:00:00.000Z")),
        ("2026-01-31T00:00:00.001Z", None),
        ("9999-12-31T23:59:59Z", None),
        ("2026-01-02", None),
    ] {
        let mut body = login.clone();
        body["expiredTime"] = json!(time);
        let answer = server.post(SESSIONS, None, &body).await;
        match ends {
            Some(ends) => assert_eq!(answer.expect(201).json()["expiredTime"], ends),
            None => assert_eq!(invalid_fields(&answer), ["expiredTime"], "{time}"),
        }
    }
}
