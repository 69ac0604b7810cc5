//! What outlives what: sessions, the tokens that came of them, and those who started them.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use countersign::store::{Cursor, FeedEvent, MemoryStore, SessionStore as _};
use countersign::testing::{Calls, FaultyStore, StoreFault, StoreVerb};
use countersign::{
    AuthenticationToken, ErrorKind, ExchangeRequest, RequestContext, TokenFault, Validated,
};
use http::Request;
use serde_json::json;
use std::sync::Arc;

use crate::support::problems::assert_problem;
use crate::support::sessions::{SESSIONS, exchange, session_path};
use crate::support::{Answer, Fixture, Server};

const HOUR: Duration = Duration::from_secs(3_600);

fn over(store: &MemoryStore) -> Fixture {
    Fixture::with(|builder| builder.sessions(store.clone()))
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
    let fixture = Fixture::with(|builder| builder.sessions(sessions));
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
        fixture.tokens.find_session(&token, &RequestContext::default()).await.unwrap().id().clone()
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
    let fixture = Fixture::with(|builder| builder.sessions(sessions));
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
            let fixture = Fixture::with(|builder| builder.sessions(sessions));
            let token = fixture.session(|new| new).await;
            let token = AuthenticationToken::from_text(&token).unwrap();
            // One of the two has read the session, and waits while the other does all of its work.
            let held = store.hold_replies(Calls::from(StoreVerb::GetSession).take(1));
            let exchanging = {
                let (tokens, token) = (fixture.tokens.clone(), token.clone());
                let request = ExchangeRequest::default().invalidate(!keeps);
                async move { tokens.exchange(&token, request).await }
            };
            let logging_out = {
                let (tokens, token) = (fixture.tokens.clone(), token.clone());
                async move { tokens.log_out_customer(&token, &RequestContext::default()).await }
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
