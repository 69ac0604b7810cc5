//! The stores that last, against the real engines: the suite that every store passes, and what is
//! theirs alone.

use std::sync::Arc;
use std::time::Duration;

use countersign::store::{
    Cursor, EntityStore, PostgresStore, SessionStore, SqliteStore, StoreError, TableNames,
    conformance, record,
};
use countersign::{
    Acl, AuthenticationToken, Caller, Clock as _, Entity, EntityId, ErrorKind, ExchangeRequest,
    Password, Secret, SystemClock, Timestamp, TokenService,
};
use serde_json::json;

use crate::engines::{
    File, MINUTE, Postgres, fixture_over, postgres_url, redis_cluster_node, redis_node, revocation,
    session, unique,
};
use crate::support::{Fixture, PASSWORD, START};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_keeps_the_contract_of_entities() {
    conformance::check_entity_store(Arc::new(File::new().node().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_keeps_the_contract_of_sessions() {
    let file = File::new();
    conformance::check_session_store(Arc::new(file.node().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_keeps_the_contract_of_entities() {
    conformance::check_entity_store(Arc::new(Postgres::new().await.node().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_keeps_the_contract_of_sessions() {
    conformance::check_session_store(Arc::new(Postgres::new().await.node().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_keeps_the_contract_of_entities() {
    conformance::check_entity_store(Arc::new(redis_node(&unique("t")))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_keeps_the_contract_of_sessions() {
    conformance::check_session_store(Arc::new(redis_node(&unique("t")))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_cluster_keeps_the_contract_of_entities() {
    conformance::check_entity_store(Arc::new(redis_cluster_node(&unique("t")))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_cluster_keeps_the_contract_of_sessions() {
    conformance::check_session_store(Arc::new(redis_cluster_node(&unique("t")))).await;
}

/// Takes every one of a number of sessions on several nodes at once.
async fn each_session_is_taken_once(nodes: Vec<Arc<dyn SessionStore>>) {
    let now = SystemClock.now();
    let mut takes = Vec::new();
    for _ in 0..20 {
        let session = session(now);
        nodes[0].insert(session.clone(), now).await.unwrap();
        let takers = nodes.iter().cycle().take(15).map(|node| {
            let (node, key, version) = (Arc::clone(node), session.key(), session.version());
            tokio::spawn(async move { node.take(&key, version).await.unwrap().is_some() })
        });
        takes.push(takers.collect::<Vec<_>>());
    }
    for takers in takes {
        let mut winners = 0;
        for taker in takers {
            winners += usize::from(taker.await.unwrap());
        }
        assert_eq!(winners, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_one_file_each_session_is_taken_once_by_one_of_several_nodes() {
    let file = File::new();
    let nodes = [file.node().await, file.node().await, file.node().await];
    each_session_is_taken_once(nodes.map(|node| Arc::new(node) as _).into()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_one_database_each_session_is_taken_once_by_one_of_several_nodes() {
    let database = Postgres::new().await;
    let nodes = [database.node().await, database.node().await, database.node().await];
    each_session_is_taken_once(nodes.map(|node| Arc::new(node) as _).into()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_one_redis_each_session_is_taken_once_by_one_of_several_nodes() {
    let prefix = unique("t");
    let nodes = [redis_node(&prefix), redis_node(&prefix), redis_node(&prefix)];
    each_session_is_taken_once(nodes.map(|node| Arc::new(node) as _).into()).await;
    let nodes =
        [redis_cluster_node(&prefix), redis_cluster_node(&prefix), redis_cluster_node(&prefix)];
    each_session_is_taken_once(nodes.map(|node| Arc::new(node) as _).into()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_at_once_make_the_tables_once() {
    let database =
        Postgres { names: TableNames::default().schema(unique("t")), schema: String::new() };
    let mut starting = Vec::new();
    for _ in 0..8 {
        let store = database.node().await;
        starting.push(tokio::spawn(async move { store.migrate().await }));
    }
    for start in starting {
        start.await.unwrap().unwrap();
    }
    for _ in 0..20 {
        let file = File::new();
        let opening = (0..8).map(|_| {
            let path = file.path();
            tokio::spawn(async move { SqliteStore::open(path).await?.migrate().await })
        });
        for start in opening.collect::<Vec<_>>() {
            start.await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn a_store_that_connects_itself_keeps_to_the_tables_that_it_is_told() {
    let database = Postgres::new().await;
    let store = PostgresStore::connect_with(&postgres_url(), &database.names).unwrap();
    let session = session(SystemClock.now());
    SessionStore::insert(&store, session.clone(), SystemClock.now()).await.unwrap();
    assert!(SessionStore::get(&database.node().await, &session.key()).await.unwrap().is_some());
}

#[tokio::test]
async fn tables_of_a_later_release_are_left_alone() {
    let database = Postgres::new().await;
    let later = format!("INSERT INTO {}.countersign_migrations VALUES (1000)", database.schema);
    sqlx::query(sqlx::AssertSqlSafe(later)).execute(&Postgres::pool().await).await.unwrap();
    let error = database.node().await.migrate().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    let file = File::new();
    file.node().await;
    let later = "INSERT INTO countersign_migrations VALUES (1000)";
    sqlx::query(later).execute(&sqlite(&file).await).await.unwrap();
    let store = SqliteStore::open(file.path()).await.unwrap();
    assert_eq!(store.migrate().await.unwrap_err().kind(), ErrorKind::Configuration);
}

async fn sqlite(file: &File) -> sqlx::SqlitePool {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file.path());
    sqlx::SqlitePool::connect_with(options.create_if_missing(true)).await.unwrap()
}

#[tokio::test]
async fn names_that_are_no_names_are_refused_and_a_file_has_no_schema() {
    let file = File::new();
    for names in
        [TableNames::default().prefix("x; DROP TABLE users"), TableNames::default().schema("auth")]
    {
        let error = SqliteStore::open_with(file.path(), &names).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
    }
    let error = PostgresStore::connect("mysql://nowhere").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    let no_name = TableNames::default().prefix("x; DROP TABLE users");
    let error = PostgresStore::connect_with(&postgres_url(), &no_name).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let file = File::new();
    file.node().await;
    for entry in std::fs::read_dir(&file.0).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
}

#[tokio::test]
async fn a_revocation_whose_transaction_commits_after_a_later_one_is_not_skipped() {
    let database = Postgres::new().await;
    let (reader, writer) = (database.node().await, database.node().await);
    let start = reader.read_feed(&Cursor::START, Duration::ZERO).await.unwrap().next;

    // The number of the early one is given out first, and its commit comes last.
    let (early, late) = (revocation(), revocation());
    let mut transaction = Postgres::pool().await.begin().await.unwrap();
    let insertion = format!(
        "INSERT INTO {}.countersign_revocations (until, record) VALUES ($1, $2)",
        database.schema
    );
    sqlx::query(sqlx::AssertSqlSafe(insertion))
        .bind(early.until().as_micros() as i64)
        .bind(record::write_event(&early).unwrap())
        .execute(&mut *transaction)
        .await
        .unwrap();
    writer.publish(late.clone()).await.unwrap();

    let first = reader.read_feed(&start, Duration::ZERO).await.unwrap();
    assert_eq!(first.events, [late]);
    transaction.commit().await.unwrap();
    let second = reader.read_feed(&first.next, Duration::ZERO).await.unwrap();
    assert_eq!(second.events, [early]);
    let third = reader.read_feed(&second.next, Duration::ZERO).await.unwrap();
    assert!(third.events.is_empty());
}

#[tokio::test]
async fn a_cursor_of_another_cluster_or_of_a_file_before_a_restore_reads_all_again() {
    let database = Postgres::new().await;
    let store = database.node().await;
    let published = revocation();
    store.publish(published.clone()).await.unwrap();
    let far_ahead = Cursor::new("900000000000:900000000000:");
    let read = store.read_feed(&far_ahead, Duration::ZERO).await.unwrap();
    assert_eq!(read.events, [published]);

    let file = File::new();
    let store = file.node().await;
    let published = revocation();
    store.publish(published.clone()).await.unwrap();
    let read = store.read_feed(&Cursor::new("1000"), Duration::ZERO).await.unwrap();
    assert_eq!(read.events, [published]);
    let end = store.read_feed(&read.next, Duration::ZERO).await.unwrap();
    assert!(end.events.is_empty());
}

#[tokio::test]
async fn what_a_dump_brought_along_is_news_once_and_not_for_ever() {
    let database = Postgres::new().await;
    let store = database.node().await;
    store.publish(revocation()).await.unwrap();
    // As a dump of a cluster that was further on leaves it.
    let restored =
        format!("UPDATE {}.countersign_revocations SET xid = '900000000000'", database.schema);
    sqlx::query(sqlx::AssertSqlSafe(restored)).execute(&Postgres::pool().await).await.unwrap();
    store.migrate().await.unwrap();
    let read = store.read_feed(&Cursor::START, Duration::ZERO).await.unwrap();
    assert_eq!(read.events.len(), 1);
    let end = store.read_feed(&read.next, Duration::ZERO).await.unwrap();
    assert!(end.events.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_on_one_node_is_heard_on_another_also_where_the_listener_was_cut_off() {
    let database = Postgres::new().await;
    let (reader, writer) = (database.node().await, database.node().await);
    let mut cursor = reader.read_feed(&Cursor::START, Duration::ZERO).await.unwrap().next;
    for _ in 0..3 {
        let wanted = revocation();
        let waiting = reader.read_feed(&cursor, MINUTE);
        let publishing = async {
            // Every connection of this database that listens is ended by the server.
            let cut = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE query LIKE 'LISTEN \"{}.%'",
                database.schema
            );
            sqlx::query(sqlx::AssertSqlSafe(cut)).execute(&Postgres::pool().await).await.unwrap();
            writer.publish(wanted.clone()).await.unwrap();
        };
        let (read, ()) = tokio::join!(waiting, publishing);
        let read = read.unwrap();
        assert_eq!(read.events, [wanted]);
        cursor = read.next;
    }
}

#[tokio::test]
async fn connections_that_the_server_ended_are_not_an_error_of_the_next_call() {
    let database = Postgres::new().await;
    let options: sqlx::postgres::PgConnectOptions = postgres_url().parse().unwrap();
    let pool = sqlx::postgres::PgPoolOptions::new()
        .min_connections(16)
        .max_connections(16)
        .test_before_acquire(false)
        .connect_with(options.application_name(&database.schema))
        .await
        .unwrap();
    assert_eq!(pool.num_idle(), 16, "more than a call has tries");
    let store = PostgresStore::new(pool, &database.names).unwrap();
    let now = SystemClock.now();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1";
    let admin = Postgres::pool().await;
    let cut = || sqlx::query(cut).bind(&database.schema).execute(&admin);
    let first = session(now);
    cut().await.unwrap();
    SessionStore::insert(&store, first.clone(), now).await.unwrap();
    cut().await.unwrap();
    let second = first.clone().next_version(now);
    SessionStore::replace(&store, second.clone(), first.version(), now).await.unwrap();
    cut().await.unwrap();
    assert!(store.take(&first.key(), second.version()).await.unwrap().is_some());
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_unavailable() {
    let pool = sqlx::postgres::PgPoolOptions::new()
        .acquire_timeout(Duration::from_millis(200))
        .connect_lazy("postgres://nobody@127.0.0.1:1/none")
        .unwrap();
    let store = PostgresStore::new(pool, &TableNames::default()).unwrap();
    let error = EntityStore::get(&store, &EntityId::user("ops").unwrap()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert_eq!(store.migrate().await.unwrap_err().kind(), ErrorKind::Unavailable);
    let nowhere = SqliteStore::open("/nonexistent/folder/tokens.sqlite").await.unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_backlog_is_purged_in_parts_and_what_is_live_stays() {
    let file = File::new();
    let store = file.node().await;
    let now = SystemClock.now();
    for _ in 0..1_500 {
        let mut ended = session(now - MINUTE * 3);
        ended = ended.next_version(now);
        SessionStore::insert(&store, ended, now).await.unwrap();
    }
    let live = session(now);
    SessionStore::insert(&store, live.clone(), now).await.unwrap();
    let parts = [
        store.purge_expired(now).await.unwrap(),
        store.purge_expired(now).await.unwrap(),
        store.purge_expired(now).await.unwrap(),
    ];
    assert_eq!(parts, [1_000, 500, 0]);
    assert!(SessionStore::get(&store, &live.key()).await.unwrap().is_some());
}

#[tokio::test]
async fn what_was_answered_is_there_after_the_process_is_gone() {
    let file = File::new();
    let token = {
        let first = fixture_over(file.node().await);
        first.user("ops", json!([])).await;
        first.entity("aa-1", "the-secret-of-a-machine").await;
        first.session(|new| new).await
    };
    let second = fixture_over(file.node().await);
    let caller = Caller::default();
    let password = Password::new(PASSWORD).unwrap();
    second.tokens.issue_user_token("ops", password, &caller).await.unwrap();
    let secret = Secret::presented("the-secret-of-a-machine");
    second.tokens.issue_entity_token("aa-1", &secret, &caller).await.unwrap();
    let token = AuthenticationToken::from_text(&token).unwrap();
    second.tokens.exchange(&token, ExchangeRequest::default()).await.unwrap();
}

#[tokio::test]
async fn a_store_that_lasts_needs_a_sealing_key_that_does() {
    let store = File::new().node().await;
    let built = TokenService::builder()
        .issuer("https://auth.example.com")
        .audience("https://api.example.com")
        .keys(countersign::KeyRing::generate(countersign::Algorithm::EdDSA).unwrap())
        .sessions(store)
        .build();
    assert_eq!(built.unwrap_err().kind(), ErrorKind::Configuration);
}

#[tokio::test]
async fn no_secret_is_in_the_file_in_the_clear() {
    let file = File::new();
    no_secret_is_in(&fixture_over(file.node().await), async || file.bytes()).await;
}

#[tokio::test]
async fn no_secret_is_in_the_database_in_the_clear() {
    let database = Postgres::new().await;
    let fixture = fixture_over(database.node().await);
    no_secret_is_in(&fixture, async || {
        let mut dump = String::new();
        for table in ["entities", "sessions", "revocations"] {
            let rows = format!("SELECT t::text FROM {}.countersign_{table} t", database.schema);
            let rows = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(rows));
            dump.extend(rows.fetch_all(&Postgres::pool().await).await.unwrap());
        }
        dump.into_bytes()
    })
    .await;
}

/// Has a service keep one of each, and looks for it in all that its store holds.
pub async fn no_secret_is_in(fixture: &Fixture, dump: impl AsyncFn() -> Vec<u8>) {
    fixture.user("ops", json!([])).await;
    fixture.entity("aa-1", "canary-of-a-secret").await;
    let token = fixture.session(|new| new.otp_required(true)).await;
    let code = fixture.outbox.last_code();
    let bytes = dump().await;
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("aa-1"), "what is no secret is found");
    for canary in [PASSWORD, "canary-of-a-secret", &token] {
        assert!(!holds(canary), "{canary}");
    }
    assert!(!holds(&format!("\"{code}\"")), "{code}");
}

/// What the first release wrote. It is never changed: a later release has to read it.
const FIRST_FORM: &str = include_str!("first_form.sql");

#[tokio::test]
async fn what_the_first_release_wrote_is_read() {
    let file = File::new();
    sqlx::raw_sql(FIRST_FORM).execute(&sqlite(&file).await).await.unwrap();
    what_the_first_release_wrote_is_in(&fixture_over(file.node().await)).await;
}

pub async fn what_the_first_release_wrote_is_in(fixture: &Fixture) {
    fixture.clock.set(Timestamp::from_secs(START));
    let caller = Caller::default();
    let password = Password::new(PASSWORD).unwrap();
    fixture.tokens.issue_user_token("ops", password, &caller).await.unwrap();
    let secret = Secret::presented("the-secret-of-the-first-release");
    fixture.tokens.issue_entity_token("aa-1", &secret, &caller).await.unwrap();
    let token = AuthenticationToken::from_text("the-session-of-the-first-release").unwrap();
    let exchanged = fixture.tokens.exchange(&token, ExchangeRequest::default()).await.unwrap();
    assert_eq!(exchanged.customer_id.as_str(), "cus_1");
    assert_eq!(exchanged.custom_claims["tier"], json!("gold"));
}

#[tokio::test]
async fn a_record_of_a_later_release_or_a_damaged_one_is_corrupt_and_quoted_nowhere() {
    let entity = Entity::entity("canary-of-a-name").unwrap().with_acl(Acl::everything());
    let text = record::write_entity(&entity).unwrap();
    assert!(record::read_entity(&text).is_ok());
    for damaged in [
        text.replacen("\"form\":1", "\"form\":2", 1),
        text.replacen("\"disabled\":false", "\"disabled\":\"canary-of-a-name\"", 1),
        text.replacen("\"subject_type\":\"entity\"", "\"subject_type\":\"user\"", 1),
        text[..text.len() / 2].to_owned(),
        String::new(),
    ] {
        assert_ne!(damaged, text);
        let error = record::read_entity(&damaged).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
        assert!(!format!("{error:?}").contains("canary-of-a-name"), "{error:?}");
    }
}
