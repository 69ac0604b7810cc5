//! What was revoked is rejected on the next request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use countersign::faults::TokenFault;
use countersign::sessions::CustomerLogin;
use countersign::store::{Cursor, MemoryStore, SessionStore as _};
use countersign::{
    Actor, Algorithm, AuthenticationToken, CustomerId, Entity, EntityId, ErrorKind,
    ExchangeRequest, Grant, KeyRing, NewSession, Organization, Password, Policy, RequestContext,
    SealingKey, SubjectType,
};
use serde_json::json;
use tokio::sync::Notify;

use crate::support::{Fixture, PASSWORD, Server, acl_of, issue_now};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn a_revoked_token_is_rejected_for_as_long_as_it_lives_and_no_other_is() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let [revoked, other] =
        [0, 1].map(|_| issue_now(tokens, Grant::user("ops").lifetime(DAY)).unwrap());
    tokens.revoke_token(&revoked.token_id).await.unwrap();
    for _ in 0..24 {
        let fault = tokens.validator().validate(revoked.access_token.expose()).unwrap_err();
        assert_eq!(fault, TokenFault::Revoked);
        assert!(tokens.validator().validate(other.access_token.expose()).is_ok());
        fixture.clock.advance(Duration::from_secs(3_600));
        // Each revocation forgets those that no longer matter.
        let another = tokens.issue(Grant::user("ops")).await.unwrap();
        tokens.revoke_token(&another.token_id).await.unwrap();
    }
}

#[tokio::test]
async fn no_token_lives_longer_than_its_revocation_is_remembered() {
    let fixture = Fixture::new();
    let long = Grant::user("ops").lifetime(DAY * 2);
    assert_eq!(
        fixture.tokens.issue(long.clone()).await.unwrap_err().kind(),
        ErrorKind::InvalidFields
    );
    let policy = Policy::default().tokens(|tokens| tokens.max_exchanged_lifetime(DAY * 2));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    assert!(fixture.tokens.issue(long).await.is_ok());
}

#[tokio::test]
async fn all_earlier_tokens_of_a_subject_are_revoked_and_later_ones_are_good() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let early = tokens.issue(Grant::user("ops")).await.unwrap();
    let namesake = tokens.issue(Grant::customer("ops")).await.unwrap();
    fixture.clock.advance(Duration::from_secs(1));
    tokens
        .revoke_subject(
            &tokens.principal(SubjectType::User, "ops", Organization::All),
            tokens.now(),
        )
        .await
        .unwrap();
    let late = tokens.issue(Grant::user("ops")).await.unwrap();
    let check = |token: &countersign::tokens::IssuedToken| {
        tokens.validator().validate(token.access_token.expose()).map(drop)
    };
    assert_eq!(check(&early), Err(TokenFault::Revoked));
    assert_eq!(check(&namesake), Ok(()));
    assert_eq!(check(&late), Ok(()));
}

#[tokio::test]
async fn ending_a_session_revokes_its_tokens_unless_the_policy_says_otherwise() {
    for revoked in [true, false] {
        let policy = Policy::default().sessions(|sessions| sessions.revoke_tokens_on_end(revoked));
        let fixture = Fixture::with(|builder| builder.policy(policy));
        let token = fixture.session(|new| new.acl(acl_of(json!([])))).await;
        let token = AuthenticationToken::from_text(&token).unwrap();
        let request = ExchangeRequest::default().invalidate(false);
        let jwt = fixture
            .tokens
            .exchange(&token, request, &RequestContext::without_address())
            .await
            .unwrap()
            .token
            .access_token;
        fixture.tokens.log_out_customer(&token, &RequestContext::without_address()).await.unwrap();
        let outcome = fixture.tokens.validator().validate(jwt.expose());
        assert_eq!(outcome.is_err(), revoked);
        let again = fixture
            .tokens
            .log_out_customer(&token, &RequestContext::without_address())
            .await
            .unwrap_err();
        assert_eq!(again.kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn a_session_that_was_ended_by_its_id_is_a_401_behind_the_exchange_layer_with_the_next_request()
 {
    let fixture = Fixture::new();
    let app =
        Router::new().route("/", get(|| async { "hello" })).layer(fixture.tokens.exchange_layer());
    let server = Server::start(app).await;
    let token = fixture.session(|new| new).await;
    server.get("/", Some(&token)).await.expect(200);
    let claims = {
        let token = AuthenticationToken::from_text(&token).unwrap();
        let request = ExchangeRequest::default().invalidate(false);
        let jwt = fixture
            .tokens
            .exchange(&token, request, &RequestContext::without_address())
            .await
            .unwrap()
            .token
            .access_token;
        fixture.tokens.validator().validate(jwt.expose()).unwrap()
    };
    fixture.tokens.end_session(claims.session_id().unwrap()).await.unwrap();
    let answer = server.get("/", Some(&token)).await.expect(401);
    assert!(answer.header("www-authenticate").contains("invalid_token"));
}

#[tokio::test]
async fn a_list_that_was_registered_under_a_larger_limit_is_not_the_callers_fault() {
    let store = MemoryStore::new();
    let over = |policy: Policy| {
        Fixture::with(|builder| builder.entity_store(store.clone()).policy(policy))
    };
    let permissions: Vec<_> = (0..1_000).map(|n| format!("Operation{n:04}")).collect();
    let larger = over(Policy::default().tokens(|tokens| tokens.max_len(64 * 1024)));
    larger.user("ops", json!([{"scope": {}, "permissions": permissions}])).await;
    let server = over(Policy::default()).serve().await;
    let form = Some("application/x-www-form-urlencoded");
    let body = format!("username=ops&password={}", crate::support::PASSWORD.replace(' ', "+"));
    server.post_text("/user/token/generate", None, form, body).await.expect(500);
}

#[tokio::test]
async fn a_machines_token_names_the_machine_as_its_client_however_it_was_issued() {
    let fixture = Fixture::new();
    let issue = |grant| issue_now(&fixture.tokens, grant);
    let token = issue(Grant::new(SubjectType::Machine, "aa-1")).unwrap();
    let validated = fixture.tokens.validator().validate(token.access_token.expose()).unwrap();
    assert_eq!(validated.client_id(), "aa-1");
    let taken = issue(Grant::new(SubjectType::Machine, "first-party")).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::InvalidFields);
}

fn customer_id() -> CustomerId {
    CustomerId::new("cus_1").unwrap()
}

#[tokio::test]
async fn a_subject_that_is_logged_out_everywhere_has_no_session_left_and_may_start_another() {
    let fixture = Fixture::new();
    let server = fixture.serve().await;
    let (first, second) = (fixture.session(|new| new).await, fixture.session(|new| new).await);
    let other = NewSession::of(CustomerId::new("cus_2").unwrap());
    let context = RequestContext::without_address();
    let other = fixture.tokens.start_session(Actor::Host, other, &context).await.unwrap().token;
    fixture.clock.advance(Duration::from_millis(1));
    let now = fixture.tokens.now();
    fixture
        .tokens
        .revoke_subject(
            &fixture.tokens.principal(SubjectType::Customer, "cus_1", Organization::All),
            now,
        )
        .await
        .unwrap();
    for token in [&first, &second] {
        let path = format!("/authentication-tokens/{token}");
        server.get(&path, None).await.expect(404);
        server.post(&format!("{path}/exchange"), None, &json!({})).await.expect(404);
    }
    let path = format!("/authentication-tokens/{}", other.expose());
    server.get(&path, None).await.expect(200);

    fixture.clock.advance(Duration::from_millis(1));
    let third = fixture.session(|new| new).await;
    let path = format!("/authentication-tokens/{third}/exchange");
    let jwt = server.post(&path, None, &json!({})).await.expect(201).json();
    let claims = fixture.tokens.validator().validate(jwt["token"].as_str().unwrap()).unwrap();
    assert_eq!(claims.principal().id(), "cus_1", "a token of the same second is good");
}

#[tokio::test]
async fn a_session_is_ended_by_its_public_id_with_the_next_request() {
    let fixture = Fixture::new();
    let app = Router::new()
        .route("/layer", get(|| async { "hello" }).route_layer(fixture.tokens.exchange_layer()))
        .route("/jwt", get(|| async { "hello" }).route_layer(fixture.tokens.validate_layer()))
        .merge(fixture.tokens.router());
    let server = Server::start(app).await;
    let new = NewSession::of(customer_id());
    let started = fixture
        .tokens
        .start_session(Actor::Host, new, &RequestContext::without_address())
        .await
        .unwrap();
    let token = started.token.expose();
    let session = started.session.proven().unwrap();
    let path = format!("/authentication-tokens/{token}");
    let keep = json!({"invalidate": false});
    let jwt = server.post(&format!("{path}/exchange"), None, &keep).await.expect(201).json();
    let jwt = jwt["token"].as_str().unwrap();
    // Both are checked, and what could be kept of them is kept.
    server.get("/layer", Some(token)).await.expect(200);
    server.get("/jwt", Some(jwt)).await.expect(200);
    fixture.tokens.end_session(session.id()).await.unwrap();
    server.get("/layer", Some(token)).await.expect(401);
    server.get("/jwt", Some(jwt)).await.expect(401);
    server.get(&path, None).await.expect(404);
    fixture.tokens.end_session(session.id()).await.expect("it may be ended again");
}

#[tokio::test]
async fn who_is_disabled_is_rejected_with_the_next_request_and_may_be_let_in_again() {
    let fixture = Fixture::new();
    fixture.user("ops", json!([])).await;
    fixture.machine("aa-1", "a secret").await;
    let server = fixture.serve().await;
    let (user, machine) = (EntityId::user("ops").unwrap(), EntityId::machine("aa-1").unwrap());
    let logins = [
        (user, "/user/token/generate", json!({"username": "ops", "password": PASSWORD})),
        (machine, "/entity/token/generate", json!({"id": "aa-1", "secret": "a secret"})),
    ];
    for (id, route, credentials) in logins {
        let issued = server.post(route, None, &credentials).await.expect(200).json();
        let token = issued["accessToken"].as_str().unwrap();
        fixture.clock.advance(Duration::from_millis(1));
        fixture.tokens.disable_entity(&id).await.unwrap();
        let fault = fixture.tokens.validator().validate(token).unwrap_err();
        assert_eq!(fault, TokenFault::Revoked);
        server.post(route, None, &credentials).await.expect(401);
        fixture.tokens.enable_entity(&id).await.unwrap();
        let fault = fixture.tokens.validator().validate(token).unwrap_err();
        assert_eq!(fault, TokenFault::Revoked, "what was revoked stays so");
        let issued = server.post(route, None, &credentials).await.expect(200).json();
        fixture.tokens.validator().validate(issued["accessToken"].as_str().unwrap()).unwrap();
    }
    let nobody = EntityId::user("nobody").unwrap();
    let unknown = fixture.tokens.disable_entity(&nobody).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
}

type Work = Box<dyn FnOnce() + Send>;

/// A hash that is computed when a test says so, so that something can happen in the middle of a
/// login.
#[derive(Clone, Default)]
struct Gate {
    waiting: Arc<Mutex<Vec<Work>>>,
    arrived: Arc<Notify>,
    is_open: Arc<AtomicBool>,
}

impl Gate {
    fn run(&self, work: Work) {
        if self.is_open.load(Ordering::SeqCst) {
            work();
            return;
        }
        self.waiting.lock().unwrap().push(work);
        self.arrived.notify_one();
    }

    fn open(&self) {
        self.is_open.store(true, Ordering::SeqCst);
        for work in self.waiting.lock().unwrap().drain(..) {
            work();
        }
    }

    fn close(&self) {
        self.is_open.store(false, Ordering::SeqCst);
    }
}

fn gated() -> (Fixture, Gate) {
    let gate = Gate::default();
    gate.open();
    let executor = gate.clone();
    let policy = Policy::default().passwords(|passwords| passwords.hashing_permits(8));
    let fixture = Fixture::with(|builder| {
        builder.hashing_executor(move |work| executor.run(work)).policy(policy)
    });
    (fixture, gate)
}

#[tokio::test]
async fn a_login_under_way_yields_nothing_that_outlives_what_ends_it() {
    for what in ["disabled", "password changed", "logged out"] {
        let (fixture, gate) = gated();
        let tokens = fixture.tokens.clone();
        let hash = tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
        let jane = Entity::customer("jane", hash.clone(), customer_id(), false).unwrap();
        tokens.register(jane).await.unwrap();
        tokens.register(Entity::user("jane", hash).unwrap()).await.unwrap();
        gate.close();
        let (first, second) = (tokens.clone(), tokens.clone());
        let logging_in = tokio::spawn(async move {
            let login = CustomerLogin::new("jane", Password::new(PASSWORD).unwrap());
            first.log_in_customer(login, &RequestContext::without_address()).await
        });
        gate.arrived.notified().await;
        let issuing = tokio::spawn(async move {
            let password = Password::new(PASSWORD).unwrap();
            second.issue_user_token("jane", password, &RequestContext::without_address()).await
        });
        gate.arrived.notified().await;

        fixture.clock.advance(Duration::from_millis(1));
        let waiting = std::mem::take(&mut *gate.waiting.lock().unwrap());
        gate.open();
        for id in [EntityId::customer("jane").unwrap(), EntityId::user("jane").unwrap()] {
            match what {
                "disabled" => tokens.disable_entity(&id).await.unwrap(),
                "password changed" => {
                    let new = Password::new("another password").unwrap();
                    tokens.set_password(&id, new).await.unwrap();
                }
                _ => {
                    let is_customer = id.subject_type() == SubjectType::Customer;
                    let subject = if is_customer { "cus_1" } else { "jane" };
                    let now = tokens.now();
                    tokens
                        .revoke_subject(
                            &tokens.principal(id.subject_type(), subject, Organization::All),
                            now,
                        )
                        .await
                        .unwrap();
                }
            }
        }
        for work in waiting {
            work();
        }
        if let Ok(started) = logging_in.await.unwrap() {
            let context = RequestContext::without_address();
            let live = tokens.find_session(&started.token, &context).await;
            assert!(live.is_err(), "{what}: a session was started");
        }
        if let Ok(issued) = issuing.await.unwrap() {
            let checked = tokens.validator().validate(issued.access_token.expose());
            assert!(checked.is_err(), "{what}: a token was issued");
        }
    }
}

#[tokio::test]
async fn a_caller_who_hangs_up_makes_no_room_while_the_hash_is_still_being_computed() {
    let gate = Gate::default();
    gate.open();
    let executor = gate.clone();
    let policy =
        Policy::default().passwords(|passwords| passwords.hashing_permits(1).hashing_queue(0));
    let fixture = Fixture::with(|builder| {
        builder.hashing_executor(move |work| executor.run(work)).policy(policy)
    });
    gate.close();
    let login = || {
        let tokens = fixture.tokens.clone();
        tokio::spawn(async move {
            let password = Password::new(PASSWORD).unwrap();
            let issued = tokens
                .issue_user_token("nobody", password, &RequestContext::without_address())
                .await;
            issued.map(drop).map_err(|error| error.kind())
        })
    };
    let first = login();
    gate.arrived.notified().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert_eq!(login().await.unwrap(), Err(ErrorKind::Overloaded));
    gate.open();
    assert_eq!(login().await.unwrap(), Err(ErrorKind::InvalidCredentials));
}

/// Two nodes over one store, the second one's clock ahead of the first one's.
fn nodes_apart(ahead: Duration) -> [Fixture; 2] {
    let (store, keys) = (MemoryStore::new(), KeyRing::generate(Algorithm::EdDSA).unwrap());
    [Duration::ZERO, ahead].map(|ahead| {
        let node = Fixture::with_keys(keys.clone(), |builder| {
            builder.store(store.clone()).sealing_key(SealingKey::from_bytes([7; 32]))
        });
        node.clock.advance(ahead);
        node
    })
}

async fn catch_up(nodes: &[Fixture]) {
    for node in nodes {
        node.tokens.catch_up().await.unwrap();
    }
}

#[track_caller]
fn verdict(nodes: &[Fixture; 2], token: &str) -> Result<(), TokenFault> {
    let verdicts = nodes.each_ref().map(|node| node.tokens.validator().validate(token).map(drop));
    assert_eq!(verdicts[0], verdicts[1], "all nodes are of one mind");
    verdicts[0]
}

#[tokio::test]
async fn what_ends_a_principal_reaches_what_a_node_has_issued_whose_clock_is_59_s_ahead() {
    for what in ["disabled", "removed", "password changed", "rights taken away", "logged out"] {
        let nodes = nodes_apart(Duration::from_secs(59));
        let [behind, ahead] = &nodes;
        behind.user("ops", json!([{"scope": {}, "permissions": ["GetOrders"]}])).await;
        let token = ahead.user_token("ops").await;
        assert_eq!(verdict(&nodes, &token), Ok(()));
        let id = EntityId::user("ops").unwrap();
        let tokens = &behind.tokens;
        let password = || Password::new(PASSWORD).unwrap();
        match what {
            "disabled" => tokens.disable_entity(&id).await.unwrap(),
            "removed" => tokens.remove_entity(&id).await.unwrap(),
            "password changed" => tokens.set_password(&id, password()).await.unwrap(),
            "rights taken away" => {
                let change = |entity: Entity| entity.acl(acl_of(json!([])));
                tokens.update_entity(&id, change).await.map(drop).unwrap();
            }
            _ => {
                let ops = tokens.principal(SubjectType::User, "ops", Organization::All);
                tokens.revoke_subject(&ops, tokens.now()).await.map(drop).unwrap();
            }
        }
        catch_up(&nodes).await;
        assert_eq!(verdict(&nodes, &token), Err(TokenFault::Revoked), "{what}");
        match what {
            "disabled" => tokens.enable_entity(&id).await.unwrap(),
            "removed" => behind.user("ops", json!([])).await,
            _ => {}
        }
        for node in &nodes {
            let fresh = node.user_token("ops").await;
            assert_eq!(verdict(&nodes, &fresh), Ok(()), "{what}: a login is good at once");
        }
        assert_eq!(verdict(&nodes, &token), Err(TokenFault::Revoked), "{what}: and stays so");
    }
}

#[tokio::test]
async fn a_session_of_a_node_whose_clock_is_ahead_ends_with_its_customer_and_the_next_is_good() {
    let nodes = nodes_apart(Duration::from_secs(59));
    let [behind, ahead] = &nodes;
    let context = RequestContext::without_address();
    let token = AuthenticationToken::from_text(ahead.session(|new| new).await).unwrap();
    let keep = || ExchangeRequest::default().invalidate(false);
    let jwt = ahead
        .tokens
        .exchange(&token, keep(), &RequestContext::without_address())
        .await
        .unwrap()
        .token
        .access_token;
    let customer = behind.tokens.principal(SubjectType::Customer, "cus_1", Organization::All);
    for node in &nodes {
        let now = behind.tokens.now();
        let revoked = behind.tokens.revoke_subject(&customer, now).await.unwrap();
        assert_eq!(revoked.sessions, 1);
        catch_up(&nodes).await;
        assert!(ahead.tokens.find_session(&token, &context).await.is_err());
        assert_eq!(verdict(&nodes, jwt.expose()), Err(TokenFault::Revoked));
        let next = AuthenticationToken::from_text(node.session(|new| new).await).unwrap();
        let next = node
            .tokens
            .exchange(&next, keep(), &RequestContext::without_address())
            .await
            .unwrap()
            .token
            .access_token;
        assert_eq!(verdict(&nodes, next.expose()), Ok(()));
    }
}

#[tokio::test]
async fn of_two_nodes_that_revoke_before_they_hear_of_one_another_neither_leaves_a_token_good() {
    let nodes = nodes_apart(Duration::from_secs(59));
    let [behind, ahead] = &nodes;
    behind.user("ops", json!([])).await;
    let ops = || behind.tokens.principal(SubjectType::User, "ops", Organization::All);
    ahead.tokens.revoke_subject(&ops(), ahead.tokens.now()).await.unwrap();
    let token = ahead.user_token("ops").await;
    // Its clock says that this comes before the other one.
    behind.tokens.revoke_subject(&ops(), behind.tokens.now()).await.unwrap();
    for _ in 0..2 {
        catch_up(&nodes).await;
    }
    assert_eq!(verdict(&nodes, &token), Err(TokenFault::Revoked));
    for node in &nodes {
        let fresh = node.user_token("ops").await;
        assert_eq!(verdict(&nodes, &fresh), Ok(()));
        catch_up(&nodes).await;
        assert_eq!(verdict(&nodes, &fresh), Ok(()), "nobody revokes again");
    }
}

#[tokio::test]
async fn a_revocation_up_to_an_instant_that_has_passed_leaves_later_logins_good_on_all_nodes() {
    let nodes = nodes_apart(Duration::ZERO);
    let [first, second] = &nodes;
    first.user("ops", json!([])).await;
    let ops = || first.tokens.principal(SubjectType::User, "ops", Organization::All);
    first.tokens.revoke_subject(&ops(), first.tokens.now()).await.unwrap();
    for node in &nodes {
        node.clock.advance(Duration::from_secs(30));
    }
    catch_up(&nodes).await;
    let token = first.user_token("ops").await;
    for node in &nodes {
        node.clock.advance(Duration::from_secs(30));
    }
    let before = second.tokens.now() - Duration::from_secs(120);
    second.tokens.revoke_subject(&ops(), before).await.unwrap();
    for _ in 0..2 {
        catch_up(&nodes).await;
    }
    assert_eq!(verdict(&nodes, &token), Ok(()));
}

#[tokio::test]
async fn what_a_user_has_started_ends_though_the_nodes_revoked_before_they_heard_of_one_another() {
    let nodes = nodes_apart(Duration::from_secs(59));
    let [behind, ahead] = &nodes;
    let everything = json!([{"scope": {}, "permissions": ["*"]}]);
    behind.user("ops", everything).await;
    let ops = || behind.tokens.principal(SubjectType::User, "ops", Organization::All);
    ahead.tokens.revoke_subject(&ops(), ahead.tokens.now()).await.unwrap();
    let bearer = ahead.user_token("ops").await;
    let bearer = ahead.tokens.validator().validate(&bearer).unwrap();
    let context = RequestContext::without_address();
    let new = NewSession::of(CustomerId::new("cus_1").unwrap());
    let started = ahead.tokens.start_session(&bearer, new, &context).await.unwrap();
    let keep = ExchangeRequest::default().invalidate(false);
    let exchanged = ahead.tokens.exchange(&started.token, keep, &context).await.unwrap();
    behind.tokens.revoke_subject(&ops(), behind.tokens.now()).await.unwrap();
    for _ in 0..2 {
        catch_up(&nodes).await;
    }
    let jwt = exchanged.token.access_token;
    assert_eq!(verdict(&nodes, jwt.expose()), Err(TokenFault::Revoked));
    for node in &nodes {
        assert!(node.tokens.find_session(&started.token, &context).await.is_err());
    }
}

#[tokio::test]
async fn after_two_hundred_revocations_in_a_moment_a_login_is_good_at_once() {
    let nodes = nodes_apart(Duration::ZERO);
    let [first, second] = &nodes;
    let ops = first.tokens.principal(SubjectType::User, "ops", Organization::All);
    for _ in 0..200 {
        first.tokens.revoke_subject(&ops, first.tokens.now()).await.unwrap();
        first.clock.advance(Duration::from_millis(1));
        second.clock.advance(Duration::from_millis(1));
    }
    catch_up(&nodes).await;
    for node in &nodes {
        let issued = node.tokens.issue(Grant::user("ops")).await.unwrap();
        assert!(issued.issued_at <= node.tokens.now());
        assert_eq!(verdict(&nodes, issued.access_token.expose()), Ok(()));
    }
}

async fn published(store: &MemoryStore) -> usize {
    store.read_feed(&Cursor::START, Duration::ZERO).await.unwrap().events.len()
}

#[tokio::test]
async fn what_had_no_token_ends_without_a_word_and_what_had_one_by_one() {
    for has_token in [false, true] {
        for what in ["logged out", "ended by id", "bearer logged out", "out of tries", "confirmed"]
        {
            let store = MemoryStore::new();
            let fixture = Fixture::with(|builder| builder.session_store(store.clone()));
            let (tokens, context) = (&fixture.tokens, RequestContext::without_address());
            let asks = matches!(what, "out of tries" | "confirmed");
            let token = fixture.session(|new| new.otp_required(asks)).await;
            let token = AuthenticationToken::from_text(token).unwrap();
            let mut jwt = None;
            if has_token {
                let request = ExchangeRequest::default().invalidate(false);
                let request = match asks {
                    true => request.one_time_password(fixture.outbox.last_code()),
                    false => request,
                };
                let exchanged = tokens
                    .exchange(&token, request, &RequestContext::without_address())
                    .await
                    .unwrap();
                jwt = Some(tokens.validator().validate(exchanged.token.access_token.expose()));
                if asks {
                    fixture.clock.advance(Duration::from_secs(120));
                    tokens.resend_one_time_password(&token, &context).await.unwrap();
                }
            }
            match what {
                "logged out" => tokens.log_out_customer(&token, &context).await.unwrap(),
                "ended by id" => {
                    let session = tokens.find_session(&token, &context).await.unwrap();
                    tokens.end_session(session.proven().unwrap().id()).await.unwrap();
                }
                "bearer logged out" => match &jwt {
                    Some(jwt) => tokens.log_out(jwt.as_ref().unwrap()).await.unwrap(),
                    None => continue,
                },
                "out of tries" => {
                    let wrong = crate::support::wrong_code_for(&fixture.outbox.last_code());
                    for _ in 0..5 {
                        let request = ExchangeRequest::default().one_time_password(wrong.clone());
                        tokens
                            .exchange(&token, request, &RequestContext::without_address())
                            .await
                            .unwrap_err();
                    }
                }
                // It is not confirmed.
                _ if has_token => continue,
                _ => {
                    let code = fixture.outbox.last_code();
                    tokens.confirm_one_time_password(&token, code, &context).await.unwrap();
                }
            }
            assert_eq!(published(&store).await, usize::from(has_token), "{what}, {has_token}");
            if let Some(Ok(jwt)) = &jwt {
                assert_eq!(tokens.validator().recheck(jwt), Err(TokenFault::Revoked), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_bearer_who_logs_out_is_rejected_also_where_the_store_has_lost_the_exchange() {
    let store = MemoryStore::new();
    let fixture = Fixture::with(|builder| builder.session_store(store.clone()));
    let (tokens, context) = (&fixture.tokens, RequestContext::without_address());
    let token = AuthenticationToken::from_text(fixture.session(|new| new).await).unwrap();
    let before = store.get(&token.key()).await.unwrap().unwrap();
    let request = ExchangeRequest::default().invalidate(false);
    let exchanged = tokens.exchange(&token, request, &context).await.unwrap();
    let jwt = tokens.validator().validate(exchanged.token.access_token.expose()).unwrap();
    store.remove(before.id()).await.unwrap();
    store.insert(before, tokens.now()).await.unwrap();
    tokens.log_out(&jwt).await.unwrap();
    assert_eq!(tokens.validator().recheck(&jwt), Err(TokenFault::Revoked));
}
