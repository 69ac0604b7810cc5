//! Postgres behind a PgBouncer in transaction mode.

use std::sync::Arc;
use std::time::Duration;

use countersign::clock::{Clock as _, SystemClock};
use countersign::store::{
    Cursor, EntityStore, PostgresOptions, PostgresStore, SessionStore, StoreError, conformance,
};
use countersign::{EntityId, ErrorKind};
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;

use crate::servers::{EngineServer, Postgres, postgres_url, token_server_over};
use crate::support::durable::{MINUTE, each_session_is_taken_once, revocation};
use crate::support::programs::TokenServer;

fn node(pooler: &EngineServer, database: &Postgres) -> PostgresStore {
    let options = PostgresOptions::default()
        .tables(database.names.clone())
        .transaction_pooler(postgres_url());
    PostgresStore::connect_with(&pooler.url(), options).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_pooler_in_transaction_mode_the_contract_is_kept() {
    let (pooler, database) = (EngineServer::pooler(), Postgres::new().await);
    let first = node(&pooler, &database);
    first.migrate().await.unwrap();
    conformance::check_key_store(Arc::new(first.clone())).await;
    conformance::check_entity_store(Arc::new(first.clone())).await;
    conformance::check_session_store(Arc::new(first.clone())).await;
    let nodes = [first, node(&pooler, &database), node(&pooler, &database)];
    each_session_is_taken_once(nodes.map(|node| Arc::new(node) as _).into()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_of_another_database_than_the_direct_url_is_rejected_when_migrating() {
    let (pooler, database, other) =
        (EngineServer::pooler(), Postgres::new().await, EngineServer::postgres());
    let options =
        PostgresOptions::default().tables(database.names.clone()).transaction_pooler(other.url());
    let store = PostgresStore::connect_with(&pooler.url(), options).unwrap();
    let error = store.migrate().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    let problem = "the URL of the pooler and the direct URL lead to different databases";
    assert!(error.to_string().contains(problem), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_pooler_a_revocation_on_one_node_is_heard_on_another() {
    let (pooler, database) = (EngineServer::pooler(), Postgres::new().await);
    let (reader, writer) = (node(&pooler, &database), node(&pooler, &database));
    let end = reader.read_feed(&Cursor::START, Duration::ZERO).await.unwrap().next;
    let wanted = revocation();
    let (read, published) =
        tokio::join!(reader.read_feed(&end, MINUTE), writer.publish(wanted.clone()));
    published.unwrap();
    assert_eq!(read.unwrap().events, [wanted]);
}

#[tokio::test]
async fn callers_that_hang_up_keep_no_process_of_the_server() {
    let (pooler, database) = (EngineServer::pooler(), Postgres::new().await);
    let (store, other) = (node(&pooler, &database), node(&pooler, &database));
    let read = |store: PostgresStore| async move {
        EntityStore::get(&store, &EntityId::user("ops").unwrap()).await.unwrap()
    };
    // So that there are connections, and the first poll of a call gets as far as the server.
    futures_util::future::join_all((0..10).map(|_| read(store.clone()))).await;
    for _ in 0..10 {
        let mut calling = Box::pin(read(store.clone()));
        assert!(futures_util::poll!(&mut calling).is_pending());
        drop(calling);
    }
    let served = tokio::time::timeout(MINUTE, read(other)).await;
    assert!(served.expect("a process of the server is free").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_is_left_without_settings_that_others_would_get() {
    let (pooler, database) = (EngineServer::pooler(), Postgres::new().await);
    let store = node(&pooler, &database);
    let mut callers = JoinSet::new();
    for _ in 0..20 {
        let store = store.clone();
        callers
            .spawn(async move { EntityStore::get(&store, &EntityId::user("ops").unwrap()).await });
    }
    for called in callers.join_all().await {
        called.unwrap();
    }
    let mut others = Vec::new();
    for _ in 0..3 {
        let options: sqlx::postgres::PgConnectOptions = pooler.url().parse().unwrap();
        let mut other =
            PgConnection::connect_with(&options.extra_float_digits(None)).await.unwrap();
        // Each keeps a process of the server, until all have got one.
        sqlx::raw_sql("BEGIN").execute(&mut other).await.unwrap();
        others.push(other);
    }
    let settings = "SELECT current_setting('statement_timeout') || ' ' || current_setting('lock_timeout') \
                    || ' ' || (SELECT count(*) FROM pg_prepared_statements)";
    for mut other in others {
        let row = sqlx::Executor::fetch_one(&mut other, settings).await.unwrap();
        assert_eq!(sqlx::Row::get::<String, _>(&row, 0), "0 0 0");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_was_not_declared_is_an_error_that_the_guide_explains() {
    let guide = include_str!("../../src/docs/guide/many_nodes.md").replace('\n', " ");
    let pooler = EngineServer::pooler();
    let store = PostgresStore::connect(&pooler.url()).unwrap();
    let error = SessionStore::purge_expired(&store, SystemClock.now()).await.unwrap_err();
    let StoreError::Unavailable(source) = error else { panic!("{error:?}") };
    let told = source.to_string();
    let explained = "unsupported startup parameter: extra_float_digits";
    assert!(told.contains(explained), "{told}");
    assert!(guide.contains(explained));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_server_runs_behind_a_pooler() {
    let server = EngineServer::postgres();
    let pooler = server.own_pooler();
    let mut command = token_server_over(&pooler.url());
    command.env("COUNTERSIGN_POSTGRES_DIRECT", server.url());
    command.env("COUNTERSIGN_POSTGRES_CONNECTIONS", "4");
    let node = TokenServer::start(command);
    let keys = node.get("/.well-known/jwks.json", "").await.expect(200).json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1, "they are in the store");
}
