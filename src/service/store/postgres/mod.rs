//! All stores in a Postgres database: any number of machines.

mod announcements;
mod connections;
mod feed;
mod location;
mod migration;
mod notifications;
mod options;
mod pool;

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::SqlStr;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::sync::Notify;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::service::model::authentication_token::SessionKey;
use crate::service::model::entity::{Entity, EntityId};
use crate::service::model::key_schedule::KeySchedule;
use crate::service::model::session::Session;
use crate::service::model::subject::Subject;
use crate::service::store::background_task::BackgroundTask;
use crate::service::store::feed::Notifier;
use crate::service::store::postgres::announcements::{Announcer, announce};
use crate::service::store::postgres::connections::Connections;
use crate::service::store::postgres::feed::ReadStatements;
use crate::service::store::postgres::location::read_url;
use crate::service::store::postgres::migration::LATEST_VERSION;
use crate::service::store::postgres::notifications::forward_notifications;
use crate::service::store::postgres::pool::{
    ConnectionAge, IF_PRIMARY, connection_error, feed_pool, is_transaction_conflict, is_useless,
    own_pool, pooler_pool, release_idle,
};
use crate::service::store::record;
use crate::service::store::retry::answer_lost;
use crate::service::store::retry::{Retried, retry};
use crate::service::store::sql::{
    Dialect, Outcome, PURGE_LIMIT, Statements, TableNames, Tables, implement_session_store,
    implement_stores, is_current_schema, micros, rows, statement,
};
use crate::service::store::subject_position::SubjectPosition;
use crate::service::store::{
    Cursor, EntityStore, FeedEvent, FeedPage, KeyStore, PageRequest, SessionFilter, SessionPage,
    SessionStore, Store, StoreError, SubjectSessions,
};
use crate::token::claims::SubjectType;
use crate::token::identifier::{OrganizationId, SessionId};

pub use self::options::PostgresOptions;
pub use sqlx::PgPool;

const DIALECT: Dialect = Dialect {
    has_migrations: "SELECT to_regclass('{table:migrations}') IS NOT NULL",
    skip_locked: "FOR UPDATE SKIP LOCKED",
    by_bytes: "COLLATE \"C\"",
    if_primary: IF_PRIMARY,
    is_past: "true",
    // Not `clock_timestamp`, which an index cannot be searched by.
    time: "(extract(epoch FROM statement_timestamp()) * 1000000)::bigint",
    earlier: "least",
};
/// How often the feed is looked at where no notification comes: one may get lost with its
/// connection, and a pooler in front of the database may pass on none.
const POLL: Duration = Duration::from_secs(1);

/// All stores in a Postgres database, version 13 or later, for any number of nodes.
///
/// A confirmed write is durable as far as the database's `synchronous_commit` is on, as it is by default. A failover
/// loses none if `synchronous_standby_names` names the standbys that may take over. Replies of a standby are not
/// accepted.
///
/// ```no_run
/// use countersign::store::PostgresStore;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresStore::connect("postgres://app@db.example.com/app")?;
/// store.migrate().await?;
/// # Ok(())
/// # }
/// ```
///
/// [`guide::many_nodes`](crate::guide::many_nodes#postgres) has the grants of its roles, and says how many connections
/// it takes, and what to do with several servers or a pooler in front of them.
#[derive(Clone)]
pub struct PostgresStore {
    inner: Arc<Inner>,
}

struct Inner {
    connections: Connections,
    /// Of a pool of its own.
    age: Arc<ConnectionAge>,
    tables: Tables,
    statements: Statements,
    publish: SqlStr,
    read_feed: ReadStatements,
    /// The way to the server itself, without a pooler.
    server: Arc<PgConnectOptions>,
    feed_options: PgPoolOptions,
    /// Made when it is first used, which is within a runtime.
    feed_pool: OnceLock<PgPool>,
    /// Whether idle connections may be of no use.
    is_pool_suspect: AtomicBool,
    channel: Arc<str>,
    /// The name of this store among those that share the database.
    node: Arc<str>,
    is_announcement_due: Arc<Notify>,
    notifier: Arc<Notifier>,
    announcing: BackgroundTask,
    listening: BackgroundTask,
}

impl PostgresStore {
    /// Creates a store in the database at that URL, with a pool of connections of its own. It connects at its first
    /// use. Call it within a tokio runtime.
    ///
    /// Its connections use only a primary. Their `statement_timeout` and `lock_timeout` are slightly less than the
    /// policy's `runtime.store_deadline`, so that the server also aborts a call that the service has given up, such
    /// as one that waits for a lock. Two further connections read the revocation feed, so that requests do not delay
    /// it, and one listens for notifications of other nodes.
    ///
    /// The URL is `postgres://user:password@host:port/database?parameters`, with one host, which may be a name with
    /// several addresses, of which the first is used that can be connected to. The parameters are `sslmode`,
    /// `sslrootcert`, `sslcert`, `sslkey`, `application_name`, `options`, `statement-cache-capacity`, and those that
    /// name parts of the URL: `host`, which may be the folder of a Unix socket, `hostaddr`, `port`, `dbname`, `user`
    /// and `password`. What it does not say is read from the variables of libpq, such as `PGPASSWORD`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if it is not such a URL, or there is no runtime.
    pub fn connect(url: &str) -> Result<Self, Error> {
        Self::connect_with(url, PostgresOptions::default())
    }

    /// Creates a store like [`connect`](Self::connect), with further settings: see [`PostgresOptions`].
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect), and [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) for
    /// invalid names or no connections.
    pub fn connect_with(url: &str, options: PostgresOptions) -> Result<Self, Error> {
        let PostgresOptions { tables, max_connections, direct_url } = options;
        let location = read_url(url)?;
        if max_connections == 0 {
            return Err(Error::configuration("max_connections must be at least 1"));
        }
        if tokio::runtime::Handle::try_current().is_err() {
            let problem = "a Postgres store must be created within a tokio runtime";
            return Err(Error::configuration(problem));
        }
        let age = Arc::default();
        let (connections, server) = match direct_url {
            None => {
                let pool = own_pool(&age).max_connections(max_connections);
                (Connections::new(pool.connect_lazy_with(location.clone())), location)
            }
            Some(direct_url) => {
                // A pooler rejects this one, and nothing here depends on it.
                let location = location.extra_float_digits(None);
                let pool = pooler_pool(&age).max_connections(max_connections);
                let pool = pool.connect_lazy_with(location);
                (Connections::over_transaction_pooler(pool), read_url(&direct_url)?)
            }
        };
        Self::over(connections, own_pool(&age), Arc::new(server), age, &tables)
    }

    /// Creates a store over the host's pool. Two further connections with the same options read the revocation feed,
    /// and one listens for notifications of other nodes. A connection is waited for 3 seconds at most. The
    /// `statement_timeout` of its role should be less than the policy's `runtime.store_deadline`, set by `ALTER ROLE
    /// app SET statement_timeout = '4s'`. If a connection has ended or leads to a server that is no primary, or another
    /// server has taken over, the pool's idle connections are closed. Detecting connections without a response is
    /// left to the pool: that of [`connect`](Self::connect) does so. The pool must not lead through a pooler in
    /// transaction mode: see [`PostgresOptions::transaction_pooler`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) for invalid names.
    pub fn new(pool: PgPool, names: &TableNames) -> Result<Self, Error> {
        let (options, server) = (pool.options().clone(), pool.connect_options());
        Self::over(Connections::new(pool), options, server, Arc::default(), names)
    }

    fn over(
        connections: Connections,
        feed_options: PgPoolOptions,
        server: Arc<PgConnectOptions>,
        age: Arc<ConnectionAge>,
        names: &TableNames,
    ) -> Result<Self, Error> {
        let tables = names.check()?;
        Ok(Self {
            inner: Arc::new(Inner {
                connections,
                age,
                server,
                feed_options,
                statements: Statements::new(&tables, &DIALECT),
                publish: statement(format!(
                    "INSERT INTO {} (until, record) VALUES ($1, $2)",
                    tables.table("revocations")
                )),
                read_feed: ReadStatements::new(&tables),
                feed_pool: OnceLock::new(),
                is_pool_suspect: AtomicBool::new(false),
                channel: format!(
                    "{}.{}",
                    tables.schema.as_deref().unwrap_or_default(),
                    tables.prefix
                )
                .into(),
                node: uuid::Uuid::new_v4().simple().to_string().into(),
                tables,
                is_announcement_due: Arc::default(),
                notifier: Arc::new(Notifier::new()),
                announcing: BackgroundTask::default(),
                listening: BackgroundTask::default(),
            }),
        })
    }

    fn reader(&self) -> &Connections {
        self.release_suspects();
        &self.inner.connections
    }

    fn writer(&self) -> &Connections {
        self.reader()
    }

    /// A connection that has failed goes back to its pool a moment after: it is let go before the next
    /// call.
    fn release_suspects(&self) {
        if self.inner.is_pool_suspect.swap(false, Ordering::AcqRel) {
            self.release_idle();
        }
    }

    /// The pool of the feed, which leads to the server itself, and so is the one that migrates.
    fn feed_pool(&self) -> &PgPool {
        self.release_suspects();
        let inner = &self.inner;
        inner
            .feed_pool
            .get_or_init(|| feed_pool(inner.feed_options.clone(), (*inner.server).clone()))
    }

    fn release_idle(&self) {
        self.inner.connections.release_idle();
        if let Some(feed_pool) = self.inner.feed_pool.get() {
            release_idle(feed_pool);
        }
    }

    fn is_lost(error: &sqlx::Error) -> bool {
        is_useless(error)
    }

    fn is_undone(error: &sqlx::Error) -> bool {
        is_transaction_conflict(error)
    }

    /// Adds to an error of a pool why it could not connect.
    async fn explain(&self, error: StoreError) -> StoreError {
        let server = self.inner.connections.server();
        connection_error(&server).await.map_or(error, StoreError::unavailable)
    }

    async fn clean_up_after_purge(&self, _purged: u64) {}

    /// What made one connection useless has mostly done so to the idle ones, too. They are let go, for a
    /// call would run out of tries before it has met them all.
    fn clean_up_after(&self, error: &sqlx::Error) {
        if is_useless(error) {
            self.release_idle();
            self.inner.is_pool_suspect.store(true, Ordering::Release);
        }
    }

    fn prepare_to_wait(&self) {
        let inner = &self.inner;
        let database = Arc::clone(&inner.server);
        let (channel, node) = (Arc::clone(&inner.channel), Arc::clone(&inner.node));
        let notifier = Arc::clone(&inner.notifier);
        inner.listening.ensure_running(move || {
            let (database, notifier) = (Arc::clone(&database), Arc::clone(&notifier));
            forward_notifications(database, Arc::clone(&channel), Arc::clone(&node), notifier)
        });
    }

    async fn append_to_feed(&self, until: i64, record: &str) -> Result<(), StoreError> {
        let statement = &self.inner.publish;
        self.write(|| sqlx::query(statement.clone()).bind(until).bind(record)).await?;
        self.announce();
        Ok(())
    }

    /// Has what was published announced, with whatever else was published meanwhile.
    fn announce(&self) {
        let inner = &self.inner;
        let announcer = Announcer {
            pool: self.feed_pool().clone(),
            channel: Arc::clone(&inner.channel),
            node: Arc::clone(&inner.node),
            is_due: Arc::clone(&inner.is_announcement_due),
            notifier: Arc::clone(&inner.notifier),
        };
        inner.announcing.ensure_running(move || announce(announcer.clone()));
        inner.is_announcement_due.notify_one();
    }
}

implement_stores!(PostgresStore, sqlx::Postgres);
