//! Nodes whose keys are managed, and what holds of them over each kind of store.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign::clock::Clock;
use countersign::faults::TokenFault;
use countersign::jose::{
    CryptoProvider, DefaultProvider, PrivateKey, Signer, VerificationKey, Verifier,
};
use countersign::policy::RotationSchedule;
use countersign::store::KeyStore;
use countersign::testing::FaultyStore;
use countersign::{
    Algorithm, Bearer, Grant, Housekeeping, ManagedKeys, Policy, SealingKey, Timestamp,
    TokenService,
};
use http::StatusCode;
use serde_json::Value;
use tokio::sync::RwLock;
use tokio::task::JoinSet;

use crate::support::{AUDIENCE, ISSUER, Server, TestClock, issue_now, kid_of};

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const DAY: Duration = Duration::from_secs(86_400);
pub const SEALING_KEY: [u8; 32] = [7; 32];

/// The same clock, on a machine where it is wrong.
#[derive(Clone, Debug)]
pub struct WrongBy {
    pub clock: TestClock,
    pub ahead: Duration,
    pub behind: Duration,
}

impl Clock for WrongBy {
    fn now(&self) -> Timestamp {
        self.clock.now() + self.ahead - self.behind
    }
}

pub fn node_with(
    keys: ManagedKeys,
    clock: impl Clock,
    sealing: impl IntoIterator<Item = [u8; 32]>,
    schedule: RotationSchedule,
) -> TokenService {
    let builder = TokenService::builder()
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .keys(keys)
        .clock(clock)
        .policy(Policy::default().tokens(|tokens| tokens.rotation_schedule(schedule)));
    let sealing = sealing.into_iter().map(SealingKey::from_bytes);
    sealing.fold(builder, |builder, key| builder.sealing_key(key)).build().unwrap()
}

pub fn node(store: impl KeyStore, clock: impl Clock) -> TokenService {
    let keys = ManagedKeys::new(Algorithm::EdDSA).store(store);
    node_with(keys, clock, [SEALING_KEY], RotationSchedule::default())
}

pub fn token_of(node: &TokenService) -> String {
    issue_now(node, Grant::user("jane")).unwrap().access_token.expose().to_owned()
}

/// The kids that a node publishes, in the order in which their keys sign.
pub fn kids(node: &TokenService) -> Vec<String> {
    kids_in(&serde_json::from_str(&node.jwks()).unwrap())
}

pub fn kids_in(set: &Value) -> Vec<String> {
    let keys = set["keys"].as_array().unwrap();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

pub fn signing_kid(node: &TokenService) -> String {
    kid_of(&token_of(node))
}

#[track_caller]
pub fn fault(node: &TokenService, token: &str) -> TokenFault {
    node.validator().validate(token).unwrap_err()
}

/// The documented routes, and one that wants a token.
pub fn app(tokens: &TokenService) -> Router {
    let me = get(|Bearer(claims): Bearer| async move { claims.principal().id().to_owned() });
    tokens.router().route("/me", me.layer(tokens.validate_layer()))
}

/// Returns once something is so.
pub async fn until(is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(10 * MINUTE, waiting).await.expect("it never came to be so");
}

/// Remembers the private keys that it makes.
#[derive(Clone, Debug, Default)]
pub struct Spy(Arc<Mutex<Vec<[u8; 32]>>>);

impl CryptoProvider for Spy {
    fn generate(&self, algorithm: Algorithm) -> Result<PrivateKey, countersign::Error> {
        let key = DefaultProvider.generate(algorithm)?;
        if let PrivateKey::Ed25519(seed) = &key {
            self.0.lock().unwrap().push(**seed);
        }
        Ok(key)
    }

    fn verification_key(&self, key: &PrivateKey) -> Result<VerificationKey, countersign::Error> {
        DefaultProvider.verification_key(key)
    }

    fn signer(&self, key: &PrivateKey) -> Result<Box<dyn Signer>, countersign::Error> {
        DefaultProvider.signer(key)
    }

    fn verifier(&self, key: &VerificationKey) -> Result<Box<dyn Verifier>, countersign::Error> {
        DefaultProvider.verifier(key)
    }
}

/// Has a service make keys, and looks for them in all that its store holds.
pub async fn no_private_key_is_in(store: impl KeyStore, dump: impl AsyncFn() -> Vec<u8>) {
    let (spy, clock) = (Spy::default(), TestClock::new());
    let store = FaultyStore::new(store).clock(clock.clone());
    let keys = ManagedKeys::with_provider(Algorithm::EdDSA, spy.clone()).store(store);
    let tokens = node_with(keys, clock.clone(), [SEALING_KEY], RotationSchedule::default());
    tokens.catch_up().await.unwrap();
    clock.advance(80 * DAY);
    tokens.catch_up().await.unwrap();
    let bytes = dump().await;
    let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    for kid in kids(&tokens) {
        assert!(holds(kid.as_bytes()), "what is no secret is found");
    }
    let seeds = spy.0.lock().unwrap();
    assert_eq!(seeds.len(), 2);
    for seed in &*seeds {
        let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!holds(seed) && !holds(hex.as_bytes()));
        assert!(!holds(URL_SAFE_NO_PAD.encode(seed).as_bytes()));
        let shown = format!("{tokens:?}");
        assert!(!shown.contains(&hex) && !shown.contains(&URL_SAFE_NO_PAD.encode(seed)));
    }
}

/// Retires keys, and has the store put back to what it was before that. `save` keeps what is in the store, and
/// `restore` puts it back.
pub async fn a_retired_key_stays_retired(
    stores: [impl KeyStore + Clone; 2],
    save: impl AsyncFn(),
    restore: impl AsyncFn(),
) {
    let clock = TestClock::new();
    let stores = stores.map(|store| FaultyStore::new(store).clock(clock.clone()));
    let nodes = stores.clone().map(|store| node(store, clock.clone()));
    let catch_up = async || {
        for node in &nodes {
            node.catch_up().await.unwrap();
        }
    };
    catch_up().await;
    // One that signs, and one that never does.
    let (signing, token) = (signing_kid(&nodes[0]), token_of(&nodes[0]));
    nodes[0].rotate_keys().await.unwrap();
    catch_up().await;
    let next = kids(&nodes[0]).pop().unwrap();
    assert_eq!(kids(&nodes[1]).len(), 2);
    save().await;
    nodes[0].retire_key(&next).await.unwrap();
    nodes[1].retire_key(&signing).await.unwrap();
    catch_up().await;
    let after = token_of(&nodes[0]);

    for first in [0, 1] {
        restore().await;
        nodes[first].catch_up().await.unwrap();
        let record = stores[0].get().await.unwrap().unwrap();
        let mut retired: Vec<_> = record.retired().iter().map(|key| key.kid()).collect();
        let among_keys = record.keys().iter().filter(|key| key.retired_at().is_some());
        retired.extend(among_keys.map(|key| key.kid()));
        for kid in [&signing, &next] {
            assert!(retired.contains(&&**kid), "it is in the record again: {retired:?}");
        }
        // One that starts now, too.
        let new = node(stores[0].clone(), clock.clone());
        new.catch_up().await.unwrap();
        catch_up().await;
        for node in nodes.iter().chain([&new]) {
            assert_eq!(fault(node, &token), TokenFault::UnknownKey);
            let published = kids(node);
            assert!(!published.contains(&signing) && !published.contains(&next));
            node.validator().validate(&after).expect("the keys since then are put back");
        }
    }

    // It is forgotten once no token of theirs can live.
    clock.advance(2 * DAY);
    catch_up().await;
    let record = stores[0].get().await.unwrap().unwrap();
    assert!(record.retired().is_empty(), "{record:?}");
    assert!(record.keys().iter().all(|key| key.retired_at().is_none()));
}

const ROTATIONS: usize = 50;
/// Each node has so many clients.
const CLIENTS: usize = 4;

/// Three nodes whose clocks differ, with clients that log in at one and are validated by another.
/// Time goes in steps, while no request is under way; everything else goes on as it likes.
struct Cluster {
    clock: TestClock,
    nodes: Vec<TokenService>,
    servers: Vec<Server>,
    _housekeeping: Vec<Housekeeping>,
    /// Held for reading by requests, and for writing where the clock is moved.
    time: RwLock<()>,
    /// Keys that were ended before their time.
    retired: Mutex<Vec<String>>,
    /// How many good tokens were accepted.
    accepted: AtomicUsize,
}

impl Cluster {
    async fn start(stores: [impl KeyStore; 3]) -> Self {
        let clock = TestClock::new();
        let schedule = RotationSchedule::default()
            .rotation_period(2 * DAY)
            .announcement_period(DAY)
            .refresh_interval(Duration::from_millis(20));
        let wrong = [(0, 0), (0, 30), (30, 0)];
        let (mut nodes, mut servers, mut housekeeping) = (Vec::new(), Vec::new(), Vec::new());
        for (store, (ahead, behind)) in stores.into_iter().zip(wrong) {
            let [ahead, behind] = [ahead, behind].map(Duration::from_secs);
            let store = FaultyStore::new(store).clock(clock.clone());
            let clock = WrongBy { clock: clock.clone(), ahead, behind };
            let keys = ManagedKeys::new(Algorithm::EdDSA).store(store);
            let node = node_with(keys, clock, [SEALING_KEY], schedule);
            housekeeping.push(node.start().await.unwrap());
            servers.push(Server::start(app(&node)).await);
            nodes.push(node);
        }
        let (time, retired, accepted) = (RwLock::default(), Mutex::default(), AtomicUsize::new(0));
        Self { clock, nodes, servers, _housekeeping: housekeeping, time, retired, accepted }
    }

    async fn advance(self: &Arc<Self>, by: Duration) {
        assert_eq!(Arc::strong_count(self), CLIENTS + 1, "a client has failed");
        let _no_request_is_under_way = self.time.write().await;
        self.clock.advance(by);
    }

    /// Returns once something is so on every node.
    async fn everywhere(&self, is_so: impl Fn(&TokenService) -> bool) {
        until(async || self.nodes.iter().all(&is_so)).await;
    }

    /// Returns once so many good tokens were accepted.
    async fn until_accepted(self: &Arc<Self>, count: usize) {
        until(async || {
            assert_eq!(Arc::strong_count(self), CLIENTS + 1, "a client has failed");
            self.accepted.load(Ordering::Relaxed) >= count
        })
        .await;
    }

    async fn validate(&self, node: usize, token: &str) -> StatusCode {
        self.servers[node].get("/me", Some(token)).await.status()
    }

    /// Has tokens issued and looked at, until there is nobody else.
    async fn keep_busy(self: Arc<Self>, client: usize) {
        let mut tokens: Vec<(Timestamp, String)> = Vec::new();
        while Arc::strong_count(&self) > CLIENTS {
            let time = self.time.read().await;
            let issuer = &self.nodes[client % self.nodes.len()];
            tokens.push((issuer.now() + DAY, token_of(issuer)));
            let now = self.clock.now();
            tokens.retain(|(end, _)| *end > now + 2 * MINUTE);
            let at = client + tokens.len();
            let (_, token) = &tokens[at % tokens.len()];
            let is_retired = self.retired.lock().unwrap().iter().any(|kid| *kid == kid_of(token));
            if !is_retired {
                let status = self.validate(at % self.nodes.len(), token).await;
                assert_eq!(status, StatusCode::OK, "a good token was rejected");
                self.accepted.fetch_add(1, Ordering::Relaxed);
            }
            drop(time);
            tokio::task::yield_now().await;
        }
    }
}

pub async fn fifty_rotations_under_load_reject_no_good_token(stores: [impl KeyStore; 3]) {
    let cluster = Arc::new(Cluster::start(stores).await);
    // All of these before the first begins: it goes on for as long as there are so many.
    let shares = [(); CLIENTS].map(|()| Arc::clone(&cluster));
    let mut clients = JoinSet::new();
    for (client, share) in shares.into_iter().enumerate() {
        clients.spawn(share.keep_busy(client));
    }
    let mut signed = vec![signing_kid(&cluster.nodes[0])];
    for rotation in 1..=ROTATIONS {
        // To where the next key is announced, and has come to every node.
        cluster.advance(DAY).await;
        let last = signed.last().unwrap().clone();
        cluster.everywhere(|node| kids(node).last().is_some_and(|next| *next != last)).await;
        // Up to its time, past it in steps, and on until all are on the other side of it.
        cluster.advance(DAY - MINUTE).await;
        let token = token_of(&cluster.nodes[0]);
        for _ in 0..8 {
            cluster.advance(30 * SECOND).await;
            let before = cluster.accepted.load(Ordering::Relaxed);
            cluster.until_accepted(before + CLIENTS).await;
        }
        cluster.everywhere(|node| signing_kid(node) != last).await;
        signed.push(signing_kid(&cluster.nodes[rotation % 3]));
        if rotation % 10 == 0 {
            end(&cluster, &last, &token).await;
        }
    }
    let accepted = cluster.accepted.load(Ordering::Relaxed);
    assert!(accepted >= ROTATIONS * 8 * CLIENTS, "{accepted}");
    drop(cluster);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    let keys = signed.len();
    signed.dedup();
    assert_eq!((keys, signed.len()), (ROTATIONS + 1, ROTATIONS + 1), "each has its time");
}

/// A key that signed until a moment ago gets into wrong hands: what it signed has not expired, and is
/// rejected on every node that has looked.
async fn end(cluster: &Cluster, kid: &str, token: &str) {
    for node in 0..cluster.nodes.len() {
        assert_eq!(cluster.validate(node, token).await, StatusCode::OK);
    }
    {
        // Nobody is to go on taking what it signed for good.
        let _no_request_is_under_way = cluster.time.write().await;
        cluster.retired.lock().unwrap().push(kid.to_owned());
        cluster.nodes[1].retire_key(kid).await.unwrap();
    }
    cluster.everywhere(|node| !kids(node).iter().any(|published| published == kid)).await;
    for node in 0..cluster.nodes.len() {
        assert_eq!(cluster.validate(node, token).await, StatusCode::UNAUTHORIZED);
    }
}
