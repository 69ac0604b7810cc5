//! What operators see: the audit log, spans and metrics; and what nobody may see in them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use countersign::entities::Credential;
use countersign::policy::ThrottleLimit;
use countersign::store::{MemoryStore, PageRequest, SessionFilter, SessionStore as _, record};
use countersign::{
    Algorithm, AuthenticationToken, ClientAddress, CustomerId, Entity, EntityId, Grant,
    ManagedKeys, Organization, Password, Policy, RequestContext, SealingKey, SubjectType,
};
use http::{Method, Request};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use serde_json::{Value, json};

use crate::support::log::Log;
use crate::support::{Answer, Fixture, PASSWORD, Server, acl_of, change_of};

/// The routes of a fixture, and two protected ones, for a client at `192.0.2.7`.
async fn serve(fixture: &Fixture) -> Server {
    let hello = || get(|| async { "hello" });
    let tokens = &fixture.tokens;
    let orders = hello().route_layer(tokens.require_layer("GetOrders"));
    let app = Router::new()
        .route("/protected", hello().route_layer(tokens.validate_layer()))
        .route("/session", hello().route_layer(tokens.exchange_layer()))
        .route("/orders", orders.route_layer(tokens.validate_layer()))
        .merge(fixture.tokens.router())
        .nest("/organizations/{organizationId}", fixture.tokens.router())
        .layer(axum::Extension(ClientAddress([192, 0, 2, 7].into())));
    Server::start(app).await
}

async fn login(server: &Server, name: &str, password: &str) -> Answer {
    let body = json!({"username": name, "password": password});
    server.post("/user/token/generate", None, &body).await
}

async fn register_customer(fixture: &Fixture, otp_required: bool) {
    let hash = fixture.tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
    let id = CustomerId::new("cus_1").unwrap();
    let jane = Entity::customer("jane@example.com", hash, id, otp_required).unwrap();
    fixture.tokens.register(jane.acl(acl_of(everything()))).await.unwrap();
}

fn everything() -> Value {
    json!([{"scope": {}, "permissions": ["*"]}])
}

#[tokio::test]
async fn each_outcome_of_a_login_is_one_event_with_all_that_is_known() {
    let fixture = Fixture::new();
    fixture.user("ops@example.com", json!([])).await;
    let server = serve(&fixture).await;
    let log = Log::default();
    let _listening = log.listen();

    let answer = login(&server, "ops@example.com", PASSWORD).await.expect(200).json();
    let claims = fixture.tokens.validator().validate(answer["accessToken"].as_str().unwrap());
    let accepted = log.only("issue_user_token");
    assert_eq!(accepted["outcome"], "accepted");
    assert_eq!(accepted["subject_kind"], "user");
    assert_eq!(accepted["client_address"], "192.0.2.7");
    assert_eq!(accepted["jti"], claims.unwrap().token_id().as_str());
    assert!(!accepted.contains_key("reason") && !accepted.contains_key("sid"));

    let log = Log::default();
    let _listening = log.listen();
    let path = "/organizations/org_1/user/token/generate";
    let body = json!({"username": "ops@example.com", "password": PASSWORD});
    server.post(path, None, &body).await.expect(401);
    let rejected = log.only("issue_user_token");
    assert_eq!(rejected["outcome"], "rejected");
    assert_eq!(rejected["reason"], "unknown_name");
    assert_eq!(rejected["organization_id"], "org_1");
    assert_eq!(rejected["subject"], accepted["subject"], "one subject has one digest");
    assert!(!rejected.contains_key("jti"));
}

#[tokio::test]
async fn the_audit_log_tells_the_reason_that_the_caller_is_not_told() {
    let minute = std::time::Duration::from_secs(60);
    let policy = Policy::default()
        .passwords(|passwords| passwords.lifetime(Some(minute)))
        .throttle(|throttle| throttle.by_name(ThrottleLimit::new(1, minute)));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    for name in ["wrong", "disabled", "expired", "throttled"] {
        fixture.user(name, json!([])).await;
    }
    fixture.tokens.disable_entity(&EntityId::user("disabled").unwrap()).await.unwrap();
    let server = serve(&fixture).await;
    login(&server, "throttled", "a wrong password").await.expect(401);
    for (name, password, status, outcome, reason) in [
        ("nobody", PASSWORD, 401, "rejected", "unknown_name"),
        ("wrong", "a wrong password", 401, "rejected", "wrong_password"),
        ("disabled", PASSWORD, 401, "rejected", "disabled"),
        ("throttled", PASSWORD, 429, "rejected", "throttled"),
        ("expired", PASSWORD, 401, "rejected", "expired_password"),
    ] {
        if name == "expired" {
            fixture.clock.advance(minute);
        }
        let log = Log::default();
        let _listening = log.listen();
        login(&server, name, password).await.expect(status);
        let event = log.only("issue_user_token");
        assert_eq!((&*event["outcome"], &*event["reason"]), (outcome, reason), "{name}");
    }
}

#[tokio::test]
async fn subjects_are_digests_under_the_sealing_key_unless_the_policy_shows_them() {
    let subject = async |key: [u8; 32], policy: Policy| {
        let fixture = Fixture::with(|builder| {
            builder.sealing_key(SealingKey::from_bytes(key)).policy(policy)
        });
        let server = serve(&fixture).await;
        let log = Log::default();
        let _listening = log.listen();
        login(&server, "ops@example.com", "a wrong password").await.expect(401);
        log.only("issue_user_token")["subject"].clone()
    };
    let digest = subject([7; 32], Policy::default()).await;
    assert_eq!(digest.len(), 32);
    assert_eq!(digest, subject([7; 32], Policy::default()).await, "it outlives the process");
    assert_ne!(digest, subject([8; 32], Policy::default()).await);
    let shown =
        subject([7; 32], Policy::default().runtime(|runtime| runtime.audit_shows_subjects(true)))
            .await;
    assert_eq!(shown, "ops@example.com");
}

#[tokio::test]
async fn what_is_wanting_here_is_told_as_a_failure_and_not_as_a_rejection_of_the_caller() {
    let fixture = Fixture::with_keys(ManagedKeys::new(Algorithm::EdDSA), |builder| builder);
    let hello = get(async || "hello").layer(fixture.tokens.validate_layer());
    let server = Server::start(Router::new().route("/", hello)).await;
    let token = Fixture::new().tokens.issue(Grant::user("ops@example.com")).await.unwrap();
    let log = Log::default();
    let _listening = log.listen();
    server.get("/", Some(token.access_token.expose())).await.expect(503);
    let event = log.only("validate");
    assert_eq!(event["outcome"], "failed");
    assert_eq!(event["reason"], "keys_unavailable");
}

#[tokio::test]
async fn a_request_that_is_rejected_for_its_fields_is_an_event_too() {
    let server = serve(&Fixture::new()).await;
    let log = Log::default();
    let _listening = log.listen();
    server.post("/authentication-tokens", None, &json!({})).await.expect(422);
    let path = format!("/authentication-tokens/{}/exchange", "A".repeat(43));
    server.post(&path, None, &json!({"acl": []})).await.expect(422);
    for operation in ["start_session", "exchange"] {
        let event = log.only(operation);
        assert_eq!((&*event["outcome"], &*event["reason"]), ("rejected", "invalid_fields"));
    }
}

#[tokio::test]
async fn a_sessions_events_name_it_by_its_public_id() {
    let fixture = Fixture::new();
    register_customer(&fixture, false).await;
    let server = serve(&fixture).await;
    let log = Log::default();
    let _listening = log.listen();
    let body = json!({"username": "jane@example.com", "password": PASSWORD});
    let started = server.post("/authentication-tokens", None, &body).await.expect(201).json();
    let token = started["token"].as_str().unwrap();
    let path = format!("/authentication-tokens/{token}");
    let keep = json!({"invalidate": false});
    let exchanged = server.post(&format!("{path}/exchange"), None, &keep).await.expect(201).json();
    let end = Request::builder().method(Method::DELETE).uri(&path).body("").unwrap();
    server.send(end).await.expect(204);
    let [start, exchange, end] =
        ["start_session", "exchange", "end_session"].map(|operation| log.only(operation));
    assert_eq!(start["outcome"], "accepted");
    assert_eq!(exchange["jti"], exchanged["id"].as_str().unwrap());
    assert_eq!(exchange["subject_kind"], "customer");
    assert!(start["sid"] == exchange["sid"] && exchange["sid"] == end["sid"]);
    assert!(!log.text().contains(token));
}

#[tokio::test]
async fn every_request_that_a_layer_rejects_is_an_event_and_none_that_it_lets_through_is_loud() {
    let fixture = Fixture::new();
    let server = serve(&fixture).await;
    let user = fixture.tokens.issue(Grant::user("ops@example.com")).await.unwrap();
    let user = user.access_token.expose();
    for (path, bearer, status, operation, reason) in [
        ("/protected", None, 401, "validate", "missing_credentials"),
        ("/protected", Some("a.b.c"), 401, "validate", "malformed"),
        ("/orders", Some(user), 403, "authorize", "insufficient_permission"),
        ("/session", None, 401, "validate", "missing_credentials"),
        ("/session", Some("nobodys"), 401, "phantom_token", "unknown_session"),
    ] {
        let log = Log::default();
        let _listening = log.listen();
        server.get(path, bearer).await.expect(status);
        let event = log.only(operation);
        assert_eq!((&*event["outcome"], &*event["reason"]), ("rejected", reason), "{path}");
        if operation != "authorize" {
            assert_eq!(event["client_address"], "192.0.2.7");
        }
    }
    let log = Log::default();
    let _listening = log.listen();
    server.get("/protected", Some(user)).await.expect(200);
    let text = log.text();
    let line = text.lines().find(|line| line.contains("countersign::audit")).unwrap();
    assert!(line.contains("TRACE") && line.contains("accepted"), "{line}");
}

#[tokio::test]
async fn spans_are_named_by_route_and_never_by_path() {
    let fixture = Fixture::new();
    let server = serve(&fixture).await;
    let token = fixture.session(|new| new).await;
    let log = Log::default();
    let _listening = log.listen();
    let path = format!("/organizations/org_1/authentication-tokens/{token}/exchange");
    server.post(&path, None, &json!({})).await.expect(404);
    let text = log.text();
    let span = "countersign{http.request.method=POST \
                http.route=\"/authentication-tokens/{token}/exchange\"}";
    assert!(text.contains(span), "{text}");
    assert!(!text.contains(&token));
}

/// The counters, gauges and histograms of a test, each with its labels.
fn measured(
    snapshotter: &metrics_util::debugging::Snapshotter,
) -> BTreeMap<String, BTreeMap<Vec<(String, String)>, u64>> {
    let mut measured = BTreeMap::<String, BTreeMap<_, u64>>::new();
    for (key, unit, description, value) in snapshotter.snapshot().into_vec() {
        let key = key.key();
        assert!(unit.is_some() && description.is_some(), "{key} is not described");
        let labels =
            key.labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect();
        let value = match value {
            DebugValue::Counter(count) => count,
            DebugValue::Gauge(level) => level.into_inner() as u64,
            DebugValue::Histogram(samples) => samples.len() as u64,
        };
        measured.entry(key.name().to_owned()).or_default().insert(labels, value);
    }
    measured
}

fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn what_is_documented_is_measured_and_described_with_its_unit() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let limit = ThrottleLimit::new(1, std::time::Duration::from_secs(60));
    let policy = Policy::default().throttle(|throttle| throttle.by_name_and_address(limit));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    fixture.user("ops@example.com", json!([])).await;
    let server = serve(&fixture).await;
    let token = login(&server, "ops@example.com", PASSWORD).await.expect(200).json();
    server.get("/protected", token["accessToken"].as_str()).await.expect(200);
    server.get("/protected", Some("a.b.c")).await.expect(401);
    login(&server, "ops@example.com", "a wrong password").await.expect(401);
    login(&server, "ops@example.com", PASSWORD).await.expect(429);
    let session = fixture.session(|new| new).await;
    let path = format!("/authentication-tokens/{session}/exchange");
    server.post(&path, None, &json!({})).await.expect(201);
    fixture
        .tokens
        .revoke_subject(
            &fixture.tokens.principal(SubjectType::User, "ops", Organization::All),
            fixture.tokens.now(),
        )
        .await
        .unwrap();
    let _ = record::read_event("no record", "1");

    let measured = measured(&snapshotter);
    let value = |name: &str, pairs: &[(&str, &str)]| measured[name][&labels(pairs)];
    let issued = "countersign_tokens_issued_total";
    assert_eq!(value(issued, &[("operation", "issue_user_token")]), 1);
    assert_eq!(value(issued, &[("operation", "exchange")]), 1);
    let validations = "countersign_validations_total";
    assert_eq!(value(validations, &[("result", "accepted")]), 1);
    assert_eq!(value(validations, &[("result", "malformed")]), 1);
    let rejections = "countersign_rejections_total";
    let rejected =
        |reason| value(rejections, &[("operation", "issue_user_token"), ("reason", reason)]);
    assert_eq!(rejected("wrong_password"), 1);
    assert_eq!(rejected("throttled"), 1);
    assert_eq!(value("countersign_throttled_total", &[("limit", "name_and_address")]), 1);
    assert_eq!(value("countersign_throttle_keys", &[]), 3);
    assert_eq!(value("countersign_hashing_seconds", &[]), 3);
    assert_eq!(value("countersign_hashing_wait_seconds", &[]), 3);
    assert_eq!(value("countersign_hashing_waiting", &[]), 0);
    assert_eq!(value("countersign_revocations_held", &[]), 1);
    assert_eq!(value("countersign_unreadable_records_total", &[("kind", "event")]), 1);
    let calls = "countersign_store_call_seconds";
    assert_eq!(value(calls, &[("call", "replace_session"), ("outcome", "answered")]), 1);

    let documented = include_str!("../../src/docs/observability.md");
    for name in measured.keys() {
        assert!(documented.contains(&format!("`{name}`")), "{name} is not documented");
    }
}

/// What must not be seen anywhere.
#[derive(Default)]
struct Canaries(BTreeSet<String>);

impl Canaries {
    fn add(&mut self, secret: &str) -> String {
        assert!(secret.len() >= 8, "too short to be found by accident: {secret}");
        self.0.insert(secret.to_owned());
        secret.to_owned()
    }

    fn add_from(&mut self, answer: &Answer, member: &str) -> String {
        self.add(answer.json()[member].as_str().unwrap())
    }

    #[track_caller]
    fn assert_absent(&self, place: &str, text: &str) {
        for canary in &self.0 {
            assert!(!text.contains(canary.as_str()), "{canary} is in {place}: {text}");
        }
    }
}

#[tokio::test]
async fn no_secret_is_in_any_log_span_metric_error_or_dump_whatever_route_is_driven() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let log = Log::default();
    let _listening = log.listen();
    let mut canaries = Canaries::default();
    let (store, sealing) = (MemoryStore::new(), [0x5a; 32]);
    let fixture = Fixture::with(|builder| {
        builder
            .store(store.clone())
            .sealing_key(SealingKey::from_bytes(sealing))
            .policy(Policy::default().sessions(|sessions| sessions.one_time_password_digits(10)))
    });
    canaries.add(&"Z".repeat(32));
    canaries.add(PASSWORD);
    fixture.user("ops@example.com", everything()).await;
    register_customer(&fixture, true).await;
    let imported = canaries.add("canary-imported-secret");
    fixture.machine("aa-1", &imported).await;
    let server = serve(&fixture).await;

    // Family 1, with right and wrong credentials, in both media types.
    let wrong = canaries.add("canary-wrong-password");
    let ops = login(&server, "ops@example.com", PASSWORD).await.expect(200);
    let ops = canaries.add_from(&ops, "accessToken");
    login(&server, "ops@example.com", &wrong).await.expect(401);
    // People type passwords where names belong.
    login(&server, &wrong, &wrong).await.expect(401);
    let form = Some("application/x-www-form-urlencoded");
    let text = format!("id=aa-1&secret={imported}");
    let machine = server.post_text("/entity/token/generate", None, form, text).await.expect(200);
    canaries.add_from(&machine, "accessToken");
    let body = json!({"id": "aa-1", "secret": canaries.add("canary-wrong-secret")});
    server.post("/entity/token/generate", None, &body).await.expect(401);
    let manage = json!({
        "ver": "1.0.0", "timestamp": "2026-01-01T00:00:00Z", "txnId": "t-1", "entityId": "aa-1",
    });
    let mut answers = Vec::new();
    for route in ["/entity/secret/read", "/entity/secret/reset"] {
        let answer = server.post(route, Some(&ops), &manage).await.expect(200);
        canaries.add_from(&answer, "secret");
        let bad = canaries.add("eyJhbGciOiJub25lIn0.canary.bearer");
        answers.push(server.post(route, Some(&bad), &manage).await.expect(401));
    }

    // Family 2, with and without what it takes.
    let collection = "/authentication-tokens";
    let body = json!({"username": "jane@example.com", "password": PASSWORD});
    let started = server.post(collection, None, &body).await.expect(201);
    let token = canaries.add_from(&started, "token");
    let code = canaries.add(&fixture.outbox.last_code());
    let body = json!({"username": "jane@example.com", "password": wrong});
    answers.push(server.post(collection, None, &body).await.expect(401));
    let body = json!({"mode": "passwordless", "customerId": "cus_2"});
    let vouched = server.post(collection, Some(&ops), &body).await.expect(201);
    let vouched = canaries.add_from(&vouched, "token");
    answers.push(server.get(collection, Some(&ops)).await.expect(200));
    let path = format!("{collection}/{token}");
    answers.push(server.get(&path, None).await.expect(200));
    let unknown = canaries.add("canary-unknown-authentication-token");
    for end in ["", "/exchange", "/one-time-password"] {
        let path = format!("{collection}/{unknown}{end}");
        answers.push(match end {
            "" => server.get(&path, None).await.expect(404),
            _ => server.post(&path, None, &json!({})).await.expect(404),
        });
    }
    let exchange = format!("{path}/exchange");
    answers.push(server.post(&exchange, None, &json!({})).await.expect(401));
    let guess = canaries.add(if code == "1234567890" { "0987654321" } else { "1234567890" });
    let body = json!({"oneTimePassword": guess});
    answers.push(server.post(&exchange, None, &body).await.expect(401));
    fixture.clock.advance(std::time::Duration::from_secs(60));
    let resend = format!("{path}/one-time-password");
    answers.push(server.post(&resend, None, &json!({})).await.expect(204));
    let code = canaries.add(&fixture.outbox.last_code());
    let body = json!({"oneTimePassword": code, "invalidate": false});
    let jwt = server.post(&exchange, None, &body).await.expect(201);
    let jwt = canaries.add_from(&jwt, "token");
    let body = json!({"username": "jane@example.com", "password": PASSWORD});
    let another = server.post(collection, None, &body).await.expect(201);
    let another = canaries.add_from(&another, "token");
    let another_code = canaries.add(&fixture.outbox.last_code());
    fixture.clock.advance(std::time::Duration::from_secs(60));
    fixture.outbox.break_down();
    answers.push(server.post(&resend, None, &json!({})).await.expect(503));

    // Layers, and what ends it all.
    server.get("/protected", Some(&jwt)).await.expect(200);
    server.get("/session", Some(&vouched)).await.expect(200);
    answers.push(server.get("/session", Some(&token)).await.expect(401));
    let jane = EntityId::customer("jane@example.com").unwrap();
    let new = canaries.add("canary-new-password");
    let context = RequestContext::without_address();
    let change = |old: &str| change_of(jane.clone(), old, &new);
    let rejected = fixture.tokens.change_password(change(&wrong), &context).await;
    let errors = format!("{rejected:?} {}", rejected.as_ref().unwrap_err());
    let session = AuthenticationToken::from_text(&another).unwrap();
    let change = change(PASSWORD).one_time_password(session, another_code);
    fixture.tokens.change_password(change, &context).await.unwrap();
    for token in [&token, &vouched] {
        let end = Request::builder().method(Method::DELETE).uri(format!("{collection}/{token}"));
        server.send(end.body("").unwrap()).await;
    }
    fixture.tokens.purge_expired().await.unwrap();

    canaries.assert_absent("the log", &log.text());
    assert!(log.audit().len() > 20, "the log was listened to");
    let metrics: Vec<_> = snapshotter.snapshot().into_vec();
    canaries.assert_absent("the metrics", &format!("{metrics:?}"));
    canaries.assert_absent("an error", &errors);
    for answer in &answers {
        canaries.assert_absent("an answer", &format!("{answer:?}"));
    }
    canaries.assert_absent("Debug", &format!("{fixture:?}"));
    canaries.assert_absent("the store", &dump(&store, &fixture).await);
}

/// All that the store answers, down to the bytes that it keeps.
async fn dump(store: &MemoryStore, fixture: &Fixture) -> String {
    let mut dump = format!("{store:?}");
    let page = PageRequest::first(100);
    let listed = store.list(&SessionFilter::all(), &page, fixture.tokens.now()).await.unwrap();
    dump += &format!("{listed:?}");
    for session in &listed.sessions {
        dump += &String::from_utf8_lossy(session.key().as_bytes());
    }
    for id in [
        EntityId::user("ops@example.com"),
        EntityId::machine("aa-1"),
        EntityId::customer("jane@example.com"),
    ] {
        let entity = fixture.tokens.find_entity(&id.unwrap()).await.unwrap().unwrap();
        dump += &format!("{entity:?}");
        if let Credential::User { password } | Credential::Customer { password, .. } =
            entity.credential()
        {
            dump += password.as_phc();
        }
    }
    dump
}

#[tokio::test]
async fn a_validator_of_its_own_names_no_subjects() {
    let fixture = Fixture::new();
    let token = fixture.tokens.issue(Grant::user("ops@example.com")).await.unwrap();
    let keys = countersign::KeyRing::from_jwks(fixture.tokens.jwks().as_bytes()).unwrap();
    let validator = countersign::Validator::builder()
        .issuer(crate::support::ISSUER)
        .audience(crate::support::AUDIENCE)
        .keys(keys)
        .algorithms([Algorithm::EdDSA])
        .clock(Arc::new(fixture.clock.clone()))
        .build()
        .unwrap();
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(countersign::ValidateLayer::new(validator));
    let server = Server::start(app).await;
    let log = Log::default();
    let _listening = log.listen();
    server.get("/", Some(token.access_token.expose())).await.expect(200);
    let event = log.only("validate");
    assert!(!event.contains_key("subject"));
    assert_eq!(event["jti"], token.token_id.as_str());
}
