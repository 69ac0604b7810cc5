//! Requests that are repeated by an `Idempotency-Key`, on two nodes that share a store.

use std::time::Duration;

use countersign::store::{EntityStore, KeyStore, PageRequest, SessionStore};
use countersign::{
    Actor, AuthenticationToken, CustomerId, Entity, Grant, Housekeeping, Organization, Password,
    Policy, RequestContext, SubjectType,
};
use http::Request;
use serde_json::{Value, json};

use crate::support::durable::fixture_with;
use crate::support::log::Log;
use crate::support::problems::invalid_fields;
use crate::support::sessions::{SESSIONS, exchange_path, session_path};
use crate::support::{Answer, Fixture, PASSWORD, Server, acl_of, unique, wrong_code_for};

const KEY: &str = "3f6c1f0e-7d43-4f9e-9d0c-5a1b2c3d4e5f";
const LONGER: Duration = Duration::from_secs(61);

/// Two nodes, each served.
pub struct Nodes {
    fixtures: [Fixture; 2],
    servers: [Server; 2],
    /// What was revoked is heard for as long as the test takes.
    _housekeeping: [Housekeeping; 2],
}

impl Nodes {
    pub async fn over<S: EntityStore + SessionStore + KeyStore + Clone>(stores: [S; 2]) -> Self {
        let [here, there] = stores;
        // As slow as the machine is, many log in at once.
        let policy = Policy::default()
            .passwords(|passwords| passwords.hashing_deadline(LONGER).hashing_queue(100));
        let fixtures =
            [fixture_with(here, policy.clone()).await, fixture_with(there, policy).await];
        let servers = [fixtures[0].serve().await, fixtures[1].serve().await];
        let housekeeping =
            [fixtures[0].tokens.start().await.unwrap(), fixtures[1].tokens.start().await.unwrap()];
        Self { fixtures, servers, _housekeeping: housekeeping }
    }

    async fn post(&self, node: usize, path: &str, key: &str, bearer: &str, body: &Value) -> Answer {
        let mut request = Request::post(path).header("content-type", "application/json");
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        if !bearer.is_empty() {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        self.servers[node].send(request.body(body.to_string()).unwrap()).await
    }

    async fn exchange(&self, node: usize, token: &str, key: &str, body: &Value) -> Answer {
        self.post(node, &exchange_path(token), key, "", body).await
    }

    async fn log_in(&self, node: usize, key: &str, body: &Value) -> Answer {
        self.post(node, SESSIONS, key, "", body).await
    }

    fn pass(&self, time: Duration) {
        self.fixtures.iter().for_each(|fixture| fixture.clock.advance(time));
    }

    fn codes_sent(&self) -> usize {
        self.fixtures.iter().map(|fixture| fixture.outbox.count()).sum()
    }

    /// Registers a customer's credential; returns a login.
    async fn customer(&self, otp_required: bool) -> (CustomerId, Value) {
        let tokens = &self.fixtures[0].tokens;
        let (id, name) = (CustomerId::new(unique("cus-")).unwrap(), unique("jane-"));
        let hash = tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
        let entity = Entity::customer(&name, hash, id.clone(), otp_required).unwrap();
        tokens.register(entity).await.unwrap();
        (id, json!({"username": name, "password": PASSWORD}))
    }

    async fn live_sessions(&self, customer: &CustomerId) -> usize {
        let (page, context) = (PageRequest::first(100), RequestContext::without_address());
        let tokens = &self.fixtures[1].tokens;
        let listed = tokens.list_sessions(Actor::Host, Some(customer), page, &context);
        listed.await.unwrap().total
    }

    /// Sends the same request twenty times at once, to both nodes; returns the bodies of the responses.
    async fn at_once(&self, path: &str, body: &Value, log: &Log) -> Vec<Value> {
        let _listening = log.listen();
        let sending = (0..20).map(|number| self.post(number % 2, path, KEY, "", body));
        let answers = futures_util::future::join_all(sending).await;
        answers.into_iter().map(|answer| answer.expect(201).json()).collect()
    }

    /// The same of a login whose code is delivered meanwhile: returns the bodies of those that need not be sent
    /// once more.
    async fn at_once_with_a_code(&self, login: &Value) -> Vec<Value> {
        let sending = (0..20).map(|number| self.log_in(number % 2, KEY, login));
        let answers = futures_util::future::join_all(sending).await;
        let (started, waiting): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|answer| answer.status() == 201);
        for answer in waiting {
            let retry_after: u64 = answer.expect(503).header("retry-after").parse().unwrap();
            assert!(retry_after > 0);
        }
        started.into_iter().map(|answer| answer.json()).collect()
    }
}

fn text(body: &Value, member: &str) -> String {
    body[member].as_str().unwrap().to_owned()
}

fn outcomes(log: &Log, operation: &str) -> (usize, usize) {
    let events = log.audit();
    let count = |outcome: &str| {
        let is_of = |event: &&std::collections::BTreeMap<String, String>| {
            event["operation"] == operation && event["outcome"] == outcome
        };
        events.iter().filter(is_of).count()
    };
    (count("accepted"), count("replayed"))
}

/// All that holds of repeated requests, whatever the store.
pub async fn a_repeated_request_is_answered_once_more_and_done_once(nodes: &Nodes) {
    exchanges_are_repeated(nodes).await;
    exchanges_at_once_yield_one_jwt(nodes).await;
    starts_are_repeated(nodes).await;
    starts_at_once_yield_one_session(nodes).await;
    what_has_ended_does_not_come_back(nodes).await;
    a_key_alone_is_worth_nothing(nodes).await;
}

async fn exchanges_are_repeated(nodes: &Nodes) {
    let token = nodes.fixtures[0].session(|new| new.otp_required(true)).await;
    let code = nodes.fixtures[0].outbox.last_code();
    // What fails is not remembered.
    let wrong = json!({"oneTimePassword": wrong_code_for(&code)});
    nodes.exchange(0, &token, KEY, &wrong).await.expect(401);
    let right = json!({"oneTimePassword": code, "customClaims": {}});
    let first = nodes.exchange(0, &token, KEY, &right).await.expect(201).json();
    let log = Log::default();
    let listening = log.listen();
    for node in [1, 0] {
        assert_eq!(nodes.exchange(node, &token, KEY, &right).await.expect(201).json(), first);
    }
    drop(listening);
    assert_eq!(outcomes(&log, "exchange"), (0, 2));
    assert!(log.audit().iter().all(|event| event["jti"] == text(&first, "id")));
    let other = nodes.exchange(1, &token, KEY, &json!({})).await.expect(422);
    assert_eq!(invalid_fields(&other), ["Idempotency-Key"]);
    nodes.exchange(1, &token, &format!("{KEY}-2"), &right).await.expect(404);
    nodes.exchange(1, &token, "", &right).await.expect(404);
    nodes.pass(LONGER);
    nodes.exchange(1, &token, KEY, &right).await.expect(404);

    // Of a session that stays, each key has its own JWT.
    let token = nodes.fixtures[0].session(|new| new).await;
    let keep = json!({"invalidate": false});
    let first = nodes.exchange(0, &token, KEY, &keep).await.expect(201).json();
    let second = nodes.exchange(0, &token, &format!("{KEY}-2"), &keep).await.expect(201).json();
    assert_ne!(first["id"], second["id"]);
    nodes.exchange(0, &token, "", &json!({})).await.expect(201);
    assert_eq!(nodes.exchange(1, &token, KEY, &keep).await.expect(201).json(), first);
    // Who has logged out gets none.
    let delete = Request::delete(session_path(&token)).body("").unwrap();
    nodes.servers[0].send(delete).await.expect(204);
    nodes.exchange(1, &token, KEY, &keep).await.expect(404);
    nodes.exchange(0, &token, KEY, &keep).await.expect(404);
}

async fn exchanges_at_once_yield_one_jwt(nodes: &Nodes) {
    for (otp_required, invalidate) in [(false, true), (false, false), (true, true), (true, false)] {
        let token = nodes.fixtures[0].session(|new| new.otp_required(otp_required)).await;
        let mut body = json!({"invalidate": invalidate});
        if otp_required {
            body["oneTimePassword"] = nodes.fixtures[0].outbox.last_code().into();
        }
        let log = Log::default();
        let answers = nodes.at_once(&exchange_path(&token), &body, &log).await;
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_eq!(outcomes(&log, "exchange"), (1, 19), "{body}");
    }
}

async fn starts_are_repeated(nodes: &Nodes) {
    let before = nodes.codes_sent();
    let (customer, login) = nodes.customer(true).await;
    let first = nodes.log_in(0, KEY, &login).await.expect(201).json();
    for node in [0, 1] {
        assert_eq!(nodes.log_in(node, KEY, &login).await.expect(201).json(), first);
    }
    assert_eq!((nodes.live_sessions(&customer).await, nodes.codes_sent() - before), (1, 1));
    let mut other = login.clone();
    other["otpRequired"] = true.into();
    let rejected = nodes.log_in(1, KEY, &other).await.expect(422);
    assert_eq!(invalid_fields(&rejected), ["Idempotency-Key"]);
    assert_ne!(nodes.log_in(0, "", &login).await.expect(201).json()["token"], first["token"]);
    // After that the key is used, and the session lives on.
    nodes.pass(LONGER);
    nodes.log_in(1, KEY, &login).await.expect(409);
    let path = session_path(&text(&first, "token"));
    nodes.servers[1].get(&path, None).await.expect(200);
    let later = nodes.log_in(1, &format!("{KEY}-2"), &login).await.expect(201).json();
    assert_ne!(later["token"], first["token"]);
}

async fn starts_at_once_yield_one_session(nodes: &Nodes) {
    let (customer, login) = nodes.customer(false).await;
    let log = Log::default();
    let answers = nodes.at_once(SESSIONS, &login, &log).await;
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(nodes.live_sessions(&customer).await, 1);
    assert_eq!(outcomes(&log, "start_session"), (1, 19));

    let (customer, login) = nodes.customer(true).await;
    let before = nodes.codes_sent();
    let mut answers = nodes.at_once_with_a_code(&login).await;
    for node in [0, 1] {
        answers.push(nodes.log_in(node, KEY, &login).await.expect(201).json());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(nodes.live_sessions(&customer).await, 1);
    assert_eq!(nodes.codes_sent() - before, 1);
}

async fn what_has_ended_does_not_come_back(nodes: &Nodes) {
    let tokens = &nodes.fixtures[0].tokens;
    for end in ["log out", "end", "revoke", "exchange"] {
        let (customer, login) = nodes.customer(false).await;
        let first = nodes.log_in(0, KEY, &login).await.expect(201).json();
        let token = AuthenticationToken::from_text(text(&first, "token")).unwrap();
        let context = RequestContext::without_address();
        let found = tokens.find_session(&token, &context).await.unwrap().proven().unwrap();
        match end {
            "log out" => tokens.log_out_customer(&token, &context).await.unwrap(),
            "end" => tokens.end_session(found.id()).await.unwrap(),
            "revoke" => {
                let kind = SubjectType::Customer;
                let subject = tokens.principal(kind, customer.as_str(), Organization::All);
                let ended = tokens.revoke_subject(&subject, tokens.now() + LONGER).await.unwrap();
                assert_eq!(ended.sessions, 1);
            }
            _ => drop(nodes.exchange(0, token.expose(), "", &json!({})).await.expect(201)),
        }
        if end != "exchange" {
            let again = tokens.log_out_customer(&token, &context).await;
            assert!(again.is_err(), "{end}: nothing is left to end");
        }
        assert_eq!(nodes.live_sessions(&customer).await, 0);
        nodes.fixtures[1].tokens.catch_up().await.unwrap();
        for node in [0, 1] {
            nodes.log_in(node, KEY, &login).await.expect(409);
            let path = session_path(token.expose());
            nodes.servers[node].get(&path, None).await.expect(404);
        }
        // Others log in as before.
        if end != "revoke" {
            nodes.log_in(1, "", &login).await.expect(201);
        }
        nodes.pass(2 * LONGER);
        nodes.log_in(1, &format!("{KEY}-2"), &login).await.expect(201);
    }
}

async fn a_key_alone_is_worth_nothing(nodes: &Nodes) {
    let (_, login) = nodes.customer(false).await;
    let first = nodes.log_in(0, KEY, &login).await.expect(201).json();
    let mut wrong = login.clone();
    wrong["password"] = "another password".into();
    nodes.log_in(1, KEY, &wrong).await.expect(401);
    let (_, others) = nodes.customer(false).await;
    assert_ne!(nodes.log_in(1, KEY, &others).await.expect(201).json()["token"], first["token"]);
    // Bearers have each their own, of one customer, too.
    let acl = json!([{"scope": {}, "permissions": ["PostAuthenticationToken"]}]);
    let tokens = &nodes.fixtures[0].tokens;
    let body = json!({"mode": "passwordless", "customerId": unique("cus-")});
    let mut started = Vec::new();
    for name in ["ops", "dev", "ops"] {
        let grant = Grant::user(name).acl(acl_of(acl.clone()));
        let bearer = tokens.issue(grant).await.unwrap().access_token;
        let answer = nodes.post(0, SESSIONS, KEY, bearer.expose(), &body).await.expect(201);
        started.push(answer.json()["token"].clone());
    }
    assert_eq!(started[0], started[2]);
    assert_ne!(started[0], started[1]);
    let bearer = tokens.issue(Grant::user("ops").acl(acl_of(acl))).await.unwrap().access_token;
    let other = json!({"mode": "passwordless", "customerId": unique("cus-")});
    let rejected = nodes.post(0, SESSIONS, KEY, bearer.expose(), &other).await;
    assert_eq!(invalid_fields(&rejected), ["Idempotency-Key"]);
    nodes.post(0, SESSIONS, KEY, "", &body).await.expect(401);
    // Nor does it find a code by trying.
    let token = nodes.fixtures[0].session(|new| new.otp_required(true)).await;
    let right = json!({"oneTimePassword": nodes.fixtures[0].outbox.last_code()});
    nodes.exchange(0, &token, KEY, &right).await.expect(201);
    let mut statuses = Vec::new();
    for number in 0..60 {
        let guess = json!({"oneTimePassword": format!("{number:06}")});
        if guess != right {
            statuses.push(nodes.exchange(0, &token, KEY, &guess).await.status().as_u16());
        }
    }
    assert_eq!((statuses[0], statuses.last()), (422, Some(&429)), "{statuses:?}");
}
