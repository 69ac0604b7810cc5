//! `Idempotency-Key`: who lost an answer gets it by the same request.

use std::time::Duration;

use countersign::store::MemoryStore;
use countersign::testing::{FaultyStore, StoreFault, StoreVerb};
use countersign::{
    Actor, CustomerId, ErrorKind, ExchangeRequest, NewSession, RequestContext, StartedSession,
};
use http::Request;
use serde_json::json;

use crate::support::Fixture;
use crate::support::problems::invalid_fields;
use crate::support::repeats::{Nodes, a_repeated_request_is_answered_once_more_and_done_once};
use crate::support::sessions::{SESSIONS, exchange_path};

const KEY: &str = "0123456789abcdef";

#[tokio::test]
async fn in_memory_a_repeated_request_is_answered_once_more_and_done_once() {
    let store = MemoryStore::new();
    let nodes = Nodes::over([store.clone(), store]).await;
    a_repeated_request_is_answered_once_more_and_done_once(&nodes).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn over_one_file_a_repeated_request_is_answered_once_more_and_done_once() {
    let file = crate::support::durable::File::new();
    let nodes = Nodes::over([file.node().await, file.node().await]).await;
    a_repeated_request_is_answered_once_more_and_done_once(&nodes).await;
}

#[tokio::test]
async fn a_key_is_16_to_128_visible_ascii_characters_and_one() {
    let fixture = Fixture::new();
    let server = fixture.serve().await;
    let token = fixture.session(|new| new).await;
    let login = json!({"username": "nobody", "password": "a password"});
    let long = "k".repeat(129);
    let bad: [&[&[u8]]; 6] = [
        &[b""],
        &[b"0123456789abcde"],
        &[long.as_bytes()],
        &[b"0123456789 abcdef"],
        &[b"0123456789abcdef\xe9"],
        &[KEY.as_bytes(), KEY.as_bytes()],
    ];
    for keys in bad {
        for (path, body) in [(SESSIONS, &login), (&*exchange_path(&token), &json!({}))] {
            let mut request = Request::post(path).header("content-type", "application/json");
            for key in keys {
                request = request.header("idempotency-key", *key);
            }
            let answer = server.send(request.body(body.to_string()).unwrap()).await;
            assert_eq!(invalid_fields(&answer), ["Idempotency-Key"], "{keys:?}");
        }
    }
    let longest = "k".repeat(128);
    let request = Request::post(exchange_path(&token)).header("content-type", "application/json");
    let request = request.header("idempotency-key", longest).body("{}").unwrap();
    server.send(request).await.expect(201);
}

#[tokio::test]
async fn a_request_whose_answer_was_lost_at_the_store_is_answered_by_its_repetition() {
    let store = FaultyStore::new(MemoryStore::new());
    let fixture = Fixture::with(|builder| builder.store(store.clone()));
    let (tokens, here) = (&fixture.tokens, RequestContext::without_address());
    let start = async || -> Result<StartedSession, ErrorKind> {
        let new = NewSession::of(CustomerId::new("cus_1").unwrap()).idempotency_key(KEY);
        let started = tokens.start_session(Actor::Host, new, &here).await;
        started.map_err(|error| error.kind())
    };
    let lost = || StoreFault::lost_reply("reset");
    store.fail(StoreVerb::InsertSession, lost());
    assert_eq!(start().await.unwrap_err(), ErrorKind::Unavailable);
    store.clear_faults();
    let started = start().await.unwrap();
    assert_eq!(start().await.unwrap().token.expose(), started.token.expose());

    let exchange = async || {
        let request = ExchangeRequest::default().idempotency_key(KEY);
        let exchanged =
            tokens.exchange(&started.token, request, &RequestContext::without_address()).await;
        exchanged.map_err(|error| error.kind())
    };
    store.fail(StoreVerb::ReplaceSession, lost());
    assert_eq!(exchange().await.unwrap_err(), ErrorKind::Unavailable);
    store.clear_faults();
    let exchanged = exchange().await.unwrap();
    tokens.validator().validate(exchanged.token.access_token.expose()).unwrap();
    assert_eq!(exchange().await.unwrap().token.token_id, exchanged.token.token_id);
}

#[tokio::test]
async fn a_start_whose_code_is_not_delivered_leaves_no_session_and_may_be_tried_again() {
    let fixture = Fixture::new();
    let (tokens, here) = (&fixture.tokens, RequestContext::without_address());
    let start = async || {
        let new = NewSession::of(CustomerId::new("cus_1").unwrap());
        let new = new.otp_required(true).idempotency_key(KEY);
        tokens.start_session(Actor::Host, new, &here).await
    };
    fixture.outbox.break_down();
    assert_eq!(start().await.unwrap_err().kind(), ErrorKind::Unavailable);
    fixture.outbox.mend();
    let started = start().await.unwrap();
    assert_eq!(fixture.outbox.count(), 1);
    let code = fixture.outbox.last_code();
    let request = ExchangeRequest::default().one_time_password(code);
    tokens.exchange(&started.token, request, &RequestContext::without_address()).await.unwrap();
}

#[tokio::test]
async fn a_session_remembers_a_few_exchanges_and_asks_who_wants_more_to_wait() {
    let fixture = Fixture::new();
    let token = fixture.session(|new| new).await;
    let token = countersign::AuthenticationToken::from_text(token).unwrap();
    let exchange = async |number: u8| {
        let request = ExchangeRequest::default().invalidate(false);
        let request = request.idempotency_key(format!("{KEY}-{number}"));
        fixture
            .tokens
            .exchange(&token, request, &RequestContext::without_address())
            .await
            .map_err(|error| error.kind())
    };
    let first = exchange(0).await.unwrap();
    for number in 1..8 {
        exchange(number).await.unwrap();
    }
    assert_eq!(exchange(8).await.unwrap_err(), ErrorKind::Throttled);
    assert_eq!(exchange(0).await.unwrap().token.token_id, first.token.token_id);
    fixture.clock.advance(Duration::from_secs(60));
    assert_ne!(exchange(0).await.unwrap().token.token_id, first.token.token_id);
}
