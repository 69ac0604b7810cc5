//! What an exchange and a machine's token cost on each engine, next to the engine's own bare round
//! trips, and whether an exchange costs more where many sessions are kept.
//!
//! ```text
//! scripts/servers run -- cargo bench -p countersign-benches --features engines --bench stores
//! ```
//!
//! It prints one table for each, of medians. One client asks one thing after the other, and each
//! figure is taken in turns with the one that it is compared with. Set `STORES_SESSIONS` to keep
//! fewer sessions than a million.
//!
//! The bare round trips, and the filling of SQL tables, name the crate's tables, columns and keys
//! themselves. That layout is private, and copied here: a change of it is made here, too.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    missing_docs,
    reason = "a program that prints figures, and has nobody to tell its errors"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::builder::TokenServiceBuilder;
use countersign::claims::TokenId;
use countersign::clock::{Clock as _, SystemClock};
use countersign::jose::{CryptoProvider as _, DefaultProvider, Signer, SigningKey};
use countersign::sessions::Session;
use countersign::store::{
    Cached, EntityStore, FeedEvent, MemoryStore, PgPool, PostgresStore, RedisOptions, RedisStore,
    Revocation, RevocationTarget, SessionStore, SqliteStore, TableNames, record,
};
use countersign::{
    Acl, AclEntry, Actor, Algorithm, AuthenticationToken, CustomerId, Entity, EntityId,
    ExchangeRequest, KeyRing, NewSession, Policy, RequestContext, SealingKey, Secret, SessionId,
    TokenService,
};
use futures_util::{StreamExt as _, stream};
use redis::aio::{ConnectionLike, ConnectionManager};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

const SAMPLES: usize = 2_000;
const FEW: usize = 10_000;
const PUBLISHERS: usize = 16;
const PUBLICATIONS: usize = 4_000;
const MACHINE: &str = "aa-1";
/// Sessions live long enough for the bench.
const HOUR: Duration = Duration::from_secs(3_600);

/// The two round trips that an exchange cannot do without, and the one of a machine's token.
enum Bare {
    Memory(MemoryStore),
    Sqlite { writer: SqlitePool, reader: SqlitePool },
    Postgres(PgPool),
    Redis(BareRedis<ConnectionManager>),
    Cluster(BareRedis<redis::cluster_async::ClusterConnection>),
}

struct Engine {
    name: &'static str,
    entities: Arc<dyn EntityStore>,
    sessions: Arc<dyn SessionStore>,
    bare: Bare,
}

fn main() {
    let many = std::env::var("STORES_SESSIONS").ok();
    let many = many.and_then(|text| text.parse().ok()).unwrap_or(1_000_000).max(FEW);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = std::env::temp_dir().join(format!("countersign-stores-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    runtime.block_on(async {
        let engines = [
            memory(),
            sqlite(&folder).await,
            postgres().await,
            redis().await,
            redis_cluster().await,
        ];
        println!("An exchange, with {FEW} sessions kept (median of {SAMPLES}, us)\n");
        println!("| engine | bare: read, take, sign | exchange | ratio | machine's token | bare: read, sign | through Cached | to memory's |");
        println!("|---|---|---|---|---|---|---|---|");
        let mut few = Vec::new();
        for engine in &engines {
            engine.fill(FEW).await;
            let [bare, exchange] = engine.exchanges().await;
            let [bare_read, token, cached, in_memory] = engine.machine_tokens().await;
            println!(
                "| {} | {bare:.0} | {exchange:.0} | {:.2} | {token:.0} | {bare_read:.0} | {cached:.1} | {:.2} |",
                engine.name,
                exchange / bare,
                cached / in_memory
            );
            few.push(exchange);
        }
        println!("\nPublishing to the feed, with {PUBLISHERS} clients (events/s)\n");
        println!("| engine | publish | bare: insert and notify at once |\n|---|---|---|");
        for engine in &engines {
            let bare = match engine.bare_publications().await {
                Some(rate) => format!("{rate:.0}"),
                None => String::new(),
            };
            println!("| {} | {:.0} | {bare} |", engine.name, engine.publications().await);
        }
        println!("\nAn exchange, with more sessions kept (median of {SAMPLES}, us)\n");
        println!("| engine | {FEW} | {many} | ratio |\n|---|---|---|---|");
        for (engine, few) in engines.iter().zip(few) {
            engine.fill(many - FEW).await;
            let [_, exchange] = engine.exchanges().await;
            println!("| {} | {few:.0} | {exchange:.0} | {:.2} |", engine.name, exchange / few);
        }
    });
    std::fs::remove_dir_all(folder).unwrap();
}

fn variable(name: &str) -> String {
    std::env::var(name)
        .expect("the engines have to be named: run scripts/servers run -- cargo bench …")
}

fn unique() -> String {
    let token = AuthenticationToken::generate().unwrap();
    token.key().as_bytes().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn memory() -> Engine {
    let store = MemoryStore::new();
    Engine::new("in memory", store.clone(), Bare::Memory(store))
}

async fn sqlite(folder: &std::path::Path) -> Engine {
    let path = folder.join("tokens.sqlite");
    let store = SqliteStore::open(&path).await.unwrap();
    store.migrate().await.unwrap();
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5));
    let pool =
        || sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).test_before_acquire(false);
    let writer = pool().connect_with(options.clone()).await.unwrap();
    let reader = pool().connect_with(options).await.unwrap();
    Engine::new("SQLite", store, Bare::Sqlite { writer, reader })
}

async fn postgres() -> Engine {
    let schema = format!("b{}", unique());
    let pool = || {
        let options = sqlx::postgres::PgPoolOptions::new().test_before_acquire(false);
        let set = format!("SET search_path TO {schema}");
        options
            .max_connections(PUBLISHERS as u32)
            .after_connect(move |connection, _| {
                let set = sqlx::AssertSqlSafe(set.clone());
                Box::pin(async move { sqlx::query(set).execute(connection).await.map(drop) })
            })
            .connect_lazy(&variable("COUNTERSIGN_TEST_POSTGRES"))
            .unwrap()
    };
    let names = TableNames::default().schema(&schema);
    let store = PostgresStore::new(pool(), &names).unwrap();
    store.migrate().await.unwrap();
    Engine::new("Postgres", store, Bare::Postgres(pool()))
}

const SELECT_SESSION: &str = "SELECT record FROM countersign_sessions WHERE key = $1";
const DELETE_SESSION: &str =
    "DELETE FROM countersign_sessions WHERE key = $1 AND version = $2 RETURNING record";
const PUBLISH: &str = "WITH published AS (INSERT INTO countersign_revocations (until, record) \
                       VALUES ($1, $2) RETURNING id) SELECT pg_notify('bare', '') FROM published";
const SELECT_MACHINE: &str =
    "SELECT record FROM countersign_entities WHERE subject_type = 'entity' AND name = $1";
const TAKE: &str = "local record = redis.call('HGET', KEYS[1], 'record') \
                    redis.call('DEL', KEYS[1]) return record";

async fn redis() -> Engine {
    let (url, prefix) = (variable("COUNTERSIGN_TEST_REDIS"), unique());
    let options = RedisOptions::default().prefix(&prefix);
    let store = RedisStore::connect_with(&url, options).unwrap();
    let connection = redis::Client::open(url).unwrap().get_connection_manager().await.unwrap();
    Engine::new("Redis", store, Bare::Redis(BareRedis::new(connection, prefix)))
}

async fn redis_cluster() -> Engine {
    let nodes = variable("COUNTERSIGN_TEST_REDIS_CLUSTER");
    let urls: Vec<_> = nodes.split(',').map(|node| format!("redis://{node}")).collect();
    let prefix = unique();
    let options = RedisOptions::default().prefix(&prefix);
    let store = RedisStore::connect_cluster_with(urls.clone(), options).unwrap();
    let client = redis::cluster::ClusterClient::new(urls).unwrap();
    let connection = client.get_async_connection().await.unwrap();
    Engine::new("Redis Cluster", store, Bare::Cluster(BareRedis::new(connection, prefix)))
}

impl Bare {
    async fn read(&self, token: &AuthenticationToken) {
        let key = token.key();
        let record: Option<String> = match self {
            Self::Memory(store) => {
                assert!(SessionStore::get(store, &key).await.unwrap().is_some());
                return;
            }
            Self::Sqlite { reader, .. } => {
                let query = sqlx::query_scalar(SELECT_SESSION).bind(&key.as_bytes()[..]);
                query.fetch_optional(reader).await.unwrap()
            }
            Self::Postgres(pool) => {
                let query = sqlx::query_scalar(SELECT_SESSION).bind(&key.as_bytes()[..]);
                query.fetch_optional(pool).await.unwrap()
            }
            Self::Redis(redis) => redis.read(&redis.session_key(token)).await,
            Self::Cluster(cluster) => cluster.read(&cluster.session_key(token)).await,
        };
        assert!(record.is_some());
    }

    async fn take(&self, token: &AuthenticationToken) {
        let key = token.key();
        let record: Option<String> = match self {
            Self::Memory(store) => {
                assert!(store.take(&key, 1).await.unwrap().is_some());
                return;
            }
            Self::Sqlite { writer, .. } => {
                let query = sqlx::query_scalar(DELETE_SESSION).bind(&key.as_bytes()[..]);
                query.bind(1_i64).fetch_optional(writer).await.unwrap()
            }
            Self::Postgres(pool) => {
                let query = sqlx::query_scalar(DELETE_SESSION).bind(&key.as_bytes()[..]);
                query.bind(1_i64).fetch_optional(pool).await.unwrap()
            }
            Self::Redis(redis) => redis.take(token).await,
            Self::Cluster(cluster) => cluster.take(token).await,
        };
        assert!(record.is_some());
    }

    /// Reads the machine's record.
    async fn read_machine(&self) {
        let record: Option<String> = match self {
            Self::Memory(store) => {
                let id = EntityId::machine(MACHINE).unwrap();
                assert!(EntityStore::get(store, &id).await.unwrap().is_some());
                return;
            }
            Self::Sqlite { reader, .. } => {
                let query = sqlx::query_scalar(SELECT_MACHINE).bind(MACHINE);
                query.fetch_optional(reader).await.unwrap()
            }
            Self::Postgres(pool) => {
                let query = sqlx::query_scalar(SELECT_MACHINE).bind(MACHINE);
                query.fetch_optional(pool).await.unwrap()
            }
            Self::Redis(redis) => redis.read(&redis.machine_key()).await,
            Self::Cluster(cluster) => cluster.read(&cluster.machine_key()).await,
        };
        assert!(record.is_some());
    }
}

/// A server or a cluster.
struct BareRedis<C> {
    connection: C,
    take: redis::Script,
    prefix: String,
}

impl<C: ConnectionLike + Clone> BareRedis<C> {
    fn new(connection: C, prefix: String) -> Self {
        Self { connection, take: redis::Script::new(TAKE), prefix }
    }

    fn session_key(&self, token: &AuthenticationToken) -> String {
        use base64::Engine as _;
        let key = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token.key().as_bytes());
        format!("{}session:{key}", self.prefix)
    }

    fn machine_key(&self) -> String {
        format!("{}entity:entity:{MACHINE}", self.prefix)
    }

    async fn read(&self, key: &str) -> Option<String> {
        let get = redis::Cmd::hget(key, "record");
        get.query_async(&mut self.connection.clone()).await.unwrap()
    }

    async fn take(&self, token: &AuthenticationToken) -> Option<String> {
        let take = self.take.key(self.session_key(token));
        take.invoke_async(&mut self.connection.clone()).await.unwrap()
    }
}

fn acl() -> Acl {
    let permissions: Vec<_> = (0..8).map(|n| format!("Operation{n}")).collect();
    Acl::new([AclEntry::new([("organizationId", ["org_1"])], permissions).unwrap()])
}

fn customer() -> CustomerId {
    CustomerId::new("cus_1").unwrap()
}

impl Engine {
    fn new(name: &'static str, store: impl EntityStore + SessionStore + Clone, bare: Bare) -> Self {
        Self { name, entities: Arc::new(store.clone()), sessions: Arc::new(store), bare }
    }

    async fn service(&self, entities: impl EntityStore) -> TokenService {
        let tokens = self.builder().entity_store(entities).build().unwrap();
        tokens.catch_up().await.unwrap();
        tokens
    }

    fn builder(&self) -> TokenServiceBuilder {
        let key = DefaultProvider.generate(Algorithm::EdDSA).unwrap();
        TokenService::builder()
            .issuer("https://auth.example.com")
            .audience("https://api.example.com")
            .keys(KeyRing::new(SigningKey::new(&key, &DefaultProvider).unwrap()))
            .sealing_key(SealingKey::from_bytes([7; 32]))
            .session_store(Arc::clone(&self.sessions))
            .policy(Policy::default().sessions(|sessions| sessions.max_per_customer(usize::MAX)))
    }

    /// Keeps so many sessions more, each of a customer of its own.
    async fn fill(&self, count: usize) {
        let now = SystemClock.now();
        let template = |n: usize| {
            let customer = CustomerId::new(format!("cus_{n}")).unwrap();
            let id = SessionId::new(format!("sid-{n}-{}", unique())).unwrap();
            let key = AuthenticationToken::generate().unwrap().key();
            Session::new(key, id, customer, now, now + HOUR)
        };
        match &self.bare {
            Bare::Sqlite { writer, .. } => {
                let mut transaction = writer.begin().await.unwrap();
                for n in 0..count {
                    let session = template(n);
                    sqlx::query(
                        "INSERT INTO countersign_sessions (key, version, id, customer_id, \
                         created_at, expires_at, kept_until, record, subject) \
                         VALUES ($1, 1, $2, $3, $4, $5, $5, $6, $7)",
                    )
                    .bind(session.key().as_bytes().to_vec())
                    .bind(session.id().as_str().to_owned())
                    .bind(session.customer_id().as_str().to_owned())
                    .bind(session.created_at().as_micros().cast_signed())
                    .bind(session.expires_at().as_micros().cast_signed())
                    .bind(record::write_session(&session).unwrap())
                    .bind(session.subject().to_index_text())
                    .execute(&mut *transaction)
                    .await
                    .unwrap();
                }
                transaction.commit().await.unwrap();
                sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(writer).await.unwrap();
            }
            Bare::Postgres(pool) => {
                for part in (0..count).collect::<Vec<_>>().chunks(5_000) {
                    let sessions: Vec<_> = part.iter().map(|n| template(*n)).collect();
                    sqlx::query(
                        "INSERT INTO countersign_sessions (key, version, id, customer_id, \
                         created_at, expires_at, kept_until, record, subject) \
                         SELECT key, 1, id, customer, $4, $5, $5, record, subject \
                         FROM unnest($1::bytea[], $2::text[], $3::text[], $6::text[], $7::text[]) \
                         AS t (key, id, customer, record, subject)",
                    )
                    .bind(sessions.iter().map(|s| s.key().as_bytes().to_vec()).collect::<Vec<_>>())
                    .bind(sessions.iter().map(|s| s.id().as_str().to_owned()).collect::<Vec<_>>())
                    .bind(
                        sessions
                            .iter()
                            .map(|s| s.customer_id().as_str().to_owned())
                            .collect::<Vec<_>>(),
                    )
                    .bind(now.as_micros().cast_signed())
                    .bind((now + HOUR).as_micros().cast_signed())
                    .bind(
                        sessions
                            .iter()
                            .map(|s| record::write_session(s).unwrap())
                            .collect::<Vec<_>>(),
                    )
                    .bind(sessions.iter().map(|s| s.subject().to_index_text()).collect::<Vec<_>>())
                    .execute(pool)
                    .await
                    .unwrap();
                }
                sqlx::query("ANALYZE countersign_sessions").execute(pool).await.unwrap();
            }
            _ => {
                stream::iter(0..count)
                    .for_each_concurrent(256, async |n| {
                        self.sessions.insert(template(n), now).await.unwrap();
                    })
                    .await;
            }
        }
    }

    /// The bare round trips with a signature, and the exchange.
    async fn exchanges(&self) -> [f64; 2] {
        let tokens = self.service(Arc::clone(&self.entities)).await;
        let start = async || {
            let new = NewSession::of(customer()).acl(acl());
            tokens
                .start_session(Actor::Host, new, &RequestContext::without_address())
                .await
                .unwrap()
                .token
        };
        let signer = signer();
        let (mut bare, mut exchange) = (Vec::new(), Vec::new());
        for n in 0..SAMPLES + SAMPLES / 10 {
            let (of_bare, of_exchange) = (start().await, start().await);
            let begun = Instant::now();
            self.bare.read(&of_bare).await;
            std::hint::black_box(signer.sign(&PAYLOAD).unwrap());
            self.bare.take(&of_bare).await;
            let bare_took = begun.elapsed();
            let begun = Instant::now();
            tokens
                .exchange(
                    &of_exchange,
                    ExchangeRequest::default(),
                    &RequestContext::without_address(),
                )
                .await
                .unwrap();
            let exchange_took = begun.elapsed();
            // The first ones warm up.
            if n >= SAMPLES / 10 {
                bare.push(bare_took);
                exchange.push(exchange_took);
            }
        }
        [median(bare), median(exchange)]
    }

    /// How many events are published a second.
    async fn publications(&self) -> f64 {
        rate(async || self.sessions.publish(event()).await.unwrap()).await
    }

    /// The same of Postgres in one transaction with its notification, which makes them commit one by one.
    async fn bare_publications(&self) -> Option<f64> {
        let Bare::Postgres(pool) = &self.bare else { return None };
        let publish = async || {
            let event = event();
            sqlx::query(PUBLISH)
                .bind(event.until().as_micros().cast_signed())
                .bind(record::write_event(&event).unwrap())
                .execute(pool)
                .await
                .unwrap();
        };
        Some(rate(publish).await)
    }

    /// The bare round trip with a signature; a machine's token; one with a copy at hand; and one of a
    /// service in memory.
    async fn machine_tokens(&self) -> [f64; 4] {
        let direct = self.service(Arc::clone(&self.entities)).await;
        let cached = self
            .builder()
            .entity_store(Arc::clone(&self.entities))
            .cache_entities(Cached::new)
            .build()
            .unwrap();
        cached.catch_up().await.unwrap();
        let in_memory = self.service(MemoryStore::new()).await;
        let id = EntityId::machine(MACHINE).unwrap();
        let secret = Secret::generate().unwrap();
        for tokens in [&direct, &in_memory] {
            tokens.register(Entity::machine(MACHINE).unwrap().acl(acl())).await.unwrap();
            tokens.import_secret(&id, &secret, None).await.unwrap();
        }
        let signer = signer();
        let context = RequestContext::without_address();
        let mut took = [const { Vec::new() }; 4];
        for n in 0..SAMPLES + SAMPLES / 10 {
            let begun = Instant::now();
            self.bare.read_machine().await;
            std::hint::black_box(signer.sign(&PAYLOAD).unwrap());
            let mut times = [begun.elapsed(), Duration::ZERO, Duration::ZERO, Duration::ZERO];
            // The two without a round trip next to each other, and each first in turn: who comes
            // after one finds the caches cold.
            let turns = if n % 2 == 0 { [1, 2, 3] } else { [1, 3, 2] };
            for which in turns {
                let tokens = [&direct, &cached, &in_memory][which - 1];
                let begun = Instant::now();
                tokens.issue_machine_token(MACHINE, &secret, &context).await.unwrap();
                times[which] = begun.elapsed();
            }
            if n >= SAMPLES / 10 {
                for (times, time) in took.iter_mut().zip(times) {
                    times.push(time);
                }
            }
        }
        took.map(median)
    }
}

/// How often something is done a second, with many clients at once.
async fn rate(publish: impl AsyncFn()) -> f64 {
    let begun = Instant::now();
    stream::iter(0..PUBLICATIONS).for_each_concurrent(PUBLISHERS, async |_| publish().await).await;
    PUBLICATIONS as f64 / begun.elapsed().as_secs_f64()
}

fn event() -> FeedEvent {
    let target = RevocationTarget::Token(TokenId::new(unique()).unwrap());
    Revocation { target, until: SystemClock.now() + HOUR }.into()
}

/// As long as what is signed of a token with eight permissions.
const PAYLOAD: [u8; 600] = [b'a'; 600];

fn signer() -> Box<dyn Signer> {
    let private = DefaultProvider.generate(Algorithm::EdDSA).unwrap();
    DefaultProvider.signer(&private).unwrap()
}

/// In microseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}
