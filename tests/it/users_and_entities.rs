//! The routes for users and entities: tokens for credentials, and the secrets of entities.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use countersign::store::{EntityStore, MemoryStore, StoreError};
use countersign::{
    Acl, Entity, EntityId, ErrorKind, Grant, OrganizationId, Password, Policy, Secret, SubjectType,
    ThrottleLimit, TokenFault,
};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Barrier, oneshot};

use crate::support::{AUDIENCE, Answer, Fixture, ISSUER, PASSWORD, START, Server, acl_of};

const USER_TOKEN: &str = "/user/token/generate";
const ENTITY_TOKEN: &str = "/entity/token/generate";
const READ: &str = "/entity/secret/read";
const RESET: &str = "/entity/secret/reset";
const ROUTES: [&str; 4] = [USER_TOKEN, ENTITY_TOKEN, READ, RESET];

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const SECRET: &str = "a secret that the tests know";
const TRANSACTION: &str = "txn-0001/a:b";
const DAY: Duration = Duration::from_secs(86_400);

const WRONG_PASSWORD: &str = "Invalid username/password or password is expired";
const WRONG_SECRET: &str = "Invalid entity id/secret or secret is expired";
const WRONG_ENTITY: &str = "Invalid entity id";

/// A body that every route of the family takes: each reads its own fields and ignores the rest.
fn complete() -> Value {
    json!({
        "username": "ops@example.com",
        "password": PASSWORD,
        "id": "aa-1",
        "secret": SECRET,
        "ver": "1.0.0",
        "timestamp": "2026-01-01T00:00:00Z",
        "txnId": TRANSACTION,
        "entityId": "aa-1",
    })
}

fn complete_with(name: &str, value: Value) -> Value {
    let mut body = complete();
    body[name] = value;
    body
}

fn complete_without(name: &str) -> Value {
    let mut body = complete();
    body.as_object_mut().unwrap().remove(name);
    body
}

/// A registered user, a registered entity, and the routes that serve them.
async fn service_with(change: impl FnOnce(Policy) -> Policy) -> (Fixture, Server) {
    let fixture = Fixture::with(|builder| {
        // Where tests can keep it waiting.
        let on_blocking_threads = |work| drop(tokio::task::spawn_blocking(work));
        builder.policy(change(Policy::default())).hashing_executor(on_blocking_threads)
    });
    fixture.user("ops@example.com", json!([{"scope": {}, "permissions": ["GetOrders"]}])).await;
    fixture.entity("aa-1", SECRET).await;
    let server = fixture.serve().await;
    (fixture, server)
}

async fn service() -> (Fixture, Server) {
    service_with(|policy| policy).await
}

fn token_of(fixture: &Fixture, grant: Grant) -> String {
    fixture.tokens.issue(grant).unwrap().access_token.expose().to_owned()
}

/// The token of a user who may read and reset every entity's secret.
fn manager(fixture: &Fixture) -> String {
    manager_with(fixture, json!({}), &["ReadEntitySecret", "ResetEntitySecret"])
}

fn manager_with(fixture: &Fixture, scope: Value, permissions: &[&str]) -> String {
    let acl = acl_of(json!([{"scope": scope, "permissions": permissions}]));
    token_of(fixture, Grant::user("manager@example.com").acl(acl))
}

#[track_caller]
fn assert_envelope(answer: &Answer) -> Value {
    assert_eq!(answer.header("content-type"), JSON, "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store", "{answer:?}");
    let body = answer.json();
    assert_eq!(body["ver"], "1.0.0", "{answer:?}");
    let timestamp = body["timestamp"].as_str().unwrap();
    let shape: String =
        timestamp.chars().map(|c| if c.is_ascii_digit() { 'd' } else { c }).collect();
    assert_eq!(shape, "dddd-dd-ddTdd:dd:dd.dddZ", "{answer:?}");
    assert!(body["txnId"].is_string(), "{answer:?}");
    body
}

/// Checks an error's status, code, message and that nothing else is told.
#[track_caller]
fn assert_error(answer: &Answer, status: u16, code: &str, message: &str) {
    assert_eq!(answer.status().as_u16(), status, "{answer:?}");
    let body = assert_envelope(answer);
    assert_eq!(body["errorCode"], code, "{answer:?}");
    assert_eq!(body["errorMsg"], message, "{answer:?}");
    assert_eq!(names(&body), ["errorCode", "errorMsg", "timestamp", "txnId", "ver"], "{answer:?}");
}

#[track_caller]
fn assert_bad_request(answer: &Answer, message: &str) {
    assert_error(answer, 400, "Bad Request", message);
}

#[track_caller]
fn assert_unavailable(answer: &Answer) {
    let message = "The service is unavailable, try again later";
    assert_error(answer, 503, "Service Unavailable", message);
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1, "{answer:?}");
    assert!(!answer.headers().contains_key("www-authenticate"), "{answer:?}");
}

#[track_caller]
fn assert_uuid(value: &Value) {
    let text = value.as_str().unwrap();
    let shape: String = text.chars().map(|c| if c.is_ascii_hexdigit() { 'x' } else { c }).collect();
    assert_eq!(shape, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "{text}");
}

fn names(body: &Value) -> Vec<String> {
    let mut names: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
    names.sort();
    names
}

#[track_caller]
fn text(body: &Value, name: &str) -> String {
    body[name].as_str().unwrap_or_else(|| panic!("no {name} in {body}")).to_owned()
}

/// All that a caller can see, but for the time and the transaction.
fn seen(answer: &Answer) -> (u16, BTreeMap<String, String>, Value) {
    let headers = answer.headers().iter();
    let headers = headers
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    let mut body = answer.json();
    body.as_object_mut().unwrap().retain(|name, _| name != "timestamp" && name != "txnId");
    (answer.status().as_u16(), headers, body)
}

fn claims(fixture: &Fixture, answer: &Answer) -> Value {
    let token = text(&answer.json(), "accessToken");
    serde_json::to_value(&*fixture.tokens.validator().validate(&token).unwrap()).unwrap()
}

async fn user_login(server: &Server, name: &str, password: &str) -> Answer {
    server.post(USER_TOKEN, None, &json!({"username": name, "password": password})).await
}

async fn entity_login(server: &Server, id: &str, secret: &str) -> Answer {
    server.post(ENTITY_TOKEN, None, &json!({"id": id, "secret": secret})).await
}

fn wanted(entity: &str) -> Value {
    complete_with("entityId", json!(entity))
}

/// Writes bytes as they are, and reads what comes back until the server hangs up.
async fn raw(address: SocketAddr, request: &[u8]) -> (u16, Value) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    // A server that does not read the rest of a body may reset the connection behind its answer.
    let _ = stream.write_all(request).await;
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    assert!(head.to_ascii_lowercase().contains("cache-control: no-store"), "{head}");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {answer}")))
}

// Tokens

#[tokio::test]
async fn a_user_gets_a_token_with_a_form_and_with_json() {
    let (_fixture, server) = service().await;
    let form = "username=ops%40example.com&password=correct+horse%20battery+staple";
    let by_form = server.post_text(USER_TOKEN, None, Some(FORM), form).await.expect(200);
    let by_json = user_login(&server, "ops@example.com", PASSWORD).await.expect(200);
    for answer in [&by_form, &by_json] {
        let body = assert_envelope(answer);
        let expected = ["accessToken", "expiresIn", "timestamp", "tokenType", "txnId", "ver"];
        assert_eq!(names(&body), expected);
        assert_eq!(body["expiresIn"], 86_400);
        assert_eq!(body["tokenType"], "Bearer");
        assert_uuid(&body["txnId"]);
    }
    assert_ne!(by_form.json()["txnId"], by_json.json()["txnId"]);
    assert_ne!(by_form.json()["accessToken"], by_json.json()["accessToken"]);
}

#[tokio::test]
async fn an_entity_gets_a_token_with_a_form_and_with_json() {
    let (_fixture, server) = service().await;
    let form = "id=aa-1&secret=a+secret%20that+the+tests+know";
    let by_form = server.post_text(ENTITY_TOKEN, None, Some(FORM), form).await.expect(200);
    let by_json = entity_login(&server, "aa-1", SECRET).await.expect(200);
    for answer in [by_form, by_json] {
        let body = assert_envelope(&answer);
        let expected = ["accessToken", "expiresIn", "timestamp", "tokenType", "txnId", "ver"];
        assert_eq!(names(&body), expected);
        assert_eq!(body["expiresIn"], 86_400);
        assert_eq!(body["tokenType"], "Bearer");
        assert_uuid(&body["txnId"]);
    }
}

#[tokio::test]
async fn the_timestamp_of_an_answer_is_now_in_utc_with_milliseconds() {
    let (fixture, server) = service().await;
    fixture.clock.set("2024-07-16T11:33:34.509999Z".parse().unwrap());
    let granted = entity_login(&server, "aa-1", SECRET).await.expect(200);
    let refused = entity_login(&server, "aa-1", "wrong").await.expect(401);
    for answer in [granted, refused] {
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
async fn a_users_token_carries_the_documented_claims() {
    let fixture = Fixture::new();
    let hash = fixture.tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
    let acl = json!([{"scope": {"productId": ["p_1"]}, "permissions": ["GetOrders"]}]);
    let custom_claims = json!({"locale": "de", "iss": "somebody else"});
    let user = Entity::user("ops@example.com", hash)
        .unwrap()
        .with_acl(acl_of(acl.clone()))
        .with_custom_claims(custom_claims.as_object().unwrap().clone())
        .with_organization(Some(OrganizationId::new("org_1").unwrap()));
    fixture.tokens.register(user).await.unwrap();
    let server = fixture.serve().await;
    fixture.clock.advance(Duration::from_millis(900));
    let answer = user_login(&server, "ops@example.com", PASSWORD).await.expect(200);
    let claims = claims(&fixture, &answer);
    assert_uuid(&claims["jti"]);
    let expected = json!({
        "iss": ISSUER,
        "sub": "ops@example.com",
        "subject_type": "user",
        "aud": AUDIENCE,
        "iat": START,
        "nbf": START,
        "exp": START + 86_400,
        "jti": claims["jti"],
        "client_id": "first-party",
        "organizationId": "org_1",
        "acl": acl,
        "customClaims": custom_claims,
    });
    assert_eq!(claims, expected);
}

#[tokio::test]
async fn an_entitys_token_carries_the_documented_claims() {
    let (fixture, server) = service().await;
    let answer = entity_login(&server, "aa-1", SECRET).await.expect(200);
    let claims = claims(&fixture, &answer);
    assert_uuid(&claims["jti"]);
    let expected = json!({
        "iss": ISSUER,
        "sub": "aa-1",
        "subject_type": "entity",
        "aud": AUDIENCE,
        "iat": START,
        "nbf": START,
        "exp": START + 86_400,
        "jti": claims["jti"],
        "client_id": "aa-1",
        "acl": [],
    });
    assert_eq!(claims, expected);
}

#[tokio::test]
async fn the_lifetime_of_tokens_and_the_first_partys_client_id_follow_the_policy() {
    let (fixture, server) = service_with(|policy| {
        policy.access_token_lifetime(Duration::from_secs(90)).first_party_client_id("shop")
    })
    .await;
    let answer = user_login(&server, "ops@example.com", PASSWORD).await.expect(200);
    assert_eq!(answer.json()["expiresIn"], 90);
    let claims = claims(&fixture, &answer);
    assert_eq!(claims["client_id"], "shop");
    assert_eq!(claims["exp"], START + 90);
}

#[tokio::test]
async fn a_missing_or_blank_credential_is_told_in_the_documented_words() {
    let (_fixture, server) = service().await;
    for (route, message, fields) in [
        (USER_TOKEN, "User Id/Password is missing in the request", ["username", "password"]),
        (ENTITY_TOKEN, "Entity Id/Secret is missing in the request", ["id", "secret"]),
    ] {
        assert_bad_request(&server.post_text(route, None, None, "").await, message);
        assert_bad_request(&server.post(route, None, &json!({})).await, message);
        for field in fields {
            assert_bad_request(&server.post(route, None, &complete_without(field)).await, message);
            for blank in ["", " ", "\t\r\n", "\u{a0}\u{2003}"] {
                let body = complete_with(field, json!(blank));
                assert_bad_request(&server.post(route, None, &body).await, message);
            }
        }
        let [first, second] = fields;
        for form in [
            String::new(),
            format!("{first}=x"),
            format!("{second}=x"),
            format!("{first}&{second}=x"),
            format!("{first}=x&{second}="),
            format!("{first}=x&{second}=+%20%09"),
            format!("{first}[]=x&{second}[]=y"),
        ] {
            let answer = server.post_text(route, None, Some(FORM), form).await;
            assert_bad_request(&answer, message);
        }
    }
}

#[tokio::test]
async fn a_credential_is_a_string_and_nothing_that_could_be_made_into_one() {
    let (_fixture, server) = service().await;
    let others = [json!(null), json!(1), json!(true), json!(["ops@example.com"]), json!({"a": 1})];
    for (route, field) in [
        (USER_TOKEN, "username"),
        (USER_TOKEN, "password"),
        (ENTITY_TOKEN, "id"),
        (ENTITY_TOKEN, "secret"),
    ] {
        for other in &others {
            let answer = server.post(route, None, &complete_with(field, other.clone())).await;
            assert_bad_request(&answer, &format!("{field} must be a string"));
        }
    }
}

#[tokio::test]
async fn names_and_passwords_are_taken_exactly_as_they_are_written() {
    let fixture = Fixture::new();
    let password = "  p\u{e4}ss w\u{f6}rd+\u{0}% ";
    let hash = fixture.tokens.hash_password(Password::new(password).unwrap()).await.unwrap();
    fixture.tokens.register(Entity::user("Zo\u{eb}", hash).unwrap()).await.unwrap();
    let server = fixture.serve().await;
    user_login(&server, "Zo\u{eb}", password).await.expect(200);
    let form = "username=Zo%C3%AB&password=++p%c3%a4ss+w%C3%B6rd%2B%00%25%20";
    server.post_text(USER_TOKEN, None, Some(FORM), form).await.expect(200);
    for name in ["zo\u{eb}", "ZO\u{cb}", "Zoe\u{308}", " Zo\u{eb}", "Zo\u{eb} ", "Zo\u{eb}\u{0}"] {
        let answer = user_login(&server, name, password).await;
        assert_error(&answer, 401, "Unauthorized", WRONG_PASSWORD);
    }
    let decomposed = password.replace('\u{f6}', "o\u{308}");
    for other in [password.trim(), &password.to_uppercase(), &decomposed, &password[..8]] {
        let answer = user_login(&server, "Zo\u{eb}", other).await;
        assert_error(&answer, 401, "Unauthorized", WRONG_PASSWORD);
    }
}

#[tokio::test]
async fn who_was_removed_is_unknown_and_whoever_gets_the_name_after_that_is_somebody_else() {
    let fixture = Fixture::new();
    let id = EntityId::entity("aa-1").unwrap();
    let register = async || {
        fixture.tokens.register(Entity::entity("aa-1").unwrap()).await.unwrap();
        let secret = Secret::dangerous_from_text("a-known-secret".to_owned()).unwrap();
        fixture.tokens.import_secret(&id, &secret, None).await.unwrap();
    };
    let server = Server::start(fixture.tokens.router()).await;
    let log_in = async || {
        let form = "application/x-www-form-urlencoded";
        let body = "id=aa-1&secret=a-known-secret";
        server.post_text("/entity/token/generate", None, Some(form), body).await
    };
    register().await;
    let token = log_in().await.expect(200).json()["accessToken"].as_str().unwrap().to_owned();
    let validator = fixture.tokens.validator();
    validator.validate(&token).unwrap();

    fixture.clock.advance(Duration::from_millis(100));
    fixture.tokens.remove_entity(&id).await.unwrap();
    assert!(fixture.tokens.find_entity(&id).await.unwrap().is_none());
    log_in().await.expect(401);
    assert_eq!(validator.validate(&token).unwrap_err(), TokenFault::Revoked);
    let again = fixture.tokens.remove_entity(&id).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::NotFound);

    fixture.clock.advance(Duration::from_millis(100));
    register().await;
    let new = log_in().await.expect(200).json()["accessToken"].as_str().unwrap().to_owned();
    validator.validate(&new).unwrap();
    assert_eq!(validator.validate(&token).unwrap_err(), TokenFault::Revoked);
}

#[tokio::test]
async fn why_a_user_gets_no_token_cannot_be_told() {
    let fixture = Fixture::new();
    fixture.user("known@example.com", json!([])).await;
    let hash = || fixture.tokens.hash_password(Password::new(PASSWORD).unwrap());
    let disabled = Entity::user("disabled@example.com", hash().await.unwrap()).unwrap();
    fixture.tokens.register(disabled.with_disabled(true)).await.unwrap();
    let elsewhere = Entity::user("elsewhere@example.com", hash().await.unwrap()).unwrap();
    let elsewhere = elsewhere.with_organization(Some(OrganizationId::new("org_2").unwrap()));
    fixture.tokens.register(elsewhere).await.unwrap();
    fixture.entity("aa-1", PASSWORD).await;
    let routes = fixture.tokens.router();
    let host = Router::new().nest("/organizations/{organizationId}", routes.clone()).merge(routes);
    let server = Server::start(host).await;

    let long = "n".repeat(300);
    let below = |organization: &str| format!("/organizations/{organization}{USER_TOKEN}");
    let mut answers = Vec::new();
    for (name, password) in [
        ("unknown@example.com", PASSWORD),
        ("known@example.com", "wrong"),
        ("disabled@example.com", PASSWORD),
        ("aa-1", PASSWORD),
        ("nul\u{0}in@example.com", PASSWORD),
        (&long, PASSWORD),
    ] {
        answers.push(user_login(&server, name, password).await);
    }
    for (organization, name) in [
        ("org_1", "elsewhere@example.com"),
        ("org_1", "known@example.com"),
        ("%20", "known@example.com"),
        ("%FF", "known@example.com"),
        ("%00", "elsewhere@example.com"),
    ] {
        let body = json!({"username": name, "password": PASSWORD});
        answers.push(server.post(&below(organization), None, &body).await);
    }
    for answer in &answers {
        assert_error(answer, 401, "Unauthorized", WRONG_PASSWORD);
        assert_uuid(&answer.json()["txnId"]);
        assert_eq!(answer.header("www-authenticate"), format!("Bearer realm=\"{ISSUER}\""));
        assert_eq!(seen(answer), seen(&answers[0]));
    }
    let body = json!({"username": "elsewhere@example.com", "password": PASSWORD});
    server.post(&below("org_2"), None, &body).await.expect(200);
}

#[tokio::test]
async fn why_an_entity_gets_no_token_cannot_be_told() {
    let fixture = Fixture::new();
    fixture.entity("known", SECRET).await;
    fixture.user("user@example.com", json!([])).await;
    let secret = Secret::dangerous_from_text(SECRET).unwrap();
    let elsewhere = Some(OrganizationId::new("org_2").unwrap());
    for (id, disabled, organization) in
        [("disabled", true, None), ("elsewhere", false, elsewhere.clone())]
    {
        let entity = Entity::entity(id).unwrap().with_disabled(disabled);
        fixture.tokens.register(entity.with_organization(organization)).await.unwrap();
        let id = EntityId::entity(id).unwrap();
        fixture.tokens.import_secret(&id, &secret, None).await.unwrap();
    }
    fixture.tokens.register(Entity::entity("without a secret").unwrap()).await.unwrap();
    fixture.tokens.register(Entity::entity("expired").unwrap()).await.unwrap();
    let expired = EntityId::entity("expired").unwrap();
    fixture.tokens.import_secret(&expired, &secret, Some(1)).await.unwrap();
    fixture.clock.advance(DAY);
    let routes = fixture.tokens.router();
    let host = Router::new().nest("/organizations/{organizationId}", routes.clone()).merge(routes);
    let server = Server::start(host).await;

    let below = |organization: &str| format!("/organizations/{organization}{ENTITY_TOKEN}");
    let mut answers = Vec::new();
    for (id, secret) in [
        ("unknown", SECRET),
        ("known", "wrong"),
        ("disabled", SECRET),
        ("expired", SECRET),
        ("without a secret", SECRET),
        ("user@example.com", PASSWORD),
        ("KNOWN", SECRET),
        ("known\u{0}", SECRET),
    ] {
        answers.push(entity_login(&server, id, secret).await);
    }
    for (organization, id) in [("org_1", "elsewhere"), ("org_1", "known"), ("%FF", "known")] {
        let body = json!({"id": id, "secret": SECRET});
        answers.push(server.post(&below(organization), None, &body).await);
    }
    for answer in &answers {
        assert_error(answer, 401, "Unauthorized", WRONG_SECRET);
        assert_eq!(answer.header("www-authenticate"), format!("Bearer realm=\"{ISSUER}\""));
        assert_eq!(seen(answer), seen(&answers[0]));
    }
    entity_login(&server, "known", SECRET).await.expect(200);
    let body = json!({"id": "elsewhere", "secret": SECRET});
    server.post(&below("org_2"), None, &body).await.expect(200);
}

#[tokio::test]
async fn a_password_or_secret_of_over_a_kibibyte_is_a_400_and_one_of_a_megabyte_a_413() {
    let (_fixture, server) = service().await;
    for (route, field, message) in
        [(USER_TOKEN, "password", WRONG_PASSWORD), (ENTITY_TOKEN, "secret", WRONG_SECRET)]
    {
        let login = async |length: usize| {
            server.post(route, None, &complete_with(field, json!("x".repeat(length)))).await
        };
        assert_error(&login(1024).await, 401, "Unauthorized", message);
        let too_long = format!("{field} must be at most 1024 bytes long");
        assert_bad_request(&login(1025).await, &too_long);
        let bytes_count = complete_with(field, json!("\u{e4}".repeat(513)));
        assert_bad_request(&server.post(route, None, &bytes_count).await, &too_long);

        // Most of the megabyte is announced and never sent: the answer does not wait for it.
        let head = format!(
            "POST {route} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: {JSON}\r\ncontent-length: 1048576\r\n\r\n{{\"{field}\":\""
        );
        let request = [head.into_bytes(), vec![b'x'; 20 * 1024]].concat();
        let (status, body) = raw(server.address, &request).await;
        assert_eq!((status, &body["errorCode"]), (413, &json!("Payload Too Large")));
    }
}

// Bodies

#[tokio::test]
async fn unknown_fields_are_ignored() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    let mut body = complete();
    body["unknown"] = json!({"a": [null, 1.5, {"b": "c"}]});
    body["secretExpiry"] = json!("soon");
    for route in ROUTES {
        server.post(route, Some(&manager), &body).await.expect(200);
        let secret = server.post(READ, Some(&manager), &body).await.expect(200).json();
        body["secret"] = secret["secret"].clone();
    }
    fixture.entity("aa-2", SECRET).await;
    for form in [
        "id=aa-2&secret=a+secret+that+the+tests+know&scope[a]=b",
        "scope[a]=b&scope[]=c&scope%5Ba%5D.b=d&&=&id=aa-2&secret=a+secret+that+the+tests+know&",
    ] {
        server.post_text(ENTITY_TOKEN, None, Some(FORM), form).await.expect(200);
    }
}

#[tokio::test]
async fn a_form_with_a_field_twice_is_refused() {
    let (_fixture, server) = service().await;
    for form in [
        "username=a&username=b&password=c",
        "username=a&password=c&password=c",
        "username=a&%75sername=a&password=c",
        "username=a&password=c&other=1&other=2",
    ] {
        let answer = server.post_text(USER_TOKEN, None, Some(FORM), form).await;
        assert_bad_request(&answer, "The request's form has a field twice");
    }
}

#[tokio::test]
async fn a_form_that_is_no_utf_8_is_refused() {
    let (_fixture, server) = service().await;
    for form in [
        &b"username=a&password=%FF"[..],
        b"username=a&password=%C3%28",
        b"username=a&password=\xff",
        b"username=%ED%A0%80&password=b",
        b"username=a&password=b&%C3=x",
    ] {
        let answer = server.post_text(USER_TOKEN, None, Some(FORM), form).await;
        assert_bad_request(&answer, "The request's form must be valid UTF-8");
    }
}

#[tokio::test]
async fn json_is_read_strictly() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    let good = complete().to_string();
    let with = |more: &str| format!("{},{more}}}", &good[..good.len() - 1]).into_bytes();
    let nested =
        |depth: usize| with(&format!("\"x\":{}{}", "[".repeat(depth - 1), "]".repeat(depth - 1)));
    let bad = [
        with(r#""id":"aa-1""#),
        with(r#""\u0069d":"aa-1""#),
        with(r#""txnId":"another""#),
        with(r#""x":{"a":1,"a":2}"#),
        with(r#""x":[{"b":{"c":1,"\u0063":1}}]"#),
        with(r#""x":"\ud800""#),
        with(r#""x":NaN"#),
        with(r#""x":1e400"#),
        with(r#""x":01"#),
        with(r#""x":'y'"#),
        with(r#""x":1,"#),
        with("\"x\":\"\u{1}\""),
        nested(33),
        nested(8_000),
        format!("{good}x").into_bytes(),
        format!("{good}{good}").into_bytes(),
        format!("{good}\0").into_bytes(),
        format!("\u{feff}{good}").into_bytes(),
        good.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        [&with("\"x\":\"")[..good.len() + 4], b"\xff\"}"].concat(),
        [good.as_bytes(), b" \xff"].concat(),
        good[..good.len() - 1].into(),
        b"[]".to_vec(),
        b"null".to_vec(),
        b"\"text\"".to_vec(),
        b" ".to_vec(),
    ];
    for route in ROUTES {
        for body in &bad {
            let answer = server.post_text(route, Some(&manager), Some(JSON), body.clone()).await;
            let told = answer.expect(400);
            let message = text(&assert_envelope(&told), "errorMsg");
            assert!(message.starts_with("The request's JSON "), "{message}");
            assert_error(&told, 400, "Bad Request", &message);
            assert!(!told.text().contains(PASSWORD) && !told.text().contains(SECRET), "{told:?}");
            assert_uuid(&told.json()["txnId"]);
        }
    }
    for body in [nested(32), with("\"x\":1 ,\n\"\\u0079\":\"\\ud83d\\ude00\"")] {
        server.post_text(USER_TOKEN, None, Some(JSON), body.clone()).await.expect(200);
        server.post_text(READ, Some(&manager), Some(JSON), body).await.expect(200);
    }
}

#[tokio::test]
async fn another_media_type_is_a_415_in_the_familys_words() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    let message = "The request's Content-Type is not one that this route takes";
    let wrong = [
        None,
        Some(""),
        Some("text/plain"),
        Some("text/json"),
        Some("application/problem+json"),
        Some("multipart/form-data; boundary=x"),
        Some("application/json; charset=iso-8859-1"),
        Some("application/json; charset=utf-16"),
        Some("application/json, application/json"),
        Some("application/x-www-form-urlencoded; charset=windows-1252"),
    ];
    for route in ROUTES {
        for media_type in wrong {
            let body = complete().to_string();
            let answer = server.post_text(route, Some(&manager), media_type, body).await;
            assert_error(&answer, 415, "Unsupported Media Type", message);
        }
        let twice = Request::builder()
            .method(Method::POST)
            .uri(route)
            .header(CONTENT_TYPE, JSON)
            .header(CONTENT_TYPE, JSON)
            .header(AUTHORIZATION, format!("Bearer {manager}"))
            .body(complete().to_string())
            .unwrap();
        assert_error(&server.send(twice).await, 415, "Unsupported Media Type", message);
    }
    for route in [READ, RESET] {
        let form = "entityId=aa-1&ver=1.0.0&txnId=1&timestamp=2026-01-01T00:00:00Z";
        let answer = server.post_text(route, Some(&manager), Some(FORM), form).await;
        assert_error(&answer, 415, "Unsupported Media Type", message);
    }
}

#[tokio::test]
async fn a_media_type_has_no_case_and_may_say_that_it_is_utf_8() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    for media_type in [
        "Application/JSON",
        "application/json;charset=utf-8",
        "application/json ; Charset=\"UTF-8\"",
    ] {
        let body = complete().to_string();
        server.post_text(ENTITY_TOKEN, None, Some(media_type), body.clone()).await.expect(200);
        server.post_text(READ, Some(&manager), Some(media_type), body).await.expect(200);
    }
    let form = "id=aa-1&secret=a+secret+that+the+tests+know";
    let media_type = "Application/X-WWW-Form-Urlencoded; charset=UTF-8";
    server.post_text(ENTITY_TOKEN, None, Some(media_type), form).await.expect(200);
}

#[tokio::test]
async fn a_body_of_over_16_kibibytes_is_a_413_whether_announced_or_chunked() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    let padded = |length: usize| {
        let mut body = complete_with("secret", json!(SECRET));
        body["x"] = json!("");
        let missing = length - body.to_string().len();
        body["x"] = json!("x".repeat(missing));
        assert_eq!(body.to_string().len(), length);
        body.to_string()
    };
    let message = "The request's body is too large";
    for route in [USER_TOKEN, ENTITY_TOKEN, READ] {
        let fits = padded(16 * 1024);
        server.post_text(route, Some(&manager), Some(JSON), fits).await.expect(200);
    }
    for route in ROUTES {
        let too_large = padded(16 * 1024 + 1);
        let answer = server.post_text(route, Some(&manager), Some(JSON), too_large.clone()).await;
        assert_error(&answer, 413, "Payload Too Large", message);

        // Every piece is small, there are merely too many, and the last one never comes.
        let mut request = format!(
            "POST {route} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             authorization: Bearer {manager}\r\n\
             content-type: {JSON}\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        for piece in too_large.as_bytes().chunks(100) {
            let piece = std::str::from_utf8(piece).unwrap();
            request.push_str(&format!("{:x}\r\n{piece}\r\n", piece.len()));
        }
        let (status, body) = raw(server.address, request.as_bytes()).await;
        assert_eq!(status, 413, "{body}");
        assert_eq!(body["errorCode"], "Payload Too Large");
        assert_eq!(body["errorMsg"], message);
    }
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_is_a_408() {
    let (_fixture, server) =
        service_with(|policy| policy.body_deadline(Duration::from_millis(5))).await;
    for route in ROUTES {
        let request = format!(
            "POST {route} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: {JSON}\r\ncontent-length: 100\r\n\r\n{{\"username\":"
        );
        let (status, body) = raw(server.address, request.as_bytes()).await;
        assert_eq!((status, &body["errorCode"]), (408, &json!("Request Timeout")));
        assert_eq!(body["ver"], "1.0.0");
    }
}

#[tokio::test]
async fn another_method_is_a_405_that_names_the_one_there_is() {
    let (_fixture, server) = service().await;
    for route in ROUTES {
        for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            let request = Request::builder().method(method).uri(route).body("").unwrap();
            let answer = server.send(request).await;
            let message = "This route takes POST alone";
            assert_error(&answer, 405, "Method Not Allowed", message);
            assert_eq!(answer.header("allow"), "POST", "{method} {route}");
            assert_uuid(&answer.json()["txnId"]);
        }
        let request = Request::builder().method(Method::HEAD).uri(route).body("").unwrap();
        let answer = server.send(request).await.expect(405);
        assert_eq!(answer.header("allow"), "POST");
        assert_eq!(answer.header("content-type"), JSON);
    }
}

// Where the router is mounted

#[tokio::test]
async fn an_unknown_path_is_the_hosts_to_answer() {
    let fixture = Fixture::new();
    fixture.entity("aa-1", SECRET).await;
    let host = Router::new()
        .route("/orders", axum::routing::get(|| async { "the host's orders" }))
        .merge(fixture.tokens.router())
        .nest("/iam/v1", fixture.tokens.router())
        .fallback(|| async { (http::StatusCode::IM_A_TEAPOT, "the host's fallback") });
    let server = Server::start(host).await;
    assert_eq!(server.get("/orders", None).await.expect(200).text(), "the host's orders");
    for unknown in
        ["/", "/user", "/user/token/generate/", "/entity/secret", "/iam/v1/unknown", "/iam/v1"]
    {
        let answer = server.post(unknown, None, &complete()).await.expect(418);
        assert_eq!(answer.text(), "the host's fallback", "{unknown}");
    }
    server.post(ENTITY_TOKEN, None, &complete()).await.expect(200);
    server.post("/iam/v1/entity/token/generate", None, &complete()).await.expect(200);
    let wrong_method = server.get("/iam/v1/entity/token/generate", None).await;
    assert_error(&wrong_method, 405, "Method Not Allowed", "This route takes POST alone");
}

#[tokio::test]
async fn the_router_serves_in_a_host_that_has_a_state_of_its_own() {
    let fixture = Fixture::new();
    fixture.entity("aa-1", SECRET).await;
    let greet = |axum::extract::State(name): axum::extract::State<Arc<str>>| async move {
        format!("hello {name}")
    };
    let host: Router = Router::new()
        .route("/greet", axum::routing::get(greet))
        .merge(fixture.tokens.router())
        .with_state(Arc::<str>::from("host"));
    let server = Server::start(host).await;
    assert_eq!(server.get("/greet", None).await.text(), "hello host");
    server.post(ENTITY_TOKEN, None, &complete()).await.expect(200);
}

#[tokio::test]
async fn below_an_organization_only_its_own_entities_are_managed() {
    let fixture = Fixture::new();
    for (id, organization) in [("of-1", Some("org_1")), ("of-2", Some("org_2")), ("of-none", None)]
    {
        let organization = organization.map(|id| OrganizationId::new(id).unwrap());
        let entity = Entity::entity(id).unwrap().with_organization(organization);
        fixture.tokens.register(entity).await.unwrap();
    }
    let nested = Router::new().nest("/organizations/{organizationId}", fixture.tokens.router());
    let server = Server::start(nested).await;
    let manager = manager(&fixture);
    for (organization, entity, status) in [
        ("org_1", "of-1", 200),
        ("org_2", "of-2", 200),
        ("org%5F1", "of-1", 200),
        ("org_1", "of-2", 401),
        ("org_1", "of-none", 401),
        ("ORG_1", "of-1", 401),
        ("org_1%20", "of-1", 401),
        ("%20", "of-none", 401),
        ("%FF", "of-none", 401),
    ] {
        for route in [RESET, READ] {
            let path = format!("/organizations/{organization}{route}");
            let answer = server.post(&path, Some(&manager), &wanted(entity)).await.expect(status);
            assert_eq!(assert_envelope(&answer)["txnId"], TRANSACTION);
        }
    }
}

#[tokio::test]
async fn a_manager_of_one_organization_has_no_say_in_another() {
    let fixture = Fixture::new();
    let organization = |id: &str| OrganizationId::new(id).unwrap();
    for (id, of) in [("of-1", Some(organization("org_1"))), ("of-none", None)] {
        let entity = Entity::entity(id).unwrap().with_organization(of);
        fixture.tokens.register(entity).await.unwrap();
    }
    let server = fixture.serve().await;
    let bound = |id: &str| {
        let grant = Grant::user("manager@example.com").acl(Acl::everything());
        token_of(&fixture, grant.organization(organization(id)))
    };
    let scoped = |id: &str| {
        let permissions = ["ReadEntitySecret", "ResetEntitySecret"];
        manager_with(&fixture, json!({"organizationId": [id]}), &permissions)
    };
    for (token, entity, status) in [
        (bound("org_1"), "of-1", 200),
        (bound("org_2"), "of-1", 401),
        (bound("org_1"), "of-none", 401),
        (scoped("org_1"), "of-1", 200),
        (scoped("org_2"), "of-1", 401),
        (scoped("org_1"), "of-none", 401),
    ] {
        for route in [RESET, READ] {
            server.post(route, Some(&token), &wanted(entity)).await.expect(status);
        }
    }
}

// Reading and resetting: the request

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
        assert_eq!(names(&body), expected);
        assert_eq!(body["txnId"], TRANSACTION);
        assert_eq!(body["entityId"], "aa-1");
        assert_eq!(body["expiresOn"], START + 1 + 180 * 86_400);
        assert_eq!(body["expirationDate"], "2026-06-30T00:00:01.234567");
        assert_eq!(body["timestamp"], "2026-01-01T00:00:01.234Z");
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
            for blank in ["", " ", "\t"] {
                let body = complete_with(field, json!(blank));
                assert_bad_request(&server.post(route, Some(&manager), &body).await, message);
            }
            for other in [json!(null), json!(1), json!(false), json!([]), json!({})] {
                let answer = server.post(route, Some(&manager), &complete_with(field, other)).await;
                assert_bad_request(&answer, &format!("{field} must be a string"));
            }
        }
        let nothing = server.post_text(route, Some(&manager), None, "").await;
        assert_bad_request(&nothing, "Entity Id is missing in the request");
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
        service_with(|p| p.timestamp_skew(Some(Duration::from_secs(900)))).await;
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
            server.post(route, Some(&manager), &wanted("unknown")).await.expect(401),
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

#[tokio::test]
async fn secret_expiry_days_is_an_integer_of_at_least_one() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    let raw_numbers =
        ["0", "-1", "-0", "1.5", "100.0", "1e2", "\"100\"", "null", "true", "[1]", "{}"];
    for route in [READ, RESET] {
        for number in raw_numbers {
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
    let change = |policy: Policy| policy.secret_lifetime_days(7).max_secret_lifetime_days(30);
    let (fixture, server) = service_with(change).await;
    let manager = manager(&fixture);
    let by_default = server.post(RESET, Some(&manager), &complete()).await.expect(200).json();
    assert_eq!(by_default["expiresOn"], START + 7 * 86_400);
    let body = complete_with("secretExpiryDays", json!(31));
    let cut = server.post(RESET, Some(&manager), &body).await.expect(200).json();
    assert_eq!(cut["expiresOn"], START + 30 * 86_400);
    assert!(text(&cut, "message").contains("30 days"), "{cut}");
}

// Reading and resetting: who may

#[tokio::test]
async fn without_credentials_the_challenge_has_no_error_code() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    for route in [READ, RESET] {
        let mut answers = vec![server.post(route, None, &complete()).await];
        let in_query = format!("{route}?access_token={manager}");
        answers.push(server.post(&in_query, None, &complete()).await);
        for other in ["Basic b3BzOnB3", "DPoP abc", "Bearer-Like abc", ""] {
            let request = Request::builder()
                .method(Method::POST)
                .uri(route)
                .header(CONTENT_TYPE, JSON)
                .header(AUTHORIZATION, other)
                .body(complete().to_string())
                .unwrap();
            answers.push(server.send(request).await);
        }
        for answer in answers {
            assert_error(&answer, 401, "Unauthorized", "A bearer token is required");
            assert_eq!(answer.header("www-authenticate"), format!("Bearer realm=\"{ISSUER}\""));
        }
    }
}

#[tokio::test]
async fn credentials_that_are_malformed_are_a_400_invalid_request() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    let good = format!("Bearer {manager}");
    for headers in [
        vec![good.clone(), good.clone()],
        vec!["Basic b3BzOnB3".to_owned(), good.clone()],
        vec!["Bearer".to_owned()],
        vec![format!("Bearer\t{manager}")],
        vec![format!("Bearer {manager} {manager}")],
        vec![format!("Bearer {manager},")],
    ] {
        let mut request = Request::builder().method(Method::POST).uri(READ);
        request = request.header(CONTENT_TYPE, JSON);
        for value in &headers {
            request = request.header(AUTHORIZATION, value);
        }
        let answer = server.send(request.body(complete().to_string()).unwrap()).await;
        let message = "There must be one Authorization header, holding one bearer token";
        assert_bad_request(&answer, message);
        let challenge = format!(
            "Bearer realm=\"{ISSUER}\", error=\"invalid_request\", error_description=\"{message}\""
        );
        assert_eq!(answer.header("www-authenticate"), challenge, "{headers:?}");
        assert_eq!(answer.json()["txnId"], TRANSACTION);
    }
}

#[tokio::test]
async fn the_scheme_has_no_case_and_more_than_one_blank_behind_it() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    for scheme in ["bearer ", "BEARER ", "Bearer   "] {
        let request = Request::builder()
            .method(Method::POST)
            .uri(READ)
            .header(CONTENT_TYPE, JSON)
            .header(AUTHORIZATION, format!("{scheme}{manager}"))
            .body(complete().to_string())
            .unwrap();
        server.send(request).await.expect(200);
    }
}

#[tokio::test]
async fn a_token_that_is_not_accepted_is_a_401_invalid_token() {
    let (fixture, server) = service().await;
    let good = manager(&fixture);
    let stranger = manager(&Fixture::new());
    let (head, signature) = good.rsplit_once('.').unwrap();
    let swapped: String = signature.chars().rev().collect();
    let forged = format!("{head}.{swapped}");
    let challenge = |description: &str| {
        format!(
            "Bearer realm=\"{ISSUER}\", error=\"invalid_token\", error_description=\"{description}\""
        )
    };
    for bad in [&stranger, &forged, head, "abc", "a.b.c"] {
        for route in [READ, RESET] {
            let answer = server.post(route, Some(bad), &complete()).await;
            let message = "The access token is not valid";
            assert_error(&answer, 401, "Unauthorized", message);
            assert_eq!(answer.header("www-authenticate"), challenge(message));
        }
    }
    fixture.clock.advance(DAY + Duration::from_secs(60));
    let answer = server.post(READ, Some(&good), &complete()).await;
    let message = "The access token has expired";
    assert_error(&answer, 401, "Unauthorized", message);
    assert_eq!(answer.header("www-authenticate"), challenge(message));
}

#[tokio::test]
async fn who_may_not_manage_an_entity_is_not_told_whether_it_exists() {
    let (fixture, server) = service().await;
    fixture.entity("aa-2", SECRET).await;
    let disabled = Entity::entity("disabled").unwrap().with_disabled(true);
    fixture.tokens.register(disabled).await.unwrap();
    let everything =
        |kind, name: &str| token_of(&fixture, Grant::new(kind, name).acl(Acl::everything()));
    let manager = manager(&fixture);
    let both = ["ReadEntitySecret", "ResetEntitySecret"];
    let everywhere = json!({});
    let cases = [
        ("an unknown entity", manager.clone(), "unknown"),
        ("a user's name", manager.clone(), "ops@example.com"),
        ("a disabled entity", manager.clone(), "disabled"),
        ("another spelling", manager.clone(), "AA-1"),
        ("a name that cannot be", manager.clone(), "aa-1\u{0}"),
        ("an entity's token", everything(SubjectType::Entity, "aa-1"), "aa-1"),
        ("another entity's token", everything(SubjectType::Entity, "aa-2"), "aa-1"),
        ("a customer's token", everything(SubjectType::Customer, "cus_1"), "aa-1"),
        ("no list", token_of(&fixture, Grant::user("nobody")), "aa-1"),
        ("no permission", manager_with(&fixture, everywhere.clone(), &["GetOrders"]), "aa-1"),
        ("another case", manager_with(&fixture, everywhere, &["readEntitySecret"]), "aa-1"),
        ("another scope", manager_with(&fixture, json!({"entityId": ["aa-2"]}), &both), "aa-1"),
        ("a further key", manager_with(&fixture, json!({"planId": ["p_1"]}), &both), "aa-1"),
        ("nobody known, nothing held", token_of(&fixture, Grant::user("nobody")), "unknown"),
    ];
    let challenge = format!(
        "Bearer realm=\"{ISSUER}\", error=\"invalid_token\", error_description=\"{WRONG_ENTITY}\""
    );
    for route in [READ, RESET] {
        let mut first = None;
        for (case, token, entity) in &cases {
            let answer = server.post(route, Some(token), &wanted(entity)).await;
            assert_error(&answer, 401, "Unauthorized", WRONG_ENTITY);
            assert_eq!(answer.header("www-authenticate"), challenge, "{case}");
            assert_eq!(answer.json()["txnId"], TRANSACTION, "{case}");
            let first = first.get_or_insert_with(|| seen(&answer));
            assert_eq!(seen(&answer), *first, "{case}");
        }
    }
    // None of them has changed anything.
    entity_login(&server, "aa-1", SECRET).await.expect(200);
}

#[tokio::test]
async fn each_of_the_two_operations_needs_its_own_permission_within_a_scope_that_covers_the_entity()
{
    let (fixture, server) = service().await;
    let token = |scope, permissions: &[&str]| manager_with(&fixture, scope, permissions);
    let here = json!({"entityId": ["aa-0", "aa-1"]});
    for (token, read, reset) in [
        (token(json!({}), &["*"]), 200, 200),
        (token(here.clone(), &["ReadEntitySecret"]), 200, 401),
        (token(here.clone(), &["ResetEntitySecret"]), 401, 200),
        (token(here, &["GetOrders", "ResetEntitySecret", "ReadEntitySecret"]), 200, 200),
        (token(json!({"entityId": ["aa-10"]}), &["*"]), 401, 401),
    ] {
        server.post(READ, Some(&token), &complete()).await.expect(read);
        server.post(RESET, Some(&token), &complete()).await.expect(reset);
    }
}

#[tokio::test]
async fn a_user_who_logs_in_manages_secrets_with_the_token_from_the_route() {
    let fixture = Fixture::new();
    let acl = json!([{
        "scope": {"entityId": ["aa-1"]},
        "permissions": ["ReadEntitySecret", "ResetEntitySecret"],
    }]);
    fixture.user("ops@example.com", acl).await;
    fixture.tokens.register(Entity::entity("aa-1").unwrap()).await.unwrap();
    let server = fixture.serve().await;
    let login = user_login(&server, "ops@example.com", PASSWORD).await.expect(200);
    let token = text(&login.json(), "accessToken");
    let reset = server.post(RESET, Some(&token), &complete()).await.expect(200).json();
    let read = server.post(READ, Some(&token), &complete()).await.expect(200).json();
    assert_eq!(reset["secret"], read["secret"]);
    entity_login(&server, "aa-1", &text(&read, "secret")).await.expect(200);
}

// Secrets

#[tokio::test]
async fn a_secret_is_generated_and_never_chosen() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    let mut known = vec![SECRET.to_owned()];
    for _ in 0..3 {
        let body = complete_with("secret", json!("chosen-by-the-caller"));
        let answer = server.post(RESET, Some(&manager), &body).await.expect(200).json();
        let secret = text(&answer, "secret");
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
        fixture.tokens.register(Entity::entity(id).unwrap()).await.unwrap();
    }
    let server = fixture.serve().await;
    let reader = manager_with(&fixture, json!({}), &["ReadEntitySecret"]);
    let answer = server.post(READ, Some(&reader), &complete()).await;
    assert_error(&answer, 401, "Unauthorized", WRONG_ENTITY);
    let unknown = server.post(READ, Some(&reader), &wanted("unknown")).await;
    assert_eq!(seen(&answer), seen(&unknown));

    let manager = manager(&fixture);
    let body = complete_with("secretExpiryDays", json!(7));
    let first = server.post(READ, Some(&manager), &body).await.expect(200).json();
    assert_eq!(first["expiresOn"], START + 7 * 86_400);
    entity_login(&server, "aa-1", &text(&first, "secret")).await.expect(200);
    // Now that there is one, reading it needs no more than the permission to read.
    let again = server.post(READ, Some(&reader), &complete()).await.expect(200).json();
    assert_eq!(again["secret"], first["secret"]);
    assert_eq!(again["expiresOn"], first["expiresOn"]);

    let mut above = wanted("aa-2");
    above["secretExpiryDays"] = json!(181);
    let cut = server.post(READ, Some(&manager), &above).await.expect(200).json();
    assert!(text(&cut, "message").contains("180 days"), "{cut}");
}

#[tokio::test]
async fn a_reset_ends_the_old_secret_at_once() {
    let (fixture, server) = service().await;
    let manager = manager(&fixture);
    entity_login(&server, "aa-1", SECRET).await.expect(200);
    let reset = server.post(RESET, Some(&manager), &complete()).await.expect(200).json();
    let refused = entity_login(&server, "aa-1", SECRET).await;
    assert_error(&refused, 401, "Unauthorized", WRONG_SECRET);
    entity_login(&server, "aa-1", &text(&reset, "secret")).await.expect(200);
    let read = server.post(READ, Some(&manager), &complete()).await.expect(200).json();
    assert_eq!(read["secret"], reset["secret"]);
}

#[tokio::test]
async fn a_policy_lets_the_old_secret_live_on_for_a_while() {
    let (fixture, server) = service_with(|policy| policy.secret_overlap(5 * DAY)).await;
    let reset = async || {
        let manager = manager(&fixture);
        let answer = server.post(RESET, Some(&manager), &complete()).await.expect(200);
        text(&answer.json(), "secret")
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
    let (fixture, server) = service_with(|policy| policy.secret_overlap(5 * DAY)).await;
    let body = complete_with("secretExpiryDays", json!(1));
    let answer = server.post(RESET, Some(&manager(&fixture)), &body).await.expect(200);
    let short = text(&answer.json(), "secret");
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
    let (fixture, server) = service_with(|policy| policy.secret_grace(5 * DAY)).await;
    fixture.clock.advance(180 * DAY);
    let late = entity_login(&server, "aa-1", SECRET).await.expect(200);
    let body = assert_envelope(&late);
    assert_eq!(body["message"], "The secret is expired and within the grace period");
    assert_eq!(body["expiresIn"], 86_400);
    assert_eq!(claims(&fixture, &late)["sub"], "aa-1");
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
    let token = text(&login.json(), "accessToken");
    fixture.clock.advance(Duration::from_secs(10));
    server.post(RESET, Some(&manager(&fixture)), &complete()).await.expect(200);
    assert!(fixture.tokens.validator().validate(&token).is_ok());
    fixture.clock.advance(DAY - Duration::from_secs(11));
    assert!(fixture.tokens.validator().validate(&token).is_ok());
}

#[tokio::test]
async fn a_policy_takes_issued_tokens_back_at_a_reset() {
    let (fixture, server) = service_with(|policy| policy.revoke_tokens_on_secret_reset(true)).await;
    fixture.entity("aa-2", SECRET).await;
    fixture.clock.advance(Duration::from_secs(10));
    let login = async |id: &str, secret: &str| {
        let answer = entity_login(&server, id, secret).await.expect(200);
        text(&answer.json(), "accessToken")
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
    assert!(validate(&login("aa-1", &text(&reset, "secret")).await), "a token of the new secret");
}

#[tokio::test]
async fn a_refused_reset_leaves_the_secret_as_it_was() {
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

// Races

/// Lets the next so many readers go on only when all of them have read.
#[derive(Debug)]
struct Gate {
    inner: MemoryStore,
    held: AtomicUsize,
    barrier: Barrier,
}

impl Gate {
    fn new(readers: usize) -> Arc<Self> {
        let (inner, barrier) = (MemoryStore::new(), Barrier::new(readers));
        Arc::new(Self { inner, held: AtomicUsize::new(0), barrier })
    }

    fn hold(&self, readers: usize) {
        self.held.store(readers, Ordering::SeqCst);
    }
}

#[async_trait::async_trait]
impl EntityStore for Gate {
    async fn insert(&self, entity: Entity) -> Result<(), StoreError> {
        EntityStore::insert(&self.inner, entity).await
    }
    async fn get(&self, id: &EntityId) -> Result<Option<Entity>, StoreError> {
        let found = EntityStore::get(&self.inner, id).await;
        let one_less = |held: usize| held.checked_sub(1);
        if self.held.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
            self.barrier.wait().await;
        }
        found
    }
    async fn replace(&self, entity: Entity, expected_version: u64) -> Result<(), StoreError> {
        EntityStore::replace(&self.inner, entity, expected_version).await
    }
    async fn remove(&self, id: &EntityId) -> Result<bool, StoreError> {
        EntityStore::remove(&self.inner, id).await
    }
    fn is_durable(&self) -> bool {
        false
    }
}

/// Sends the same request many times at once, and answers the secrets that came back.
async fn many_at_once(server: &Server, route: &str, token: &str, times: usize) -> Vec<String> {
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..times {
        let request = Request::builder()
            .method(Method::POST)
            .uri(route)
            .header(CONTENT_TYPE, JSON)
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .body(complete().to_string())
            .unwrap();
        requests.spawn(crate::support::send(server.address, request));
    }
    let answers = requests.join_all().await;
    answers.into_iter().map(|answer| text(&answer.expect(200).json(), "secret")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_resets_at_once_one_wins_and_all_callers_are_told_its_secret() {
    const CALLERS: usize = 8;
    let gate = Gate::new(CALLERS);
    let fixture = Fixture::with(|builder| builder.entities(Arc::clone(&gate)));
    fixture.entity("aa-1", SECRET).await;
    let server = fixture.serve().await;
    let manager = manager(&fixture);
    for _ in 0..5 {
        gate.hold(CALLERS);
        let told = many_at_once(&server, RESET, &manager, CALLERS).await;
        assert!(told.iter().all(|secret| *secret == told[0]), "{told:?}");
        let read = server.post(READ, Some(&manager), &complete()).await.expect(200);
        assert_eq!(text(&read.json(), "secret"), told[0]);
        entity_login(&server, "aa-1", &told[0]).await.expect(200);
    }
    entity_login(&server, "aa-1", SECRET).await.expect(401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_first_reads_and_resets_at_once_all_callers_are_told_one_secret() {
    const READERS: usize = 8;
    let gate = Gate::new(2 * READERS);
    let fixture = Fixture::with(|builder| builder.entities(Arc::clone(&gate)));
    fixture.tokens.register(Entity::entity("aa-1").unwrap()).await.unwrap();
    let server = fixture.serve().await;
    let manager = manager(&fixture);
    gate.hold(2 * READERS);
    let (read, reset) = tokio::join!(
        many_at_once(&server, READ, &manager, READERS),
        many_at_once(&server, RESET, &manager, READERS),
    );
    let told = [read, reset].concat();
    assert!(told.iter().all(|secret| *secret == told[0]), "{told:?}");
    entity_login(&server, "aa-1", &told[0]).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_any_number_of_resets_the_current_secret_is_one_that_was_answered() {
    let unthrottled = |policy: Policy| policy.throttle_by_name(ThrottleLimit::unlimited());
    let (fixture, server) = service_with(unthrottled).await;
    let manager = manager(&fixture);
    let told = many_at_once(&server, RESET, &manager, 100).await;
    let read = server.post(READ, Some(&manager), &complete()).await.expect(200);
    let current = text(&read.json(), "secret");
    assert!(told.contains(&current));
    for secret in &told {
        let status = if *secret == current { 200 } else { 401 };
        entity_login(&server, "aa-1", secret).await.expect(status);
    }
}

// Outages

/// A store with a fault that a test chooses.
#[derive(Debug)]
struct Faulty {
    inner: MemoryStore,
    fault: std::sync::Mutex<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Down,
    Silent,
    Corrupt,
    ReadOnly,
    AlwaysLate,
}

const DRIVERS_MESSAGE: &str = "connection to 10.0.0.7:5432 refused for user shop_rw";

impl Faulty {
    fn new() -> Arc<Self> {
        Arc::new(Self { inner: MemoryStore::new(), fault: std::sync::Mutex::new(Fault::None) })
    }

    fn fail(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    async fn read(&self) -> Result<(), StoreError> {
        let fault = *self.fault.lock().unwrap();
        match fault {
            Fault::None | Fault::ReadOnly | Fault::AlwaysLate => Ok(()),
            Fault::Down => Err(StoreError::unavailable(DRIVERS_MESSAGE)),
            Fault::Silent => std::future::pending().await,
            Fault::Corrupt => Err(StoreError::corrupt(DRIVERS_MESSAGE)),
        }
    }

    async fn write(&self) -> Result<(), StoreError> {
        let fault = *self.fault.lock().unwrap();
        match fault {
            Fault::ReadOnly => Err(StoreError::unavailable(DRIVERS_MESSAGE)),
            Fault::AlwaysLate => Err(StoreError::Conflict),
            _ => self.read().await,
        }
    }
}

#[async_trait::async_trait]
impl EntityStore for Faulty {
    async fn insert(&self, entity: Entity) -> Result<(), StoreError> {
        self.write().await?;
        EntityStore::insert(&self.inner, entity).await
    }
    async fn get(&self, id: &EntityId) -> Result<Option<Entity>, StoreError> {
        self.read().await?;
        EntityStore::get(&self.inner, id).await
    }
    async fn replace(&self, entity: Entity, expected_version: u64) -> Result<(), StoreError> {
        self.write().await?;
        EntityStore::replace(&self.inner, entity, expected_version).await
    }
    async fn remove(&self, id: &EntityId) -> Result<bool, StoreError> {
        self.write().await?;
        EntityStore::remove(&self.inner, id).await
    }
    fn is_durable(&self) -> bool {
        false
    }
}

/// The same two, over a store that fails as it is told to.
async fn service_over_faulty_store() -> (Arc<Faulty>, Fixture, Server) {
    let store = Faulty::new();
    let fixture = Fixture::with(|builder| builder.entities(Arc::clone(&store)));
    fixture.user("ops@example.com", json!([])).await;
    fixture.entity("aa-1", SECRET).await;
    let server = fixture.serve().await;
    (store, fixture, server)
}

#[tokio::test]
async fn a_store_out_of_reach_is_a_503_and_when_it_is_back_all_goes_on() {
    let (store, fixture, server) = service_over_faulty_store().await;
    let manager = manager(&fixture);
    store.fail(Fault::Down);
    for route in ROUTES {
        let answer = server.post(route, Some(&manager), &complete()).await;
        assert_unavailable(&answer);
        assert!(!answer.text().contains("10.0.0.7"), "{answer:?}");
    }
    for route in [READ, RESET] {
        let answer = server.post(route, Some(&manager), &complete()).await;
        assert_eq!(answer.json()["txnId"], TRANSACTION);
    }
    store.fail(Fault::None);
    for route in ROUTES {
        server.post(route, Some(&manager), &complete()).await.expect(200);
    }
}

#[tokio::test]
async fn a_store_that_never_answers_is_a_503_at_the_deadline() {
    let deadline = Duration::from_millis(5);
    let store = Faulty::new();
    store.fail(Fault::Silent);
    let policy = Policy::default().store_deadline(deadline);
    let fixture = Fixture::with(|builder| builder.entities(store).policy(policy));
    let server = fixture.serve().await;
    let manager = manager(&fixture);
    for route in ROUTES {
        assert_unavailable(&server.post(route, Some(&manager), &complete()).await);
    }
}

#[tokio::test]
async fn a_store_that_takes_no_writes_keeps_serving_what_it_has() {
    let (store, fixture, server) = service_over_faulty_store().await;
    let manager = manager(&fixture);
    store.fail(Fault::ReadOnly);
    assert_unavailable(&server.post(RESET, Some(&manager), &complete()).await);
    let read = server.post(READ, Some(&manager), &complete()).await.expect(200).json();
    assert_eq!(read["secret"], SECRET);
    entity_login(&server, "aa-1", SECRET).await.expect(200);
}

#[tokio::test]
async fn a_reset_that_always_comes_late_gives_up_with_a_503() {
    let (store, fixture, server) = service_over_faulty_store().await;
    let manager = manager(&fixture);
    store.fail(Fault::AlwaysLate);
    assert_unavailable(&server.post(RESET, Some(&manager), &complete()).await);
    store.fail(Fault::None);
    entity_login(&server, "aa-1", SECRET).await.expect(200);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_a_500_without_the_drivers_message() {
    let (store, fixture, server) = service_over_faulty_store().await;
    let manager = manager(&fixture);
    store.fail(Fault::Corrupt);
    for route in ROUTES {
        let answer = server.post(route, Some(&manager), &complete()).await;
        assert_error(&answer, 500, "Internal Server Error", "The service failed");
    }
}

// Load

/// Runs a test on a runtime whose one thread for blocking work is a test's to occupy: passwords
/// are hashed there, when the test lets them.
fn with_one_blocking_thread<F: Future<Output = ()>>(test: F) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap()
        .block_on(test);
}

/// Keeps the thread for blocking work busy until it is dropped.
async fn occupy_blocking_thread() -> std::sync::mpsc::Sender<()> {
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let (started, starting) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let _ = started.send(());
        let _ = held.recv();
    });
    starting.await.unwrap();
    hold
}

/// Logs in so many times at once while nothing can be hashed, until all but `served` of them are
/// refused; then lets the others go on, and answers what they got.
async fn flood(server: &Server, name: &str, logins: usize, served: usize) -> Vec<Answer> {
    let hold = occupy_blocking_thread().await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..logins {
        let body = json!({"username": name, "password": PASSWORD});
        let request = Request::builder()
            .method(Method::POST)
            .uri(USER_TOKEN)
            .header(CONTENT_TYPE, JSON)
            .body(body.to_string())
            .unwrap();
        requests.spawn(crate::support::send(server.address, request));
    }
    for _ in 0..logins - served {
        // Where too many were let in, none of those is ever refused.
        let refused = tokio::time::timeout(Duration::from_secs(60), requests.join_next()).await;
        let refused = refused.expect("no more than those that are served may wait");
        assert_unavailable(&refused.unwrap().unwrap());
    }
    drop(hold);
    requests.join_all().await
}

#[test]
fn a_login_that_finds_no_place_to_wait_is_a_503_and_all_others_are_served() {
    with_one_blocking_thread(async {
        let (_fixture, server) = service_with(|policy| {
            policy.hashing_permits(1).hashing_queue(0).hashing_deadline(Duration::from_secs(3600))
        })
        .await;
        for answer in flood(&server, "ops@example.com", 20, 1).await {
            answer.expect(200);
        }
        // The place is free again.
        user_login(&server, "ops@example.com", PASSWORD).await.expect(200);
    });
}

#[test]
fn as_many_logins_wait_as_the_queue_has_places() {
    with_one_blocking_thread(async {
        let (_fixture, server) = service_with(|policy| {
            policy.hashing_permits(1).hashing_queue(3).hashing_deadline(Duration::from_secs(3600))
        })
        .await;
        for _ in 0..2 {
            for answer in flood(&server, "ops@example.com", 20, 4).await {
                answer.expect(200);
            }
        }
    });
}

#[test]
fn a_login_that_has_waited_too_long_for_its_turn_is_a_503() {
    with_one_blocking_thread(async {
        let (_fixture, server) = service_with(|policy| {
            policy.hashing_permits(1).hashing_queue(10).hashing_deadline(Duration::from_millis(5))
        })
        .await;
        for answer in flood(&server, "ops@example.com", 5, 1).await {
            answer.expect(200);
        }
    });
}

#[test]
fn logins_of_unknown_names_wait_and_are_refused_like_all_others() {
    with_one_blocking_thread(async {
        let (_fixture, server) = service_with(|policy| {
            policy.hashing_permits(1).hashing_queue(3).hashing_deadline(Duration::from_secs(3600))
        })
        .await;
        for answer in flood(&server, "unknown@example.com", 20, 4).await {
            assert_error(&answer, 401, "Unauthorized", WRONG_PASSWORD);
        }
    });
}

#[test]
fn secrets_and_tokens_are_checked_while_no_password_can_be_hashed() {
    with_one_blocking_thread(async {
        let (fixture, server) = service().await;
        let hold = occupy_blocking_thread().await;
        let login = entity_login(&server, "aa-1", SECRET).await.expect(200);
        assert_eq!(claims(&fixture, &login)["sub"], "aa-1");
        for route in [READ, RESET] {
            server.post(route, Some(&manager(&fixture)), &complete()).await.expect(200);
        }
        drop(hold);
    });
}
