//! The routes for users and entities: tokens for credentials, and the secrets of entities.

mod authorization;
mod bodies;
mod envelope;
mod hashing_queue;
mod mounting;
mod races;
mod secrets;
mod store_faults;
mod tokens;

use std::collections::BTreeMap;
use std::time::Duration;

use countersign::{Grant, Policy};
use serde_json::{Value, json};

use crate::support::{Answer, Fixture, PASSWORD, Server, acl_of, issue_now, member_names};

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
    fixture.machine("aa-1", SECRET).await;
    let server = fixture.serve().await;
    (fixture, server)
}

async fn service() -> (Fixture, Server) {
    service_with(|policy| policy).await
}

fn token_of(fixture: &Fixture, grant: Grant) -> String {
    issue_now(&fixture.tokens, grant).unwrap().access_token.expose().to_owned()
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
    assert_eq!(
        member_names(&body),
        ["errorCode", "errorMsg", "timestamp", "txnId", "ver"],
        "{answer:?}"
    );
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

#[track_caller]
fn text_in(body: &Value, name: &str) -> String {
    body[name].as_str().unwrap_or_else(|| panic!("no {name} in {body}")).to_owned()
}

/// All that a caller can see, but for the time and the transaction.
fn all_that_a_caller_sees(answer: &Answer) -> (u16, BTreeMap<String, String>, Value) {
    let headers = answer.headers().iter();
    let headers = headers
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    let mut body = answer.json();
    body.as_object_mut().unwrap().retain(|name, _| name != "timestamp" && name != "txnId");
    (answer.status().as_u16(), headers, body)
}

fn claims_in(fixture: &Fixture, answer: &Answer) -> Value {
    let token = text_in(&answer.json(), "accessToken");
    serde_json::to_value(&*fixture.tokens.validator().validate(&token).unwrap()).unwrap()
}

async fn user_login(server: &Server, name: &str, password: &str) -> Answer {
    server.post(USER_TOKEN, None, &json!({"username": name, "password": password})).await
}

async fn entity_login(server: &Server, id: &str, secret: &str) -> Answer {
    server.post(ENTITY_TOKEN, None, &json!({"id": id, "secret": secret})).await
}

fn complete_for(entity: &str) -> Value {
    complete_with("entityId", json!(entity))
}
