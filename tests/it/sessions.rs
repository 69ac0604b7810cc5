//! Authentication tokens over HTTP, from login to logout. Their exchange has a module of its own.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use countersign::{
    Acl, Algorithm, CustomerId, Entity, Grant, KeyRing, NewSession, OneTimePasswordMessage,
    OneTimePasswordSender, OrganizationId, Password, Policy, SubjectType, Timestamp, TokenService,
    ValidateLayer,
};
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE};
use http::{Method, Request};
use serde_json::{Value, json};

use crate::support::{
    AUDIENCE, Answer, Fixture, ISSUER, PASSWORD, START, Server, TestClock, acl_of, wrong_code_for,
};

const COLLECTION: &str = "/authentication-tokens";
const JSON: &str = "application/json";
const NAME: &str = "jo@example.com";
const START_PERMISSION: &str = "PostAuthenticationToken";
const LIST_PERMISSION: &str = "GetAuthenticationTokenCollection";
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

fn single(token: &str) -> String {
    format!("{COLLECTION}/{token}")
}

fn exchange_of(token: &str) -> String {
    format!("{COLLECTION}/{token}/exchange")
}

fn code_of(token: &str) -> String {
    format!("{COLLECTION}/{token}/one-time-password")
}

fn below(organization: &str, path: &str) -> String {
    format!("/organizations/{organization}{path}")
}

async fn fixture() -> (Fixture, Server) {
    let fixture = Fixture::new();
    let server = serve_everywhere(&fixture).await;
    (fixture, server)
}

/// Serves the routes as they are, and below an organization.
async fn serve_everywhere(fixture: &Fixture) -> Server {
    let routes = fixture.tokens.router();
    Server::start(
        Router::new().nest("/organizations/{organizationId}", routes.clone()).merge(routes),
    )
    .await
}

/// Registers a credential of `cus_1` with [`PASSWORD`].
async fn credential(fixture: &Fixture, name: &str, change: impl FnOnce(Entity) -> Entity) {
    register(fixture, name, false, change).await;
}

/// The same with a one-time password at each exchange.
async fn guarded_credential(fixture: &Fixture, name: &str) {
    register(fixture, name, true, |entity| entity).await;
}

async fn register(
    fixture: &Fixture,
    name: &str,
    otp_required: bool,
    change: impl FnOnce(Entity) -> Entity,
) {
    let hash = fixture.tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
    let customer = CustomerId::new("cus_1").unwrap();
    let entity = Entity::customer(name, hash, customer, otp_required).unwrap();
    fixture.tokens.register(change(entity)).await.unwrap();
}

/// Starts a session of a customer of an organization, or of none.
async fn start(fixture: &Fixture, customer: &str, organization: Option<&str>) -> String {
    let mut new = NewSession::of(CustomerId::new(customer).unwrap());
    if let Some(id) = organization {
        new = new.organization(OrganizationId::new(id).unwrap());
    }
    fixture.tokens.start_session(new).await.unwrap().token.expose().to_owned()
}

async fn login(server: &Server, name: &str, password: &str) -> Answer {
    server.post(COLLECTION, None, &json!({"username": name, "password": password})).await
}

fn wanted(customer: &str) -> Value {
    json!({"mode": "passwordless", "customerId": customer})
}

fn token_of(fixture: &Fixture, grant: Grant) -> String {
    fixture.tokens.issue(grant).unwrap().access_token.expose().to_owned()
}

/// A user's token that grants permissions within a scope.
fn user_with(fixture: &Fixture, scope: &Value, permissions: &[&str]) -> String {
    let acl = acl_of(json!([{"scope": scope, "permissions": permissions}]));
    token_of(fixture, Grant::user("ops").acl(acl))
}

fn everything(fixture: &Fixture) -> String {
    token_of(fixture, Grant::user("ops").acl(Acl::everything()))
}

fn everything_in(fixture: &Fixture, organization: &str) -> String {
    let organization = OrganizationId::new(organization).unwrap();
    token_of(fixture, Grant::user("ops").acl(Acl::everything()).organization(organization))
}

async fn request(server: &Server, method: Method, path: &str) -> Answer {
    server.send(Request::builder().method(method).uri(path).body("").unwrap()).await
}

async fn log_out(server: &Server, token: &str) -> Answer {
    request(server, Method::DELETE, &single(token)).await
}

async fn send_again(server: &Server, token: &str) -> Answer {
    request(server, Method::POST, &code_of(token)).await
}

async fn exchange(server: &Server, token: &str, body: Value) -> Answer {
    server.post(&exchange_of(token), None, &body).await
}

async fn present_code(server: &Server, token: &str, code: &str) -> Answer {
    exchange(server, token, json!({"oneTimePassword": code})).await
}

#[track_caller]
fn token_in(answer: Answer) -> String {
    answer.expect(201).json()["token"].as_str().unwrap().to_owned()
}

/// The claims of the JWT in an answer, which has to be good.
#[track_caller]
fn claims(fixture: &Fixture, answer: Answer) -> Value {
    let validated = fixture.tokens.validator().validate(&token_in(answer)).unwrap();
    serde_json::to_value(&*validated).unwrap()
}

#[track_caller]
fn names(body: &Value) -> Vec<String> {
    let mut names: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
    names.sort();
    names
}

#[track_caller]
fn assert_problem(answer: &Answer, status: u16, kind: &str) {
    assert_eq!(answer.status().as_u16(), status, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.header("cache-control"), "no-store");
    let body = answer.json();
    assert_eq!(body["type"], format!("urn:problem-type:countersign:{kind}"));
    assert_eq!(body["status"], status);
    assert!(body["title"].is_string() && body["detail"].is_string());
}

/// The fields that an answer calls invalid, in the order of the alphabet.
#[track_caller]
fn invalid_fields(answer: &Answer) -> Vec<String> {
    assert_problem(answer, 422, "invalid-fields");
    let body = answer.json();
    let fields = body["invalidFields"].as_array().unwrap();
    let mut fields: Vec<_> = fields
        .iter()
        .map(|field| {
            assert!(!field["message"].as_str().unwrap().is_empty());
            field["field"].as_str().unwrap().to_owned()
        })
        .collect();
    fields.sort();
    fields
}

#[track_caller]
fn assert_no_content(answer: &Answer) {
    assert_eq!(answer.status().as_u16(), 204, "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.text(), "");
}

#[track_caller]
fn retry_after(answer: &Answer) -> u64 {
    answer.header("retry-after").parse().unwrap()
}

/// All that a caller can see, but for the time.
fn seen(answer: &Answer) -> (u16, BTreeMap<String, String>, String) {
    let headers = answer.headers().iter();
    let headers = headers
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    (answer.status().as_u16(), headers, answer.text())
}

/// Delivers one-time passwords, and can be broken and mended.
#[derive(Clone, Debug, Default)]
struct Mail {
    sent: std::sync::Arc<Mutex<Vec<OneTimePasswordMessage>>>,
    broken: std::sync::Arc<AtomicBool>,
}

impl Mail {
    fn is_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }

    #[track_caller]
    fn last(&self) -> OneTimePasswordMessage {
        self.sent.lock().unwrap().last().expect("a code was sent").clone()
    }

    #[track_caller]
    fn last_code(&self) -> String {
        self.last().one_time_password.expose().to_owned()
    }
}

#[async_trait::async_trait]
impl OneTimePasswordSender for Mail {
    async fn send(
        &self,
        message: OneTimePasswordMessage,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if self.broken.load(Ordering::SeqCst) {
            return Err("smtp.internal:25 does not answer".into());
        }
        self.sent.lock().unwrap().push(message);
        Ok(())
    }
}

async fn mailing() -> (Fixture, Server, Mail) {
    let mail = Mail::default();
    let fixture = Fixture::with(|builder| builder.one_time_password_sender(mail.clone()));
    let server = serve_everywhere(&fixture).await;
    (fixture, server, mail)
}

// Logging in with a password

#[tokio::test]
async fn a_login_is_answered_with_the_documented_session_and_nothing_else() {
    let (fixture, server) = fixture().await;
    credential(&fixture, NAME, |entity| entity).await;
    for mode in [None, Some("password")] {
        let mut body = json!({"username": NAME, "password": PASSWORD, "somethingElse": [1]});
        if let Some(mode) = mode {
            body["mode"] = json!(mode);
        }
        let answer = server.post(COLLECTION, None, &body).await.expect(201);
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
            "credentialId": "customer:jo@example.com",
            "expiredTime": "2026-01-02T00:00:00.000Z",
            "createdTime": "2026-01-01T00:00:00.000Z",
            "updatedTime": "2026-01-01T00:00:00.000Z",
            "_links": [{"href": "/customers/cus_1", "rel": "customer"}],
        });
        assert_eq!(body, expected);
        let base64url = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        assert!(token.len() == 43 && token.bytes().all(base64url), "256 bits in base64url");
        server.get(&single(&token), None).await.expect(200);
    }
}

#[tokio::test]
async fn a_mode_that_is_not_known_is_a_422() {
    let (fixture, server) = fixture().await;
    credential(&fixture, NAME, |entity| entity).await;
    for (mode, status) in [
        (json!("Password"), 422),
        (json!("otp"), 422),
        (json!(""), 422),
        (json!(null), 400),
        (json!(["password"]), 400),
    ] {
        let body = json!({"mode": mode, "username": NAME, "password": PASSWORD});
        let answer = server.post(COLLECTION, None, &body).await;
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
    let (fixture, server) = fixture().await;
    let acl = json!([{"scope": {"productId": ["p1"]}, "permissions": ["GetOrders"]}]);
    let custom = json!({"locale": "de"});
    credential(&fixture, NAME, |entity| {
        entity
            .with_acl(acl_of(acl.clone()))
            .with_custom_claims(custom.as_object().unwrap().clone())
            .with_organization(Some(OrganizationId::new("org_1").unwrap()))
    })
    .await;
    for path in [COLLECTION.to_owned(), below("org_1", COLLECTION)] {
        let body = json!({"username": NAME, "password": PASSWORD});
        let token = token_in(server.post(&path, None, &body).await);
        let claims = claims(&fixture, exchange(&server, &token, json!({})).await);
        assert_eq!(claims["sub"], "cus_1");
        assert_eq!(claims["subject_type"], "customer");
        assert_eq!(claims["acl"], acl);
        assert_eq!(claims["customClaims"], custom);
        assert_eq!(claims["organizationId"], "org_1");
    }
}

#[tokio::test]
async fn all_that_is_wrong_with_a_login_is_told_at_once() {
    let (fixture, server) = fixture().await;
    credential(&fixture, NAME, |entity| entity).await;
    let long = "p".repeat(1_025);
    for (body, fields) in [
        (json!({}), vec!["password", "username"]),
        (json!({"username": " ", "password": ""}), vec!["password", "username"]),
        (json!({"username": NAME, "password": "x", "expiredTime": "soon"}), vec!["expiredTime"]),
        (json!({"username": NAME, "password": long}), vec!["password"]),
        (
            json!({"password": long, "expiredTime": "1"}),
            vec!["expiredTime", "password", "username"],
        ),
    ] {
        let answer = server.post(COLLECTION, None, &body).await;
        assert_eq!(invalid_fields(&answer), fields, "{body}");
    }
    let answer = server.post_text(COLLECTION, None, None, "").await;
    assert_eq!(invalid_fields(&answer), ["password", "username"], "no body is an empty object");
}

#[tokio::test]
async fn what_is_out_of_range_in_a_login_is_told_along_with_what_is_missing() {
    let (_, server) = fixture().await;
    let body = json!({"username": "", "expiredTime": "2020-01-01T00:00:00Z"});
    let answer = server.post(COLLECTION, None, &body).await;
    assert_eq!(invalid_fields(&answer), ["expiredTime", "password", "username"]);
}

#[tokio::test]
async fn a_value_of_a_wrong_type_is_a_400_that_names_the_field() {
    let (fixture, server) = fixture().await;
    let bearer = everything(&fixture);
    let login = json!({"username": NAME, "password": PASSWORD});
    for (body, name, value) in [
        (&login, "username", json!(1)),
        (&login, "password", json!([PASSWORD])),
        (&login, "otpRequired", json!("true")),
        (&login, "expiredTime", json!(1_767_225_700)),
        (&wanted("cus_1"), "customerId", json!({"id": "cus_1"})),
        (&wanted("cus_1"), "otpRequired", json!(1)),
        (&wanted("cus_1"), "expiredTime", json!(null)),
        (&wanted("cus_1"), "acl", json!({})),
        (&wanted("cus_1"), "customClaims", json!([])),
    ] {
        let mut body = body.clone();
        body[name] = value;
        let answer = server.post(COLLECTION, Some(&bearer), &body).await;
        assert_problem(&answer, 400, "malformed-request");
        assert!(answer.json()["detail"].as_str().unwrap().contains(name), "{answer:?}");
    }
}

#[tokio::test]
async fn why_a_customer_is_not_logged_in_cannot_be_told() {
    let policy = Policy::default().password_lifetime(Some(90 * DAY));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let server = serve_everywhere(&fixture).await;
    credential(&fixture, NAME, |entity| entity).await;
    credential(&fixture, "disabled", |entity| entity.with_disabled(true)).await;
    let set_at = Timestamp::from_secs(START) - 90 * DAY;
    credential(&fixture, "expired", |entity| entity.with_password_set_at(set_at)).await;
    let elsewhere = Some(OrganizationId::new("org_2").unwrap());
    credential(&fixture, "elsewhere", |entity| entity.with_organization(elsewhere)).await;
    fixture.user("a-user", json!([])).await;
    fixture.entity("a-machine", PASSWORD).await;

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
        ("JO@example.com", PASSWORD),
        ("nul\u{0}in", PASSWORD),
        (&long, PASSWORD),
    ] {
        answers.push(login(&server, name, password).await);
    }
    for (organization, name) in [
        ("org_1", "elsewhere"),
        ("org_1", NAME),
        ("%20", NAME),
        ("%00", "elsewhere"),
        ("%FF", "elsewhere"),
    ] {
        let body = json!({"username": name, "password": PASSWORD});
        answers.push(server.post(&below(organization, COLLECTION), None, &body).await);
    }
    for answer in &answers {
        assert_problem(answer, 401, "invalid-credentials");
        assert_eq!(answer.header("www-authenticate"), format!("Bearer realm=\"{ISSUER}\""));
        assert_eq!(seen(answer), seen(&answers[0]));
    }
    let body = json!({"username": "elsewhere", "password": PASSWORD});
    server.post(&below("org_2", COLLECTION), None, &body).await.expect(201);
    login(&server, NAME, PASSWORD).await.expect(201);
}

#[tokio::test]
async fn a_session_ends_later_than_now_and_within_thirty_days() {
    let (fixture, server) = fixture().await;
    credential(&fixture, NAME, |entity| entity).await;
    let bearer = everything(&fixture);
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
        for mut body in [login.clone(), wanted("cus_1")] {
            body["expiredTime"] = json!(time);
            let answer = server.post(COLLECTION, Some(&bearer), &body).await;
            match ends {
                Some(ends) => assert_eq!(answer.expect(201).json()["expiredTime"], ends),
                None => assert_eq!(invalid_fields(&answer), ["expiredTime"], "{time}"),
            }
        }
    }
}

#[tokio::test]
async fn a_code_that_the_credential_asks_for_is_not_the_callers_to_refuse() {
    let (fixture, server, mail) = mailing().await;
    guarded_credential(&fixture, NAME).await;
    credential(&fixture, "open", |entity| entity).await;
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
        let answer = server.post(COLLECTION, None, &body).await.expect(201);
        assert_eq!(answer.json()["otpRequired"], required, "{body}");
        let token = token_in(answer);
        if required {
            let missing = exchange(&server, &token, json!({})).await;
            assert_problem(&missing, 401, "one-time-password-required");
            let message = mail.last();
            assert_eq!(message.username.as_deref(), Some(name));
            assert_eq!(message.customer_id.as_str(), "cus_1");
            assert_eq!(message.expires_at, Timestamp::from_secs(START + 600));
            present_code(&server, &token, &mail.last_code()).await.expect(201);
        } else {
            exchange(&server, &token, json!({})).await.expect(201);
        }
    }
    assert_eq!(mail.sent.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn where_nobody_sends_codes_none_can_be_asked_for() {
    let (clock, keys) = (TestClock::new(), KeyRing::generate(Algorithm::EdDSA).unwrap());
    let builder = TokenService::builder().issuer(ISSUER).audience(AUDIENCE).keys(keys);
    let tokens = builder.clock(clock).build().unwrap();
    let server = Server::start(tokens.router()).await;
    let bearer = tokens.issue(Grant::user("ops").acl(Acl::everything())).unwrap().access_token;
    let login = json!({"username": NAME, "password": PASSWORD});
    for mut body in [login, wanted("cus_1")] {
        body["otpRequired"] = json!(true);
        let answer = server.post(COLLECTION, Some(bearer.expose()), &body).await;
        assert_eq!(invalid_fields(&answer), ["otpRequired"]);
    }
}

// Starting a session for somebody else

#[tokio::test]
async fn users_and_entities_start_sessions_of_customers_that_they_vouch_for() {
    let (fixture, server) = fixture().await;
    let acl = acl_of(json!([{"scope": {}, "permissions": [START_PERMISSION]}]));
    for subject_type in [SubjectType::User, SubjectType::Entity] {
        let bearer = token_of(&fixture, Grant::new(subject_type, "ops").acl(acl.clone()));
        let answer = server.post(COLLECTION, Some(&bearer), &wanted("cus 1/ü")).await.expect(201);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.headers().get("location").is_none());
        let body = answer.json();
        let expected = json!({
            "customerId": "cus 1/ü",
            "token": body["token"],
            "otpRequired": false,
            "expiredTime": "2026-01-02T00:00:00.000Z",
            "createdTime": "2026-01-01T00:00:00.000Z",
            "updatedTime": "2026-01-01T00:00:00.000Z",
            "_links": [{"href": "/customers/cus%201%2F%C3%BC", "rel": "customer"}],
        });
        assert_eq!(body, expected);
        let exchanged = exchange(&server, &token_in(answer), json!({})).await;
        let claims = claims(&fixture, exchanged);
        assert_eq!(claims["sub"], "cus 1/ü");
        // Nothing was asked for, so nothing is held: not what the bearer holds.
        assert_eq!(claims["acl"], json!([]));
    }
}

#[tokio::test]
async fn without_a_good_bearer_nobody_starts_a_session_for_somebody_else() {
    let (fixture, server) = fixture().await;
    let realm = format!("Bearer realm=\"{ISSUER}\"");
    let attempt = async |headers: &[&str]| {
        let mut request = Request::post(COLLECTION).header(CONTENT_TYPE, JSON);
        for header in headers {
            request = request.header(AUTHORIZATION, *header);
        }
        server.send(request.body(wanted("cus_1").to_string()).unwrap()).await
    };
    for none in [&[][..], &["Basic YTpi"]] {
        let answer = attempt(none).await;
        assert_problem(&answer, 401, "invalid-token");
        assert_eq!(answer.header("www-authenticate"), realm);
    }
    for bad in [
        &["Bearer a.forged.token"][..],
        &[&format!("Bearer {}", start(&fixture, "cus_1", None).await)],
    ] {
        let answer = attempt(bad).await;
        assert_problem(&answer, 401, "invalid-token");
        assert!(answer.header("www-authenticate").starts_with(&realm));
        assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
    }
    for malformed in [&["Bearer"][..], &["Bearer a b"], &["Bearer a", "Bearer b"]] {
        let answer = attempt(malformed).await;
        assert_problem(&answer, 400, "invalid-token");
        assert!(answer.header("www-authenticate").contains("error=\"invalid_request\""));
    }
}

#[tokio::test]
async fn a_bearer_needs_the_permission_for_that_customer_in_that_organization() {
    let (fixture, server) = fixture().await;
    let root = COLLECTION.to_owned();
    let in_org_1 = below("org_1", COLLECTION);
    let with = |scope: Value| user_with(&fixture, &scope, &[START_PERMISSION]);
    let others = user_with(&fixture, &json!({}), &["GetOrders", "postAuthenticationToken"]);
    let customers = token_of(&fixture, Grant::customer("cus_1").acl(Acl::everything()));
    for (case, path, bearer, status) in [
        ("no list", &root, token_of(&fixture, Grant::user("ops")), 403),
        ("other permissions", &root, others, 403),
        ("another customer", &root, with(json!({"customerId": ["cus_2", "cus_10"]})), 403),
        ("an organization", &root, with(json!({"organizationId": ["org_1"]})), 403),
        ("a further key", &root, with(json!({"planId": ["p1"]})), 403),
        ("another organization's", &in_org_1, with(json!({"organizationId": ["org_2"]})), 403),
        ("of another organization", &in_org_1, everything_in(&fixture, "org_2"), 403),
        ("a customer's own token", &root, customers, 403),
        ("that customer", &root, with(json!({"customerId": ["cus_2", "cus_1"]})), 201),
        ("that organization", &in_org_1, with(json!({"organizationId": ["org_1"]})), 201),
        ("everything", &root, everything(&fixture), 201),
    ] {
        let answer = server.post(path, Some(&bearer), &wanted("cus_1")).await;
        assert_eq!(answer.status().as_u16(), status, "{case}");
        if status == 403 {
            assert_problem(&answer, 403, "insufficient-permission");
            let challenge = answer.header("www-authenticate");
            assert!(challenge.starts_with(&format!("Bearer realm=\"{ISSUER}\"")), "{case}");
            assert!(challenge.contains("error=\"insufficient_scope\""), "{case}");
        }
    }
}

#[tokio::test]
async fn a_session_is_given_no_more_than_its_bearer_holds() {
    let (fixture, server) = fixture().await;
    let held = json!([
        {"scope": {}, "permissions": [START_PERMISSION]},
        {"scope": {"productId": ["p1", "p2"]}, "permissions": ["GetOrders", "PostOrder"]},
    ]);
    let bearer = token_of(&fixture, Grant::user("ops").acl(acl_of(held)));
    let within = json!({"scope": {"productId": ["p2"]}, "permissions": ["GetOrders"]});
    let attempt = async |acl: Value| {
        let mut body = wanted("cus_1");
        body["acl"] = acl;
        body["customClaims"] = json!({"locale": "de"});
        server.post(COLLECTION, Some(&bearer), &body).await
    };
    for beyond in [
        json!({"scope": {}, "permissions": ["GetOrders"]}),
        json!({"scope": {"productId": ["p1", "p3"]}, "permissions": ["GetOrders"]}),
        json!({"scope": {"productId": ["p1"]}, "permissions": ["GetOrders", "DeleteOrder"]}),
        json!({"scope": {"productId": ["p1"]}, "permissions": ["*"]}),
    ] {
        let answer = attempt(json!([within, beyond])).await;
        assert_problem(&answer, 403, "acl-exceeds-grant");
        assert!(answer.json()["detail"].as_str().unwrap().contains("acl.1"), "{answer:?}");
    }
    let token = token_in(attempt(json!([within])).await);
    let claims = claims(&fixture, exchange(&server, &token, json!({})).await);
    assert_eq!(claims["acl"], json!([within]));
    assert_eq!(claims["customClaims"], json!({"locale": "de"}));
    let listed = server.get(COLLECTION, Some(&everything(&fixture))).await.expect(200);
    assert_eq!(listed.json(), json!([]), "those that were refused have left nothing behind");
}

#[tokio::test]
async fn all_that_is_wrong_with_a_session_for_somebody_else_is_told_at_once() {
    let (fixture, server) = fixture().await;
    let bearer = everything(&fixture);
    let large = json!({"text": "x".repeat(4_096)});
    for (name, value, fields) in [
        ("customerId", json!(" "), vec!["customerId"]),
        ("customerId", json!("cus\u{0}1"), vec!["customerId"]),
        ("customerId", json!("c".repeat(257)), vec!["customerId"]),
        ("acl", json!([]), vec!["acl"]),
        ("acl", json!([{"scope": {}, "permissions": ["Get*"]}]), vec!["acl"]),
        (
            "acl",
            json!([{"scope": {"productId": []}, "permissions": []}]),
            vec!["acl.0.permissions", "acl.0.scope.productId"],
        ),
        ("customClaims", large.clone(), vec!["customClaims"]),
    ] {
        let mut body = wanted("cus_1");
        body[name] = value;
        let answer = server.post(COLLECTION, Some(&bearer), &body).await;
        assert_eq!(invalid_fields(&answer), fields);
    }
    let body = json!({
        "mode": "passwordless",
        "acl": [],
        "customClaims": large,
        "expiredTime": "2020-01-01T00:00:00Z",
    });
    let answer = server.post(COLLECTION, Some(&bearer), &body).await;
    assert_eq!(invalid_fields(&answer), ["acl", "customClaims", "customerId", "expiredTime"]);
}

#[tokio::test]
async fn a_session_is_of_the_organization_of_the_mount_or_else_of_the_bearer() {
    let (fixture, server) = fixture().await;
    for (path, bearer, organization) in [
        (COLLECTION.to_owned(), everything_in(&fixture, "org_1"), json!("org_1")),
        (below("org_1", COLLECTION), everything_in(&fixture, "org_1"), json!("org_1")),
        (below("org_2", COLLECTION), everything(&fixture), json!("org_2")),
        (COLLECTION.to_owned(), everything(&fixture), Value::Null),
    ] {
        let answer = server.post(&path, Some(&bearer), &wanted("cus_1")).await;
        let exchanged = exchange(&server, &token_in(answer), json!({})).await;
        assert_eq!(claims(&fixture, exchanged)["organizationId"], organization);
    }
}

// Listing

#[track_caller]
fn customers_in(answer: Answer, total: usize) -> Vec<String> {
    let answer = answer.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("pagination-total"), total.to_string());
    let body = answer.json();
    let id = |session: &Value| session["customerId"].as_str().unwrap().to_owned();
    body.as_array().unwrap().iter().map(id).collect()
}

#[tokio::test]
async fn sessions_are_listed_a_hundred_at_a_time_the_oldest_first_and_without_their_tokens() {
    let (fixture, server) = fixture().await;
    let bearer = user_with(&fixture, &json!({}), &[LIST_PERMISSION]);
    credential(&fixture, NAME, |entity| entity).await;
    let mut tokens = vec![token_in(login(&server, NAME, PASSWORD).await)];
    for number in 1..=100 {
        fixture.clock.advance(Duration::from_secs(1));
        tokens.push(start(&fixture, &format!("cus_{number}"), None).await);
    }
    let answer = server.get(COLLECTION, Some(&bearer)).await;
    assert_eq!(answer.header("pagination-limit"), "100");
    assert_eq!(answer.header("pagination-offset"), "0");
    assert!(tokens.iter().all(|token| !answer.text().contains(token)));
    let sessions = answer.json();
    let common =
        ["_links", "createdTime", "customerId", "expiredTime", "otpRequired", "updatedTime"];
    let mut of_a_login = [&common[..], &["credentialId", "username"]].concat();
    of_a_login.sort_unstable();
    assert_eq!(names(&sessions[0]), of_a_login);
    assert_eq!(names(&sessions[1]), common);
    assert_eq!(sessions[1]["createdTime"], "2026-01-01T00:00:01.000Z");
    let customers = customers_in(answer, 101);
    assert_eq!(customers.len(), 100);
    assert_eq!(customers[0], "cus_1");
    let rest =
        customers_in(server.get(&format!("{COLLECTION}?offset=100"), Some(&bearer)).await, 101);
    assert_eq!(rest, ["cus_100"]);
}

#[tokio::test]
async fn a_page_is_as_large_and_as_far_on_as_asked_for() {
    let (fixture, server) = fixture().await;
    let bearer = everything(&fixture);
    for number in 0..5 {
        start(&fixture, &format!("cus_{number}"), None).await;
        fixture.clock.advance(Duration::from_secs(1));
    }
    for (query, limit, offset, expected) in [
        ("limit=2&offset=1", "2", "1", &["cus_1", "cus_2"][..]),
        ("limit=1", "1", "0", &["cus_0"]),
        ("offset=4&limit=1000", "1000", "4", &["cus_4"]),
        ("offset=5", "100", "5", &[]),
        ("limit=0", "0", "0", &[]),
        ("offset=2147483647", "100", "2147483647", &[]),
        ("limit=1&somethingElse=1&somethingElse=2", "1", "0", &["cus_0"]),
    ] {
        let answer = server.get(&format!("{COLLECTION}?{query}"), Some(&bearer)).await;
        assert_eq!(answer.header("pagination-limit"), limit);
        assert_eq!(answer.header("pagination-offset"), offset);
        assert_eq!(customers_in(answer, 5), expected, "{query}");
    }
}

#[tokio::test]
async fn what_is_no_page_is_a_422_that_names_every_fault() {
    let (fixture, server) = fixture().await;
    let bearer = everything(&fixture);
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
        ("offset=2147483648", &["offset"]),
        ("offset=-0", &["offset"]),
        ("offset=1&offset=2", &["offset"]),
        ("customerId=", &["customerId"]),
        ("customerId=cus_1&customerId=cus_1", &["customerId"]),
        ("customerId=a%00b", &["customerId"]),
        ("limit=x&offset=y&customerId=%20", &["customerId", "limit", "offset"]),
    ] {
        let answer = server.get(&format!("{COLLECTION}?{query}"), Some(&bearer)).await;
        assert_eq!(invalid_fields(&answer), fields, "{query}");
    }
}

#[tokio::test]
async fn the_list_may_be_of_one_customer_and_leaves_out_what_has_ended() {
    let (fixture, server) = fixture().await;
    let bearer = everything(&fixture);
    let list = async |query: &str| server.get(&format!("{COLLECTION}{query}"), Some(&bearer)).await;
    let short = |new: NewSession| new.lifetime(MINUTE);
    let (_, ended) = (fixture.session(short).await, start(&fixture, "cus_1", None).await);
    start(&fixture, "cus_2", None).await;
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
    let with = |scope: Value| user_with(&fixture, &scope, &[LIST_PERMISSION]);
    let of_cus_1 = json!({"customerId": ["cus_1"]});
    let of_org_1 = json!({"organizationId": ["org_1"]});
    let (root, one) = (COLLECTION.to_owned(), format!("{COLLECTION}?customerId=cus_1"));
    let other = format!("{COLLECTION}?customerId=cus_2");
    for (path, bearer, status) in [
        (&root, token_of(&fixture, Grant::user("ops")), 403),
        (&root, user_with(&fixture, &json!({}), &[START_PERMISSION]), 403),
        (&root, with(json!({})), 200),
        (&root, everything(&fixture), 200),
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
    let answer = server.get(COLLECTION, None).await;
    assert_problem(&answer, 401, "invalid-token");
    assert_eq!(answer.header("www-authenticate"), format!("Bearer realm=\"{ISSUER}\""));
    let answer = server.get(COLLECTION, Some("a.forged.token")).await;
    assert_problem(&answer, 401, "invalid-token");
    assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
    let answer = server.get(COLLECTION, Some("a b")).await;
    assert_problem(&answer, 400, "invalid-token");
    assert!(answer.header("www-authenticate").contains("error=\"invalid_request\""));
}

#[tokio::test]
async fn a_list_is_confined_to_the_organization_of_the_mount_and_of_the_bearer() {
    let (fixture, server) = fixture().await;
    start(&fixture, "cus_0", None).await;
    fixture.clock.advance(Duration::from_secs(1));
    start(&fixture, "cus_1", Some("org_1")).await;
    fixture.clock.advance(Duration::from_secs(1));
    start(&fixture, "cus_2", Some("org_2")).await;
    let list = async |path: &str, bearer: &str| server.get(path, Some(bearer)).await;
    let anywhere = everything(&fixture);
    let theirs = everything_in(&fixture, "org_1");
    let in_org_1 = below("org_1", COLLECTION);
    assert_eq!(customers_in(list(COLLECTION, &anywhere).await, 3), ["cus_0", "cus_1", "cus_2"]);
    assert_eq!(customers_in(list(&in_org_1, &anywhere).await, 1), ["cus_1"]);
    assert_eq!(customers_in(list(&below("org_3", COLLECTION), &anywhere).await, 0), [""; 0]);
    assert_eq!(customers_in(list(COLLECTION, &theirs).await, 1), ["cus_1"]);
    assert_eq!(customers_in(list(&in_org_1, &theirs).await, 1), ["cus_1"]);
    let elsewhere = list(&below("org_2", COLLECTION), &theirs).await;
    assert_problem(&elsewhere, 403, "insufficient-permission");
    let links = &list(&in_org_1, &anywhere).await.json()[0]["_links"];
    assert_eq!(links[0]["href"], "/organizations/org_1/customers/cus_1");
}

// A single session

#[tokio::test]
async fn whoever_holds_a_token_may_see_what_it_stands_for() {
    let (fixture, server) = fixture().await;
    credential(&fixture, NAME, |entity| entity).await;
    let started = login(&server, NAME, PASSWORD).await.expect(201).json();
    let token = started["token"].as_str().unwrap();
    let answer = server.get(&single(token), None).await.expect(200);
    assert_eq!(answer.header("content-type"), JSON);
    assert_eq!(answer.header("cache-control"), "no-store");
    let mut expected = started.clone();
    expected.as_object_mut().unwrap().remove("token");
    assert_eq!(answer.json(), expected);
    fixture.clock.advance(DAY - Duration::from_micros(1));
    server.get(&single(token), None).await.expect(200);
    fixture.clock.advance(Duration::from_micros(1));
    assert_problem(&server.get(&single(token), None).await, 404, "not-found");
    assert_problem(&log_out(&server, token).await, 404, "not-found");
}

#[tokio::test]
async fn whatever_bytes_a_token_is_made_of_it_is_a_404_where_no_session_answers_to_it() {
    let (fixture, server) = fixture().await;
    let token = start(&fixture, "cus_1", None).await;
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
            (Method::GET, single(&segment)),
            (Method::DELETE, single(&segment)),
            (Method::POST, code_of(&segment)),
            (Method::POST, exchange_of(&segment)),
        ] {
            let answer = request(&server, method, &path).await;
            assert_problem(&answer, 404, "not-found");
            assert!(!answer.text().contains(&token));
        }
    }
    // The same token, percent-encoded where it need not be, is the same token (RFC 3986 §6.2.2.2).
    server.get(&single(&encoded), None).await.expect(200);
}

#[tokio::test]
async fn logging_out_ends_the_session_and_the_jwts_exchanged_from_it() {
    let (fixture, server) = fixture().await;
    let validated = ValidateLayer::new(fixture.tokens.validator().clone());
    let orders = Router::new().route("/orders", get(|| async { "orders" })).layer(validated);
    let shop = Server::start(orders).await;
    let token = start(&fixture, "cus_1", None).await;
    let other = start(&fixture, "cus_1", None).await;
    let keeping = || json!({"invalidate": false});
    let jwts = [
        token_in(exchange(&server, &token, keeping()).await),
        token_in(exchange(&server, &token, keeping()).await),
    ];
    let others = token_in(exchange(&server, &other, keeping()).await);
    for jwt in &jwts {
        shop.get("/orders", Some(jwt)).await.expect(200);
    }
    assert_no_content(&log_out(&server, &token).await);
    for jwt in &jwts {
        shop.get("/orders", Some(jwt)).await.expect(401);
    }
    shop.get("/orders", Some(&others)).await.expect(200);
    assert_problem(&server.get(&single(&token), None).await, 404, "not-found");
    assert_problem(&log_out(&server, &token).await, 404, "not-found");
    assert_problem(&exchange(&server, &token, json!({})).await, 404, "not-found");
    server.get(&single(&other), None).await.expect(200);
}

#[tokio::test]
async fn behind_the_exchange_layer_the_first_request_after_a_logout_is_a_401() {
    let fixture = Fixture::new();
    let shop = Router::new()
        .route("/orders", get(|| async { "orders" }))
        .layer(fixture.tokens.exchange_layer());
    let server = Server::start(shop.merge(fixture.tokens.router())).await;
    let token = start(&fixture, "cus_1", None).await;
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
    let refused = [by_cookie().await, server.get("/orders", Some(&token)).await];
    for answer in refused {
        assert!(answer.expect(401).header("www-authenticate").contains("invalid_token"));
    }
}

#[tokio::test]
async fn a_session_that_needs_a_code_may_be_ended_without_one() {
    let (fixture, server) = fixture().await;
    let token = fixture.session(|new| new.otp_required(true)).await;
    assert_eq!(server.get(&single(&token), None).await.json()["otpRequired"], true);
    assert_no_content(&log_out(&server, &token).await);
    present_code(&server, &token, &fixture.outbox.last_code()).await.expect(404);
}

// Sending a one-time password again

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
            let refused = present_code(&server, &token, &code).await;
            assert_problem(&refused, 401, "one-time-password-invalid");
        }
        fixture.clock.advance(MINUTE);
        let sent = send_again(&server, &token).await;
        assert_eq!(sent.status().as_u16(), if tries == 2 { 204 } else { 404 });
    }
    present_code(&server, &token, &fixture.outbox.last_code()).await.expect(404);
}

#[tokio::test]
async fn a_code_that_cannot_be_sent_leaves_the_one_before_good_and_costs_no_sending() {
    let (fixture, server, mail) = mailing().await;
    let patient = fixture.session(|new| new.otp_required(true)).await;
    let hasty = fixture.session(|new| new.otp_required(true)).await;
    let code = mail.last_code();
    mail.is_broken(true);
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
    mail.is_broken(false);
    for _ in 0..3 {
        fixture.clock.advance(MINUTE);
        assert_no_content(&send_again(&server, &patient).await);
    }
    fixture.clock.advance(MINUTE);
    assert_problem(&send_again(&server, &patient).await, 429, "too-many-requests");
    present_code(&server, &patient, &mail.last_code()).await.expect(201);
}

#[tokio::test]
async fn a_code_is_sent_again_for_a_live_session_that_needs_one_alone() {
    let (fixture, server) = fixture().await;
    let open = start(&fixture, "cus_1", None).await;
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
        let elsewhere = below(organization, &code_of(&homeless));
        let answer = request(&server, Method::POST, &elsewhere).await;
        assert_problem(&answer, 404, "not-found");
    }
    assert_eq!(fixture.outbox.count(), sent);
    assert_no_content(&send_again(&server, &homeless).await);
}

#[tokio::test]
async fn a_session_whose_code_cannot_be_sent_is_not_started() {
    let (fixture, server, mail) = mailing().await;
    guarded_credential(&fixture, NAME).await;
    let bearer = everything(&fixture);
    mail.is_broken(true);
    let mut vouched = wanted("cus_1");
    vouched["otpRequired"] = json!(true);
    for body in [json!({"username": NAME, "password": PASSWORD}), vouched] {
        let answer = server.post(COLLECTION, Some(&bearer), &body).await;
        assert_problem(&answer, 503, "unavailable");
        assert!(retry_after(&answer) >= 1);
        assert!(!answer.text().contains("smtp"), "{answer:?}");
    }
    assert_eq!(customers_in(server.get(COLLECTION, Some(&bearer)).await, 0), [""; 0]);
    mail.is_broken(false);
    login(&server, NAME, PASSWORD).await.expect(201);
}

// What all routes share

#[tokio::test]
async fn another_method_is_a_405_that_names_those_there_are() {
    let (fixture, server) = fixture().await;
    let token = start(&fixture, "cus_1", None).await;
    for (path, methods, allowed) in [
        (COLLECTION.to_owned(), &["PUT", "PATCH", "DELETE", "BREW"][..], "GET, HEAD, POST"),
        (single(&token), &["POST", "PUT", "PATCH"], "GET, HEAD, DELETE"),
        (single("unknown"), &["POST"], "GET, HEAD, DELETE"),
        (code_of(&token), &["GET", "PUT", "DELETE"], "POST"),
        (exchange_of(&token), &["GET", "PUT", "DELETE"], "POST"),
    ] {
        for path in [below("org_1", &path), path] {
            for method in methods {
                let answer = request(&server, method.parse().unwrap(), &path).await;
                assert_problem(&answer, 405, "method-not-allowed");
                assert_eq!(answer.header("allow"), allowed, "{method} {path}");
            }
        }
    }
    server.get(&single(&token), None).await.expect(200);
}

#[tokio::test]
async fn a_body_is_small_strict_json_and_says_so() {
    let (fixture, server) = fixture().await;
    credential(&fixture, NAME, |entity| entity).await;
    let token = fixture.session(|new| new.otp_required(true)).await;
    fixture.clock.advance(MINUTE);
    let login = json!({"username": NAME, "password": PASSWORD}).to_string();
    for (path, good) in [(COLLECTION.to_owned(), &*login), (code_of(&token), "{}")] {
        let post = async |media: Option<&str>, body: &str| {
            server.post_text(&path, None, media, body.to_owned()).await
        };
        for media in [
            None,
            Some("text/plain"),
            Some("application/x-www-form-urlencoded"),
            Some("application/problem+json"),
            Some("application/json; charset=latin1"),
        ] {
            let answer = post(media, good).await;
            assert_problem(&answer, 415, "unsupported-media-type");
        }
        let padded = format!("{good}{}", " ".repeat(16 * 1_024 - good.len()));
        let too_long = format!("{padded} ");
        assert_problem(&post(Some(JSON), &too_long).await, 413, "content-too-large");
        let twice = r#"{"username":"a","username":"a"}"#;
        for malformed in [twice, "{} {}", "\u{feff}{}", "[]", "\"x\"", "null", &"[".repeat(40)] {
            assert_problem(&post(Some(JSON), malformed).await, 400, "malformed-request");
        }
        let answer = post(Some("Application/JSON; charset=UTF-8"), &padded).await;
        assert!(answer.status().is_success(), "{answer:?}");
    }
}

#[tokio::test]
async fn below_an_organization_nothing_of_another_is_found() {
    let (fixture, server) = fixture().await;
    let token = start(&fixture, "cus_1", Some("org_1")).await;
    let homeless = start(&fixture, "cus_1", None).await;
    // The last three could be nobody's.
    for organization in ["org_2", "ORG_1", "%20", "%00", "%FF"] {
        for token in [&token, &homeless] {
            for (method, path) in [
                (Method::GET, single(token)),
                (Method::DELETE, single(token)),
                (Method::POST, exchange_of(token)),
                (Method::POST, code_of(token)),
            ] {
                let answer = request(&server, method, &below(organization, &path)).await;
                assert_problem(&answer, 404, "not-found");
            }
        }
    }
    let in_org_1 = |path: String| below("org_1", &path);
    let answer = server.get(&in_org_1(single(&token)), None).await.expect(200).json();
    assert_eq!(answer["_links"][0]["href"], "/organizations/org_1/customers/cus_1");
    assert_problem(&server.get(&in_org_1(single(&homeless)), None).await, 404, "not-found");
    assert_no_content(&request(&server, Method::DELETE, &in_org_1(single(&token))).await);
    assert_no_content(&log_out(&server, &homeless).await);
}

#[tokio::test]
async fn below_an_organization_that_cannot_exist_nobody_starts_or_lists_sessions() {
    let (fixture, server) = fixture().await;
    credential(&fixture, NAME, |entity| entity).await;
    let bearer = everything(&fixture);
    for organization in ["%20", "%00", "%FF", &"o".repeat(257)] {
        let path = below(organization, COLLECTION);
        let login = json!({"username": NAME, "password": PASSWORD});
        let answer = server.post(&path, None, &login).await;
        assert_problem(&answer, 401, "invalid-credentials");
        let answer = server.post(&path, Some(&bearer), &wanted("cus_1")).await;
        assert_problem(&answer, 403, "insufficient-permission");
        let answer = server.get(&path, Some(&bearer)).await;
        assert_problem(&answer, 403, "insufficient-permission");
    }
    assert_eq!(customers_in(server.get(COLLECTION, Some(&bearer)).await, 0), [""; 0]);
}
