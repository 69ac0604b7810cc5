//! Managed keys over the engines.

use std::sync::Arc;

use countersign::store::conformance;

use crate::servers::{EngineServer, Postgres, redis_cluster_node, redis_node};
use crate::support::managed_keys::{
    a_retired_key_stays_retired, fifty_rotations_under_load_reject_no_good_token,
    no_private_key_is_in,
};
use crate::support::unique;

#[tokio::test]
async fn no_private_key_is_in_a_database_in_the_clear() {
    let database = Postgres::new().await;
    no_private_key_is_in(database.node().await, async || {
        let rows = format!("SELECT t::text FROM {}.countersign_signing_keys t", database.schema);
        let rows = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(rows));
        rows.fetch_all(&Postgres::pool().await).await.unwrap().concat().into_bytes()
    })
    .await;
}

#[tokio::test]
async fn no_private_key_is_in_redis_in_the_clear() {
    let server = EngineServer::redis();
    no_private_key_is_in(server.redis_node(), async || {
        let record: Vec<String> =
            server.redis_command(&["HGETALL", "countersign:signing-keys"]).await;
        record.concat().into_bytes()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_keeps_the_contract_of_keys() {
    conformance::check_key_store(Arc::new(Postgres::new().await.node().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_keeps_the_contract_of_keys() {
    conformance::check_key_store(Arc::new(redis_node(&unique("keys-")))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_cluster_keeps_the_contract_of_keys() {
    conformance::check_key_store(Arc::new(redis_cluster_node(&unique("keys-")))).await;
}

#[tokio::test]
async fn a_retired_key_stays_retired_where_its_older_record_is_put_back_into_a_database() {
    let database = Postgres::new().await;
    let nodes = [database.node().await, database.node().await];
    let (pool, table) =
        (Postgres::pool().await, format!("{}.countersign_signing_keys", database.schema));
    let run = async |statement: String| {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&pool).await.unwrap();
    };
    let saved = format!("{}.saved", database.schema);
    let save = async || run(format!("CREATE TABLE {saved} AS SELECT * FROM {table}")).await;
    let restore = async || {
        run(format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM {saved};")).await;
    };
    a_retired_key_stays_retired(nodes, save, restore).await;
}

#[tokio::test]
async fn a_retired_key_stays_retired_where_its_older_record_is_put_back_into_redis() {
    let server = EngineServer::redis();
    let nodes = [server.redis_node(), server.redis_node()];
    let copy = async |from: &str, to: &str| {
        let _: i64 = server.redis_command(&["COPY", from, to, "REPLACE"]).await;
    };
    let save = async || copy("countersign:signing-keys", "saved").await;
    let restore = async || copy("saved", "countersign:signing-keys").await;
    a_retired_key_stays_retired(nodes, save, restore).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_postgres_fifty_rotations_under_load_reject_no_good_token() {
    let database = Postgres::new().await;
    let stores = [database.node().await, database.node().await, database.node().await];
    fifty_rotations_under_load_reject_no_good_token(stores).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_redis_fifty_rotations_under_load_reject_no_good_token() {
    let prefix = unique("rotations-");
    let stores = [redis_node(&prefix), redis_node(&prefix), redis_node(&prefix)];
    stores[0].migrate().await.unwrap();
    fifty_rotations_under_load_reject_no_good_token(stores).await;
}
