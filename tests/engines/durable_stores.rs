//! The stores that last, against the real engines: the suite that every store passes, and what is
//! theirs alone.

use std::sync::Arc;
use std::time::Duration;

use countersign::clock::{Clock as _, SystemClock};
use countersign::store::{
    Cursor, EntityStore, KeyStore, PostgresStore, SessionStore, Store as _, StoreError, TableNames,
    conformance, record,
};
use countersign::testing::{Calls, FaultyStore, StoreVerb};
use countersign::{
    Actor, AuthenticationToken, CustomerId, EntityId, ErrorKind, ExchangeRequest, NewSession,
    OrganizationId, RequestContext,
};

use crate::proxy::Proxy;
use crate::servers::{EngineServer, Postgres, postgres_url, redis_cluster_node, redis_node};
use crate::support::durable::{
    MINUTE, each_session_is_taken_once, fixture_over, no_secret_is_in, revocation, session,
};
use crate::support::unique;

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
}

#[tokio::test]
async fn tables_of_a_later_release_are_left_alone() {
    let database = Postgres::new().await;
    let later = format!("INSERT INTO {}.countersign_migrations VALUES (2000)", database.schema);
    sqlx::query(sqlx::AssertSqlSafe(later)).execute(&Postgres::pool().await).await.unwrap();
    let error = database.node().await.migrate().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

#[tokio::test]
async fn what_is_current_is_not_written_to_by_a_migration() {
    let database = Postgres::new().await;
    let pool = sqlx::postgres::PgPoolOptions::new();
    let read_only = pool.after_connect(|connection, _| {
        Box::pin(async move {
            let read_only = "SET default_transaction_read_only = on";
            sqlx::query(read_only).execute(connection).await.map(drop)
        })
    });
    let pool = read_only.connect(&postgres_url()).await.unwrap();
    let names = TableNames::default().schema(unique("t"));
    let unmigrated = PostgresStore::new(pool.clone(), &names).unwrap();
    assert_eq!(unmigrated.migrate().await.unwrap_err().kind(), ErrorKind::Unavailable);
    PostgresStore::new(pool, &database.names).unwrap().migrate().await.unwrap();
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
async fn a_cursor_of_another_cluster_reads_all_again() {
    let database = Postgres::new().await;
    let store = database.node().await;
    let published = revocation();
    store.publish(published.clone()).await.unwrap();
    let far_ahead = Cursor::new("another/900000000000:900000000000:");
    let read = store.read_feed(&far_ahead, Duration::ZERO).await.unwrap();
    assert_eq!(read.events, [published]);
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
}

#[tokio::test]
async fn no_secret_is_in_the_database_in_the_clear() {
    let database = Postgres::new().await;
    let fixture = fixture_over(database.node().await).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_used_a_session_up_is_told_so_though_the_answer_of_redis_was_lost() {
    let server = EngineServer::redis();
    let line = Proxy::to(server.address).await;
    who_used_a_session_up_is_told_so(line.redis_node(), &line).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_used_a_session_up_is_told_so_though_the_answer_of_postgres_was_lost() {
    let server = EngineServer::postgres();
    let line = Proxy::to(server.address).await;
    let url = server.url().replace(&server.address.to_string(), &line.address.to_string());
    let store = PostgresStore::connect(&url).unwrap();
    store.migrate().await.unwrap();
    who_used_a_session_up_is_told_so(store, &line).await;
}

/// The call is made again, and must neither fail nor find that somebody else was faster.
async fn who_used_a_session_up_is_told_so(
    store: impl EntityStore + SessionStore + KeyStore + Clone,
    line: &Proxy,
) {
    let store = FaultyStore::new(store);
    let fixture = fixture_over(store.clone()).await;
    for _ in 0..10 {
        let token = AuthenticationToken::from_text(&fixture.session(|new| new).await).unwrap();
        let held = store.hold(Calls::from(StoreVerb::ReplaceSession).take(1));
        let exchanging = {
            let (tokens, token) = (fixture.tokens.clone(), token.clone());
            tokio::spawn(async move {
                tokens
                    .exchange(
                        &token,
                        ExchangeRequest::default(),
                        &RequestContext::without_address(),
                    )
                    .await
            })
        };
        held.wait_for(1).await;
        line.lose_next_answer();
        held.release();
        exchanging.await.unwrap().unwrap();
        assert!(line.has_lost_an_answer());
        let again = fixture
            .tokens
            .exchange(&token, ExchangeRequest::default(), &RequestContext::without_address())
            .await
            .unwrap_err();
        assert_eq!(again.kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn sessions_of_an_earlier_schema_are_found_by_whose_they_are() {
    let database = Postgres::new().await;
    let store = database.node().await;
    let now = SystemClock.now();
    let token = AuthenticationToken::generate().unwrap();
    let organization = OrganizationId::new("a \"quoted\" \\ näme").unwrap();
    let new = NewSession::of(CustomerId::new("cus/1").unwrap())
        .organization(organization)
        .dangerous_token(token.clone());
    let fixture = fixture_over(store.clone()).await;
    fixture.clock.set(now);
    fixture
        .tokens
        .start_session(Actor::Host, new, &RequestContext::without_address())
        .await
        .unwrap();
    let schema = &database.schema;
    let lists = lists_of_before(schema);
    let earlier = format!(
        "ALTER TABLE {schema}.countersign_sessions DROP COLUMN subject, DROP COLUMN started_by, \
             DROP COLUMN kept_until;
         ALTER TABLE {schema}.countersign_entities DROP COLUMN distinct_name, \
             DROP COLUMN organization_id;
         DROP INDEX {schema}.countersign_entities_by_name;
         {lists}
         DROP TABLE {schema}.countersign_sealing_check;
         DROP TABLE {schema}.countersign_feed_history;
         CREATE INDEX countersign_sessions_by_end ON {schema}.countersign_sessions (expires_at);
         DELETE FROM {schema}.countersign_migrations WHERE version > 3;"
    );
    let pool = Postgres::pool().await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(earlier)).execute(&pool).await.unwrap();
    store.migrate().await.unwrap();
    // A connection from before has prepared its statements for other columns.
    let store = database.node().await;
    let kept = SessionStore::get(&store, &token.key()).await.unwrap().unwrap();
    assert_eq!(store.count(&kept.subject(), now, 10).await.unwrap(), 1);
    assert_eq!(store.purge_expired(now).await.unwrap(), 0);
    let found = store.of_subject(&kept.subject(), &Cursor::START, 10).await.unwrap().sessions;
    assert_eq!(found.len(), 1);
}

/// Returns what puts the indexes of lists back to those of before.
fn lists_of_before(schema: &str) -> String {
    let dropped = ["", "_by_customer", "_by_organization", "_by_both"];
    let dropped = dropped.map(|list| format!("{schema}.countersign_sessions_listed{list}"));
    let made = ["age", "customer", "organization"].map(|by| {
        format!(
            "CREATE INDEX countersign_sessions_by_{by} ON {schema}.countersign_sessions (created_at);"
        )
    });
    format!("DROP INDEX {}; {}", dropped.join(", "), made.join(" "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_waits_for_a_long_reader_keeps_nobody_waiting_with_it() {
    let database = Postgres::new().await;
    let (store, pool) = (database.node().await, Postgres::pool().await);
    let schema = &database.schema;
    let lists = lists_of_before(schema);
    let earlier = format!(
        "ALTER TABLE {schema}.countersign_entities DROP COLUMN organization_id;
         DROP INDEX {schema}.countersign_entities_by_name;
         DROP TABLE {schema}.countersign_feed_history;
         {lists}
         DELETE FROM {schema}.countersign_migrations WHERE version > 7;"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(earlier)).execute(&pool).await.unwrap();
    let read = format!("SELECT count(*) FROM {schema}.countersign_entities");
    let read = || sqlx::query(sqlx::AssertSqlSafe(read.clone()));
    let mut reader = pool.begin().await.unwrap();
    read().execute(&mut *reader).await.unwrap();

    let migrating = tokio::spawn(async move { store.migrate().await });
    let is_waiting = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted \
                      AND mode = 'AccessExclusiveLock' \
                      AND relation = to_regclass($1 || '.countersign_entities'))";
    while !sqlx::query_scalar::<_, bool>(is_waiting).bind(schema).fetch_one(&pool).await.unwrap() {
        tokio::task::yield_now().await;
    }
    let mut other = pool.begin().await.unwrap();
    sqlx::raw_sql("SET LOCAL lock_timeout = '10s'").execute(&mut *other).await.unwrap();
    read().execute(&mut *other).await.expect("it waits for a little while");
    other.rollback().await.unwrap();
    assert!(!migrating.is_finished());
    reader.rollback().await.unwrap();
    migrating.await.unwrap().unwrap();
    assert!(database.node().await.is_current().await.unwrap());
}
