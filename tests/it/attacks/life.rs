//! What outlives what: sessions, the tokens that came of them, and those who started them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use countersign::faults::TokenFault;
use countersign::sessions::{CustomerDirectory, SessionState};
use countersign::store::{Cursor, FeedEvent, MemoryStore, SessionStore as _};
use countersign::testing::{Calls, FaultyStore, StoreFault, StoreVerb};
use countersign::{
    Actor, Algorithm, AuthenticationToken, CustomerId, Entity, EntityId, Error, ErrorKind,
    ExchangeRequest, Grant, KeyRing, NewSession, Organization, OrganizationId, Password, Policy,
    RequestContext, SubjectType, Validated,
};
use http::Request;
use serde_json::json;

use crate::support::log::Log;
use crate::support::problems::assert_problem;
use crate::support::sessions::{SESSIONS, exchange, session_path};
use crate::support::{Answer, Fixture, PASSWORD, Server, acl_of, issue_now, wrong_code_for};

const HOUR: Duration = Duration::from_secs(3_600);

fn over(store: &MemoryStore) -> Fixture {
    Fixture::with(|builder| builder.session_store(store.clone()))
}

async fn log_out(server: &Server, token: &str) -> Answer {
    server.send(Request::delete(session_path(token)).body("").unwrap()).await
}

#[track_caller]
fn jwt_in(answer: Answer) -> String {
    answer.expect(201).json()["token"].as_str().unwrap().to_owned()
}

fn fault_of(fixture: &Fixture, jwt: &str) -> Option<TokenFault> {
    fixture.tokens.validator().validate(jwt).err()
}

fn validated(fixture: &Fixture, jwt: &str) -> Arc<Validated> {
    fixture.tokens.validator().validate(jwt).unwrap()
}

async fn published(store: &MemoryStore) -> Vec<FeedEvent> {
    store.read_feed(&Cursor::START, Duration::ZERO).await.unwrap().events
}

#[tokio::test]
async fn a_customer_logs_out_after_the_exchange_has_used_the_token_up() {
    let fixture = Fixture::new();
    let server = fixture.serve().await;
    let token = fixture.session(|new| new).await;
    let jwt = jwt_in(exchange(&server, &token, &json!({})).await);
    assert_problem(&server.get(&session_path(&token), None).await, 404, "not-found");
    assert_problem(&exchange(&server, &token, &json!({})).await, 404, "not-found");
    assert_eq!(fault_of(&fixture, &jwt), None);

    log_out(&server, &token).await.expect(204);
    assert_eq!(fault_of(&fixture, &jwt), Some(TokenFault::Revoked));
    assert_problem(&log_out(&server, &token).await, 404, "not-found");
}

#[tokio::test]
async fn a_used_token_is_in_no_list_and_of_no_total() {
    let fixture = Fixture::new();
    let server = fixture.serve().await;
    fixture.user("ops", json!([{"scope": {}, "permissions": ["*"]}])).await;
    let bearer = fixture.user_token("ops").await;
    let [used, kept] = [fixture.session(|new| new).await, fixture.session(|new| new).await];
    exchange(&server, &used, &json!({})).await.expect(201);
    exchange(&server, &kept, &json!({"invalidate": false})).await.expect(201);
    for query in ["", "?customerId=cus_1"] {
        let list = server.get(&format!("{SESSIONS}{query}"), Some(&bearer)).await.expect(200);
        assert_eq!(list.header("pagination-total"), "1");
        assert_eq!(list.json().as_array().map(Vec::len), Some(1));
    }
}

#[tokio::test]
async fn a_used_token_logs_out_as_long_as_any_token_of_its_session_may_live() {
    for (elapsed, status) in [(HOUR, 204), (HOUR * 5, 204), (HOUR * 31, 404)] {
        let fixture = Fixture::new();
        let server = fixture.serve().await;
        let token = fixture.session(|new| new).await;
        let later = (fixture.tokens.now() + HOUR * 6).to_string();
        let long = json!({"invalidate": false, "expiredTime": later});
        let long = jwt_in(exchange(&server, &token, &long).await);
        let short = jwt_in(exchange(&server, &token, &json!({})).await);
        fixture.clock.advance(elapsed);
        // What has ended is removed, and this is not what that means.
        fixture.tokens.purge_expired().await.unwrap();
        assert_eq!(log_out(&server, &token).await.status().as_u16(), status, "{elapsed:?}");
        if status == 204 {
            assert_eq!(fault_of(&fixture, &long), Some(TokenFault::Revoked));
            assert!(fault_of(&fixture, &short).is_some());
        }
    }
}

#[tokio::test]
async fn a_session_that_ended_in_time_logs_its_living_tokens_out() {
    let fixture = Fixture::new();
    let server = fixture.serve().await;
    let token = fixture.session(|new| new.lifetime(Duration::from_secs(60))).await;
    let jwt = jwt_in(exchange(&server, &token, &json!({"invalidate": false})).await);
    fixture.clock.advance(Duration::from_secs(120));
    fixture.tokens.purge_expired().await.unwrap();
    assert_problem(&server.get(&session_path(&token), None).await, 404, "not-found");
    assert_problem(&exchange(&server, &token, &json!({})).await, 404, "not-found");
    assert_eq!(fault_of(&fixture, &jwt), None);
    log_out(&server, &token).await.expect(204);
    assert_eq!(fault_of(&fixture, &jwt), Some(TokenFault::Revoked));
}

#[tokio::test]
async fn a_used_token_of_another_organization_is_a_404() {
    let fixture = Fixture::new();
    let routes = fixture.tokens.router();
    let server = Server::start(Router::new().nest("/organizations/{organizationId}", routes)).await;
    let organization = countersign::OrganizationId::new("acme").unwrap();
    let token = fixture.session(|new| new.organization(organization)).await;
    let path = |organization: &str| format!("/organizations/{organization}{SESSIONS}/{token}");
    let jwt = server.post(&format!("{}/exchange", path("acme")), None, &json!({})).await;
    let jwt = jwt_in(jwt);
    let delete = async |organization: &str| {
        server.send(Request::delete(path(organization)).body("").unwrap()).await
    };
    assert_problem(&delete("globex").await, 404, "not-found");
    assert_eq!(fault_of(&fixture, &jwt), None);
    delete("acme").await.expect(204);
    assert_eq!(fault_of(&fixture, &jwt), Some(TokenFault::Revoked));
}

#[tokio::test]
async fn an_exchange_whose_answer_was_lost_can_be_logged_out() {
    let store = FaultyStore::new(MemoryStore::new());
    let sessions = store.clone();
    let fixture = Fixture::with(|builder| builder.session_store(sessions));
    let server = fixture.serve().await;
    let token = fixture.session(|new| new).await;
    store.fail(
        Calls::from(StoreVerb::ReplaceSession).take(1),
        StoreFault::lost_reply("connection reset"),
    );
    assert_problem(&exchange(&server, &token, &json!({})).await, 503, "unavailable");
    assert_problem(&exchange(&server, &token, &json!({})).await, 404, "not-found");
    log_out(&server, &token).await.expect(204);
}

#[tokio::test]
async fn who_starts_and_logs_out_over_and_over_leaves_nothing_in_any_nodes_memory() {
    let store = MemoryStore::new();
    let fixture = over(&store);
    let server = fixture.serve().await;
    for _ in 0..100 {
        let token = fixture.session(|new| new).await;
        log_out(&server, &token).await.expect(204);
    }
    let started = fixture.session(|new| new).await;
    let id = {
        let token = AuthenticationToken::from_text(&started).unwrap();
        fixture
            .tokens
            .find_session(&token, &RequestContext::without_address())
            .await
            .and_then(SessionState::proven)
            .unwrap()
            .id()
            .clone()
    };
    fixture.tokens.end_session(&id).await.unwrap();
    assert_eq!(published(&store).await, []);
}

#[tokio::test]
async fn a_revocation_is_remembered_until_the_sessions_tokens_are_dead_and_no_longer() {
    let store = MemoryStore::new();
    let fixture = over(&store);
    let server = fixture.serve().await;
    let now = fixture.tokens.now();
    let clocks = Duration::from_secs(600);
    let days = |new: countersign::NewSession| new.lifetime(HOUR * 24 * 30);
    for (body, life) in [(json!({}), HOUR), (json!({"invalidate": false}), HOUR * 24)] {
        let token = fixture.session(days).await;
        exchange(&server, &token, &body).await.expect(201);
        log_out(&server, &token).await.expect(204);
        let until = published(&store).await.last().unwrap().until();
        assert!(until > now + life, "{until}");
        assert!(until < now + life + clocks, "{until}");
    }
    // Of a session whose tokens are dead there is nothing to revoke.
    let token = fixture.session(days).await;
    exchange(&server, &token, &json!({"invalidate": false})).await.expect(201);
    let count = published(&store).await.len();
    fixture.clock.advance(HOUR * 25);
    log_out(&server, &token).await.expect(204);
    assert_eq!(published(&store).await.len(), count);
    // Of one that is not there, nothing is known.
    let now = fixture.tokens.now();
    fixture.tokens.end_session(&countersign::SessionId::new("gone").unwrap()).await.unwrap();
    let until = published(&store).await.last().unwrap().until();
    assert!(until > now + HOUR * 24 && until < now + HOUR * 24 + clocks, "{until}");
}

#[tokio::test]
async fn a_session_is_written_once_for_all_its_phantom_tokens_of_a_day() {
    let store = FaultyStore::new(MemoryStore::new());
    let sessions = store.clone();
    let fixture = Fixture::with(|builder| builder.session_store(sessions));
    let app = Router::new()
        .route("/", get(|| async { "hello" }).route_layer(fixture.tokens.exchange_layer()))
        .merge(fixture.tokens.router());
    let server = Server::start(app).await;
    let token = fixture.session(|new| new.lifetime(HOUR * 24 * 30)).await;
    for _ in 0..20 {
        server.get("/", Some(&token)).await.expect(200);
        fixture.clock.advance(HOUR);
    }
    assert_eq!(store.calls(StoreVerb::ReplaceSession), 1);
    log_out(&server, &token).await.expect(204);
    server.get("/", Some(&token)).await.expect(401);
}

/// Whichever of the two is first, no token outlives the log-out.
#[tokio::test]
async fn a_log_out_that_races_with_an_exchange_leaves_no_token_behind() {
    for keeps in [true, false] {
        for reading_comes_first in [true, false] {
            let store = FaultyStore::new(MemoryStore::new());
            let sessions = store.clone();
            let fixture = Fixture::with(|builder| builder.session_store(sessions));
            let token = fixture.session(|new| new).await;
            let token = AuthenticationToken::from_text(&token).unwrap();
            // One of the two has read the session, and waits while the other does all of its work.
            let held = store.hold_replies(Calls::from(StoreVerb::GetSession).take(1));
            let exchanging = {
                let (tokens, token) = (fixture.tokens.clone(), token.clone());
                let request = ExchangeRequest::default().invalidate(!keeps);
                async move { tokens.exchange(&token, request, &RequestContext::without_address()).await }
            };
            let logging_out = {
                let (tokens, token) = (fixture.tokens.clone(), token.clone());
                async move { tokens.log_out_customer(&token, &RequestContext::without_address()).await }
            };
            let (exchanged, logged_out) = if reading_comes_first {
                let exchanging = tokio::spawn(exchanging);
                held.wait_for(1).await;
                let logged_out = logging_out.await;
                held.release();
                (exchanging.await.unwrap(), logged_out)
            } else {
                let logging_out = tokio::spawn(logging_out);
                held.wait_for(1).await;
                let exchanged = exchanging.await;
                held.release();
                (exchanged, logging_out.await.unwrap())
            };
            logged_out.unwrap();
            match exchanged {
                Ok(exchanged) => {
                    let jwt = exchanged.token.access_token;
                    assert_eq!(fault_of(&fixture, jwt.expose()), Some(TokenFault::Revoked));
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
            }
        }
    }
}

#[tokio::test]
async fn the_holder_of_an_access_token_logs_out_by_it() {
    let store = MemoryStore::new();
    let fixture = over(&store);
    let server = fixture.serve().await;
    let token = fixture.session(|new| new).await;
    let first = jwt_in(exchange(&server, &token, &json!({"invalidate": false})).await);
    let second = jwt_in(exchange(&server, &token, &json!({})).await);
    fixture.tokens.log_out(&validated(&fixture, &first)).await.unwrap();
    for jwt in [&first, &second] {
        assert_eq!(fault_of(&fixture, jwt), Some(TokenFault::Revoked));
    }
    assert_problem(&log_out(&server, &token).await, 404, "not-found");
    // A token of no session is revoked itself, for as long as it lives.
    fixture.user("ops", json!([])).await;
    let [mine, other] = [fixture.user_token("ops").await, fixture.user_token("ops").await];
    fixture.tokens.log_out(&validated(&fixture, &mine)).await.unwrap();
    assert_eq!(fault_of(&fixture, &mine), Some(TokenFault::Revoked));
    assert_eq!(fault_of(&fixture, &other), None);
}

/// A customer's login has its limit, and so has whoever starts sessions for others.
#[tokio::test]
async fn one_session_more_than_a_customer_may_have_is_a_429_until_one_has_ended() {
    let policy = Policy::default().sessions(|sessions| sessions.max_per_customer(3));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let server = fixture.serve().await;
    let (id, hash) = (
        CustomerId::new("cus_1").unwrap(),
        fixture.tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap(),
    );
    fixture
        .tokens
        .register(Entity::customer("jo", hash, id.clone(), false).unwrap())
        .await
        .unwrap();
    let login = json!({"username": "jo", "password": PASSWORD});
    let log_in = async || server.post(SESSIONS, None, &login).await;
    let first = jwt_in(log_in().await);
    let kept = [jwt_in(log_in().await), jwt_in(log_in().await)];
    let rejected = log_in().await;
    assert_problem(&rejected, 429, "too-many-requests");
    assert!(!rejected.header("retry-after").is_empty());
    let started = fixture
        .tokens
        .start_session(Actor::Host, NewSession::of(id.clone()), &RequestContext::without_address())
        .await
        .unwrap_err();
    assert_eq!(started.kind(), ErrorKind::Throttled);
    // Another customer's is another's, and so is that of a namesake elsewhere.
    let namesake = NewSession::of(id).organization(OrganizationId::new("acme").unwrap());
    fixture
        .tokens
        .start_session(Actor::Host, namesake, &RequestContext::without_address())
        .await
        .unwrap();
    // One that was used up does not count.
    exchange(&server, &first, &json!({})).await.expect(201);
    let fourth = jwt_in(log_in().await);
    assert_problem(&log_in().await, 429, "too-many-requests");
    log_out(&server, &fourth).await.expect(204);
    log_in().await.expect(201);
    fixture.clock.advance(HOUR * 24);
    for _ in 0..3 {
        log_in().await.expect(201);
    }
    assert_problem(&server.get(&session_path(&kept[0]), None).await, 404, "not-found");
}

fn bearer(fixture: &Fixture, grant: Grant, acl: serde_json::Value) -> String {
    issue_now(&fixture.tokens, grant.acl(acl_of(acl))).unwrap().access_token.expose().to_owned()
}

async fn start(server: &Server, bearer: &str, customer: &str) -> Answer {
    let body = json!({"mode": "passwordless", "customerId": customer});
    server.post(SESSIONS, Some(bearer), &body).await
}

#[tokio::test]
async fn one_session_more_than_a_bearer_may_start_is_a_429() {
    let policy = Policy::default().sessions(|sessions| sessions.max_per_starter(2));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let server = fixture.serve().await;
    let everything = json!([{"scope": {}, "permissions": ["*"]}]);
    let ops = bearer(&fixture, Grant::user("ops"), everything.clone());
    let machine = bearer(&fixture, Grant::new(SubjectType::Machine, "ops"), everything);
    for customer in ["cus_1", "cus_2"] {
        start(&server, &ops, customer).await.expect(201);
    }
    assert_problem(&start(&server, &ops, "cus_3").await, 429, "too-many-requests");
    // Whoever the customer is, and whatever token the bearer brings.
    let everything = json!([{"scope": {}, "permissions": ["*"]}]);
    let again = bearer(&fixture, Grant::user("ops"), everything);
    assert_problem(&start(&server, &again, "cus_1").await, 429, "too-many-requests");
    start(&server, &machine, "cus_3").await.expect(201);
}

fn organization(id: &str) -> OrganizationId {
    OrganizationId::new(id).unwrap()
}

#[tokio::test]
async fn a_namesake_in_another_organization_is_neither_logged_out_nor_removed() {
    let fixture = Fixture::new();
    let server = fixture.serve().await;
    let acme = fixture.session(|new| new.organization(organization("acme"))).await;
    let globex = fixture.session(|new| new.organization(organization("globex"))).await;
    let nowhere = fixture.session(|new| new).await;
    let jwts = {
        let mut jwts = Vec::new();
        for token in [&acme, &globex, &nowhere] {
            let kept = exchange(&server, token, &json!({"invalidate": false})).await;
            jwts.push(jwt_in(kept));
        }
        jwts
    };
    fixture.clock.advance(Duration::from_millis(1));
    let subject = fixture.tokens.principal(SubjectType::Customer, "cus_1", organization("acme"));
    let ended = fixture.tokens.revoke_subject(&subject, fixture.tokens.now()).await.unwrap();
    assert_eq!((ended.sessions, ended.is_known), (1, true));
    server.get(&session_path(&acme), None).await.expect(404);
    server.get(&session_path(&globex), None).await.expect(200);
    server.get(&session_path(&nowhere), None).await.expect(200);
    let faults: Vec<_> = jwts.iter().map(|jwt| fault_of(&fixture, jwt)).collect();
    assert_eq!(faults, [Some(TokenFault::Revoked), None, None]);
    // Of no organization is not of all.
    let subject = fixture.tokens.principal(SubjectType::Customer, "cus_1", Organization::All);
    let ended = fixture.tokens.revoke_subject(&subject, fixture.tokens.now()).await.unwrap();
    assert_eq!((ended.sessions, ended.is_known), (1, true));
    server.get(&session_path(&globex), None).await.expect(200);
    assert_eq!(fault_of(&fixture, &jwts[1]), None);
}

#[tokio::test]
async fn a_record_that_names_no_organization_revokes_in_all() {
    let record = r#"{"form":1,"target":{"subject_before":{"subject_type":"customer",
        "subject":"cus_1","before":1767225700000000}},"until":1767312000000000}"#;
    let store = MemoryStore::new();
    let fixture = over(&store);
    let mut jwts = Vec::new();
    let server = fixture.serve().await;
    for id in [None, Some("acme")] {
        let token = fixture.session(|new| match id {
            Some(id) => new.organization(organization(id)),
            None => new,
        });
        jwts.push(jwt_in(exchange(&server, &token.await, &json!({})).await));
    }
    store.publish(countersign::store::record::read_event(record, "1")).await.unwrap();
    fixture.tokens.catch_up().await.unwrap();
    for jwt in &jwts {
        assert_eq!(fault_of(&fixture, jwt), Some(TokenFault::Revoked));
    }
}

/// What one tenant does to its own customer of that name does not keep another's out.
#[tokio::test]
async fn wrong_codes_for_a_namesake_elsewhere_block_nobody() {
    let fixture = Fixture::new();
    let server = fixture.serve().await;
    let guarded = |id: &'static str| {
        move |new: NewSession| new.organization(organization(id)).otp_required(true)
    };
    for _ in 0..3 {
        let token = fixture.session(guarded("acme")).await;
        for _ in 0..5 {
            let wrong = json!({"oneTimePassword": wrong_code_for(&fixture.outbox.last_code())});
            let status = exchange(&server, &token, &wrong).await.status().as_u16();
            assert!([401, 429, 404].contains(&status), "{status}");
        }
    }
    let token = fixture.session(guarded("globex")).await;
    let right = json!({"oneTimePassword": fixture.outbox.last_code()});
    exchange(&server, &token, &right).await.expect(201);
}

#[tokio::test]
async fn a_bearer_of_an_organization_names_no_customer_that_is_not_its_own() {
    let fixture = Fixture::new();
    let server = fixture.serve().await;
    let acme = || Grant::user("ops").organization(organization("acme"));
    let log = Log::default();
    let _listening = log.listen();
    let unscoped = bearer(&fixture, acme(), json!([{"scope": {}, "permissions": ["*"]}]));
    assert_problem(&start(&server, &unscoped, "cus_1").await, 403, "insufficient-permission");
    assert!(log.text().contains("`customer_directory`"), "{}", log.text());
    let scope = json!({"customerId": ["cus_1"]});
    let named = json!([
        {"scope": {}, "permissions": ["GetOrders"]},
        {"scope": scope, "permissions": ["PostAuthenticationToken"]},
    ]);
    let named = bearer(&fixture, acme(), named);
    start(&server, &named, "cus_1").await.expect(201);
    assert_problem(&start(&server, &named, "cus_2").await, 403, "insufficient-permission");
    // One entry that names it for another operation is no permission to start its session.
    let elsewhere = json!([
        {"scope": {}, "permissions": ["PostAuthenticationToken"]},
        {"scope": scope, "permissions": ["GetOrders"]},
    ]);
    let elsewhere = bearer(&fixture, acme(), elsewhere);
    assert_problem(&start(&server, &elsewhere, "cus_1").await, 403, "insufficient-permission");
    // Who is bound to no organization holds what is not confined.
    let everywhere =
        bearer(&fixture, Grant::user("ops"), json!([{"scope": {}, "permissions": ["*"]}]));
    start(&server, &everywhere, "cus_1").await.expect(201);
}

/// Says yes to the customers whose ids begin with their organization's, and fails for one.
#[derive(Debug)]
struct ByPrefix;

#[async_trait::async_trait]
impl CustomerDirectory for ByPrefix {
    async fn may_start(
        &self,
        _bearer: &Validated,
        organization: Option<&OrganizationId>,
        customer: &CustomerId,
    ) -> Result<bool, Error> {
        if customer.as_str() == "unknown" {
            return Err(Error::new(ErrorKind::Unavailable, "the directory is out of reach"));
        }
        let prefix = organization.map_or("public", |id| id.as_str());
        Ok(customer.as_str().starts_with(prefix))
    }
}

#[tokio::test]
async fn a_customer_directory_says_whom_a_bearer_may_name() {
    let fixture = Fixture::with(|builder| builder.customer_directory(ByPrefix));
    let server = fixture.serve().await;
    let all = json!([{"scope": {}, "permissions": ["PostAuthenticationToken"]}]);
    let acme = Grant::user("ops").organization(organization("acme"));
    let bound = bearer(&fixture, acme.clone(), all.clone());
    let unbound = bearer(&fixture, Grant::user("ops"), all);
    start(&server, &bound, "acme-1").await.expect(201);
    assert_problem(&start(&server, &bound, "globex-1").await, 403, "insufficient-permission");
    assert_problem(&start(&server, &bound, "unknown").await, 503, "unavailable");
    start(&server, &unbound, "public-1").await.expect(201);
    assert_problem(&start(&server, &unbound, "acme-1").await, 403, "insufficient-permission");
    // What the list names itself is not asked for.
    let scope = json!({"customerId": ["unknown"]});
    let named = json!([{"scope": scope, "permissions": ["PostAuthenticationToken"]}]);
    start(&server, &bearer(&fixture, acme, named), "unknown").await.expect(201);
}

#[tokio::test]
async fn what_a_bearer_has_started_ends_with_the_bearer() {
    for what in ["revoked", "disabled", "removed"] {
        let store = MemoryStore::new();
        let fixture = over(&store);
        let server = fixture.serve().await;
        fixture.user("ops", json!([{"scope": {}, "permissions": ["*"]}])).await;
        let bearer = fixture.user_token("ops").await;
        let [live, used, kept] = [
            jwt_in(start(&server, &bearer, "cus_1").await),
            jwt_in(start(&server, &bearer, "cus_2").await),
            jwt_in(start(&server, &bearer, "cus_3").await),
        ];
        let other = fixture.session(|new| new).await;
        let jwts = [
            jwt_in(exchange(&server, &used, &json!({})).await),
            jwt_in(exchange(&server, &kept, &json!({"invalidate": false})).await),
        ];
        let unrelated = jwt_in(exchange(&server, &other, &json!({"invalidate": false})).await);
        fixture.clock.advance(Duration::from_secs(2));
        let id = EntityId::user("ops").unwrap();
        match what {
            "revoked" => {
                let subject = fixture.tokens.principal(SubjectType::User, "ops", Organization::All);
                let now = fixture.tokens.now();
                assert_eq!(fixture.tokens.revoke_subject(&subject, now).await.unwrap().sessions, 2);
            }
            "disabled" => fixture.tokens.disable_entity(&id).await.unwrap(),
            _ => fixture.tokens.remove_entity(&id).await.unwrap(),
        }
        for token in [&live, &used, &kept] {
            assert_problem(&server.get(&session_path(token), None).await, 404, "not-found");
            assert_problem(&exchange(&server, token, &json!({})).await, 404, "not-found");
        }
        for jwt in &jwts {
            assert_eq!(fault_of(&fixture, jwt), Some(TokenFault::Revoked), "{what}");
        }
        server.get(&session_path(&other), None).await.expect(200);
        assert_eq!(fault_of(&fixture, &unrelated), None);
        // On other nodes, too, once they have heard.
        let elsewhere = over(&store);
        elsewhere.tokens.catch_up().await.unwrap();
        elsewhere.clock.advance(Duration::from_secs(2));
        let there = elsewhere.serve().await;
        assert_problem(&exchange(&there, &live, &json!({})).await, 404, "not-found");
    }
}

/// Another node may write it after this one has looked for what is to end: it is as old as the token
/// on whose word it was started.
#[tokio::test]
async fn a_session_that_is_written_after_its_starter_was_revoked_is_not_live() {
    let store = FaultyStore::new(MemoryStore::new());
    let sessions = store.clone();
    let keys = KeyRing::generate(Algorithm::EdDSA).unwrap();
    let fixture = Fixture::with_keys(keys.clone(), |builder| builder.session_store(sessions));
    let node = Fixture::with_keys(keys.clone(), |builder| builder.session_store(store.clone()));
    node.tokens.catch_up().await.unwrap();
    fixture.user("ops", json!([{"scope": {}, "permissions": ["*"]}])).await;
    let bearer = validated(&fixture, &fixture.user_token("ops").await);
    // A node whose clock is ahead.
    node.clock.advance(Duration::from_secs(30));
    let held = store.hold(Calls::from(StoreVerb::InsertSession).take(1));
    let new = NewSession::of(CustomerId::new("cus_1").unwrap());
    let starting = {
        let (tokens, bearer) = (node.tokens.clone(), Arc::clone(&bearer));
        tokio::spawn(async move {
            let context = RequestContext::without_address();
            tokens.start_session(&bearer, new, &context).await
        })
    };
    held.wait_for(1).await;
    fixture.clock.advance(Duration::from_secs(1));
    fixture.tokens.disable_entity(&EntityId::user("ops").unwrap()).await.unwrap();
    held.release();
    let started = starting.await.unwrap().unwrap();
    let found =
        fixture.tokens.find_session(&started.token, &RequestContext::without_address()).await;
    assert_eq!(found.unwrap_err().kind(), ErrorKind::NotFound);
    node.tokens.catch_up().await.unwrap();
    let found = node.tokens.find_session(&started.token, &RequestContext::without_address()).await;
    assert_eq!(found.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn many_sessions_of_a_starter_are_ended_in_parts_though_the_caller_hangs_up() {
    let store = FaultyStore::new(MemoryStore::new());
    let sessions = store.clone();
    let policy = Policy::default().sessions(|sessions| sessions.max_per_customer(1_000));
    let fixture = Fixture::with(|builder| builder.session_store(sessions).policy(policy));
    fixture.user("ops", json!([{"scope": {}, "permissions": ["*"]}])).await;
    let bearer = validated(&fixture, &fixture.user_token("ops").await);
    for _ in 0..250 {
        let new = NewSession::of(CustomerId::new("cus_1").unwrap());
        let context = RequestContext::without_address();
        fixture.tokens.start_session(&bearer, new, &context).await.unwrap();
    }
    fixture.clock.advance(Duration::from_secs(2));
    let held = store.hold(Calls::from(StoreVerb::TakeSession).take(1));
    let ending = {
        let tokens = fixture.tokens.clone();
        tokio::spawn(async move {
            let subject = tokens.principal(SubjectType::User, "ops", Organization::All);
            tokens.revoke_subject(&subject, tokens.now()).await
        })
    };
    held.wait_for(1).await;
    ending.abort();
    assert!(ending.await.unwrap_err().is_cancelled());
    held.release();
    // Three parts, and a fourth that is empty.
    store.wait_for_calls(StoreVerb::SessionsOfSubject, 4).await;
    let subject = countersign::store::Subject::new(SubjectType::User, "ops");
    let left = store.inner().count(&subject, fixture.tokens.now(), 1_000).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_session_on_a_bearers_word_lives_an_hour_at_most() {
    let fixture = Fixture::new();
    let server = fixture.serve().await;
    let everything = json!([{"scope": {}, "permissions": ["*"]}]);
    let bearer = bearer(&fixture, Grant::user("ops"), everything);
    let started = start(&server, &bearer, "cus_1").await.expect(201).json();
    assert_eq!(started["expiredTime"], "2026-01-01T01:00:00.000Z");
    for (time, status) in [("2026-01-01T01:00:00Z", 201), ("2026-01-01T01:00:01Z", 422)] {
        let body = json!({"mode": "passwordless", "customerId": "cus_1", "expiredTime": time});
        let answer = server.post(SESSIONS, Some(&bearer), &body).await;
        assert_eq!(answer.status().as_u16(), status, "{time}");
    }
}

#[tokio::test]
async fn a_bearer_gives_no_more_than_the_policy_lets_bearers_give() {
    let delegable = acl_of(json!([{"scope": {}, "permissions": ["GetOrders", "PostOrder"]}]));
    let policy = Policy::default().sessions(|sessions| sessions.delegable_acl(delegable));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let server = fixture.serve().await;
    let everything = json!([{"scope": {}, "permissions": ["*"]}]);
    let bearer = bearer(&fixture, Grant::user("ops"), everything);
    let acl = |permission: &str| json!([{"scope": {}, "permissions": [permission]}]);
    let start = async |permission: &str| {
        let body = json!({"mode": "passwordless", "customerId": "cus_1", "acl": acl(permission)});
        server.post(SESSIONS, Some(&bearer), &body).await
    };
    for permission in ["*", "ResetEntitySecret"] {
        assert_problem(&start(permission).await, 403, "acl-exceeds-grant");
    }
    let token = jwt_in(start("GetOrders").await);
    // Nor by an exchange.
    let path = crate::support::sessions::exchange_path(&token);
    let widen = async |permission: &str| {
        server.post(&path, Some(&bearer), &json!({"acl": acl(permission)})).await
    };
    assert_problem(&widen("ResetEntitySecret").await, 403, "acl-exceeds-grant");
    widen("PostOrder").await.expect(201);
}
