//! What is true of the store in Redis alone, against servers of a test's own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use countersign::clock::{Clock as _, SystemClock};
use countersign::sessions::Session;
use countersign::store::{
    Cursor, EntityStore, PageRequest, RedisOptions, RedisStore, SessionFilter, SessionStore,
    Store as _, StoreError, Subject, conformance,
};
use countersign::{
    Algorithm, AuthenticationToken, CustomerId, Entity, EntityId, ErrorKind, ExchangeRequest,
    Grant, ManagedKeys, OrganizationId, RequestContext, SealingKey, Secret, SessionId, SubjectType,
    Timestamp,
};

use crate::proxy::Proxy;
use crate::servers::{EngineServer, redis_cluster_node, redis_node};
use crate::support::durable::{
    MINUTE, fixture_over, no_secret_is_in, revocation, revocation_until, session,
    what_the_first_release_wrote_is_in,
};
use crate::support::{Fixture, unique};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_answer_was_lost_is_made_once_and_answered_as_made() {
    let server = EngineServer::redis();
    let proxy = Proxy::to(server.address).await;
    let store = proxy.redis_node();
    let now = SystemClock.now();

    let entity = Entity::machine("aa-1").unwrap();
    EntityStore::insert(&store, entity.clone()).await.unwrap();
    let again = EntityStore::insert(&store, entity.clone()).await;
    assert!(matches!(again, Err(StoreError::Conflict)));
    proxy.lose_answer_after(1);
    EntityStore::replace(&store, entity.clone().next_version(), 1).await.unwrap();
    assert!(proxy.has_lost_an_answer());
    proxy.lose_answer_after(2);
    assert!(EntityStore::remove(&store, entity.id()).await.unwrap());
    assert!(proxy.has_lost_an_answer());
    // Before the record come a look at it, and the index that it is listed by.
    proxy.lose_answer_after(2);
    EntityStore::insert(&store, entity.clone()).await.unwrap();
    assert!(proxy.has_lost_an_answer());

    let first = session(now);
    SessionStore::insert(&store, first.clone(), now).await.unwrap();
    proxy.lose_next_answer();
    let second = first.clone().next_version(now);
    SessionStore::replace(&store, second.clone(), first.version(), now).await.unwrap();
    assert!(proxy.has_lost_an_answer());
    proxy.lose_next_answer();
    let taken = store.take(&first.key(), second.version()).await.unwrap();
    assert!(proxy.has_lost_an_answer());
    assert_eq!(taken.unwrap().id(), first.id(), "its taker gets it, though the answer was lost");
    assert!(store.take(&first.key(), second.version()).await.unwrap().is_none());
    assert!(SessionStore::get(&store, &first.key()).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_one_no_more_is_left_for_its_successor() {
    let (first, second) = (EngineServer::redis(), EngineServer::redis());
    let proxy = Proxy::to(first.address).await;
    let store = proxy.redis_node();
    let now = SystemClock.now();
    SessionStore::insert(&store, session(now), now).await.unwrap();
    // The connections of those who wrote to it stay open.
    let port = second.address.port().to_string();
    let _: String = first.redis_command(&["REPLICAOF", "127.0.0.1", &port]).await;
    proxy.turn_to(second.address);
    let written = session(now);
    SessionStore::insert(&store, written.clone(), now).await.unwrap();
    assert!(SessionStore::get(&second.redis_node(), &written.key()).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_vanishes_without_a_word_is_given_up_after_one_call() {
    let (first, second) = (EngineServer::redis(), EngineServer::redis());
    let proxy = Proxy::to(first.address).await;
    let store = proxy.redis_node();
    let now = SystemClock.now();
    SessionStore::insert(&store, session(now), now).await.unwrap();
    proxy.strand();
    proxy.turn_to(second.address);
    let rejected = SessionStore::insert(&store, session(now), now).await.unwrap_err();
    assert!(matches!(rejected, StoreError::Unavailable(_)), "{rejected:?}");
    SessionStore::insert(&store, session(now), now).await.unwrap();
}

/// A store that connects as the user `app`.
fn of_app(server: &EngineServer) -> RedisStore {
    RedisStore::connect(&format!("redis://app:secret@{}", server.address)).unwrap()
}

/// Makes that user, with what the docs say that it needs, and no more.
async fn let_app_in(server: &EngineServer) {
    let user = ["ACL", "SETUSER", "app", "on", ">secret", "~countersign:*", "-@all"];
    let may = ["+@read", "+@write", "+eval", "+evalsha"];
    let _: String = server.redis_command(&[&user[..], &may[..]].concat()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_is_let_in_later_is_not_kept_out_for_ever() {
    let server = EngineServer::redis();
    let store = of_app(&server);
    let error = store.migrate().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let_app_in(&server).await;
    store.migrate().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_needs_no_more_than_the_docs_say() {
    let server = EngineServer::redis();
    let_app_in(&server).await;
    let store = of_app(&server);
    store.migrate().await.unwrap();
    let published = revocation();
    store.publish(published.clone()).await.unwrap();
    let read = store.read_feed(&Cursor::START, Duration::ZERO).await.unwrap();
    assert_eq!(read.events, [published]);
    let now = SystemClock.now();
    let written = session(now);
    SessionStore::insert(&store, written.clone(), now).await.unwrap();
    assert!(store.take(&written.key(), 1).await.unwrap().is_some());
    store.purge_expired(now).await.unwrap();
}

const INSERT: &str = concat!(
    include_str!("../../src/service/store/redis/scripts/time.lua"),
    include_str!("../../src/service/store/redis/scripts/insert.lua")
);
const REPLACE: &str = concat!(
    include_str!("../../src/service/store/redis/scripts/time.lua"),
    include_str!("../../src/service/store/redis/scripts/replace.lua")
);
const TAKE: &str = include_str!("../../src/service/store/redis/scripts/take.lua");

/// The repetition of a call comes late here: others were there in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repetition_that_comes_late_undoes_nothing_of_what_others_did() {
    let server = EngineServer::redis();
    let insert = async |writer: &str, version: &str| -> i64 {
        server
            .redis_command(&[
                "EVAL", INSERT, "1", "k", writer, version, "record", "id", "0", "", "0",
            ])
            .await
    };
    let replace = async |writer: &str, version: &str, expected: &str| -> (i64, String) {
        let line = ["EVAL", REPLACE, "1", "k", writer, version, "new", "", "0", "", "0", expected];
        server.redis_command(&line).await
    };
    let take = async |taker: &str, version: &str| -> (i64, String, String) {
        server.redis_command(&["EVAL", TAKE, "1", "k", taker, version, "", "10000"]).await
    };
    let taken = |record: &str| (1, record.to_owned(), "id".to_owned());
    let is_there = async || -> bool { server.redis_command(&["HEXISTS", "k", "version"]).await };

    assert_eq!(insert("a", "1").await, 1);
    assert_eq!(take("b", "1").await, taken("record"));
    assert_eq!(insert("a", "1").await, 1, "it was written");
    assert!(!is_there().await, "and what was taken stays gone");

    assert_eq!(insert("c", "1").await, 1, "another one may be written");
    assert_eq!(take("b", "").await.0, 1, "its taker took the one before");
    assert!(is_there().await, "and not this one");

    assert_eq!(replace("d", "2", "1").await, (1, "0".to_owned()));
    assert_eq!(replace("d", "2", "1").await, (1, String::new()));
    assert_eq!(replace("e", "3", "2").await.0, 1);
    assert_eq!(replace("d", "2", "1").await.0, 0);
    assert_eq!(take("f", "2").await.0, -1);
    assert_eq!(take("f", "3").await, taken("new"));
    assert_eq!(take("f", "3").await, taken("new"));
    assert_eq!(take("g", "3").await.0, 0);
}

const CLAIM: &str = include_str!("../../src/service/store/redis/scripts/claim_name.lua");
const CONFIRM: &str = include_str!("../../src/service/store/redis/scripts/confirm_name.lua");
const RELEASE: &str = include_str!("../../src/service/store/redis/scripts/release_name.lua");

/// Two holders, `A` and `B`, want one name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_of_whoever_confirms_it_and_nobody_takes_over_what_was_confirmed_meanwhile() {
    let server = EngineServer::redis();
    let claim = async |claim: &str, holder: &str, former: [&str; 2]| -> [String; 3] {
        let line = ["EVAL", CLAIM, "1", "k", claim, holder, former[0], former[1]];
        let (holder, claim, state) = server.redis_command(&line).await;
        [holder, claim, state]
    };
    let confirm = async |claim: &str, holder: &str| -> bool {
        server.redis_command(&["EVAL", CONFIRM, "1", "k", claim, holder]).await
    };
    let release = async |claim: &str| -> bool {
        let _: i64 = server.redis_command(&["EVAL", RELEASE, "1", "k", claim]).await;
        server.redis_command::<bool>(&["EXISTS", "k"]).await
    };
    let (nobodys, claimed) = (["", ""], ["", "", ""]);

    assert_eq!(claim("a1", "A", nobodys).await, claimed);
    assert_eq!(claim("a1", "A", nobodys).await, claimed, "told twice");
    assert_eq!(claim("b1", "B", nobodys).await, ["A", "a1", "claimed"]);
    assert!(confirm("a1", "A").await);
    assert_eq!(claim("a1", "A", nobodys).await, claimed, "and told again");
    // `B` has looked for a record of `A`'s before there was one.
    assert_eq!(claim("b1", "B", ["a1", "claimed"]).await, ["A", "a1", "registered"]);

    // `A` was removed, and has not freed it.
    assert_eq!(claim("b1", "B", ["a1", "registered"]).await, claimed);
    assert!(!confirm("a1", "A").await, "who was slow finds it taken over");
    assert!(release("a1").await, "and frees nothing");
    // Another call for `B`: whichever has written its record has the name.
    assert_eq!(claim("b2", "B", ["b1", "claimed"]).await, claimed);
    assert!(confirm("b1", "B").await);
    assert!(release("b2").await);
    assert!(!release("b1").await);
    assert!(confirm("b1", "B").await, "where it is free");
}

/// Which of a store's keys is a name's.
async fn name_key(server: &EngineServer) -> String {
    let mut keys: Vec<String> = server.redis_command(&["KEYS", "countersign:name:*"]).await;
    assert_eq!(keys.len(), 1, "{keys:?}");
    keys.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_a_dead_call_or_removal_has_left_claimed_is_taken_over() {
    let server = EngineServer::redis();
    let store = server.redis_node();
    let tokens = fixture_over(store.clone()).await.tokens;
    let register = async |name: &str| tokens.register(Entity::machine(name).unwrap()).await;
    register("aa-1").await.unwrap();
    let key = name_key(&server).await;
    let record = "countersign:entity:entity:aa-1";
    for state in ["registered", "claimed"] {
        // As it is after either has died: the name is held, and there is no record.
        let _: i64 = server.redis_command(&["DEL", record]).await;
        let _: i64 = server.redis_command(&["HSET", &key, "state", state]).await;
        register("AA-1").await.unwrap();
        assert_eq!(register("aa-1").await.unwrap_err().kind(), ErrorKind::Conflict);
        let _: i64 = server.redis_command(&["DEL", "countersign:entity:entity:AA-1"]).await;
        register("aa-1").await.unwrap();
    }
    // One that has died after its record was written is registered, though it is not confirmed.
    let _: i64 = server.redis_command(&["HSET", &key, "state", "claimed"]).await;
    assert_eq!(register("AA-1").await.unwrap_err().kind(), ErrorKind::Conflict);
    tokens.remove_entity(&EntityId::machine("aa-1").unwrap()).await.unwrap();
    let left: bool = server.redis_command(&["EXISTS", &key]).await;
    assert!(!left, "a removal leaves nothing behind");
    register("AA-1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_whose_answers_are_lost_leaves_a_name_to_one() {
    let server = EngineServer::redis();
    let proxy = Proxy::to(server.address).await;
    let registering = fixture_over(proxy.redis_node()).await.tokens;
    let other = fixture_over(server.redis_node()).await.tokens;
    let [one, another] = ["aa-1", "AA-1"].map(|name| Entity::machine(name).unwrap());
    // It connects, and the server gets to know the scripts.
    registering.register(one.clone()).await.unwrap();
    registering.remove_entity(one.id()).await.unwrap();
    // It looks, claims, writes and confirms.
    for answers in 0..4 {
        proxy.lose_answer_after(answers);
        registering.register(one.clone()).await.unwrap();
        assert!(proxy.has_lost_an_answer());
        let rejected = other.register(another.clone()).await.unwrap_err();
        assert_eq!(rejected.kind(), ErrorKind::Conflict, "{answers}");
        other.remove_entity(one.id()).await.unwrap();
    }
    // A removal: it reads, disables, publishes twice, removes and frees the name.
    for answers in 0..8 {
        registering.register(one.clone()).await.unwrap();
        proxy.lose_answer_after(answers);
        registering.remove_entity(one.id()).await.unwrap();
        while !proxy.has_lost_an_answer() {
            registering.find_entity(one.id()).await.unwrap();
        }
        other.register(another.clone()).await.unwrap();
        other.remove_entity(another.id()).await.unwrap();
    }
    let left: Vec<String> = server.redis_command(&["KEYS", "countersign:name:*"]).await;
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_that_is_kept_for_long_keeps_no_other_one() {
    let store = redis_node(&unique("t"));
    let now = SystemClock.now();
    let long = revocation_until(Timestamp::MAX);
    store.publish(long.clone()).await.unwrap();
    store.publish(revocation_until(now)).await.unwrap();
    assert_eq!(store.purge_expired(now).await.unwrap(), 1);
    let left = store.read_feed(&Cursor::START, Duration::ZERO).await.unwrap();
    assert_eq!(left.events, [long]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_an_index_and_names_no_session_stands_in_nobodys_way() {
    let server = EngineServer::redis();
    let store = server.redis_node();
    let now = SystemClock.now();
    let (ended, live) = (session(now - MINUTE * 5), session(now));
    for session in [&ended, &live] {
        SessionStore::insert(&store, session.clone(), session.created_at()).await.unwrap();
    }
    let by_subject = format!("subject:{}", live.subject().to_index_text());
    for index in ["session-ends", "sessions", "customer:cus_1", &by_subject] {
        let key = format!("countersign:{index}");
        let _: i64 = server.redis_command(&["ZADD", &key, "1", "no session"]).await;
    }
    while store.purge_expired(now).await.unwrap() > 0 {}
    assert!(SessionStore::get(&store, &ended.key()).await.unwrap().is_none());
    let page = PageRequest::first(10);
    let listed = SessionStore::list(&store, &SessionFilter::all(), &page, now).await.unwrap();
    assert_eq!(listed.total, 1);
    let theirs = store.of_subject(&live.subject(), &Cursor::START, 10).await.unwrap().sessions;
    assert_eq!(theirs.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_is_too_long_for_one_read_is_caught_up_with_in_parts() {
    let server = EngineServer::redis();
    let other = fixture_over(server.redis_node()).await;
    let token = other.tokens.issue(Grant::user("ops")).await.unwrap();
    let long = "for n = 1, 60000 do redis.call('XADD', KEYS[1], '*', 'record', ARGV[1]) end";
    let record = countersign::store::record::write_event(&revocation()).unwrap();
    let feed = "countersign:{revocations}";
    let _: ::redis::Value = server.redis_command(&["EVAL", long, "1", feed, &record]).await;
    other.tokens.revoke_token(&token.token_id).await.unwrap();

    let store = server.redis_node();
    let (mut cursor, mut parts, mut read) = (Cursor::START, 0, 0);
    loop {
        let part = store.read_feed(&cursor, Duration::ZERO).await.unwrap();
        (parts, read) = (parts + 1, read + part.events.len());
        if part.is_complete {
            break;
        }
        cursor = part.next;
    }
    assert_eq!(read, 60_001);
    assert!(parts > 1, "one read would take too long");

    let validator = other.tokens.validator();
    let issuer = validator.issuer().to_owned();
    let keys = countersign::KeyRing::generate(countersign::Algorithm::EdDSA).unwrap();
    let tokens = countersign::TokenService::builder()
        .issuer(issuer)
        .audience(crate::support::AUDIENCE)
        .keys(keys)
        .sealing_key(SealingKey::from_bytes([7; 32]))
        .session_store(store)
        .build()
        .unwrap();
    let issue = async || tokens.issue(countersign::Grant::user("ops")).await;
    assert_eq!(issue().await.unwrap_err().kind(), ErrorKind::Unavailable, "it has heard nothing");
    tokens.catch_up().await.unwrap();
    let own = issue().await.unwrap();
    tokens.validator().validate(own.access_token.expose()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_server_ended_are_not_an_error_of_the_next_call() {
    let server = EngineServer::redis();
    let (reader, writer) = (server.redis_node(), server.redis_node());
    let mut cursor = reader.read_feed(&Cursor::START, Duration::ZERO).await.unwrap().next;
    for _ in 0..3 {
        let wanted = revocation();
        let waiting = reader.read_feed(&cursor, MINUTE);
        let publishing = async {
            let _: i64 = server.redis_command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
            writer.publish(wanted.clone()).await.unwrap();
        };
        let (read, ()) = tokio::join!(waiting, publishing);
        let read = read.unwrap();
        assert_eq!(read.events, [wanted]);
        cursor = read.next;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_gone_is_unavailable_and_comes_back_with_what_it_answered() {
    let server = EngineServer::redis();
    let store = server.redis_node();
    let now = SystemClock.now();
    let kept = session(now);
    SessionStore::insert(&store, kept.clone(), now).await.unwrap();
    let published = revocation();
    store.publish(published.clone()).await.unwrap();
    let cursor = store.read_feed(&Cursor::START, Duration::ZERO).await.unwrap().next;

    server.stop();
    let error = SessionStore::get(&store, &kept.key()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    let error = store.take(&kept.key(), 1).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert_eq!(store.migrate().await.unwrap_err().kind(), ErrorKind::Unavailable);

    server.start();
    assert!(store.take(&kept.key(), 1).await.unwrap().is_some());
    // The server may be known by another history now: then all that matters is read again.
    let read = store.read_feed(&cursor, Duration::ZERO).await.unwrap();
    assert!(read.events.iter().all(|revocation| *revocation == published));
    let later = revocation();
    store.publish(later.clone()).await.unwrap();
    let read = store.read_feed(&read.next, Duration::ZERO).await.unwrap();
    assert_eq!(read.events, [later]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_of_a_feed_that_is_gone_reads_all_again() {
    let server = EngineServer::redis();
    let store = server.redis_node();
    store.publish(revocation()).await.unwrap();
    let cursor = store.read_feed(&Cursor::START, Duration::ZERO).await.unwrap().next;
    // As a clock that was far ahead leaves it.
    let (history, _) = cursor.mark().unwrap().split_once('/').unwrap();
    let ahead = Cursor::new(&format!("{history}/9000000000000-0"));
    let other = Cursor::new("0123456789012345678901234567890123456789/0-0");
    let none = Cursor::new("no mark of ours");
    for cursor in [ahead, other, none] {
        let read = store.read_feed(&cursor, Duration::ZERO).await.unwrap();
        assert_eq!(read.events.len(), 1, "{cursor:?}");
        let end = store.read_feed(&read.next, Duration::ZERO).await.unwrap();
        assert!(end.events.is_empty());
    }
}

/// A replica of a server, which has what that has.
pub async fn replica_of(server: &EngineServer) -> EngineServer {
    let primary = format!("127.0.0.1 {}", server.address.port());
    let replica = EngineServer::redis_with(&["--replicaof", &primary]);
    let keys: i64 = server.redis_command(&["DBSIZE"]).await;
    let copying = async {
        while replica.redis_command::<i64>(&["DBSIZE"]).await < keys {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(MINUTE, copying).await.expect("the replica never got the data");
    replica
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_that_lost_entries_no_revocation_is_skipped() {
    after_a_failover_no_revocation_is_skipped("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_may_not_ask_for_the_history_skips_no_revocation_after_a_failover() {
    after_a_failover_no_revocation_is_skipped("app:secret@").await;
}

/// The replica takes over while its primary goes on for a while, as in a partition.
async fn after_a_failover_no_revocation_is_skipped(user: &str) {
    let primary = EngineServer::redis();
    let line = Proxy::to(primary.address).await;
    primary.redis_node().publish(revocation()).await.unwrap();
    let replica = replica_of(&primary).await;
    for server in [&primary, &replica] {
        let_app_in(server).await;
    }
    let store = RedisStore::connect(&format!("redis://{user}{}", line.address)).unwrap();
    let _: String = replica.redis_command(&["REPLICAOF", "NO", "ONE"]).await;
    // The id of the one is not above that of the other, which gets lost.
    let published = revocation();
    replica.redis_node().publish(published.clone()).await.unwrap();
    store.publish(revocation()).await.unwrap();
    let read = store.read_feed(&Cursor::START, Duration::ZERO).await.unwrap();
    assert_eq!(read.events.len(), 2);
    assert!(!read.history_changed);

    line.turn_to(replica.address);
    line.cut();
    let again = store.read_feed(&read.next, Duration::ZERO).await.unwrap();
    assert!(again.events.contains(&published));
    assert!(again.history_changed, "the page says so");
    let end = store.read_feed(&again.next, Duration::ZERO).await.unwrap();
    assert!(end.events.is_empty() && !end.history_changed, "and says so once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_replica_says_is_believed() {
    let primary = EngineServer::redis();
    let line = Proxy::to(primary.address).await;
    let store = line.redis_node();
    let now = SystemClock.now();
    let kept = session(now);
    SessionStore::insert(&store, kept.clone(), now).await.unwrap();
    store.publish(revocation()).await.unwrap();
    store.migrate().await.unwrap();
    store.write_sealing_check("sealed").await.unwrap();
    // A server has another name once it is replicated.
    let replica = replica_of(&primary).await;
    let cursor = store.read_feed(&Cursor::START, Duration::ZERO).await.unwrap().next;
    line.turn_to(replica.address);
    line.cut();
    for _ in 0..2 {
        let read = SessionStore::get(&store, &kept.key()).await.unwrap_err();
        assert!(matches!(read, StoreError::Unavailable(_)), "{read:?}");
        let read = store.read_feed(&cursor, Duration::ZERO).await.unwrap_err();
        assert!(matches!(read, StoreError::Unavailable(_)), "{read:?}");
        // Nor is it where it says that there is nothing.
        let (all, page) = (SessionFilter::all(), PageRequest::first(10));
        let unknown = SessionFilter::all().of_customer(CustomerId::new("cus_9").unwrap());
        let subject = Subject::new(SubjectType::Customer, "cus_9");
        let of_subject = store.of_subject(&subject, &Cursor::START, 10).await;
        let reads = [
            ("list", SessionStore::list(&store, &all, &page, now).await.err()),
            ("empty list", SessionStore::list(&store, &unknown, &page, now).await.err()),
            ("count", store.count(&kept.subject(), now, 10).await.err()),
            ("sessions of a subject", of_subject.err()),
            (
                "removal",
                SessionStore::remove(&store, &SessionId::new("sid-0").unwrap()).await.err(),
            ),
            ("entities", EntityStore::list(&store, SubjectType::User, None, None, 10).await.err()),
            ("version", store.is_current().await.err()),
            ("sealing check", store.read_sealing_check().await.err()),
        ];
        for (read, error) in reads {
            assert!(matches!(error, Some(StoreError::Unavailable(_))), "{read}: {error:?}");
        }
    }
    // Connections that were made meanwhile lead to the replica, and stay.
    line.turn_to(primary.address);
    assert!(SessionStore::get(&store, &kept.key()).await.unwrap().is_some());
    let read = store.read_feed(&cursor, Duration::ZERO).await.unwrap();
    assert!(read.is_complete && !read.history_changed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_was_left_by_its_replicas_does_not_say_that_nothing_was_revoked() {
    let server = EngineServer::redis();
    let store = server.redis_node();
    store.publish(revocation()).await.unwrap();
    let cursor = store.read_feed(&Cursor::START, Duration::ZERO).await.unwrap().next;
    let _: String = server.redis_command(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    let read = store.read_feed(&cursor, Duration::ZERO).await.unwrap_err();
    assert!(matches!(read, StoreError::Unavailable(_)), "{read:?}");
    let _: String = server.redis_command(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
    assert!(store.read_feed(&cursor, Duration::ZERO).await.unwrap().is_complete);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_feed_is_read_whole_and_trimmed_by_age() {
    let store = redis_node(&unique("t"));
    let now = SystemClock.now();
    let mut publishing = Vec::new();
    for _ in 0..2_500 {
        let store = store.clone();
        publishing.push(tokio::spawn(async move { store.publish(revocation_until(now)).await }));
    }
    for published in publishing {
        published.await.unwrap().unwrap();
    }
    let read = store.read_feed(&Cursor::START, Duration::ZERO).await.unwrap();
    assert_eq!(read.events.len(), 2_500);
    assert_eq!(store.purge_expired(now - MINUTE).await.unwrap(), 0, "all of it still matters");
    let live = revocation_until(now + MINUTE * 10);
    store.publish(live.clone()).await.unwrap();
    let mut purged = 0;
    loop {
        match store.purge_expired(SystemClock.now()).await.unwrap() {
            0 => break,
            part => purged += part,
        }
    }
    assert_eq!(purged, 2_500);
    let left = store.read_feed(&Cursor::START, Duration::ZERO).await.unwrap();
    assert_eq!(left.events, std::slice::from_ref(&live));
    let after = store.read_feed(&read.next, Duration::ZERO).await.unwrap();
    assert_eq!(after.events, [live], "trimming moves no cursor");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_replica_to_wait_for_the_contract_holds_and_without_it_writes_are_unavailable() {
    let server = EngineServer::redis();
    let replica =
        EngineServer::redis_with(&["--replicaof", &format!("127.0.0.1 {}", server.address.port())]);
    let options = RedisOptions::default().wait_for_replicas(1, Duration::from_millis(500));
    let store = RedisStore::connect_with(&server.url(), options).unwrap();
    // It answers once the replica is there.
    let now = SystemClock.now();
    let mut tries = 0;
    while SessionStore::insert(&store, session(now), now).await.is_err() {
        tries += 1;
        assert!(tries < 60, "the replica never got a write");
    }
    conformance::check_entity_store(Arc::new(store.clone())).await;
    conformance::check_session_store(Arc::new(store.clone())).await;

    replica.stop();
    let rejected = SessionStore::insert(&store, session(now), now).await.unwrap_err();
    assert!(matches!(rejected, StoreError::Unavailable(_)), "{rejected:?}");
    let rejected = store.publish(revocation()).await.unwrap_err();
    assert!(matches!(rejected, StoreError::Unavailable(_)), "{rejected:?}");
}

/// All that is left of sessions in a server: how many keys of each sort.
async fn left_over(server: &EngineServer) -> Vec<String> {
    let keys: Vec<String> = server.redis_command(&["KEYS", "countersign:*"]).await;
    let is_kept = |key: &String| key.ends_with("version");
    let mut left = Vec::new();
    for key in keys.into_iter().filter(|key| !is_kept(key)) {
        // What was taken is kept aside for a moment, and nothing else ends so soon.
        let time_left: i64 = server.redis_command(&["PTTL", &key]).await;
        if !(0..=10_000).contains(&time_left) {
            left.push(key);
        }
    }
    left
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_has_ended_or_was_taken_leaves_nothing_behind() {
    let server = EngineServer::redis();
    let store = server.redis_node();
    let now = SystemClock.now() - MINUTE * 60 * 24 * 365;
    let organization = OrganizationId::new("org_1").unwrap();
    let fixture = fixture_over(store.clone()).await;
    fixture.clock.set(now);
    for number in 0..25 {
        let token = fixture.session(|new| new.organization(organization.clone())).await;
        if number < 5 {
            let token = AuthenticationToken::from_text(&token).unwrap();
            fixture
                .tokens
                .exchange(&token, ExchangeRequest::default(), &RequestContext::without_address())
                .await
                .unwrap();
        }
    }
    let everything = PageRequest::first(100);
    let all = SessionFilter::all();
    let listed = SessionStore::list(&store, &all, &everything, now).await.unwrap();
    assert_eq!(listed.total, 20);
    for session in &listed.sessions[..10] {
        assert!(store.take(&session.key(), session.version()).await.unwrap().is_some());
    }
    assert_eq!(SessionStore::list(&store, &all, &everything, now).await.unwrap().total, 10);
    while store.purge_expired(SystemClock.now()).await.unwrap() > 0 {}
    // Index entries of what was taken are cleaned in the background, or else by the purge.
    assert_eq!(left_over(&server).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn index_entries_that_lead_to_nothing_are_passed_over_and_purged() {
    let server = EngineServer::redis();
    let store = server.redis_node();
    let now = SystemClock.now() - MINUTE * 2;
    let (kept, lost) = (session(now), session(now));
    for session in [&kept, &lost] {
        SessionStore::insert(&store, session.clone(), now).await.unwrap();
    }
    // As where a node dies between the record and its index entries.
    let keys: Vec<String> = server.redis_command(&["KEYS", "countersign:session:*"]).await;
    for key in keys {
        let id: String = server.redis_command(&["HGET", &key, "id"]).await;
        if id == lost.id().as_str() {
            let _: i64 = server.redis_command(&["DEL", &key]).await;
        }
    }
    let page = PageRequest::first(10);
    let listed = SessionStore::list(&store, &SessionFilter::all(), &page, now).await.unwrap();
    assert_eq!((listed.total, listed.sessions.len()), (1, 1));
    assert_eq!(listed.sessions[0].id(), kept.id());
    assert!(SessionStore::remove(&store, lost.id()).await.unwrap().is_none());
    let theirs = store.of_subject(&kept.subject(), &Cursor::START, 100).await.unwrap().sessions;
    assert_eq!(theirs.iter().map(Session::id).collect::<Vec<_>>(), [kept.id()]);
    assert!(store.take(&kept.key(), kept.version()).await.unwrap().is_some());
    while store.purge_expired(now + MINUTE * 2).await.unwrap() > 0 {}
    assert_eq!(left_over(&server).await, Vec::<String>::new());
}

/// Returns the names of the machine clients that a store lists.
async fn listed(store: &RedisStore, organization: Option<&OrganizationId>) -> Vec<String> {
    let listing = EntityStore::list(store, SubjectType::Machine, organization, None, 100);
    let names = listing.await.unwrap().into_iter().map(|entity| entity.id().name().to_owned());
    names.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_of_the_index_of_entities_that_lead_to_nothing_are_passed_over_and_removed() {
    let server = EngineServer::redis();
    let store = server.redis_node();
    let [org_1, org_2] = ["org_1", "org_2"].map(|id| OrganizationId::new(id).unwrap());
    for name in ["kept", "lost", "moved"] {
        let entity = Entity::machine(name).unwrap().organization(org_1.clone());
        EntityStore::insert(&store, entity).await.unwrap();
    }
    // As where a node dies between the record and its index entries.
    let _: i64 = server.redis_command(&["DEL", "countersign:entity:entity:lost"]).await;
    let moved = EntityId::machine("moved").unwrap();
    let moved = EntityStore::get(&store, &moved).await.unwrap().unwrap();
    EntityStore::replace(&store, moved.organization(org_2.clone()).next_version(), 1)
        .await
        .unwrap();
    let indexes = ["entities:entity", "entities-of:entity:org_1", "entities-of:entity:org_2"];
    let indexed = async || {
        let mut all = Vec::new();
        for index in indexes {
            let key = format!("countersign:{index}");
            let entries: Vec<String> = server.redis_command(&["ZRANGE", &key, "0", "-1"]).await;
            let name = |entry: String| entry.split('\0').next().unwrap().to_owned();
            all.push(entries.into_iter().map(name).collect::<Vec<_>>());
        }
        all
    };
    let left = [vec!["kept", "lost", "moved"], vec!["kept", "lost", "moved"], vec!["moved"]];
    assert_eq!(indexed().await, left);
    // A page is as long as it was asked for, whatever is passed over.
    let listing = EntityStore::list(&store, SubjectType::Machine, None, None, 2);
    assert_eq!(listing.await.unwrap().len(), 2);
    assert_eq!(listed(&store, Some(&org_1)).await, ["kept"]);
    assert_eq!(listed(&store, Some(&org_2)).await, ["moved"]);
    assert_eq!(indexed().await, [vec!["kept", "moved"], vec!["kept"], vec!["moved"]]);
    // As where a node dies before the record: it may be a write under way, which is waited for.
    let announced = ["ZADD", "countersign:entities:entity", "0", "lost\0~a-writer"];
    let _: i64 = server.redis_command(&announced).await;
    assert_eq!(listed(&store, None).await, ["kept", "moved"]);
    assert_eq!(indexed().await[0], ["kept", "lost", "moved"]);
    let removing = async {
        while indexed().await[0].len() > 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(MINUTE, removing).await.expect("it is removed in the end");
    // Where the write was done, it stands for the record.
    let lost = EntityStore::insert(&store, Entity::machine("lost").unwrap());
    lost.await.unwrap();
    let _: i64 = server.redis_command(&["DEL", "countersign:entities:entity"]).await;
    let _: i64 = server.redis_command(&announced).await;
    assert_eq!(listed(&store, None).await, ["lost"]);
    assert!(EntityStore::remove(&store, &EntityId::machine("lost").unwrap()).await.unwrap());
    assert_eq!(indexed().await[0], [""; 0]);
    for name in ["kept", "moved"] {
        assert!(EntityStore::remove(&store, &EntityId::machine(name).unwrap()).await.unwrap());
    }
    assert_eq!(
        left_over(&server).await,
        Vec::<String>::new(),
        "nothing is left of who was removed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_token_is_seeded_again_keeps_its_hints() {
    let store = redis_node(&unique("t"));
    let now = SystemClock.now();
    let first = session(now);
    SessionStore::insert(&store, first.clone(), now).await.unwrap();
    // The same token, and another public id: as a seed that is loaded at every start.
    let again = Session::new(
        first.key(),
        SessionId::new(unique("sid-")).unwrap(),
        first.customer_id().clone(),
        now,
        now + MINUTE,
    );
    let rejected = SessionStore::insert(&store, again.clone(), now).await;
    assert!(matches!(rejected, Err(StoreError::Conflict)));
    let page = PageRequest::first(10);
    let listed = SessionStore::list(&store, &SessionFilter::all(), &page, now).await.unwrap();
    assert_eq!(listed.total, 1);
    assert_eq!(store.count(&first.subject(), now, 10).await.unwrap(), 1);
    assert!(
        SessionStore::remove(&store, again.id()).await.unwrap().is_none(),
        "it was never there"
    );
    assert!(SessionStore::remove(&store, first.id()).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_keeps_what_a_node_writes_whose_clock_is_ahead_or_behind_for_long_enough() {
    let server = EngineServer::redis();
    let store = server.redis_node();
    let day = MINUTE * 60 * 24;
    let now = SystemClock.now();
    for (clock, at_least) in [(now + day * 30, MINUTE), (now, MINUTE), (now - day, day)] {
        let written = session(now);
        SessionStore::insert(&store, written.clone(), clock).await.unwrap();
        let later = written.clone().next_version(clock);
        for _ in ["inserted", "replaced"] {
            let ids: Vec<String> = server.redis_command(&["KEYS", "countersign:session*:*"]).await;
            assert_eq!(ids.len(), 2);
            for key in ids {
                let millis: u128 = server.redis_command(&["PTTL", &key]).await;
                // An hour more, so that purging is what removes it; and the time of this test less.
                let expected = at_least.as_millis() + 3_540_000;
                assert!(millis > expected && millis <= expected + 120_000, "{key}: {millis} ms");
            }
            let version = written.version();
            let _ = SessionStore::replace(&store, later.clone(), version, clock).await;
        }
        assert!(SessionStore::remove(&store, written.id()).await.unwrap().is_some());
        let _: String = server.redis_command(&["FLUSHALL"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_leaves_a_session_that_was_given_more_time() {
    let store = redis_node(&unique("t"));
    let now = SystemClock.now() - MINUTE * 10;
    let first = session(now);
    SessionStore::insert(&store, first.clone(), now).await.unwrap();
    let text = countersign::store::record::write_session(&first.clone().next_version(now)).unwrap();
    let end = first.expires_at().as_micros();
    let longer = text.replace(&end.to_string(), &(end + 60_000_000).to_string());
    let longer = countersign::store::record::read_session(&longer).unwrap();
    SessionStore::replace(&store, longer, first.version(), now).await.unwrap();
    assert_eq!(store.purge_expired(now + MINUTE).await.unwrap(), 0);
    assert!(SessionStore::get(&store, &first.key()).await.unwrap().is_some());
    assert_eq!(store.purge_expired(now + MINUTE * 2).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_the_servers_files_in_the_clear() {
    let server = EngineServer::redis();
    let fixture = fixture_over(server.redis_node()).await;
    no_secret_is_in(&fixture, async || bytes_below(&server.folder)).await;
}

fn bytes_below(folder: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        bytes.extend(if path.is_dir() { bytes_below(&path) } else { std::fs::read(path).unwrap() });
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_memory_is_full_is_joined() {
    let server = EngineServer::redis();
    let node = || {
        let keys = ManagedKeys::new(Algorithm::EdDSA);
        Fixture::with_keys(keys, |builder| {
            let key = SealingKey::from_bytes([7; 32]);
            builder.store(server.redis_node()).sealing_key(key)
        })
    };
    assert!(!server.redis_node().is_current().await.unwrap());
    server.redis_node().migrate().await.unwrap();
    let first = node();
    let housekeeping = first.tokens.start().await.unwrap();
    let token = first.tokens.issue(countersign::Grant::user("ops")).await.unwrap();
    housekeeping.shutdown().await;

    let _: String = server.redis_command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    server.redis_node().migrate().await.unwrap();
    assert!(server.redis_node().is_current().await.unwrap());
    let second = node();
    let _housekeeping = second.tokens.start().await.unwrap();
    second.tokens.validator().validate(token.access_token.expose()).unwrap();
    let new = second.tokens.register(Entity::machine("aa-1").unwrap()).await;
    assert_eq!(new.unwrap_err().kind(), ErrorKind::Unavailable, "it is full");
}

#[tokio::test]
async fn keys_of_a_release_that_is_too_far_away_are_left_alone() {
    let server = EngineServer::redis();
    server.redis_node().migrate().await.unwrap();
    server.redis_node().migrate().await.unwrap();
    for version in ["4", "999", "2000"] {
        let _: String = server.redis_command(&["SET", "countersign:version", version]).await;
        assert!(!server.redis_node().is_current().await.unwrap());
        let rejected = server.redis_node().migrate().await.unwrap_err();
        assert_eq!(rejected.kind(), ErrorKind::Configuration, "{version}");
        let left: String = server.redis_command(&["GET", "countersign:version"]).await;
        assert_eq!(left, version);
    }
}

#[tokio::test]
async fn what_is_no_url_or_no_prefix_is_rejected_and_not_quoted() {
    for url in ["http://user:canary@host", "canary", "redis://"] {
        if let Err(error) = RedisStore::connect(url) {
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        } else {
            assert_eq!(url, "redis://", "it is this machine's");
        }
    }
    for prefix in [String::new(), "a{b}".to_owned(), "a".repeat(65)] {
        let options = RedisOptions::default().prefix(prefix);
        let rejected = RedisStore::connect_with("redis://127.0.0.1", options).unwrap_err();
        assert_eq!(rejected.kind(), ErrorKind::Configuration);
    }
    let no_nodes = RedisStore::connect_cluster(Vec::<String>::new()).unwrap_err();
    assert_eq!(no_nodes.kind(), ErrorKind::Configuration);
    for timeout in [Duration::ZERO, MINUTE] {
        let waits = RedisOptions::default().wait_for_replicas(1, timeout);
        let rejected = RedisStore::connect_with("redis://127.0.0.1", waits).unwrap_err();
        assert_eq!(rejected.kind(), ErrorKind::Configuration);
    }
    let waits = RedisOptions::default().wait_for_replicas(1, Duration::from_millis(100));
    let rejected = RedisStore::connect_cluster_with(["redis://127.0.0.1"], waits).unwrap_err();
    assert_eq!(rejected.kind(), ErrorKind::Configuration);
}

#[test]
fn a_store_that_is_made_outside_of_a_runtime_is_an_error_and_no_panic() {
    let rejected = RedisStore::connect("redis://127.0.0.1").unwrap_err();
    assert_eq!(rejected.kind(), ErrorKind::Configuration);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_not_there_is_unavailable() {
    let store = RedisStore::connect_cluster(["redis://127.0.0.1:1"]).unwrap();
    let error = EntityStore::get(&store, &EntityId::user("ops").unwrap()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_over_a_cluster_does_all_that_it_does_over_memory() {
    let prefix = unique("t");
    let (first, second) = (
        fixture_over(redis_cluster_node(&prefix)).await,
        fixture_over(redis_cluster_node(&prefix)).await,
    );
    first.machine("aa-1", "the-secret-of-a-machine").await;
    let token = first.session(|new| new).await;
    let secret = Secret::presented("the-secret-of-a-machine");
    second
        .tokens
        .issue_machine_token("aa-1", &secret, &RequestContext::without_address())
        .await
        .unwrap();
    let token = AuthenticationToken::from_text(&token).unwrap();
    second
        .tokens
        .exchange(&token, ExchangeRequest::default(), &RequestContext::without_address())
        .await
        .unwrap();
    let twice = first
        .tokens
        .exchange(&token, ExchangeRequest::default(), &RequestContext::without_address())
        .await
        .unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::NotFound);
}

/// What the first release wrote, as commands. It is never changed: a later release has to read it.
const FIRST_FORM: &str = include_str!("first_form.redis.jsonl");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_first_release_wrote_is_read() {
    let server = EngineServer::redis();
    for line in FIRST_FORM.lines() {
        let command: Vec<String> = serde_json::from_str(line).unwrap();
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let _: ::redis::Value = server.redis_command(&command).await;
    }
    server.redis_node().migrate().await.unwrap();
    what_the_first_release_wrote_is_in(&fixture_over(server.redis_node()).await).await;
}
