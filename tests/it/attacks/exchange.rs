//! Exchange, crashes and faults of the store in its midst among it.

use std::time::Duration;

use countersign::store::MemoryStore;
use countersign::testing::{Calls, FaultyStore, StoreFault};
use countersign::tokens::ExchangedToken;
use countersign::{
    Acl, AuthenticationToken, CustomerId, Entity, Error, ErrorKind, ExchangeRequest, Password,
    Policy, RequestContext, Timestamp,
};
use http::Request;
use serde_json::{Value, json};

use crate::attacks::service::{Cluster, JSON, at_once, retry_after, serve};
use crate::support::jose::base64url_decode;
use crate::support::problems::assert_problem;
use crate::support::sessions::{exchange, exchange_path, session_path};
use crate::support::{AUDIENCE, Fixture, ISSUER, PASSWORD, START, acl_of};

type Store = FaultyStore<MemoryStore>;

/// The session store of a node whose calls a test disturbs, over what all nodes share.
fn faulty(cluster: &Cluster) -> Store {
    FaultyStore::new(cluster.store.clone())
}

/// The call that comes after so many others.
fn call(step: usize) -> Calls {
    Calls::all().skip(step).take(1)
}

fn down() -> StoreFault {
    StoreFault::unavailable("db.internal:5432 is gone")
}

/// Whether the call has come that was to go wrong.
fn has_failed(store: &Store) -> bool {
    let has_failed = store.faults_left() == 0;
    store.clear_faults();
    has_failed
}

/// The four sorts of an exchange, and how many calls of the store each takes.
#[derive(Clone, Copy, Debug)]
struct Sort {
    otp_required: bool,
    invalidate: bool,
    steps: usize,
}

const SORTS: [Sort; 4] = [
    Sort { otp_required: false, invalidate: true, steps: 2 },
    Sort { otp_required: false, invalidate: false, steps: 2 },
    Sort { otp_required: true, invalidate: true, steps: 3 },
    Sort { otp_required: true, invalidate: false, steps: 3 },
];

impl Sort {
    /// A session, and the right request for it.
    async fn begin(self, node: &Fixture) -> (String, Value) {
        let token = node.session(|new| new.otp_required(self.otp_required)).await;
        let mut body = json!({"invalidate": self.invalidate});
        if self.otp_required {
            body["oneTimePassword"] = json!(node.outbox.last_code());
        }
        (token, body)
    }

    /// The same request, of the service itself.
    async fn run(self, node: &Fixture, token: &str, body: &Value) -> Result<ExchangedToken, Error> {
        let mut request = ExchangeRequest::default().invalidate(self.invalidate);
        if let Some(code) = body["oneTimePassword"].as_str() {
            request = request.one_time_password(code);
        }
        let token = AuthenticationToken::from_text(token).unwrap();
        node.tokens.exchange(&token, request, &RequestContext::without_address()).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_exchanges_at_once_on_several_nodes_one_is_a_201() {
    let cluster = Cluster::new();
    let nodes = [cluster.plain_node(), cluster.plain_node(), cluster.plain_node()];
    let mut addresses = Vec::new();
    let mut servers = Vec::new();
    for node in &nodes {
        servers.push(serve(node).await);
        addresses.push(servers[servers.len() - 1].address);
    }
    for sort in [SORTS[0], SORTS[2]] {
        let (token, body) = sort.begin(&nodes[0]).await;
        let path = exchange_path(&token);
        let exchange = |number: usize| {
            let request = Request::post(&path).header("content-type", JSON);
            (addresses[number % 3], request.body(body.to_string()).unwrap())
        };
        let statuses = at_once((0..1_000).map(exchange)).await;
        assert_eq!(statuses[&201], 1, "{sort:?} {statuses:?}");
        for server in &servers {
            let found = server.get(&session_path(&token), None).await;
            assert_problem(&found, 404, "not-found");
        }
    }
}

#[tokio::test]
async fn a_crash_between_any_two_steps_uses_nothing_up() {
    let cluster = Cluster::new();
    let store = faulty(&cluster);
    let doomed = cluster.node(&[1], store.clone(), Policy::default());
    let other = cluster.plain_node();
    for sort in SORTS {
        for step in 0..sort.steps {
            let (token, body) = sort.begin(&other).await;
            let held = store.hold(call(step));
            // The node dies with the call under way: nothing of it runs any more.
            tokio::select! {
                exchanged = sort.run(&doomed, &token, &body) => panic!("{exchanged:?}"),
                () = held.wait_for(1) => {}
            }
            let exchanged = sort.run(&other, &token, &body).await;
            assert!(exchanged.is_ok(), "{sort:?} {step} {exchanged:?}");
            let again = sort.run(&other, &token, &body).await;
            let once = sort.invalidate || sort.otp_required;
            assert_eq!(again.is_err(), once, "{sort:?} {step}");
        }
        let (token, body) = sort.begin(&other).await;
        store.fail(call(sort.steps), StoreFault::hang());
        sort.run(&doomed, &token, &body).await.unwrap();
        assert!(!has_failed(&store), "there is no further step");
    }
}

#[tokio::test]
async fn a_crash_behind_the_last_step_loses_the_answer_and_never_yields_two() {
    let cluster = Cluster::new();
    let store = faulty(&cluster);
    let doomed = cluster.node(&[1], store.clone(), Policy::default());
    let other = cluster.plain_node();
    for sort in SORTS {
        for step in 0..sort.steps {
            let (token, body) = sort.begin(&other).await;
            let held = store.hold_replies(call(step));
            tokio::select! {
                exchanged = sort.run(&doomed, &token, &body) => panic!("{exchanged:?}"),
                () = held.wait_for(1) => {}
            }
            let exchanged = sort.run(&other, &token, &body).await.map_err(|error| error.kind());
            let is_last = step + 1 == sort.steps;
            let expected = match (is_last, sort.invalidate, sort.otp_required) {
                (true, true, _) => Some(ErrorKind::NotFound),
                // The session is still there, and is sent another code.
                (true, false, true) => Some(ErrorKind::OneTimePasswordInvalid),
                _ => None,
            };
            assert_eq!(exchanged.err(), expected, "{sort:?} {step}");
        }
    }
}

#[tokio::test]
async fn a_store_that_fails_or_hangs_at_any_step_is_a_503_and_uses_nothing_up() {
    let cluster = Cluster::new();
    let store = faulty(&cluster);
    let policy =
        Policy::default().runtime(|runtime| runtime.store_deadline(Duration::from_millis(5)));
    let node = cluster.node(&[1], store.clone(), policy);
    let server = serve(&node).await;
    for sort in SORTS {
        for step in 0..sort.steps {
            for fault in [down(), StoreFault::hang()] {
                let (token, body) = sort.begin(&node).await;
                store.fail(call(step), fault);
                let failed = exchange(&server, &token, &body).await;
                assert!(has_failed(&store));
                assert_problem(&failed, 503, "unavailable");
                assert!(retry_after(&failed) >= 1);
                assert!(!failed.text().contains("db.internal"), "{failed:?}");
                exchange(&server, &token, &body).await.expect(201);
            }
        }
    }
}

#[tokio::test]
async fn however_often_the_last_step_fails_a_right_code_is_no_wrong_try() {
    let cluster = Cluster::new();
    let store = faulty(&cluster);
    let node = cluster.node(&[1], store.clone(), Policy::default());
    let server = serve(&node).await;
    for sort in [SORTS[2], SORTS[3]] {
        let (token, body) = sort.begin(&node).await;
        for _ in 0..10 {
            store.fail(call(sort.steps - 1), down());
            let failed = exchange(&server, &token, &body).await;
            assert_problem(&failed, 503, "unavailable");
        }
        exchange(&server, &token, &body).await.expect(201);
    }
}

#[tokio::test]
async fn a_logout_that_fails_at_any_step_is_finished_by_the_next_try() {
    let cluster = Cluster::new();
    let store = faulty(&cluster);
    let node = cluster.node(&[1], store.clone(), Policy::default());
    let [here, elsewhere] = [serve(&node).await, serve(&cluster.plain_node()).await];
    // Reading it, taking it; and, where there is something to revoke, publishing that in between.
    for (has_tokens, step) in [(false, 0), (false, 1), (true, 0), (true, 1), (true, 2)] {
        let token = node.session(|new| new).await;
        if has_tokens {
            exchange(&here, &token, &json!({"invalidate": step == 1})).await.expect(201);
        }
        let path = session_path(&token);
        let log_out = async || here.send(Request::delete(&path).body("").unwrap()).await;
        store.fail(call(step), down());
        assert_problem(&log_out().await, 503, "unavailable");
        assert!(has_failed(&store));
        // Whichever it is told, its holder takes the session to be over: so it is, everywhere.
        let status = log_out().await.status().as_u16();
        assert!([204, 404].contains(&status), "{status}");
        for server in [&here, &elsewhere] {
            let found = server.get(&path, None).await;
            assert_eq!(found.status().as_u16(), 404, "after step {step}: {found:?}");
        }
    }
}

#[tokio::test]
async fn a_password_change_that_fails_at_one_step_does_all_the_others() {
    // Revoking, finding a session, taking it, looking for more, and telling those who keep copies of
    // the credential.
    for step in 0..5 {
        let cluster = Cluster::new();
        let store = faulty(&cluster);
        let node = cluster.node(&[1], store.clone(), Policy::default());
        let [here, elsewhere] = [serve(&node).await, serve(&cluster.plain_node()).await];
        let hash = node.tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
        let customer = CustomerId::new("cus_1").unwrap();
        let jane = Entity::customer("jane", hash, customer, false).unwrap();
        let id = jane.id().clone();
        node.tokens.register(jane).await.unwrap();
        let path = session_path(&node.session(|new| new).await);
        cluster.clock.advance(Duration::from_millis(1));
        store.fail(call(step), down());
        let new = Password::new(format!("password number {step}")).unwrap();
        let failed = node.tokens.set_password(&id, new).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Unavailable);
        assert!(has_failed(&store));
        assert_problem(&here.get(&path, None).await, 404, "not-found");
        if step != 1 && step != 2 {
            assert_problem(&elsewhere.get(&path, None).await, 404, "not-found");
        }
    }
}

#[tokio::test]
async fn a_list_is_not_widened_by_stars_escapes_case_empty_segments_or_unknown_keys() {
    let policy = Policy::default().tokens(|tokens| tokens.trailing_wildcards(true));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let server = serve(&fixture).await;
    let held = json!([{"scope": {"productId": ["p1"]}, "permissions": ["Storefront*"]}]);
    let token = fixture.session(|new| new.acl(acl_of(held.clone()))).await;
    let path = exchange_path(&token);
    for (scope, permission, status) in [
        (r#"{"productId":["p1"]}"#, "*", 403),
        (r#"{"productId":["p1"]}"#, r"\u002a", 403),
        (r#"{"productId":["p1"]}"#, "Store*", 403),
        (r#"{"productId":["p1"]}"#, "storefrontGet", 403),
        (r#"{"productId":["p1"]}"#, "STOREFRONT*", 403),
        (r#"{"productId":["p1"]}"#, ":Storefront", 403),
        (r#"{"productId":["p1"]}"#, "Storefront**", 422),
        (r#"{"productId":["p1"]}"#, "Storefront:*:Get", 422),
        (r#"{"productId":["p1"]}"#, r"Storefront\u002a\u002a", 422),
        (r#"{"productId":["p1"]}"#, r"Storefront\\*", 422),
        (r#"{"productId":["p1"]}"#, r"Storefront\u0000", 422),
        (r#"{"productId":["p1"]}"#, "Storefront＊", 422),
        (r#"{"productId":["p1"]}"#, "Storefront *", 422),
        (r#"{"productId":["p1"]}"#, "", 422),
        ("{}", "StorefrontGet", 403),
        (r#"{"unknown":["p1"]}"#, "StorefrontGet", 403),
        (r#"{"productid":["p1"]}"#, "StorefrontGet", 403),
        (r#"{"productId ":["p1"]}"#, "StorefrontGet", 403),
        (r#"{"productId":["p1","p2"]}"#, "StorefrontGet", 403),
        (r#"{"productId":["*"]}"#, "StorefrontGet", 403),
        (r#"{"productId":["P1"]}"#, "StorefrontGet", 403),
        (r#"{"productId":[]}"#, "StorefrontGet", 422),
        (r#"{"productId":[""]}"#, "StorefrontGet", 422),
        (r#"{"":["p1"]}"#, "StorefrontGet", 422),
    ] {
        let body = format!(r#"{{"acl":[{{"scope":{scope},"permissions":["{permission}"]}}]}}"#);
        let answer = server.post_text(&path, None, Some(JSON), body).await;
        let kind = if status == 403 { "acl-exceeds-grant" } else { "invalid-fields" };
        assert_problem(&answer, status, kind);
    }
    // A key twice, so that one reader sees the narrow value and another the wide one.
    let twice = r#"{"acl":[{"scope":{"productId":["p1"],"productId":["p2"]},"permissions":["StorefrontGet"]}]}"#;
    let answer = server.post_text(&path, None, Some(JSON), twice).await;
    assert_problem(&answer, 400, "malformed-request");
    assert_eq!(exchange(&server, &token, &json!({})).await.expect(201).json()["acl"], held);
}

#[tokio::test]
async fn custom_claims_named_like_registered_ones_stand_under_custom_claims_alone() {
    let claims = json!({
        "iss": "https://evil.example", "sub": "admin", "aud": ["*"], "exp": 9_999_999_999_u64,
        "nbf": 0, "iat": 0, "jti": "jwt_0", "sid": "s", "client_id": "root",
        "subject_type": "user", "organizationId": "org_9", "acl": [{"scope": {}, "permissions": ["*"]}],
        "customClaims": {"nested": true}, "__proto__": {"admin": true}, "constructor": null,
    });
    let names: Vec<_> = claims.as_object().unwrap().keys().cloned().collect();
    let policy = Policy::default().tokens(|tokens| tokens.open_custom_claims(names));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let server = serve(&fixture).await;
    let given = claims.clone();
    let with_given = fixture.session(|new| new.custom_claims(given).unwrap()).await;
    let plain = fixture.session(|new| new).await;
    for (token, body) in [(with_given, json!({})), (plain, json!({"customClaims": claims}))] {
        let answer = exchange(&server, &token, &body).await.expect(201).json();
        assert_eq!(answer["customClaims"], claims);
        let jwt = answer["token"].as_str().unwrap();
        let validated = fixture.tokens.validator().validate(jwt).unwrap();
        assert_eq!(validated.principal().id(), "cus_1");
        assert_eq!(validated.acl(), Acl::default());
        let payload = base64url_decode(jwt.split('.').nth(1).unwrap());
        let payload: Value = serde_json::from_slice(&payload).unwrap();
        let expected = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "cus_1", "subject_type": "customer",
            "client_id": "first-party", "iat": START, "nbf": START, "exp": START + 3_600,
            "jti": answer["id"], "sid": payload["sid"], "acl": [], "customClaims": claims,
        });
        assert_eq!(payload, expected);
    }
}

#[tokio::test]
async fn an_expiry_is_an_instant_within_bounds_however_it_is_written() {
    let fixture = Fixture::new();
    let server = serve(&fixture).await;
    for (time, seconds) in [
        ("2026-01-01T03:00:00+02:00", 3_600),
        ("2025-12-31T19:00:00-05:30", 1_800),
        ("2026-01-01t01:00:00z", 3_600),
        ("2026-01-01T01:00:00-00:00", 3_600),
        // A leap second is the second before it, and fractions are cut: never later than asked.
        ("2026-01-01T00:59:60Z", 3_599),
        ("2026-01-01T00:00:01.999999999Z", 1),
        ("2026-01-02T00:00:00Z", 86_400),
        ("2026-01-02T14:00:00+14:00", 86_400),
    ] {
        let token = fixture.session(|new| new).await;
        let answer = exchange(&server, &token, &json!({"expiredTime": time})).await.expect(201);
        let jwt = answer.json()["token"].as_str().unwrap().to_owned();
        let validated = fixture.tokens.validator().validate(&jwt).unwrap();
        assert_eq!(validated.expires_at(), Timestamp::from_secs(START + seconds), "{time}");
        assert_eq!(answer.json()["expiredTime"], validated.expires_at().to_string());
    }
    let token = fixture.session(|new| new).await;
    for time in [
        "2025-12-31T23:59:59Z",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.999Z",
        "2026-01-01T13:59:00+14:00",
        "2025-12-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "2026-01-02T00:00:00.000001Z",
        "2026-01-02T00:00:01Z",
        "2026-01-01T23:00:00-01:01",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:60-23:59",
        "+010000-01-01T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T01:00:61Z",
        "2026-02-30T01:00:00Z",
        "2026-01-01T01:00:00",
        "2026-01-01T01:00:00+24:00",
        "2026-W01-4T01:00:00Z",
        "1767229200",
        "１767229200",
        "",
    ] {
        let answer = exchange(&server, &token, &json!({"expiredTime": time})).await;
        assert_problem(&answer, 422, "invalid-fields");
        assert_eq!(answer.json()["invalidFields"][0]["field"], "expiredTime", "{time}");
    }
    exchange(&server, &token, &json!({})).await.expect(201);
}
