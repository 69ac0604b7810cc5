//! `POST /authentication-tokens/{token}/exchange`, over HTTP.

use std::time::Duration;

use axum::Router;
use countersign::{
    Actor, CustomerId, ErrorKind, NewSession, OrganizationId, Policy, RequestContext, Timestamp,
};
use serde_json::{Value, json};

use crate::support::problems::{assert_problem, invalid_fields};
use crate::support::sessions::{exchange, exchange_path, present_code};
use crate::support::{Fixture, Server, acl_of, wrong_code_for};

fn shopping() -> Value {
    json!([{"scope": {"productId": ["p1", "p2"]}, "permissions": ["GetOrders", "PostOrder"]}])
}

async fn fixture() -> (Fixture, Server) {
    let fixture = Fixture::new();
    let server = fixture.serve().await;
    (fixture, server)
}

async fn shopping_session(fixture: &Fixture) -> String {
    fixture.session(|new| new.acl(acl_of(shopping()))).await
}

/// The claims of a JWT, which has to be good.
#[track_caller]
fn claims(fixture: &Fixture, jwt: &Value) -> Value {
    let validated = fixture.tokens.validator().validate(jwt.as_str().unwrap()).unwrap();
    serde_json::to_value(&*validated).unwrap()
}

#[tokio::test]
async fn a_session_is_exchanged_for_a_jwt_with_its_own_list_and_claims() {
    let (fixture, server) = fixture().await;
    let custom = json!({"locale": "de"});
    let token =
        fixture.session(|new| new.acl(acl_of(shopping())).custom_claims(custom).unwrap()).await;
    let answer = server.post_text(&exchange_path(&token), None, None, "").await.expect(201);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.headers().get("location").is_none());
    let body = answer.json();
    assert_eq!(body["type"], "customer");
    assert_eq!(body["customerId"], "cus_1");
    assert_eq!(body["acl"], shopping());
    assert_eq!(body["customClaims"], json!({"locale": "de"}));
    assert_eq!(body["createdTime"], "2026-01-01T00:00:00.000Z");
    assert_eq!(body["updatedTime"], body["createdTime"]);
    assert_eq!(body["expiredTime"], "2026-01-01T01:00:00.000Z");
    assert_eq!(body["_links"], json!([{"href": "/customers/cus_1", "rel": "customer"}]));
    assert!(body.get("invalidate").is_none() && body.get("oneTimePassword").is_none());

    let claims = claims(&fixture, &body["token"]);
    assert_eq!(claims["jti"], body["id"]);
    assert!(body["id"].as_str().unwrap().starts_with("jwt_"));
    assert_eq!(claims["sub"], "cus_1");
    assert_eq!(claims["subject_type"], "customer");
    assert_eq!(claims["client_id"], "first-party");
    assert_eq!(claims["acl"], shopping());
    assert_eq!(claims["customClaims"], json!({"locale": "de"}));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3_600);
    assert!(!claims["sid"].as_str().unwrap().contains(&token));
}

#[tokio::test]
async fn a_token_is_exchanged_once_unless_invalidate_is_false() {
    let (fixture, server) = fixture().await;
    let token = shopping_session(&fixture).await;
    for _ in 0..3 {
        exchange(&server, &token, &json!({"invalidate": false})).await.expect(201);
    }
    exchange(&server, &token, &json!({})).await.expect(201);
    for body in [json!({}), json!({"invalidate": false})] {
        assert_problem(&exchange(&server, &token, &body).await, 404, "not-found");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_exchanges_at_once_one_is_answered_201_and_the_rest_404() {
    let fixture = Fixture::new();
    let servers = [fixture.serve().await, fixture.serve().await];
    let token = shopping_session(&fixture).await;
    let path = exchange_path(&token);
    let mut running = Vec::new();
    for number in 0..1_000 {
        let (address, path) = (servers[number % 2].address, path.clone());
        running.push(tokio::spawn(async move {
            let request = http::Request::post(path).body("").unwrap();
            crate::support::send(address, request).await.status().as_u16()
        }));
    }
    let mut statuses = Vec::new();
    for running in running {
        statuses.push(running.await.unwrap());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1);
    assert_eq!(statuses.iter().filter(|status| **status == 404).count(), 999);
}

#[tokio::test]
async fn a_request_that_fails_does_not_use_the_token_up() {
    let (fixture, server) = fixture().await;
    let token = shopping_session(&fixture).await;
    let wider = json!({"acl": [{"scope": {}, "permissions": ["*"]}]});
    assert_problem(&exchange(&server, &token, &wider).await, 403, "acl-exceeds-grant");
    let claims = json!({"customClaims": {"admin": true}});
    let rejected = exchange(&server, &token, &claims).await;
    assert_problem(&rejected, 403, "custom-claims-not-allowed");
    let broken =
        server.post_text(&exchange_path(&token), None, Some("application/json"), "{").await;
    assert_problem(&broken, 400, "malformed-request");
    let typed = exchange(&server, &token, &json!({"invalidate": "no"})).await;
    assert_problem(&typed, 400, "malformed-request");
    let late = exchange(&server, &token, &json!({"expiredTime": "2030-01-01T00:00:00Z"})).await;
    assert_eq!(invalid_fields(&late), ["expiredTime"]);
    server.post(&exchange_path(&token), Some("a.bad.token"), &json!({})).await.expect(401);
    exchange(&server, &token, &json!({})).await.expect(201);
}

#[tokio::test]
async fn without_a_bearer_the_list_may_only_be_narrowed() {
    let (fixture, server) = fixture().await;
    let asked =
        json!([{"scope": {"productId": ["p1"], "planId": ["x"]}, "permissions": ["GetOrders"]}]);
    let token = shopping_session(&fixture).await;
    let answer = exchange(&server, &token, &json!({"acl": asked})).await.expect(201).json();
    assert_eq!(answer["acl"], asked);
    assert_eq!(claims(&fixture, &answer["token"])["acl"], asked);

    let token = shopping_session(&fixture).await;
    for wider in [
        json!([{"scope": {"productId": ["p1", "p3"]}, "permissions": ["GetOrders"]}]),
        json!([{"scope": {}, "permissions": ["GetOrders"]}]),
        json!([{"scope": {"ProductId": ["p1"]}, "permissions": ["GetOrders"]}]),
        json!([{"scope": {"productId": ["p1"]}, "permissions": ["getorders"]}]),
        json!([{"scope": {"productId": ["p1"]}, "permissions": ["GetOrders", "DeleteOrder"]}]),
        json!([{"scope": {"productId": ["p1"]}, "permissions": ["*"]}]),
    ] {
        let answer = exchange(&server, &token, &json!({"acl": wider})).await;
        assert_problem(&answer, 403, "acl-exceeds-grant");
    }
    let second = json!([asked[0], {"scope": {}, "permissions": ["GetOrders"]}]);
    let answer = exchange(&server, &token, &json!({"acl": second})).await;
    assert!(answer.json()["detail"].as_str().unwrap().contains("acl.1"));
}

#[tokio::test]
async fn a_list_that_is_malformed_is_a_422_that_names_every_fault() {
    let (fixture, server) = fixture().await;
    let token = shopping_session(&fixture).await;
    let body = json!({
        "acl": [
            {"scope": {"productId": []}, "permissions": []},
            {"permissions": ["Storefront**", "a:*:b", "a\\*"]},
        ],
        "oneTimePassword": "12a456",
        "expiredTime": "soon",
    });
    let fields = invalid_fields(&exchange(&server, &token, &body).await);
    assert_eq!(
        fields,
        [
            "acl.0.permissions",
            "acl.0.scope.productId",
            "acl.1.permissions.0",
            "acl.1.permissions.1",
            "acl.1.permissions.2",
            "acl.1.scope",
            "expiredTime",
            "oneTimePassword",
        ]
    );
    assert_eq!(invalid_fields(&exchange(&server, &token, &json!({"acl": []})).await), ["acl"]);
    let trailing = json!({"acl": [{"scope": {}, "permissions": ["Get*"]}]});
    assert_eq!(invalid_fields(&exchange(&server, &token, &trailing).await), ["acl"]);
    for wrong_type in [
        json!({"acl": {}}),
        json!({"acl": [null]}),
        json!({"acl": [{"scope": {"productId": [null]}, "permissions": ["A"]}]}),
        json!({"acl": [{"scope": [], "permissions": ["A"]}]}),
        json!({"acl": [{"scope": {"a": "b"}, "permissions": ["A"]}]}),
        json!({"acl": [{"scope": {}, "permissions": [1]}]}),
        json!({"oneTimePassword": 123_456}),
        json!({"customClaims": []}),
        json!({"expiredTime": 1}),
    ] {
        let answer = exchange(&server, &token, &wrong_type).await;
        assert_problem(&answer, 400, "malformed-request");
        let name = wrong_type.as_object().unwrap().keys().next().unwrap().clone();
        assert!(answer.json()["detail"].as_str().unwrap().contains(&name));
    }
}

#[tokio::test]
async fn a_field_of_an_exchange_that_is_null_counts_as_left_out_but_not_within_custom_claims() {
    let policy = Policy::default().tokens(|tokens| tokens.open_custom_claims(["locale", "nested"]));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let server = fixture.serve().await;
    let token = shopping_session(&fixture).await;
    let nulls = json!({
        "invalidate": null,
        "oneTimePassword": null,
        "customClaims": null,
        "expiredTime": null,
        "acl": null,
    });
    let answer = exchange(&server, &token, &nulls).await.expect(201).json();
    assert_eq!(answer["acl"], shopping());
    assert_eq!(answer["customClaims"], json!({}));
    assert_eq!(answer["expiredTime"], "2026-01-01T01:00:00.000Z");
    // `invalidate` is true unless something else is said.
    exchange(&server, &token, &json!({})).await.expect(404);

    let token = shopping_session(&fixture).await;
    let missing = json!({"acl": [{"scope": null, "permissions": null}]});
    let fields = invalid_fields(&exchange(&server, &token, &missing).await);
    assert_eq!(fields, ["acl.0.permissions", "acl.0.scope"]);
    let scope = json!({"planId": null, "productId": ["p1"], "customFieldName": null});
    let custom = json!({"locale": null, "nested": {"a": [null], "b": null}});
    let body = json!({
        "acl": [{"scope": scope, "permissions": ["GetOrders"], "more": null}],
        "customClaims": custom,
    });
    let answer = exchange(&server, &token, &body).await.expect(201).json();
    let kept = json!([{"scope": {"productId": ["p1"]}, "permissions": ["GetOrders"]}]);
    assert_eq!(answer["acl"], kept);
    assert_eq!(answer["customClaims"], custom);
    assert_eq!(claims(&fixture, &answer["token"])["customClaims"], custom);

    // A key that is null does not restrict, and does not widen either.
    let token = shopping_session(&fixture).await;
    let wider = json!({"acl": [{"scope": {"productId": null}, "permissions": ["GetOrders"]}]});
    assert_problem(&exchange(&server, &token, &wider).await, 403, "acl-exceeds-grant");
}

#[tokio::test]
async fn fields_are_checked_before_the_token_is_looked_for() {
    let (_fixture, server) = fixture().await;
    let unknown = "A".repeat(43);
    for token in ["cannot.be.one", &unknown] {
        let body = json!({"acl": [], "expiredTime": "2000-01-01T00:00:00Z"});
        let answer = exchange(&server, token, &body).await;
        assert_eq!(invalid_fields(&answer), ["acl", "expiredTime"], "{token}");
        exchange(&server, token, &json!({})).await.expect(404);
    }
}

#[tokio::test]
async fn ten_thousand_entries_are_rejected_by_size() {
    let (fixture, server) = fixture().await;
    let token = shopping_session(&fixture).await;
    let entry = json!({"scope": {}, "permissions": ["GetOrders"]});
    let answer = exchange(&server, &token, &json!({"acl": vec![entry; 10_000]})).await;
    assert_problem(&answer, 413, "content-too-large");
}

#[tokio::test]
async fn a_trailing_wildcard_counts_where_the_policy_opens_it() {
    let fixture = Fixture::with(|builder| {
        builder.policy(Policy::default().tokens(|tokens| tokens.trailing_wildcards(true)))
    });
    let server = fixture.serve().await;
    let held = json!([{"scope": {}, "permissions": ["Storefront*"]}]);
    let token = fixture.session(|new| new.acl(acl_of(held))).await;
    let wider = json!({"acl": [{"scope": {}, "permissions": ["Store*"]}]});
    exchange(&server, &token, &wider).await.expect(403);
    let narrower = json!({"acl": [{"scope": {}, "permissions": ["StorefrontGet*"]}]});
    let answer = exchange(&server, &token, &narrower).await.expect(201).json();
    assert_eq!(claims(&fixture, &answer["token"])["acl"], narrower["acl"]);
}

#[tokio::test]
async fn a_bearer_with_the_permission_widens_what_may_be_asked_and_another_does_not() {
    let (fixture, server) = fixture().await;
    let invoices = json!({"scope": {}, "permissions": ["GetInvoices"]});
    let may = json!({"scope": {"customerId": ["cus_1"]}, "permissions": ["PostAuthenticationTokenExchange"]});
    fixture.user("may", json!([invoices, may])).await;
    fixture.user("may-not", json!([invoices])).await;
    let body = json!({
        "acl": [{"scope": {"productId": ["p1"]}, "permissions": ["GetOrders"]}, invoices],
    });
    let token = shopping_session(&fixture).await;
    let may_not = fixture.user_token("may-not").await;
    let rejected = server.post(&exchange_path(&token), Some(&may_not), &body).await;
    assert_problem(&rejected, 403, "acl-exceeds-grant");
    let may = fixture.user_token("may").await;
    let answer = server.post(&exchange_path(&token), Some(&may), &body).await.expect(201).json();
    assert_eq!(answer["acl"], body["acl"]);
    let claims = claims(&fixture, &answer["token"]);
    assert_eq!(claims["sub"], "cus_1");
    assert_eq!(claims["acl"], body["acl"]);
    let beyond = json!({"acl": [{"scope": {}, "permissions": ["*"]}]});
    let token = shopping_session(&fixture).await;
    let rejected = server.post(&exchange_path(&token), Some(&may), &beyond).await;
    assert_problem(&rejected, 403, "acl-exceeds-grant");
}

#[tokio::test]
async fn a_customers_own_jwt_widens_nothing() {
    let (fixture, server) = fixture().await;
    let everything = json!([{"scope": {}, "permissions": ["*"]}]);
    let token = fixture.session(|new| new.acl(acl_of(everything))).await;
    let jwt = exchange(&server, &token, &json!({"invalidate": false})).await.expect(201);
    let jwt = jwt.json()["token"].as_str().unwrap().to_owned();
    let claims = json!({"customClaims": {"role": "admin"}});
    let rejected = server.post(&exchange_path(&token), Some(&jwt), &claims).await;
    assert_problem(&rejected, 403, "custom-claims-not-allowed");
}

#[tokio::test]
async fn custom_claims_that_the_policy_lists_may_be_set_without_a_bearer_up_to_their_size() {
    let fixture = Fixture::with(|builder| {
        builder.policy(Policy::default().tokens(|tokens| tokens.open_custom_claims(["locale"])))
    });
    let server = fixture.serve().await;
    let token = shopping_session(&fixture).await;
    let large = json!({"customClaims": {"locale": "x".repeat(5_000)}});
    let answer = exchange(&server, &token, &large).await;
    assert_eq!(invalid_fields(&answer), ["customClaims"]);
    let open = json!({"customClaims": {"locale": "fr"}});
    let answer = exchange(&server, &token, &open).await.expect(201).json();
    assert_eq!(answer["customClaims"], json!({"locale": "fr"}));
}

#[tokio::test]
async fn the_expiry_is_later_than_now_and_at_most_a_day_away() {
    let (fixture, server) = fixture().await;
    for (time, status) in [
        ("2025-12-31T23:59:59Z", 422),
        ("2026-01-01T00:00:00Z", 422),
        ("2026-01-01T00:00:00.900Z", 422),
        ("2026-01-01T00:00:01Z", 201),
        ("2026-01-01T02:00:00+02:00", 422),
        ("2026-01-01T03:00:00+02:00", 201),
        ("2026-01-02T00:00:00Z", 201),
        ("2026-01-02T00:00:00.001Z", 422),
        ("9999-12-31T23:59:59Z", 422),
        ("2026-01-01T00:59:60Z", 201),
        ("2026-01-01", 422),
    ] {
        let token = shopping_session(&fixture).await;
        let answer = exchange(&server, &token, &json!({"expiredTime": time})).await;
        assert_eq!(answer.status().as_u16(), status, "{time}");
        if status == 422 {
            assert_eq!(invalid_fields(&answer), ["expiredTime"]);
        }
    }
}

#[tokio::test]
async fn documented_read_only_fields_and_unknown_ones_are_ignored() {
    let (fixture, server) = fixture().await;
    let token = shopping_session(&fixture).await;
    let body = json!({
        "id": 1, "type": "admin", "token": "x", "customerId": {"a": 1}, "createdTime": "never",
        "updatedTime": [], "_links": "x", "somethingElse": null,
    });
    let answer = exchange(&server, &token, &body).await.expect(201).json();
    assert_eq!(answer["customerId"], "cus_1");
    assert_eq!(answer["type"], "customer");
}

#[tokio::test]
async fn a_session_that_has_expired_or_never_was_is_a_404() {
    let (fixture, server) = fixture().await;
    let token = fixture.session(|new| new.lifetime(Duration::from_secs(60))).await;
    fixture.clock.advance(Duration::from_secs(59));
    exchange(&server, &token, &json!({"invalidate": false})).await.expect(201);
    fixture.clock.advance(Duration::from_secs(1));
    assert_problem(&exchange(&server, &token, &json!({})).await, 404, "not-found");
    for unknown in ["x", "%2e%2e%2f", "%00", "%ff", "a%20b", "%E2%82%AC", &"x".repeat(2_000)] {
        let answer = exchange(&server, unknown, &json!({})).await;
        assert_problem(&answer, 404, "not-found");
    }
}

#[tokio::test]
async fn a_session_of_another_organization_is_a_404_and_its_own_is_in_the_token() {
    let fixture = Fixture::new();
    let router = Router::new().nest("/organizations/{organizationId}", fixture.tokens.router());
    let server = Server::start(router).await;
    let own = OrganizationId::new("org_1").unwrap();
    let token = fixture.session(|new| new.organization(own)).await;
    let homeless = fixture.session(|new| new).await;
    let below = |organization: &str, token: &str| {
        format!("/organizations/{organization}{}", exchange_path(token))
    };
    for other in [below("org_2", &token), below("org_1", &homeless), below("%20", &token)] {
        assert_problem(&server.post(&other, None, &json!({})).await, 404, "not-found");
    }
    let answer = server.post(&below("org_1", &token), None, &json!({})).await.expect(201).json();
    assert_eq!(answer["_links"][0]["href"], "/organizations/org_1/customers/cus_1");
    assert_eq!(claims(&fixture, &answer["token"])["organizationId"], "org_1");
}

#[tokio::test]
async fn the_bearer_has_to_be_good_or_absent() {
    let (fixture, server) = fixture().await;
    let token = shopping_session(&fixture).await;
    let answer = server.post(&exchange_path(&token), Some("forged"), &json!({})).await;
    assert_problem(&answer, 401, "invalid-token");
    assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
    let request = http::Request::post(exchange_path(&token))
        .header("authorization", "Bearer a")
        .header("authorization", "Bearer b")
        .body("")
        .unwrap();
    let answer = server.send(request).await;
    assert_problem(&answer, 400, "malformed-credentials");
    assert!(answer.header("www-authenticate").contains("error=\"invalid_request\""));
    let request = http::Request::post(exchange_path(&token))
        .header("authorization", "Basic YTpi")
        .body("")
        .unwrap();
    server.send(request).await.expect(201);
}

#[tokio::test]
async fn wrong_methods_and_media_types_are_answered_as_problems() {
    let (fixture, server) = fixture().await;
    let token = shopping_session(&fixture).await;
    let answer = server.get(&exchange_path(&token), None).await;
    assert_problem(&answer, 405, "method-not-allowed");
    assert_eq!(answer.header("allow"), "POST");
    for media in [None, Some("text/plain"), Some("application/json; charset=latin1")] {
        let answer = server.post_text(&exchange_path(&token), None, media, "{}").await;
        assert_problem(&answer, 415, "unsupported-media-type");
    }
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(16 * 1024));
    let answer =
        server.post_text(&exchange_path(&token), None, Some("application/json"), large).await;
    assert_problem(&answer, 413, "content-too-large");
    for body in [r#"{"a":1,"a":2}"#, "{} {}", "\u{feff}{}", "[]", &"[".repeat(40)] {
        let body = body.to_owned();
        let answer =
            server.post_text(&exchange_path(&token), None, Some("application/json"), body).await;
        assert_problem(&answer, 400, "malformed-request");
    }
    server
        .post_text(&exchange_path(&token), None, Some("application/json; charset=UTF-8"), "{}")
        .await
        .expect(201);
}

// One-time passwords.

async fn session_with_code(fixture: &Fixture) -> (String, String) {
    let token = fixture.session(|new| new.otp_required(true).acl(acl_of(shopping()))).await;
    (token, fixture.outbox.last_code())
}

#[tokio::test]
async fn a_guarded_session_needs_its_code_and_a_missing_or_malformed_one_is_no_try() {
    let (fixture, server) = fixture().await;
    let (token, code) = session_with_code(&fixture).await;
    assert_eq!(code.len(), 6);
    for _ in 0..10 {
        let missing = exchange(&server, &token, &json!({})).await;
        assert_problem(&missing, 401, "one-time-password-required");
        assert_eq!(
            invalid_fields(&present_code(&server, &token, "12345").await),
            ["oneTimePassword"]
        );
    }
    present_code(&server, &token, &code).await.expect(201);
    present_code(&server, &token, &code).await.expect(404);
}

#[tokio::test]
async fn the_fifth_wrong_code_is_a_401_and_ends_the_session() {
    let (fixture, server) = fixture().await;
    let (token, code) = session_with_code(&fixture).await;
    for _ in 0..5 {
        let rejected = present_code(&server, &token, &wrong_code_for(&code)).await;
        assert_problem(&rejected, 401, "one-time-password-invalid");
    }
    assert_problem(&present_code(&server, &token, &code).await, 404, "not-found");
}

#[tokio::test]
async fn the_last_wrong_code_revokes_what_a_right_one_was_exchanged_for() {
    let (fixture, server) = fixture().await;
    let (token, code) = session_with_code(&fixture).await;
    let body = json!({"oneTimePassword": code, "invalidate": false});
    let exchanged = exchange(&server, &token, &body).await.expect(201).json();
    let jwt = exchanged["token"].as_str().unwrap();
    fixture.tokens.validator().validate(jwt).unwrap();
    for _ in 0..5 {
        present_code(&server, &token, &wrong_code_for(&code)).await.expect(401);
    }
    present_code(&server, &token, &code).await.expect(404);
    let fault = fixture.tokens.validator().validate(jwt).unwrap_err();
    assert_eq!(fault, countersign::faults::TokenFault::Revoked);
}

#[tokio::test]
async fn four_wrong_codes_leave_the_right_one_its_chance() {
    let (fixture, server) = fixture().await;
    let (token, code) = session_with_code(&fixture).await;
    for _ in 0..4 {
        present_code(&server, &token, &wrong_code_for(&code)).await.expect(401);
    }
    present_code(&server, &token, &code).await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_tries_at_once_no_more_than_the_limit_are_compared() {
    let fixture = Fixture::new();
    let servers = [fixture.serve().await, fixture.serve().await];
    let (token, code) = session_with_code(&fixture).await;
    let mut running = Vec::new();
    for number in 0..1_000 {
        let (address, path) = (servers[number % 2].address, exchange_path(&token));
        let body = json!({"oneTimePassword": wrong_code_for(&code)}).to_string();
        running.push(tokio::spawn(async move {
            let request = http::Request::post(path).header("content-type", "application/json");
            crate::support::send(address, request.body(body).unwrap()).await.status().as_u16()
        }));
    }
    let mut compared = 0;
    for running in running {
        match running.await.unwrap() {
            401 => compared += 1,
            404 => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(compared, 5);
    present_code(&servers[0], &token, &code).await.expect(404);
}

#[tokio::test]
async fn a_right_code_is_no_wrong_try_though_the_request_fails() {
    let (fixture, server) = fixture().await;
    let (token, code) = session_with_code(&fixture).await;
    let wider = json!({"oneTimePassword": code, "acl": [{"scope": {}, "permissions": ["*"]}]});
    for _ in 0..10 {
        let rejected = exchange(&server, &token, &wider).await;
        assert_problem(&rejected, 403, "acl-exceeds-grant");
    }
    present_code(&server, &token, &code).await.expect(201);
}

#[tokio::test]
async fn a_code_is_spent_by_a_201_though_the_session_stays() {
    let (fixture, server) = fixture().await;
    let (token, code) = session_with_code(&fixture).await;
    let body = json!({"oneTimePassword": code, "invalidate": false});
    exchange(&server, &token, &body).await.expect(201);
    let again = exchange(&server, &token, &body).await;
    assert_problem(&again, 401, "one-time-password-invalid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_code_is_good_for_one_201_however_many_present_it_at_once() {
    let (fixture, server) = fixture().await;
    let (token, code) = session_with_code(&fixture).await;
    let mut running = Vec::new();
    for _ in 0..50 {
        let (address, path) = (server.address, exchange_path(&token));
        let body = json!({"oneTimePassword": code, "invalidate": false}).to_string();
        running.push(tokio::spawn(async move {
            let request = http::Request::post(path).header("content-type", "application/json");
            crate::support::send(address, request.body(body).unwrap()).await.status().as_u16()
        }));
    }
    let mut good = 0;
    for running in running {
        good += usize::from(running.await.unwrap() == 201);
    }
    assert_eq!(good, 1);
}

#[tokio::test]
async fn a_code_lives_for_ten_minutes_and_is_nothing_to_another_session() {
    let (fixture, server) = fixture().await;
    let (first, first_code) = session_with_code(&fixture).await;
    let (second, _) = session_with_code(&fixture).await;
    if fixture.outbox.last_code() != first_code {
        present_code(&server, &second, &first_code).await.expect(401);
    }
    fixture.clock.advance(Duration::from_secs(600));
    let late = present_code(&server, &first, &first_code).await;
    assert_problem(&late, 401, "one-time-password-invalid");
    fixture.clock.set(Timestamp::from_secs(crate::support::START));
    let revived = present_code(&server, &first, &first_code).await;
    assert_problem(&revived, 401, "one-time-password-invalid");

    let (third, third_code) = session_with_code(&fixture).await;
    fixture.clock.advance(Duration::from_secs(599));
    present_code(&server, &third, &third_code).await.expect(201);
}

#[tokio::test]
async fn a_session_whose_code_cannot_be_sent_is_not_started() {
    let fixture = Fixture::new();
    fixture.outbox.break_down();
    let new = NewSession::of(CustomerId::new("cus_1").unwrap()).otp_required(true);
    let error = fixture
        .tokens
        .start_session(Actor::Host, new, &RequestContext::without_address())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(fixture.outbox.count(), 0);
}

#[tokio::test]
async fn codes_are_not_guessed_over_many_sessions_of_one_customer() {
    let (fixture, server) = fixture().await;
    let mut compared = 0;
    for _ in 0..10 {
        // As whoever knows the password starts them, each with a code of its own.
        let (token, code) = session_with_code(&fixture).await;
        for _ in 0..5 {
            let answer = present_code(&server, &token, &wrong_code_for(&code)).await;
            match answer.status().as_u16() {
                401 => compared += 1,
                429 => assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1),
                404 => {}
                _ => panic!("{answer:?}"),
            }
        }
    }
    assert_eq!(compared, 10, "all sessions together stand ten wrong codes a day");

    // A throttled try is none: the customer types the right code a little later.
    let (token, code) = session_with_code(&fixture).await;
    let answer = present_code(&server, &token, &code).await;
    assert_problem(&answer, 429, "too-many-requests");
    let wait = answer.header("retry-after").parse().unwrap();
    fixture.clock.advance(Duration::from_secs(wait));
    present_code(&server, &token, &code).await.expect(201);
}

#[tokio::test]
async fn a_customer_is_not_sent_codes_without_end() {
    let fixture = Fixture::new();
    let server = fixture.serve().await;
    let hash = countersign::Password::new(crate::support::PASSWORD).unwrap();
    let hash = fixture.tokens.hash_password(hash).await.unwrap();
    let id = CustomerId::new("cus_1").unwrap();
    let jane = countersign::Entity::customer("jane", hash, id, true).unwrap();
    fixture.tokens.register(jane).await.unwrap();
    let login = json!({"username": "jane", "password": crate::support::PASSWORD});
    for _ in 0..10 {
        server.post("/authentication-tokens", None, &login).await.expect(201);
    }
    let answer = server.post("/authentication-tokens", None, &login).await;
    assert_problem(&answer, 429, "too-many-requests");
    assert_eq!(answer.header("retry-after"), "60");
    assert_eq!(fixture.outbox.count(), 10);
}
