//! `Idempotency-Key` over the engines that nodes share.

use crate::servers::{Postgres, redis_cluster_node, redis_node};
use crate::support::repeats::{Nodes, a_repeated_request_is_answered_once_more_and_done_once};
use crate::support::unique;

#[tokio::test]
async fn over_postgres_a_repeated_request_is_answered_once_more_and_done_once() {
    let database = Postgres::new().await;
    let nodes = Nodes::over([database.node().await, database.node().await]).await;
    a_repeated_request_is_answered_once_more_and_done_once(&nodes).await;
}

#[tokio::test]
async fn over_redis_a_repeated_request_is_answered_once_more_and_done_once() {
    let prefix = unique("idempotency-");
    let nodes = [redis_node(&prefix), redis_node(&prefix)];
    nodes[0].migrate().await.unwrap();
    a_repeated_request_is_answered_once_more_and_done_once(&Nodes::over(nodes).await).await;
}

#[tokio::test]
async fn over_a_redis_cluster_a_repeated_request_is_answered_once_more_and_done_once() {
    let prefix = unique("idempotency-");
    let nodes = [redis_cluster_node(&prefix), redis_cluster_node(&prefix)];
    nodes[0].migrate().await.unwrap();
    a_repeated_request_is_answered_once_more_and_done_once(&Nodes::over(nodes).await).await;
}
