//! The engines, and how they are filled.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign::clock::{Clock as _, SystemClock};
use countersign::sessions::Session;
use countersign::store::{
    EntityStore, MemoryStore, PgPool, PostgresStore, RedisOptions, RedisStore, SessionStore,
    SqliteStore, TableNames, record,
};
use countersign::{Acl, AclEntry, AuthenticationToken, CustomerId, Entity, SessionId};
use futures_util::{StreamExt as _, stream};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};

/// Sessions live long enough for the bench.
const LIFETIME: Duration = Duration::from_secs(20 * 3_600);
const AT_ONCE: usize = 256;
const ROWS_AT_ONCE: usize = 5_000;

pub(crate) struct Engine {
    pub(crate) name: &'static str,
    pub(crate) entities: Arc<dyn EntityStore>,
    pub(crate) sessions: Arc<dyn SessionStore>,
    raw: Raw,
}

/// The way past the crate: for filling, and for sizes.
enum Raw {
    Memory,
    Sqlite { pool: SqlitePool, folder: PathBuf },
    Postgres { pool: PgPool, schema: String },
    Redis(redis::aio::ConnectionManager),
}

impl Engine {
    pub(crate) async fn open(name: &str) -> Self {
        match name {
            "memory" => Self::new("In memory", MemoryStore::new(), Raw::Memory),
            "sqlite" => Self::sqlite().await,
            "postgres" => Self::postgres().await,
            "redis" => Self::redis().await,
            _ => panic!("SCALE_ENGINES has an unknown engine: {name}"),
        }
    }

    fn new(name: &'static str, store: impl EntityStore + SessionStore + Clone, raw: Raw) -> Self {
        Self { name, entities: Arc::new(store.clone()), sessions: Arc::new(store), raw }
    }

    async fn sqlite() -> Self {
        let folder = std::env::temp_dir().join(format!("countersign-scale-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("tokens.sqlite");
        let store = SqliteStore::open(&path).await.unwrap();
        store.migrate().await.unwrap();
        let options = SqliteConnectOptions::new()
            .filename(path)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(30));
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
        Self::new("SQLite", store, Raw::Sqlite { pool, folder })
    }

    async fn postgres() -> Self {
        let schema = format!("b{}", unique());
        let url = variable("COUNTERSIGN_TEST_POSTGRES");
        let pool =
            || sqlx::postgres::PgPoolOptions::new().max_connections(16).connect_lazy(&url).unwrap();
        let store = PostgresStore::new(pool(), &TableNames::default().schema(&schema)).unwrap();
        store.migrate().await.unwrap();
        Self::new("Postgres", store, Raw::Postgres { pool: pool(), schema })
    }

    async fn redis() -> Self {
        let url = variable("COUNTERSIGN_TEST_REDIS");
        let options = RedisOptions::default().prefix(unique());
        let store = RedisStore::connect_with(&url, options).unwrap();
        store.migrate().await.unwrap();
        let client = redis::Client::open(url).unwrap();
        Self::new("Redis", store, Raw::Redis(client.get_connection_manager().await.unwrap()))
    }

    pub(crate) async fn close(self) {
        match self.raw {
            Raw::Memory => {}
            Raw::Sqlite { pool, folder } => {
                pool.close().await;
                std::fs::remove_dir_all(folder).unwrap();
            }
            Raw::Postgres { pool, schema } => {
                let drop = sqlx::AssertSqlSafe(format!("DROP SCHEMA {schema} CASCADE"));
                sqlx::query(drop).execute(&pool).await.unwrap();
            }
            Raw::Redis(mut connection) => {
                redis::cmd("FLUSHALL")
                    .arg("ASYNC")
                    .query_async::<()>(&mut connection)
                    .await
                    .unwrap();
            }
        }
    }

    /// Keeps sessions of these numbers, each of a customer of its own.
    pub(crate) async fn fill_sessions(&self, numbers: Range<usize>) {
        match &self.raw {
            Raw::Sqlite { pool, .. } => {
                let mut transaction = pool.begin().await.unwrap();
                for session in numbers.map(session) {
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
                sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(pool).await.unwrap();
            }
            Raw::Postgres { pool, schema } => {
                let insert = format!(
                    "INSERT INTO {schema}.countersign_sessions (key, version, id, customer_id, \
                     created_at, expires_at, kept_until, record, subject) \
                     SELECT key, 1, id, customer, created, expires, expires, record, subject \
                     FROM unnest($1::bytea[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], \
                     $6::text[], $7::text[]) \
                     AS t (key, id, customer, created, expires, record, subject)"
                );
                let numbers: Vec<usize> = numbers.collect();
                for part in numbers.chunks(ROWS_AT_ONCE) {
                    let rows: Vec<Session> = part.iter().map(|n| session(*n)).collect();
                    let micros = |at: countersign::Timestamp| at.as_micros().cast_signed();
                    sqlx::query(sqlx::AssertSqlSafe(insert.clone()))
                        .bind(column(&rows, |s| s.key().as_bytes().to_vec()))
                        .bind(column(&rows, |s| s.id().as_str().to_owned()))
                        .bind(column(&rows, |s| s.customer_id().as_str().to_owned()))
                        .bind(column(&rows, |s| micros(s.created_at())))
                        .bind(column(&rows, |s| micros(s.expires_at())))
                        .bind(column(&rows, |s| record::write_session(s).unwrap()))
                        .bind(column(&rows, |s| s.subject().to_index_text()))
                        .execute(pool)
                        .await
                        .unwrap();
                }
                for table in ["sessions", "entities"] {
                    let vacuum = format!("VACUUM ANALYZE {schema}.countersign_{table}");
                    sqlx::query(sqlx::AssertSqlSafe(vacuum)).execute(pool).await.unwrap();
                }
            }
            Raw::Memory | Raw::Redis(_) => {
                let sessions = stream::iter(numbers.map(session));
                let inserting = sessions.for_each_concurrent(AT_ONCE, async |session| {
                    let now = session.created_at();
                    self.sessions.insert(session, now).await.unwrap();
                });
                inserting.await;
            }
        }
    }

    /// Registers machine clients of these numbers.
    pub(crate) async fn fill_machines(&self, numbers: Range<usize>) {
        let machines = numbers.map(|n| Entity::machine(format!("machine-{n}")).unwrap().acl(acl()));
        let registering = stream::iter(machines).for_each_concurrent(AT_ONCE, async |machine| {
            self.entities.insert(machine).await.unwrap();
        });
        registering.await;
    }

    /// Returns how many bytes of memory or of disk are taken.
    pub(crate) async fn bytes(&self) -> u64 {
        match &self.raw {
            Raw::Memory => {
                let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
                pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
            }
            Raw::Sqlite { pool, .. } => {
                let size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
                let size: i64 = sqlx::query_scalar(size).fetch_one(pool).await.unwrap();
                size.cast_unsigned()
            }
            Raw::Postgres { pool, schema } => {
                let size =
                    format!("SELECT pg_total_relation_size('{schema}.countersign_sessions')");
                let size = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(size));
                size.fetch_one(pool).await.unwrap().cast_unsigned()
            }
            Raw::Redis(connection) => {
                let mut info = redis::cmd("INFO");
                let info = info.arg("memory");
                let info: String = info.query_async(&mut connection.clone()).await.unwrap();
                let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
                used.unwrap().parse().unwrap()
            }
        }
    }
}

pub(crate) fn acl() -> Acl {
    let permissions: Vec<_> = (0..8).map(|n| format!("Operation{n}")).collect();
    Acl::new([AclEntry::new([("organizationId", ["org_1"])], permissions).unwrap()])
}

fn session(number: usize) -> Session {
    let now = SystemClock.now();
    let customer = CustomerId::new(format!("cus_{number}")).unwrap();
    let id = SessionId::new(format!("sid-{number}-{}", unique())).unwrap();
    let key = AuthenticationToken::generate().unwrap().key();
    Session::new(key, id, customer, now, now + LIFETIME)
}

fn column<T>(rows: &[Session], value: impl Fn(&Session) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

fn variable(name: &str) -> String {
    std::env::var(name)
        .expect("the engines have to be named: run scripts/servers run -- cargo bench …")
}

fn unique() -> String {
    let token = AuthenticationToken::generate().unwrap();
    token.key().as_bytes().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
