//! The examples that need a server.

use crate::servers::{EngineServer, postgres_url};
use crate::support::programs::example;
use crate::support::unique;

/// A token that is issued and revoked in the cluster over a store.
#[track_caller]
fn three_nodes_accept_and_reject_alike(store: &str) {
    let output = example("cluster").env("COUNTERSIGN_STORE", store).output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    for line in [
        "A user logged in on node 1: the token is good on all three.",
        "A customer logged in on node 1, exchanged on node 2: the token is good on all three.",
        "by node 1 after ",
        "by node 2 after ",
        "by node 3 after ",
    ] {
        assert!(out.contains(line), "{out}{err}");
    }
}

#[tokio::test]
async fn a_cluster_over_one_database_rejects_what_was_revoked_on_any_node() {
    let pool = sqlx::PgPool::connect(&postgres_url()).await.unwrap();
    let name = unique("d");
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&pool).await.unwrap();
    let url = postgres_url();
    let (server, _) = url.rsplit_once('/').unwrap();
    three_nodes_accept_and_reject_alike(&format!("{server}/{name}"));
    let drop = sqlx::AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"));
    sqlx::query(drop).execute(&pool).await.unwrap();
}

#[test]
fn a_cluster_over_one_redis_rejects_what_was_revoked_on_any_node() {
    let server = EngineServer::redis();
    three_nodes_accept_and_reject_alike(&server.url());
}
