//! What becomes of revocations where Postgres crashes, fails over to a standby that lacks the last ones,
//! is restored from a dump, or is for a while no primary. Redis has more of its own in `redis_store`.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use countersign::store::{
    Cursor, EntityStore, FeedEvent, KeyStore, PgPool, PostgresStore, SessionStore, Store as _,
    StoreError, TableNames,
};
use countersign::{
    Actor, Algorithm, AuthenticationToken, CustomerId, EntityId, ErrorKind, ExchangeRequest, Grant,
    KeyRing, NewSession, Policy, RequestContext, SealingKey, Secret, SessionId, TokenService,
};
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;

use crate::proxy::Proxy;
use crate::redis_store::replica_of;
use crate::servers::EngineServer;
use crate::support::durable::{MINUTE, Reading, revocation};
use crate::support::{Fixture, unique};

/// More than are published between two reads of the tests.
const NUMBERS_LOST: usize = 20;
const PUBLISHED: usize = 30;

/// Uses numbers of transactions up, none of which writes anything.
fn burn(numbers: usize) -> String {
    "BEGIN; SELECT pg_current_xact_id(); ROLLBACK;".repeat(numbers)
}

async fn migrated(url: &str) -> PostgresStore {
    let store = PostgresStore::connect(url).unwrap();
    store.migrate().await.unwrap();
    store
}

async fn publish(store: &PostgresStore, count: usize) -> Vec<FeedEvent> {
    let published: Vec<_> = (0..count).map(|_| revocation()).collect();
    for event in &published {
        store.publish(event.clone()).await.unwrap();
    }
    published
}

/// Where the feed ends, with a number in it that is higher than any that was committed.
async fn end_of_feed(store: &PostgresStore) -> Cursor {
    Reading::default().read_to_the_end(store, Cursor::START).await
}

/// Reads on until it gets everything that was published, however often the server is out of reach.
async fn hears_all(store: &PostgresStore, mut cursor: Cursor, published: &[FeedEvent]) -> bool {
    let mut reading = Reading::default();
    let mut has_changed = false;
    let hearing = async {
        loop {
            match store.read_feed(&cursor, Duration::ZERO).await {
                Ok(page) => {
                    reading.add(&page);
                    has_changed |= page.history_changed;
                    cursor = page.next;
                    if page.is_complete {
                        break;
                    }
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(MINUTE, hearing).await.expect("the feed can be read again");
    reading.has_all(published);
    has_changed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_that_gives_numbers_out_again_no_revocation_is_skipped() {
    let server = EngineServer::postgres();
    let store = migrated(&server.url()).await;
    // What is not committed is not on the disk before the crash.
    server.sql("ALTER SYSTEM SET wal_writer_delay = '10s'").await;
    server.stop();
    server.start();
    publish(&store, 1).await;
    server.sql(&burn(NUMBERS_LOST)).await;
    let cursor = end_of_feed(&store).await;
    server.stop();
    server.start();
    let published = publish(&store, PUBLISHED).await;
    assert!(hears_all(&store, cursor.clone(), &published).await, "the page says so");
    let cursor = end_of_feed(&store).await;
    assert!(!hears_all(&store, cursor, &[]).await, "and says so once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_only_connections_have_ended_the_history_is_the_same() {
    let server = EngineServer::postgres();
    let store = migrated(&server.url()).await;
    publish(&store, 1).await;
    let cursor = end_of_feed(&store).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    server.sql(end).await;
    let published = publish(&store, 1).await;
    assert!(!hears_all(&store, cursor, &published).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_to_a_standby_that_was_behind_no_revocation_is_skipped() {
    let primary = EngineServer::postgres();
    let line = Proxy::to(primary.address).await;
    let store = migrated(&line.url_of(&primary)).await;
    let standby = primary.standby();
    publish(&store, 1).await;
    standby.cut_off().await;
    let lost = publish(&store, NUMBERS_LOST).await;
    let cursor = end_of_feed(&store).await;
    standby.promote().await;
    line.turn_to(standby.address);
    primary.stop();
    let published = publish(&PostgresStore::connect(&standby.url()).unwrap(), PUBLISHED).await;
    assert!(lost.len() < published.len());
    assert!(hears_all(&store, cursor, &published).await, "the page says so");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_database_that_was_restored_elsewhere_no_revocation_is_skipped() {
    let (first, second) = (EngineServer::postgres(), EngineServer::postgres());
    let line = Proxy::to(first.address).await;
    let store = migrated(&line.url_of(&first)).await;
    publish(&store, 1).await;
    let dump = Command::new("pg_dump").arg(first.url()).output().unwrap();
    assert!(dump.status.success(), "{dump:?}");
    first.sql(&burn(NUMBERS_LOST * 10)).await;
    let cursor = end_of_feed(&store).await;

    let folder = std::env::temp_dir().join(unique("dump-"));
    std::fs::write(&folder, &dump.stdout).unwrap();
    let restored = Command::new("psql")
        .args([&second.url(), "--quiet", "--set", "ON_ERROR_STOP=1", "--file"])
        .arg(&folder)
        .output()
        .unwrap();
    std::fs::remove_file(&folder).unwrap();
    assert!(restored.status.success(), "{restored:?}");
    let published = publish(&PostgresStore::connect(&second.url()).unwrap(), PUBLISHED).await;
    // By now its numbers are higher than those that the reader knows.
    second.sql(&burn(NUMBERS_LOST * 20)).await;
    line.turn_to(second.address);
    first.stop();
    assert!(hears_all(&store, cursor, &published).await, "the page says so");
}

/// A role that may not ask which server it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_not_ask_for_the_servers_name_reads_the_feed_all_the_same() {
    let server = EngineServer::postgres();
    migrated(&server.url()).await;
    let role = "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC; \
                CREATE ROLE app LOGIN; \
                GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app";
    server.sql(role).await;
    let url = server.url().replace("countersign@", "app@");
    let store = PostgresStore::connect(&url).unwrap();
    let cursor = end_of_feed(&store).await;
    let published = publish(&store, 2).await;
    assert!(!hears_all(&store, cursor.clone(), &published).await);
    server.stop();
    server.start();
    assert!(hears_all(&store, cursor, &published).await, "a crash is told all the same");
}

/// The nodes of a test, which have their keys in common.
struct Nodes(KeyRing);

impl Nodes {
    fn new() -> Self {
        Self(KeyRing::generate(Algorithm::EdDSA).unwrap())
    }

    fn node(&self, store: impl EntityStore + SessionStore + KeyStore + Clone) -> Fixture {
        let key = SealingKey::from_bytes([7; 32]);
        Fixture::with_keys(self.0.clone(), |builder| builder.store(store).sealing_key(key))
    }
}

fn is_accepted(tokens: &TokenService, jwt: &str) -> bool {
    tokens.validator().validate(jwt).is_ok()
}

/// Calls until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(MINUTE, waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_pool_of_its_own_nothing_that_a_standby_says_is_believed() {
    let primary = EngineServer::postgres();
    let line = Proxy::to(primary.address).await;
    let store = migrated(&line.url_of(&primary)).await;
    nothing_that_a_standby_says_is_believed(&primary, &line, store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_pool_of_the_hosts_nothing_that_a_standby_says_is_believed() {
    let primary = EngineServer::postgres();
    migrated(&primary.url()).await;
    let line = Proxy::to(primary.address).await;
    let pool = PgPool::connect(&line.url_of(&primary)).await.unwrap();
    let store = PostgresStore::new(pool, &TableNames::default()).unwrap();
    nothing_that_a_standby_says_is_believed(&primary, &line, store).await;
}

/// The name of the database leads to a standby for a while, as where somebody mistakes one for the
/// primary, and back. Connections that were made meanwhile stay.
async fn nothing_that_a_standby_says_is_believed(
    primary: &EngineServer,
    line: &Proxy,
    store: PostgresStore,
) {
    let nodes = Nodes::new();
    let (node, other) =
        (nodes.node(store), nodes.node(PostgresStore::connect(&primary.url()).unwrap()));
    let _housekeeping = node.tokens.start().await.unwrap();
    let _other_housekeeping = other.tokens.start().await.unwrap();
    other.machine("aa-1", "the-secret-of-a-machine").await;
    let ended = other.session(|new| new).await;
    let ended = AuthenticationToken::from_text(&ended).unwrap();
    let jwt = other.tokens.issue(Grant::user("ops")).await.unwrap();
    let standby = primary.standby();
    standby.cut_off().await;

    let context = RequestContext::without_address();
    let machine = EntityId::machine("aa-1").unwrap();
    other.tokens.reset_secret(Actor::Host, &machine, None, &context).await.unwrap();
    other.tokens.exchange(&ended, ExchangeRequest::default(), &context).await.unwrap();
    let old_secret = Secret::presented("the-secret-of-a-machine");
    let log_in =
        async || node.tokens.issue_machine_token("aa-1", &old_secret, &context).await.map(drop);
    let exchange =
        async || node.tokens.exchange(&ended, ExchangeRequest::default(), &context).await.map(drop);

    let unknown = SessionId::new("sid-0").unwrap();
    line.turn_to(standby.address);
    line.cut();
    for _ in 0..3 {
        let (login, exchange) = tokio::join!(log_in(), exchange());
        assert_eq!(login.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(exchange.unwrap_err().kind(), ErrorKind::Unavailable);
        let ending = node.tokens.end_session(&unknown).await;
        assert_eq!(ending.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    other.tokens.revoke_token(&jwt.token_id).await.unwrap();
    line.turn_to(primary.address);
    until("the store is written to again", async || {
        match log_in().await {
            Ok(()) => panic!("a secret that was reset is good for nothing"),
            Err(error) if error.kind() == ErrorKind::Unavailable => return false,
            Err(_) => {}
        }
        assert_eq!(exchange().await.unwrap_err().kind(), ErrorKind::NotFound);
        let new = NewSession::of(CustomerId::new("cus_1").unwrap());
        node.tokens.start_session(Actor::Host, new, &context).await.is_ok()
    })
    .await;
    until("what was revoked meanwhile is heard", async || {
        !is_accepted(&node.tokens, jwt.access_token.expose())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_postgres_has_lost_in_a_failover_its_node_publishes_again() {
    let primary = EngineServer::postgres();
    let line = Proxy::to(primary.address).await;
    let store = migrated(&line.url_of(&primary)).await;
    let standby = primary.standby();
    let new = || PostgresStore::connect(&standby.url()).unwrap();
    what_is_lost_is_published_again(store, new, async || {
        standby.catch_up_with(&primary).await;
        standby.cut_off().await;
        async || {
            standby.promote().await;
            line.turn_to(standby.address);
            primary.stop();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_has_lost_in_a_failover_its_node_publishes_again() {
    let primary = EngineServer::redis();
    let line = Proxy::to(primary.address).await;
    let store = line.redis_node();
    store.migrate().await.unwrap();
    let replica = replica_of(&primary).await;
    what_is_lost_is_published_again(
        store,
        || replica.redis_node(),
        async || {
            // It gets all in order: what came before this is there.
            let _: String = primary.redis_command(&["SET", "marker", "1"]).await;
            until("the replica has what was written", async || {
                let marker: Option<String> = replica.redis_command(&["GET", "marker"]).await;
                marker.is_some()
            })
            .await;
            let _: String = replica.redis_command(&["REPLICAOF", "NO", "ONE"]).await;
            async || {
                line.turn_to(replica.address);
                primary.stop();
            }
        },
    )
    .await;
}

/// `cut_off` has the standby get nothing more, and returns what makes it the primary.
async fn what_is_lost_is_published_again<S, F: AsyncFn()>(
    store: S,
    new_store: impl Fn() -> S,
    cut_off: impl AsyncFn() -> F,
) where
    S: EntityStore + SessionStore + KeyStore + Clone,
{
    let nodes = Nodes::new();
    let node = nodes.node(store);
    let _housekeeping = node.tokens.start().await.unwrap();
    let kept = node.tokens.issue(Grant::user("ops")).await.unwrap();
    let revoked = node.tokens.issue(Grant::user("ops")).await.unwrap();
    // Of none of them a token was issued, so that their ends are in no feed.
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(AuthenticationToken::from_text(node.session(|new| new).await).unwrap());
    }
    let context = RequestContext::without_address();
    let [live, logged_out, ended] = &sessions[..] else { unreachable!() };
    let id = node.tokens.find_session(ended, &context).await.unwrap();
    let id = id.proven().unwrap().id().clone();
    let fail_over = cut_off().await;
    node.tokens.revoke_token(&revoked.token_id).await.unwrap();
    node.tokens.log_out_customer(logged_out, &context).await.unwrap();
    node.tokens.end_session(&id).await.unwrap();
    fail_over().await;
    // A node that has not heard it before.
    let other = nodes.node(new_store());
    let _other_housekeeping = other.tokens.start().await.unwrap();
    until("what was lost is heard", async || {
        !is_accepted(&other.tokens, revoked.access_token.expose())
    })
    .await;
    assert!(is_accepted(&other.tokens, kept.access_token.expose()));
    for session in [logged_out, ended] {
        until("who was logged out is again", async || {
            other.tokens.find_session(session, &context).await.is_err()
        })
        .await;
    }
    let found = other.tokens.find_session(live, &context).await;
    assert!(found.is_ok(), "nobody logged it out");
}

/// The former primary goes on, and the connections that lead to it do not end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_again_goes_to_the_server_that_has_lost_it() {
    let primary = EngineServer::postgres();
    let line = Proxy::to(primary.address).await;
    let store = migrated(&line.url_of(&primary)).await;
    let standby = primary.standby();
    let nodes = Nodes::new();
    let node = nodes.node(store);
    let _housekeeping = node.tokens.start().await.unwrap();
    let revoked = node.tokens.issue(Grant::user("ops")).await.unwrap();
    standby.cut_off().await;
    let mut revoking = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (tokens, id) = (node.tokens.clone(), revoked.token_id.clone());
        revoking.spawn(async move { tokens.revoke_token(&id).await.unwrap() });
    }
    revoking.join_all().await;
    standby.promote().await;
    line.turn_to(standby.address);
    // What reads the feed connects anew, and finds another history.
    let readers = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE query LIKE '%feed_history%' AND pid <> pg_backend_pid()";
    primary.sql(readers).await;
    let other = nodes.node(PostgresStore::connect(&standby.url()).unwrap());
    let _other_housekeeping = other.tokens.start().await.unwrap();
    until("what was lost is heard", async || {
        !is_accepted(&other.tokens, revoked.access_token.expose())
    })
    .await;
}

/// A copy of a server that was shut down has all that its file system had, what is not logged included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_copy_of_a_server_that_was_shut_down_is_put_back_no_revocation_is_skipped() {
    let server = EngineServer::postgres();
    let store = migrated(&server.url()).await;
    publish(&store, 1).await;
    end_of_feed(&store).await;
    server.shut_down();
    let copy = server.folder.with_extension("copy");
    copy_folder(&server.folder, &copy);
    server.start();
    publish(&store, 1).await;
    let cursor = end_of_feed(&store).await;
    server.shut_down();
    std::fs::remove_dir_all(&server.folder).unwrap();
    copy_folder(&copy, &server.folder);
    server.start();
    let published = publish(&migrated(&server.url()).await, PUBLISHED).await;
    // By now its numbers are higher than those that the reader knows.
    server.sql(&burn(NUMBERS_LOST * 20)).await;
    assert!(hears_all(&store, cursor, &published).await, "the page says so");
}

#[track_caller]
fn copy_folder(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("--archive").args([from, to]).status().unwrap();
    assert!(copied.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_a_standby_has_no_tables_is_not_believed() {
    let primary = EngineServer::postgres();
    let standby = primary.standby();
    let pool = PgPool::connect(&standby.url()).await.unwrap();
    let store = PostgresStore::new(pool, &TableNames::default()).unwrap();
    assert!(matches!(store.is_current().await, Err(StoreError::Unavailable(_))));
}

/// The connections that a store has at most, but for those of its feed.
const CONNECTIONS: i64 = 16;
/// Longer than it takes for a call to be given up, and for its connection to be.
const LOCKED_FOR: Duration = Duration::from_secs(12);
const STALENESS: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_locked_keeps_no_revocation_back_and_piles_up_no_backends() {
    let server = EngineServer::postgres();
    let store = migrated(&server.url()).await;
    let ring = KeyRing::generate(Algorithm::EdDSA).unwrap();
    let node = |store| {
        let policy =
            Policy::default().runtime(|runtime| runtime.max_revocation_staleness(STALENESS));
        let key = SealingKey::from_bytes([7; 32]);
        Fixture::with_keys(ring.clone(), |builder| {
            builder.store(store).sealing_key(key).policy(policy)
        })
    };
    let (node, other) = (node(store), node(PostgresStore::connect(&server.url()).unwrap()));
    let _housekeeping = node.tokens.start().await.unwrap();
    let _other_housekeeping = other.tokens.start().await.unwrap();
    let kept = node.tokens.issue(Grant::user("ops")).await.unwrap();
    let revoked = node.tokens.issue(Grant::user("ops")).await.unwrap();
    let token = node.session(|new| new).await;
    let token = AuthenticationToken::from_text(&token).unwrap();

    let mut admin = PgConnection::connect(&server.url()).await.unwrap();
    let mut locking = PgConnection::connect(&server.url()).await.unwrap();
    let lock = "BEGIN; LOCK TABLE countersign_sessions IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut locking).await.unwrap();
    let mut requests = JoinSet::new();
    for _ in 0..CONNECTIONS * 3 {
        let (tokens, token) = (node.tokens.clone(), token.clone());
        requests.spawn(async move {
            let context = RequestContext::without_address();
            loop {
                match tokens.exchange(&token, ExchangeRequest::default(), &context).await {
                    Err(error) if error.kind() == ErrorKind::Unavailable => {}
                    outcome => return outcome.map(drop),
                }
            }
        });
    }
    let locked_at = Instant::now();
    other.tokens.revoke_token(&revoked.token_id).await.unwrap();
    until("a revocation is heard", async || {
        !is_accepted(&node.tokens, revoked.access_token.expose())
    })
    .await;
    while locked_at.elapsed() < LOCKED_FOR {
        assert!(is_accepted(&node.tokens, kept.access_token.expose()));
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&mut admin).await.unwrap();
        assert!(waiting <= CONNECTIONS, "{waiting} backends wait");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut locking).await.unwrap();
    let outcomes = tokio::time::timeout(MINUTE, requests.join_all()).await.unwrap();
    assert!(outcomes.iter().filter(|outcome| outcome.is_ok()).count() <= 1);
    let context = RequestContext::without_address();
    let gone =
        node.tokens.exchange(&token, ExchangeRequest::default(), &context).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound, "it was exchanged after the lock");
}

const PUBLISHERS: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_at_once_is_announced_together() {
    let server = EngineServer::postgres();
    let store = migrated(&server.url()).await;
    let mut listener = sqlx::postgres::PgListener::connect(&server.url()).await.unwrap();
    listener.listen(".countersign_").await.unwrap();
    let began = Instant::now();
    let mut publishing = JoinSet::new();
    for _ in 0..PUBLISHERS {
        let store = store.clone();
        publishing.spawn(async move { publish(&store, PUBLISHED).await });
    }
    publishing.join_all().await;
    // The last one is announced, too: a node that waits is woken by it.
    let mut announced = 0_usize;
    while let Ok(heard) = tokio::time::timeout(Duration::from_millis(500), listener.recv()).await {
        heard.unwrap();
        announced += 1;
    }
    let at_most = began.elapsed().as_millis() as usize / 20 + 1;
    assert!(announced > 0);
    assert!(announced <= at_most && announced < PUBLISHERS * PUBLISHED, "{announced}");
}
