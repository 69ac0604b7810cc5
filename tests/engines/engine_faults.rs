//! Nodes whose engine crashes, or is slow, as processes of their own under load.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::cluster::{Cluster, Engine};
use crate::proxy::Proxy;
use crate::servers::EngineServer;
use crate::support::Answer;

const NODES: usize = 2;
/// The policy's `runtime.store_deadline`, and the time that a busy machine takes for what is around it.
const AT_MOST: Duration = Duration::from_secs(5 + 2);
/// How long an outage lasts.
const OUTAGE: Duration = Duration::from_secs(5);
/// By then all is as it was. It takes less than a second where the machine does nothing else.
const RECOVERY: Duration = Duration::from_secs(3);
/// By then no connection on which nothing comes has a place in the pool any more.
const GIVEN_UP: Duration = Duration::from_secs(5);
/// No test takes that long, unless something hangs.
const LONG: Duration = Duration::from_secs(60);

/// What clients ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Login,
    Exchange,
    Validation,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Login, Self::Exchange, Self::Validation];

    fn success(self) -> u16 {
        match self {
            Self::Login | Self::Validation => 200,
            Self::Exchange => 201,
        }
    }

    /// Whether it succeeds without the engine. Tokens are checked against what is in memory; and a
    /// machine may be known by a copy, which does not last for long.
    fn does_without_the_engine(self) -> Option<bool> {
        match self {
            Self::Validation => Some(true),
            Self::Login => None,
            Self::Exchange => Some(false),
        }
    }
}

/// One request, and what came of it.
#[derive(Debug)]
struct Event {
    kind: Kind,
    began: Instant,
    ended: Instant,
    answer: Answer,
}

impl Event {
    fn succeeded(&self) -> bool {
        self.answer.status().as_u16() == self.kind.success()
    }

    /// Right, or a 503 as it should be.
    #[track_caller]
    fn check(&self) {
        if !self.succeeded() {
            assert_ne!(self.kind.does_without_the_engine(), Some(true), "{self:?}");
            assert_eq!(self.answer.status().as_u16(), 503, "{self:?}");
            assert!(self.answer.header("retry-after").parse::<u64>().unwrap() > 0, "{self:?}");
        }
        assert!(self.ended - self.began <= AT_MOST, "{self:?}");
    }
}

/// Two nodes, and what clients need to ask them.
struct Scene {
    cluster: Cluster,
    good_token: String,
    sessions: Mutex<Vec<String>>,
    events: Mutex<Vec<Event>>,
}

impl Scene {
    async fn new(engine: Engine) -> Arc<Self> {
        let seed = json!({"entities": [{"id": "aa-1", "secret": "a-known-secret"}]});
        let cluster = Cluster::with_seed(NODES, engine, Some(seed.to_string()));
        let scene = Self {
            cluster,
            good_token: String::new(),
            sessions: Mutex::default(),
            events: Mutex::default(),
        };
        let login = scene.ask(0, Kind::Login).await;
        let good_token = login.answer.expect(200).json()["accessToken"].as_str().unwrap().into();
        Arc::new(Self { good_token, ..scene })
    }

    /// Starts sessions, so that every exchange has one of its own.
    async fn stock(self: &Arc<Self>, sessions: usize) {
        let mut starting = JoinSet::new();
        for _ in 0..sessions {
            let scene = Arc::clone(self);
            starting.spawn(async move {
                let token = scene.cluster.engine.session().await;
                scene.sessions.lock().unwrap().push(token);
            });
        }
        starting.join_all().await;
    }

    async fn ask(&self, node: usize, kind: Kind) -> Event {
        let session = match kind {
            Kind::Exchange => self.sessions.lock().unwrap().pop().expect("enough are in stock"),
            _ => String::new(),
        };
        let began = Instant::now();
        let answering = async {
            match kind {
                Kind::Login => {
                    let form = "id=aa-1&secret=a-known-secret";
                    self.cluster.post_form(node, "/entity/token/generate", form).await
                }
                Kind::Exchange => self.cluster.exchange(node, &session).await,
                Kind::Validation => self.cluster.validate(node, &self.good_token).await,
            }
        };
        let answer = timeout(LONG, answering).await.unwrap().unwrap();
        Event { kind, began, ended: Instant::now(), answer }
    }

    /// Some of each kind at once, of each node.
    async fn burst(self: &Arc<Self>, of_each: usize) -> Vec<Event> {
        let mut asking = JoinSet::new();
        for number in 0..of_each * NODES {
            for kind in Kind::ALL {
                let scene = Arc::clone(self);
                asking.spawn(async move { scene.ask(number % NODES, kind).await });
            }
        }
        asking.join_all().await
    }

    /// Asks until it is answered as it should be; answers when that was.
    async fn until_it_succeeds(&self, node: usize, kind: Kind) -> Instant {
        let end = Instant::now() + LONG;
        while Instant::now() < end {
            let event = self.ask(node, kind).await;
            event.check();
            if event.succeeded() {
                return event.ended;
            }
        }
        panic!("{kind:?} does not succeed any more");
    }

    async fn until_all_succeed(&self) -> Instant {
        let mut last = Instant::now();
        for node in 0..NODES {
            for kind in Kind::ALL {
                last = last.max(self.until_it_succeeds(node, kind).await);
            }
        }
        last
    }
}

/// Clients that ask again and again until this is dropped.
struct Load(JoinSet<()>);

const CLIENTS_OF_EACH_KIND: usize = 8;
/// Each client asks this often, and later only where it waits for an answer.
const PACE: Duration = Duration::from_millis(80);

impl Load {
    fn on(scene: &Arc<Scene>) -> Self {
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS_OF_EACH_KIND * NODES {
            for kind in Kind::ALL {
                let scene = Arc::clone(scene);
                clients.spawn(async move {
                    let mut pace = interval(PACE);
                    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
                    loop {
                        pace.tick().await;
                        let event = scene.ask(number % NODES, kind).await;
                        scene.events.lock().unwrap().push(event);
                    }
                });
            }
        }
        Self(clients)
    }

    /// For so long, unless a client has failed.
    async fn goes_on_for(&mut self, time: Duration) {
        if let Ok(failed) = timeout(time, self.0.join_next()).await {
            failed.unwrap().unwrap();
        }
    }
}

/// Runs what blocks, beside the clients.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_down_what_needs_it_is_503_and_tokens_are_checked_from_memory() {
    while_the_engine_is_down_what_needs_it_is_503(EngineServer::postgres()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_down_what_needs_it_is_503_and_tokens_are_checked_from_memory() {
    while_the_engine_is_down_what_needs_it_is_503(EngineServer::redis()).await;
}

async fn while_the_engine_is_down_what_needs_it_is_503(server: EngineServer) {
    let server = Arc::new(server);
    let scene = Scene::new(Engine::at(&server).await).await;
    scene.stock(2_500).await;
    let mut load = Load::on(&scene);
    load.goes_on_for(Duration::from_secs(1)).await;

    let stopping_at = Instant::now();
    let stopping = Arc::clone(&server);
    beside(move || stopping.stop()).await;
    let down_at = Instant::now();
    load.goes_on_for(OUTAGE).await;
    let starting_at = Instant::now();
    let starting = Arc::clone(&server);
    beside(move || starting.start()).await;
    let up_at = Instant::now();
    let recovered_at = scene.until_all_succeed().await;
    assert!(recovered_at - up_at <= RECOVERY, "{:?}", recovered_at - up_at);
    load.goes_on_for(RECOVERY + Duration::from_secs(1)).await;
    drop(load);

    let events = std::mem::take(&mut *scene.events.lock().unwrap());
    for event in &events {
        event.check();
        if event.began >= down_at
            && event.ended <= starting_at
            && let Some(does_without) = event.kind.does_without_the_engine()
        {
            assert_eq!(event.succeeded(), does_without, "{event:?}");
        }
        if event.ended <= stopping_at || event.began >= up_at + RECOVERY {
            assert!(event.succeeded(), "{event:?}");
        }
    }
    for kind in Kind::ALL {
        let of_kind = || events.iter().filter(|event| event.kind == kind);
        assert!(of_kind().any(|event| event.ended <= stopping_at), "{kind:?} before");
        let meanwhile = |event: &&Event| event.ended >= down_at && event.ended <= starting_at;
        assert!(of_kind().filter(meanwhile).count() > 0, "{kind:?} meanwhile");
        assert!(of_kind().any(|event| event.began >= up_at + RECOVERY), "{kind:?} after");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_postgres_was_started_again_no_request_meets_a_connection_from_before() {
    after_the_engine_was_started_again_all_goes_on(EngineServer::postgres()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_redis_was_started_again_no_request_meets_a_connection_from_before() {
    after_the_engine_was_started_again_all_goes_on(EngineServer::redis()).await;
}

/// Nobody asks while it is away, so that all the connections that there are lead nowhere after.
async fn after_the_engine_was_started_again_all_goes_on(server: EngineServer) {
    let scene = Scene::new(Engine::at(&server).await).await;
    scene.stock(100).await;
    for event in scene.burst(30).await {
        assert!(event.succeeded(), "{event:?}");
    }
    server.stop();
    server.start();
    for node in 0..NODES {
        for kind in Kind::ALL {
            let event = scene.ask(node, kind).await;
            assert!(event.succeeded(), "{event:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_postgres_is_waited_for_until_the_deadline_and_no_longer() {
    let server = EngineServer::postgres();
    a_slow_engine_is_waited_for_until_the_deadline_and_no_longer(server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_redis_is_waited_for_until_the_deadline_and_no_longer() {
    let server = EngineServer::redis();
    a_slow_engine_is_waited_for_until_the_deadline_and_no_longer(server).await;
}

async fn a_slow_engine_is_waited_for_until_the_deadline_and_no_longer(server: EngineServer) {
    let line = Proxy::to(server.address).await;
    let scene = Scene::new(Engine::at(&server).await.through(server.address, line.address)).await;
    scene.stock(300).await;

    line.delay(Duration::from_millis(50));
    for event in scene.burst(15).await {
        assert!(event.succeeded(), "{event:?}");
    }
    line.delay(Duration::from_secs(10));
    for event in scene.burst(15).await {
        event.check();
        if let Some(does_without) = event.kind.does_without_the_engine() {
            assert_eq!(event.succeeded(), does_without, "{event:?}");
        }
    }
    line.delay(Duration::ZERO);
    let fast_at = Instant::now();
    let recovered_at = scene.until_all_succeed().await;
    assert!(recovered_at - fast_at <= RECOVERY, "{:?}", recovered_at - fast_at);
    for event in scene.burst(15).await {
        assert!(event.succeeded(), "{event:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_postgres_on_which_nothing_comes_any_more_are_given_up() {
    connections_on_which_nothing_comes_any_more_are_given_up(EngineServer::postgres()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_redis_on_which_nothing_comes_any_more_are_given_up() {
    connections_on_which_nothing_comes_any_more_are_given_up(EngineServer::redis()).await;
}

/// As where a firewall forgets a connection, or a machine is gone without a word and another one
/// has its address.
async fn connections_on_which_nothing_comes_any_more_are_given_up(server: EngineServer) {
    let line = Proxy::to(server.address).await;
    let scene = Scene::new(Engine::at(&server).await.through(server.address, line.address)).await;
    scene.stock(300).await;
    for event in scene.burst(30).await {
        assert!(event.succeeded(), "{event:?}");
    }
    line.strand();
    for event in scene.burst(30).await {
        event.check();
    }
    let answered_at = Instant::now();
    let recovered_at = scene.until_all_succeed().await;
    assert!(recovered_at - answered_at <= GIVEN_UP, "{:?}", recovered_at - answered_at);
    for event in scene.burst(30).await {
        assert!(event.succeeded(), "{event:?}");
    }

    // Those that nobody has used for a while are found out before they are used.
    line.strand();
    let mut pace = interval(PACE);
    for _ in 0..60 {
        pace.tick().await;
        let event = scene.ask(0, Kind::Validation).await;
        assert!(event.succeeded(), "{event:?}");
    }
    for kind in Kind::ALL {
        let event = scene.ask(0, kind).await;
        assert!(event.succeeded(), "{event:?}");
    }
}
