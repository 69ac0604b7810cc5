//! Redis as operators run it: full, behind sockets and sentinels, and with much to do at once.

use std::time::Duration;

use countersign::clock::{Clock as _, SystemClock};
use countersign::sessions::{Session, SessionState};
use countersign::store::{
    Cursor, PageRequest, RedisStore, SessionFilter, SessionStore, Store as _, Subject,
};
use countersign::{
    Actor, AuthenticationToken, CustomerId, Entity, EntityId, ErrorKind, ExchangeRequest, Grant,
    NewSession, Organization, Policy, RequestContext, SubjectType,
};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::json;

use crate::servers::{EngineServer, token_server_over};
use crate::support::durable::{MINUTE, fixture_over, fixture_with, revocation, session};
use crate::support::programs::{Folder, TokenServer, seed};

async fn fill(server: &EngineServer) {
    let _: String = server.redis_command(&["CONFIG", "SET", "maxmemory", "1"]).await;
}

async fn make_room(server: &EngineServer) {
    let _: String = server.redis_command(&["CONFIG", "SET", "maxmemory", "0"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_memory_is_full_rejects_what_is_new_and_nothing_else() {
    let server = EngineServer::redis();
    server.redis_node().migrate().await.unwrap();
    let fixture = fixture_over(server.redis_node()).await;
    let tokens = &fixture.tokens;
    let context = RequestContext::without_address();
    fixture.machine("aa-1", "the-secret-of-a-machine").await;
    fixture.machine("aa-2", "the-secret-of-a-machine").await;
    let session = async |text: String| AuthenticationToken::from_text(&text).unwrap();
    let [exchanged, kept, logged_out] = [
        session(fixture.session(|new| new).await).await,
        session(fixture.session(|new| new).await).await,
        session(fixture.session(|new| new).await).await,
    ];
    let reused = ExchangeRequest::default().invalidate(false);
    let jwt = tokens.exchange(&logged_out, reused.clone(), &context).await.unwrap();
    let token = tokens.issue(Grant::user("ops")).await.unwrap();

    fill(&server).await;
    let new = tokens.start_session(Actor::Host, new_session(), &context).await;
    assert_eq!(new.unwrap_err().kind(), ErrorKind::Unavailable);
    let new = tokens.register(Entity::machine("aa-3").unwrap()).await;
    assert_eq!(new.unwrap_err().kind(), ErrorKind::Unavailable);
    let again = tokens.register(Entity::machine("aa-1").unwrap()).await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::Conflict, "nothing has to be written");

    tokens.exchange(&exchanged, ExchangeRequest::default(), &context).await.unwrap();
    tokens.exchange(&kept, reused, &context).await.unwrap();
    tokens.log_out_customer(&logged_out, &context).await.unwrap();
    tokens.revoke_token(&token.token_id).await.unwrap();
    tokens.disable_entity(&EntityId::machine("aa-1").unwrap()).await.unwrap();
    tokens.remove_entity(&EntityId::machine("aa-2").unwrap()).await.unwrap();

    let other = fixture_over(server.redis_node()).await;
    for revoked in [&token.access_token, &jwt.token.access_token] {
        let rejected = other.tokens.validator().validate(revoked.expose());
        rejected.expect_err("every node hears of it");
    }
    for ended in [&exchanged, &logged_out] {
        let found = other.tokens.find_session(ended, &context).await;
        assert_eq!(found.unwrap_err().kind(), ErrorKind::NotFound);
    }
    let found = other.tokens.find_session(&kept, &context).await.unwrap();
    assert!(matches!(found, SessionState::Proven(_)));
    make_room(&server).await;
    tokens.register(Entity::machine("aa-3").unwrap()).await.unwrap();
}

fn new_session() -> NewSession {
    NewSession::of(CustomerId::new("cus_1").unwrap())
}

/// Sessions that have expired while tokens of them live are kept, and taken out of the lists.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_memory_is_full_is_purged() {
    let server = EngineServer::redis();
    let store = server.redis_node();
    let now = SystemClock.now();
    let ended = session(now - MINUTE * 5);
    SessionStore::insert(&store, ended.clone(), now).await.unwrap();
    let text = countersign::store::record::write_session(&ended.clone().next_version(now)).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&text).unwrap();
    record["tokens_until"] = json!((now + MINUTE).as_micros());
    let issued_from = countersign::store::record::read_session(&record.to_string()).unwrap();
    SessionStore::replace(&store, issued_from, ended.version(), now).await.unwrap();
    fill(&server).await;
    assert_eq!(store.purge_expired(now).await.unwrap(), 1, "it is taken out of the lists");
    assert_eq!(store.purge_expired(now).await.unwrap(), 0, "and next looked at when it ends");
    assert!(SessionStore::get(&store, &ended.key()).await.unwrap().is_some());
}

/// Inserts many sessions of a customer, some at a time.
async fn insert_all(store: &RedisStore, sessions: Vec<Session>) {
    let inserting = sessions.into_iter().map(|session| {
        let created_at = session.created_at();
        SessionStore::insert(store, session, created_at)
    });
    stream::iter(inserting).buffer_unordered(64).try_collect::<()>().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_right_where_many_thousands_have_expired_at_once() {
    let server = EngineServer::redis();
    let store = server.redis_node();
    let now = SystemClock.now();
    let expired = (0..8_000).map(|_| session(now - MINUTE * 5));
    let live = (0..3).map(|_| session(now));
    insert_all(&store, expired.chain(live).collect()).await;
    let page = PageRequest::first(10);
    until(async || {
        let listed = SessionStore::list(&store, &SessionFilter::all(), &page, now).await.unwrap();
        assert_eq!(listed.sessions.len(), 3, "also before the last of the others is taken out");
        assert!(listed.total >= 3);
        listed.total == 3
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_sessions_of_a_subject_are_ended_in_steps() {
    let server = EngineServer::redis();
    let policy = Policy::default().sessions(|sessions| sessions.max_per_customer(100_000));
    let fixture = fixture_with(server.redis_node(), policy).await;
    let now = fixture.clock.now();
    let store = server.redis_node();
    insert_all(&store, (0..3_000).map(|_| session(now)).collect()).await;
    let customer = Subject::new(SubjectType::Customer, "cus_1");
    let (mut after, mut read) = (Cursor::START, 0);
    loop {
        let part = store.of_subject(&customer, &after, 100).await.unwrap();
        assert!(part.sessions.len() < 400, "about as many as were asked for");
        read += part.sessions.len();
        let Some(next) = part.next else { break };
        after = next;
    }
    assert!(read >= 3_000);
    let customer = fixture.tokens.principal(SubjectType::Customer, "cus_1", Organization::All);
    let earlier = fixture.tokens.revoke_subject(&customer, now - MINUTE * 60).await.unwrap();
    assert_eq!(earlier.sessions, 0);
    let all = fixture.tokens.revoke_subject(&customer, now).await.unwrap();
    assert_eq!(all.sessions, 3_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_server_starts_again_over_a_server_whose_memory_is_full() {
    let server = EngineServer::redis();
    let folder = Folder::new("full");
    let seed = folder.write("seed.json", &seed().to_string());
    let outbox = folder.path().join("outbox.jsonl");
    let command = || {
        let mut command = token_server_over(&server.url());
        command.env("COUNTERSIGN_SEED", &seed).env("COUNTERSIGN_OUTBOX", &outbox);
        command
    };
    drop(TokenServer::start(command()));
    fill(&server).await;
    let node = TokenServer::start(command());
    let body = "username=ops@example.com&password=pass-word";
    node.post("/user/token/generate", "application/x-www-form-urlencoded", body).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_checked_whatever_the_url_says() {
    let rejected = RedisStore::connect("rediss://127.0.0.1/#insecure").unwrap_err();
    assert_eq!(rejected.kind(), ErrorKind::Configuration);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_reached_by_a_socket_of_the_machine() {
    let folder = Folder::new("socket");
    let socket = folder.path().join("redis.sock").to_str().unwrap().to_owned();
    let _server = EngineServer::redis_with(&["--unixsocket", &socket, "--unixsocketperm", "700"]);
    for scheme in ["unix", "redis+unix"] {
        let store = RedisStore::connect(&format!("{scheme}://{socket}?db=1")).unwrap();
        store.migrate().await.unwrap();
        assert!(store.is_current().await.unwrap());
    }
    let node = TokenServer::start(token_server_over(&format!("unix://{socket}")));
    node.get("/.well-known/jwks.json", "").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_that_sentinels_name_is_followed_through_a_failover() {
    let primary = EngineServer::redis();
    let replica = EngineServer::redis();
    let port = primary.address.port().to_string();
    let _: String = replica.redis_command(&["REPLICAOF", "127.0.0.1", &port]).await;
    let sentinel = primary.sentinel();
    let sentinels = [format!("redis://{}", sentinel.address)];
    let store = RedisStore::connect_sentinel(sentinels, "redis://countersign").unwrap();
    store.migrate().await.unwrap();
    let event = revocation();
    store.publish(event.clone()).await.unwrap();
    until(async || {
        let waited: i64 = primary.redis_command(&["WAIT", "1", "1000"]).await;
        let known: Vec<Vec<String>> =
            sentinel.redis_command(&["SENTINEL", "REPLICAS", "countersign"]).await;
        waited == 1 && known.len() == 1
    })
    .await;
    primary.stop();
    let after = SystemClock.now();
    let written = session(after);
    until(async || SessionStore::insert(&store, written.clone(), after).await.is_ok()).await;
    let found = SessionStore::get(&replica.redis_node(), &written.key()).await.unwrap();
    assert!(found.is_some());
    let read = store.read_feed(&Cursor::START, Duration::ZERO).await.unwrap();
    assert_eq!(read.events, [event]);
    let url = format!("redis-sentinel://countersign?{}", sentinel.address);
    let node = TokenServer::start(token_server_over(&url));
    node.get("/.well-known/jwks.json", "").await.expect(200);
}

/// Waits until a condition is met.
async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(MINUTE, waiting).await.expect("within a minute");
}
