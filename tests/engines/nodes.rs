//! Nodes that share an engine, as processes of their own that are killed and started again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use crate::cluster::{Cluster, Engine};
use crate::support::programs::seed;
use crate::support::{Unanswered, random};

const NODES: usize = 3;
const SESSIONS: usize = 200;
/// How many exchange one session at once.
const RACERS: usize = 50;
const KILLS: usize = 6;
const BETWEEN_KILLS: Duration = Duration::from_secs(1);
/// Sessions are spread over the kills.
const BETWEEN_SESSIONS: Duration = Duration::from_millis(35);
/// How many are raced for at once where the machine does not keep up.
const SESSIONS_AT_ONCE: usize = 8;
/// No test takes that long, unless something hangs.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_postgres_a_session_is_exchanged_once_though_nodes_are_killed() {
    each_session_is_exchanged_once_though_nodes_are_killed(Engine::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_sqlite_file_a_session_is_exchanged_once_though_processes_are_killed() {
    each_session_is_exchanged_once_though_nodes_are_killed(Engine::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_redis_a_session_is_exchanged_once_though_nodes_are_killed() {
    each_session_is_exchanged_once_though_nodes_are_killed(Engine::redis().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_redis_cluster_a_session_is_exchanged_once_though_nodes_are_killed() {
    each_session_is_exchanged_once_though_nodes_are_killed(Engine::redis_cluster().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_issued_and_revoked_over_redis_outlives_every_node() {
    what_was_issued_and_revoked_outlives_every_node(Engine::redis().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_issued_and_revoked_over_postgres_outlives_every_node() {
    what_was_issued_and_revoked_outlives_every_node(Engine::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_issued_and_revoked_over_a_sqlite_file_outlives_every_process() {
    what_was_issued_and_revoked_outlives_every_node(Engine::sqlite().await).await;
}

async fn each_session_is_exchanged_once_though_nodes_are_killed(engine: Engine) {
    let cluster = Arc::new(Cluster::start(NODES, engine));
    let mut tokens = Vec::new();
    for _ in 0..SESSIONS {
        tokens.push(cluster.engine.session().await);
    }
    let races = timeout(LONG, race_while_nodes_are_killed(&cluster, tokens)).await.unwrap();

    let answers: usize = races.iter().map(Race::requests).sum();
    assert_eq!(answers, SESSIONS * RACERS);
    for race in &races {
        assert!(race.won.len() <= 1, "exchanged more than once: {race:?}");
        let again = cluster.exchange(random() as usize % NODES, &race.token).await.unwrap();
        match again.status().as_u16() {
            201 => assert!(race.won.is_empty(), "exchanged, and still there: {race:?}"),
            // Whoever has used it up without an answer was asking a node that was killed.
            404 => assert!(race.won.len() + race.lost > 0, "gone for nothing: {race:?}"),
            _ => panic!("{again:?}"),
        }
    }
    for jwt in races.iter().flat_map(|race| &race.won) {
        for node in 0..NODES {
            cluster.validate(node, jwt).await.unwrap().expect(200);
        }
    }
}

/// What came of the exchanges of one session.
#[derive(Debug, Default)]
struct Race {
    token: String,
    /// The JWTs that were answered.
    won: Vec<String>,
    not_found: usize,
    unavailable: usize,
    /// Without an answer, for the node was killed.
    lost: usize,
    /// No node listened.
    rejected: usize,
}

impl Race {
    fn requests(&self) -> usize {
        self.won.len() + self.not_found + self.unavailable + self.lost + self.rejected
    }
}

async fn race_while_nodes_are_killed(cluster: &Arc<Cluster>, tokens: Vec<String>) -> Vec<Race> {
    let kills = watch::Sender::new(0);
    let mut killed = kills.subscribe();
    let (end, ended) = watch::channel(());
    let killer = tokio::spawn(kill_now_and_then(Arc::clone(cluster), kills, ended));
    let places = Arc::new(Semaphore::new(SESSIONS_AT_ONCE));
    let mut pace = interval(BETWEEN_SESSIONS);
    let mut races = JoinSet::new();
    let last = tokens.len() - SESSIONS_AT_ONCE;
    for (number, token) in tokens.into_iter().enumerate() {
        if number == last {
            killed.wait_for(|kills| *kills >= KILLS).await.unwrap();
        }
        pace.tick().await;
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let race = race(Arc::clone(cluster), token);
        races.spawn(async move {
            let race = race.await;
            drop(place);
            race
        });
    }
    let races = races.join_all().await;
    drop(end);
    killer.await.unwrap();
    races
}

/// Until it is told to end; then all nodes are there.
async fn kill_now_and_then(
    cluster: Arc<Cluster>,
    kills: watch::Sender<usize>,
    mut ended: watch::Receiver<()>,
) {
    let mut pace = interval(BETWEEN_KILLS);
    pace.tick().await;
    loop {
        tokio::select! {
            _ = pace.tick() => {}
            _ = ended.changed() => return,
        }
        let cluster = Arc::clone(&cluster);
        let killing = move || cluster.restart(random() as usize % NODES);
        tokio::task::spawn_blocking(killing).await.unwrap();
        kills.send_modify(|kills| *kills += 1);
    }
}

async fn race(cluster: Arc<Cluster>, token: String) -> Race {
    let mut racers = JoinSet::new();
    for racer in 0..RACERS {
        let (cluster, token) = (Arc::clone(&cluster), token.clone());
        racers.spawn(async move {
            let mut nodes = (0..NODES).map(|turn| (racer + turn) % NODES);
            loop {
                let node = nodes.next()?;
                match cluster.exchange(node, &token).await {
                    // Who finds a node gone goes to the next one.
                    Err(Unanswered::Rejected(_)) => {}
                    answer => return Some(answer),
                }
            }
        });
    }
    let mut race = Race { token, ..Race::default() };
    for answer in racers.join_all().await {
        match answer {
            Some(Ok(answer)) => match answer.status().as_u16() {
                201 => race.won.push(answer.json()["token"].as_str().unwrap().to_owned()),
                404 => race.not_found += 1,
                503 => race.unavailable += 1,
                _ => panic!("{answer:?}"),
            },
            Some(Err(_)) => race.lost += 1,
            None => race.rejected += 1,
        }
    }
    race
}

async fn what_was_issued_and_revoked_outlives_every_node(engine: Engine) {
    let cluster = Cluster::with_seed(2, engine, Some(seed().to_string()));
    let login = async |node| {
        let form = "username=ops%40example.com&password=pass-word";
        cluster.post_form(node, "/user/token/generate", form).await.unwrap().expect(200)
    };
    let of_user = login(0).await.json()["accessToken"].as_str().unwrap().to_owned();
    let log_in_jane = async || {
        let body = r#"{"username": "jane@example.com", "password": "pass-word"}"#;
        let session = cluster.post_json(0, "/authentication-tokens", body).await.unwrap();
        let session = session.expect(201).json()["token"].as_str().unwrap().to_owned();
        let exchange = format!("/authentication-tokens/{session}/exchange");
        let body = r#"{"invalidate": false}"#;
        let jwt = cluster.post_json(1, &exchange, body).await.unwrap().expect(201);
        (session, jwt.json()["token"].as_str().unwrap().to_owned())
    };
    let (kept, of_kept) = log_in_jane().await;
    let (ended, of_ended) = log_in_jane().await;
    for token in [&of_user, &of_kept, &of_ended] {
        cluster.validate(0, token).await.unwrap().expect(200);
    }
    cluster.delete(0, &format!("/authentication-tokens/{ended}")).await.unwrap().expect(204);
    let known = cluster.exchange(0, "known-1").await.unwrap().expect(201);
    let of_known = known.json()["token"].as_str().unwrap().to_owned();

    for node in [0, 1] {
        cluster.restart(node);
    }
    for node in [1, 0] {
        login(node).await;
        let form = "id=aa-1&secret=a-known-secret";
        cluster.post_form(node, "/entity/token/generate", form).await.unwrap().expect(200);
        for token in [&of_user, &of_kept, &of_known] {
            cluster.validate(node, token).await.unwrap().expect(200);
        }
        cluster.validate(node, &of_ended).await.unwrap().expect(401);
        cluster.exchange(node, &ended).await.unwrap().expect(404);
        cluster.exchange(node, "known-1").await.unwrap().expect(404);
    }
    cluster.exchange(1, &kept).await.unwrap().expect(201);
    cluster.exchange(0, &kept).await.unwrap().expect(404);
}
