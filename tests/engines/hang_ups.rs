//! Clients that hang up while Postgres is at work.

use std::time::Duration;

use crate::servers::Postgres;
use crate::support::hang_ups::{
    Nodes, a_caller_that_hangs_up_at_random_leaves_all_done_or_nothing,
};

#[tokio::test]
async fn over_postgres_a_caller_that_hangs_up_at_random_leaves_all_done_or_nothing_on_two_nodes() {
    let database = Postgres::new().await;
    let nodes = Nodes::over([database.node().await, database.node().await]).await;
    a_caller_that_hangs_up_at_random_leaves_all_done_or_nothing(&nodes, Duration::from_millis(12))
        .await;
}
