//! Clients that hang up, and work that panics: what is written is written whole, and audited once.

use std::time::Duration;

use countersign::store::MemoryStore;
use countersign::testing::{Calls, FaultyStore, StoreVerb};
use countersign::{
    Actor, CustomerId, Entity, EntityId, ErrorKind, ExchangeRequest, Grant, NewSession, Policy,
    RequestContext, Validated,
};
use serde_json::json;
use tracing::Instrument as _;

use crate::support::hang_ups::{
    Asked, Nodes, a_caller_that_hangs_up_at_random_leaves_all_done_or_nothing, answer_of,
};
use crate::support::log::Log;
use crate::support::{Fixture, acl_of};

/// All that a request waits for, but for what housekeeping calls.
const CALLS: [StoreVerb; 10] = [
    StoreVerb::GetEntity,
    StoreVerb::ReplaceEntity,
    StoreVerb::InsertSession,
    StoreVerb::GetSession,
    StoreVerb::ReplaceSession,
    StoreVerb::TakeSession,
    StoreVerb::RemoveSession,
    StoreVerb::CountSessions,
    StoreVerb::SessionsOfSubject,
    StoreVerb::Publish,
];

#[tokio::test]
async fn a_caller_that_hangs_up_at_any_call_of_a_store_leaves_all_done() {
    let store = FaultyStore::new(MemoryStore::new());
    let nodes = Nodes::over([store.clone(), store.clone()]).await;
    for asked in Asked::ALL {
        let mut steps = 0;
        loop {
            let case = nodes.case(asked).await;
            let log = Log::default();
            let _listening = log.listen();
            let calls = Calls::from(CALLS).skip(steps / 2).take(1);
            // Before the call has an effect, and after it.
            let held = if steps % 2 == 0 { store.hold(calls) } else { store.hold_replies(calls) };
            let mut stream = nodes.send(&case).await;
            let is_answered = tokio::select! {
                biased;
                () = held.wait_for(1) => false,
                answer = answer_of(&mut stream) => {
                    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
                    true
                }
            };
            if !is_answered {
                nodes.hang_up(stream).await;
            }
            held.release();
            println!("{asked:?} at step {steps}");
            nodes.settle(std::slice::from_ref(&case), &log, 1).await;
            if is_answered {
                break;
            }
            steps += 1;
        }
        assert!(steps >= 4, "{asked:?} calls its store: {steps}");
    }
}

#[tokio::test]
async fn a_caller_that_hangs_up_at_random_leaves_all_done_or_nothing_on_two_nodes() {
    let store = MemoryStore::new();
    let nodes = Nodes::over([store.clone(), store]).await;
    a_caller_that_hangs_up_at_random_leaves_all_done_or_nothing(&nodes, Duration::from_millis(1))
        .await;
}

#[tokio::test]
async fn what_outlives_its_request_is_logged_in_the_span_of_the_request() {
    let fixture = Fixture::new();
    let token = fixture.tokens.issue(Grant::user("ops")).await.unwrap();
    let log = Log::default();
    let _listening = log.listen();
    let span = tracing::info_span!("the_request", number = 7);
    fixture.tokens.revoke_token(&token.token_id).instrument(span).await.unwrap();
    let text = log.text();
    let event = text.lines().find(|line| line.contains("countersign::audit: ")).unwrap();
    assert!(event.contains("the_request{number=7}"), "{event}");
}

#[tokio::test]
async fn a_panic_is_a_500_and_is_audited_as_failed() {
    let rule = |_: &Validated, _: &EntityId, _| -> bool { panic!("a rule of the host's") };
    let policy = Policy::default().secrets(|secrets| secrets.access_rule(rule));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    fixture.machine("aa-1", "a secret").await;
    let acl = json!([{"scope": {}, "permissions": ["ResetEntitySecret"]}]);
    let manager = fixture.tokens.issue(Grant::user("ops").acl(acl_of(acl))).await.unwrap();
    let server = fixture.serve().await;
    let log = Log::default();
    let _listening = log.listen();

    let body = json!({
        "ver": "1.0.0", "timestamp": fixture.tokens.now().to_string(), "txnId": "1",
        "entityId": "aa-1",
    });
    let bearer = Some(manager.access_token.expose());
    let answer = server.post("/entity/secret/reset", bearer, &body).await.expect(500);
    assert!(!answer.text().contains("rule"), "{answer:?}");
    let event = log.only("reset_secret");
    assert_eq!((&*event["outcome"], &*event["reason"]), ("failed", "panicked"));

    let id = EntityId::machine("aa-1").unwrap();
    let change = |_: Entity| -> Entity { panic!("a change of the host's") };
    let failed = fixture.tokens.update_entity(&id, change).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Internal);
    assert_eq!(log.only("update_entity")["outcome"], "failed");
    fixture.tokens.disable_entity(&id).await.expect("the service goes on");
}

#[tokio::test]
async fn of_many_who_hang_up_on_a_phantom_token_nobody_makes_it_twice() {
    let store = FaultyStore::new(MemoryStore::new());
    let fixture = Fixture::with(|builder| builder.store(store.clone()));
    let new = NewSession::of(CustomerId::new("cus_1").unwrap());
    let here = RequestContext::without_address();
    let started = fixture.tokens.start_session(Actor::Host, new, &here).await.unwrap();
    let app = axum::Router::new()
        .route("/", axum::routing::get(|| async {}))
        .layer(fixture.tokens.exchange_layer());
    let server = crate::support::Server::start(app).await;
    let held = store.hold(StoreVerb::ReplaceSession);
    let request = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\r\n",
        started.token.expose()
    );
    for _ in 0..10 {
        let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
        held.wait_for(1).await;
    }
    held.release();
    server.get("/", Some(started.token.expose())).await.expect(200);
    assert_eq!(store.calls(StoreVerb::ReplaceSession), 1);
    let exchange = ExchangeRequest::default();
    fixture
        .tokens
        .exchange(&started.token, exchange, &RequestContext::without_address())
        .await
        .expect("the session is there");
}
