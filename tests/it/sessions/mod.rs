//! Authentication tokens over HTTP, from login to logout. Their exchange has a module of its own.

mod idle;
mod listing;
mod login;
mod one_time_passwords;
mod passwordless;
mod routes;
mod single_session;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use countersign::{
    Acl, Actor, CustomerId, Entity, Grant, NewSession, OrganizationId, Password, RequestContext,
};
use http::{Method, Request};
use serde_json::{Value, json};

use crate::support::sessions::{SESSIONS, session_path};
use crate::support::{Answer, Fixture, PASSWORD, Server, acl_of, issue_now};

const JSON: &str = "application/json";
const NAME: &str = "jo@example.com";
const START_PERMISSION: &str = "PostAuthenticationToken";
const LIST_PERMISSION: &str = "GetAuthenticationTokenCollection";
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

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
async fn register_credential(fixture: &Fixture, name: &str, change: impl FnOnce(Entity) -> Entity) {
    register(fixture, name, false, change).await;
}

/// The same with a one-time password at each exchange.
async fn register_guarded_credential(fixture: &Fixture, name: &str) {
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
async fn start_session(fixture: &Fixture, customer: &str, organization: Option<&str>) -> String {
    let mut new = NewSession::of(CustomerId::new(customer).unwrap());
    if let Some(id) = organization {
        new = new.organization(OrganizationId::new(id).unwrap());
    }
    fixture
        .tokens
        .start_session(Actor::Host, new, &RequestContext::without_address())
        .await
        .unwrap()
        .token
        .expose()
        .to_owned()
}

async fn log_in(server: &Server, name: &str, password: &str) -> Answer {
    server.post(SESSIONS, None, &json!({"username": name, "password": password})).await
}

fn passwordless_for(customer: &str) -> Value {
    json!({"mode": "passwordless", "customerId": customer})
}

fn token_of(fixture: &Fixture, grant: Grant) -> String {
    issue_now(&fixture.tokens, grant).unwrap().access_token.expose().to_owned()
}

/// A user's token that grants permissions within a scope.
fn bearer_with(fixture: &Fixture, scope: &Value, permissions: &[&str]) -> String {
    let acl = acl_of(json!([{"scope": scope, "permissions": permissions}]));
    token_of(fixture, Grant::user("ops").acl(acl))
}

fn bearer_of_everything(fixture: &Fixture) -> String {
    token_of(fixture, Grant::user("ops").acl(Acl::everything()))
}

fn bearer_of_everything_in(fixture: &Fixture, organization: &str) -> String {
    let organization = OrganizationId::new(organization).unwrap();
    token_of(fixture, Grant::user("ops").acl(Acl::everything()).organization(organization))
}

async fn send_empty(server: &Server, method: Method, path: &str) -> Answer {
    server.send(Request::builder().method(method).uri(path).body("").unwrap()).await
}

async fn log_out(server: &Server, token: &str) -> Answer {
    send_empty(server, Method::DELETE, &session_path(token)).await
}

#[track_caller]
fn token_in(answer: Answer) -> String {
    answer.expect(201).json()["token"].as_str().unwrap().to_owned()
}

/// The claims of the JWT in an answer, which has to be good.
#[track_caller]
fn claims_in(fixture: &Fixture, answer: Answer) -> Value {
    let validated = fixture.tokens.validator().validate(&token_in(answer)).unwrap();
    serde_json::to_value(&*validated).unwrap()
}

#[track_caller]
fn assert_no_content(answer: &Answer) {
    assert_eq!(answer.status().as_u16(), 204, "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.text(), "");
}

/// All that a caller can see, but for the time.
fn all_that_a_caller_sees(answer: &Answer) -> (u16, BTreeMap<String, String>, String) {
    let headers = answer.headers().iter();
    let headers = headers
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    (answer.status().as_u16(), headers, answer.text())
}

#[track_caller]
fn customers_in(answer: Answer, total: usize) -> Vec<String> {
    let answer = answer.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("pagination-total"), total.to_string());
    let body = answer.json();
    let id = |session: &Value| session["customerId"].as_str().unwrap().to_owned();
    body.as_array().unwrap().iter().map(id).collect()
}
