//! A node whose clock is days ahead of its engine's, as a process of its own under Debian's `faketime`.

use std::time::Duration;

use countersign::clock::{Clock as _, SystemClock};
use countersign::store::{EntityStore, KeyStore, PostgresStore, RedisStore, SessionStore};
use countersign::testing::{FaultyStore, TestClock};
use http::Request;
use serde_json::Value;

use crate::cluster::{Cluster, Engine};
use crate::support::managed_keys::{kids_in, node, until};
use crate::support::programs::seed;
use crate::support::try_send;

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_postgres_a_node_whose_clock_is_days_ahead_destroys_nothing() {
    let engine = Engine::postgres().await;
    let store = PostgresStore::connect(engine.location()).unwrap();
    a_node_whose_clock_is_days_ahead_destroys_nothing(engine, store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_redis_a_node_whose_clock_is_days_ahead_destroys_nothing() {
    let engine = Engine::redis().await;
    let store = RedisStore::connect(engine.location()).unwrap();
    a_node_whose_clock_is_days_ahead_destroys_nothing(engine, store).await;
}

/// Has a key sign for 77 days: the next one is announced as soon as a node starts, to sign in two weeks.
async fn age_keys(store: impl KeyStore) {
    let clock = TestClock::at(SystemClock.now() - 77 * DAY);
    let store = FaultyStore::new(store).clock(clock.clone());
    node(store, clock).catch_up().await.unwrap();
}

async fn a_node_whose_clock_is_days_ahead_destroys_nothing(
    engine: Engine,
    store: impl EntityStore + SessionStore + KeyStore,
) {
    age_keys(store).await;
    let cluster = Cluster::with_seed(2, engine, Some(seed().to_string()));
    let body = r#"{"username": "jane@example.com", "password": "pass-word"}"#;
    let log_in = async || {
        let session = cluster.post_json(0, "/authentication-tokens", body).await.unwrap();
        let session = session.expect(201).json()["token"].as_str().unwrap().to_owned();
        let exchange = format!("/authentication-tokens/{session}/exchange");
        let jwt = cluster.post_json(0, &exchange, r#"{"invalidate": false}"#).await.unwrap();
        (session, jwt.expect(201).json()["token"].as_str().unwrap().to_owned())
    };
    let (kept, of_kept) = log_in().await;
    let (ended, of_ended) = log_in().await;
    cluster.delete(0, &format!("/authentication-tokens/{ended}")).await.unwrap().expect(204);
    let published = published_kids(&cluster, 0).await;
    assert_eq!(published.len(), 2, "one that signs, and the next");

    for days in [2, 16] {
        let ahead = cluster.start_ahead(days);
        let difference = format!("is {} s ahead of its store", days * 86_400);
        let is_close = |log: &str| {
            // Within a second or two of the days.
            (0..5).any(|more| {
                let seconds = days * 86_400 - 2 + more;
                log.contains(&format!("is {seconds} s ahead of its store"))
            })
        };
        until(async || is_close(&ahead.log())).await;
        assert!(ahead.log().contains("ERROR countersign"), "{difference}: {}", ahead.log());
        // It has purged, and looked at the keys.
        let tries = ahead.log();
        assert!(tries.contains("nothing is purged and no signing keys are changed"), "{tries}");
        drop(ahead);

        // One goes on, and the other begins anew and knows what is in the store alone.
        cluster.restart(1);
        for node in [0, 1] {
            cluster.validate(node, &of_kept).await.unwrap().expect(200);
            cluster.validate(node, &of_ended).await.unwrap().expect(401);
            assert_eq!(published_kids(&cluster, node).await, published);
        }
    }
    cluster.exchange(1, &kept).await.unwrap().expect(201);
    cluster.exchange(1, &ended).await.unwrap().expect(404);
}

async fn published_kids(cluster: &Cluster, node: usize) -> Vec<String> {
    let request = Request::get("/.well-known/jwks.json").body("").unwrap();
    let set: Value = try_send(cluster.addresses[node], request).await.unwrap().expect(200).json();
    kids_in(&set)
}
