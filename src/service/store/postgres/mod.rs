//! All stores in a Postgres database: any number of machines.

mod announcements;
mod feed;
mod notifications;
mod pool;

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::SqlStr;
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
use crate::service::store::postgres::feed::ReadStatements;
use crate::service::store::postgres::notifications::forward_notifications;
use crate::service::store::postgres::pool::{
    ConnectionAge, IF_PRIMARY, feed_pool, is_locked_out, is_transaction_conflict, is_useless,
    own_pool, release_idle,
};
use crate::service::store::record;
use crate::service::store::retry::answer_lost;
use crate::service::store::retry::{Retried, retry};
use crate::service::store::sql::{
    Dialect, PURGE_LIMIT, Statements, TableNames, Tables, implement_session_store,
    implement_stores, is_current_schema, micros, not_migrated, reject_later_schema, rows,
    statement,
};
use crate::service::store::subject_position::SubjectPosition;
use crate::service::store::{
    Cursor, EntityStore, FeedEvent, FeedPage, KeyStore, PageRequest, SessionFilter, SessionPage,
    SessionStore, Store, StoreError, SubjectSessions,
};
use crate::token::claims::SubjectType;
use crate::token::identifier::{OrganizationId, SessionId};

pub use sqlx::PgPool;

/// The versions of the schema, in order: what was released stays as it is.
const MIGRATIONS: [&str; 10] = [
    include_str!("schema_1.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
    include_str!("schema_6.sql"),
    include_str!("schema_7.sql"),
    include_str!("schema_8.sql"),
    include_str!("schema_9.sql"),
    include_str!("schema_10.sql"),
];
const LATEST_VERSION: i64 = MIGRATIONS.len() as i64;
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
/// Held while the tables are made: "countersign" cut to what a lock's number has room for.
const MIGRATION_LOCK: i64 = 0x0063_6f75_6e74_6572;
/// How long a migration waits for a table that somebody else uses: other statements then wait behind it,
/// for less than a call may take. So it gives up, and tries again.
const MIGRATION_LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '1s'";
const MIGRATION_PAUSE: Duration = Duration::from_secs(2);
/// Some three minutes.
const MIGRATION_TRIES: u32 = 60;
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
/// # Roles
///
/// One role is sufficient. With two, one owns the tables and migrates them, and the service runs as the other, which
/// can only change rows:
///
/// ```sql
/// CREATE ROLE countersign_owner LOGIN;
/// CREATE ROLE countersign_app LOGIN;
/// CREATE SCHEMA auth AUTHORIZATION countersign_owner;
/// GRANT USAGE ON SCHEMA auth TO countersign_app;
/// ALTER DEFAULT PRIVILEGES FOR ROLE countersign_owner IN SCHEMA auth
///     GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO countersign_app;
/// ```
///
/// Name the schema with [`TableNames::schema`]. At each release, run [`migrate`](Self::migrate) as the owner before
/// the service starts. The service may call it too: it writes nothing if nothing has to be migrated, and fails
/// otherwise.
#[derive(Clone)]
pub struct PostgresStore {
    inner: Arc<Inner>,
}

struct Inner {
    pool: PgPool,
    /// Of a pool of its own.
    connections: Arc<ConnectionAge>,
    tables: Tables,
    statements: Statements,
    publish: SqlStr,
    read_feed: ReadStatements,
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
    /// Creates a store in the database at that URL, with a pool of up to 16 connections of its own. It connects at
    /// its first use.
    ///
    /// Its connections use only a primary. Their `statement_timeout` and `lock_timeout` are slightly less than the
    /// policy's `runtime.store_deadline`, so that the server also aborts a call that the service has given up, such
    /// as one that waits for a lock. Two further connections read the revocation feed, so that requests do not delay
    /// it, and one listens for notifications of other nodes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if it is not a URL of a Postgres database.
    pub fn connect(url: &str) -> Result<Self, Error> {
        Self::connect_with(url, &TableNames::default())
    }

    /// Creates a store like [`connect`](Self::connect), with other names for the tables.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect), and [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) for
    /// invalid names.
    pub fn connect_with(url: &str, names: &TableNames) -> Result<Self, Error> {
        let invalid = || Error::configuration("not a URL of a Postgres database");
        // The driver takes a URL of whatever scheme.
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(invalid());
        }
        let connections = Arc::default();
        let pool = own_pool(&connections).connect_lazy(url).map_err(|_| invalid())?;
        Self::over(pool, connections, names)
    }

    /// Creates a store over the host's pool. Two further connections with the same options read the revocation feed,
    /// and one listens for notifications of other nodes. The pool's `acquire_timeout` should be less than the
    /// policy's `runtime.store_deadline`, and so should the `statement_timeout` of its role, set by `ALTER ROLE app
    /// SET statement_timeout = '4s'`. If a connection has ended or leads to a server that is no primary, or another
    /// server has taken over, the pool's idle connections are closed. Detecting connections without a response is
    /// left to the pool: that of [`connect`](Self::connect) does so.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) for invalid names.
    pub fn new(pool: PgPool, names: &TableNames) -> Result<Self, Error> {
        Self::over(pool, Arc::default(), names)
    }

    fn over(
        pool: PgPool,
        connections: Arc<ConnectionAge>,
        names: &TableNames,
    ) -> Result<Self, Error> {
        let tables = names.check()?;
        Ok(Self {
            inner: Arc::new(Inner {
                pool,
                connections,
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

    /// Makes the schema and the tables, or brings them up to this release. It writes nothing where
    /// they are, and is harmless when several nodes do it at once. Where a long transaction uses a table that is
    /// to be changed, it tries again for some three minutes, and keeps nobody else waiting for more than a second
    /// at a time. While it makes an index, writes to that table wait: of a table of millions of rows, for minutes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if the database is unreachable or denies access, or
    /// a table is in use for that long; [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if its tables
    /// are of a later release.
    pub async fn migrate(&self) -> Result<(), Error> {
        if self.is_current().await.map_err(not_migrated)? {
            return Ok(());
        }
        let mut tries = 1;
        let known = loop {
            match self.try_to_migrate().await {
                Err(error) if is_locked_out(&error) && tries < MIGRATION_TRIES => {
                    tracing::warn!(
                        "postgres store: another transaction uses the tables, they cannot be migrated \
                         meanwhile; trying again"
                    );
                    tries += 1;
                    tokio::time::sleep(MIGRATION_PAUSE).await;
                }
                migrated => break migrated.map_err(not_migrated)?,
            }
        };
        reject_later_schema(known, MIGRATIONS.len())
    }

    /// Returns the version that was found.
    async fn try_to_migrate(&self) -> Result<i64, sqlx::Error> {
        let tables = &self.inner.tables;
        let mut transaction = self.writer().begin().await?;
        // Another node may be at it, and much may have to be indexed.
        let unlimited = "SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0";
        sqlx::raw_sql(unlimited).execute(&mut *transaction).await?;
        let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(MIGRATION_LOCK);
        lock.execute(&mut *transaction).await?;
        sqlx::raw_sql(MIGRATION_LOCK_TIMEOUT).execute(&mut *transaction).await?;
        if let Some(schema) = &tables.schema {
            // `IF NOT EXISTS` asks for the right to make one, also where it is there.
            let is_there = sqlx::query_scalar("SELECT to_regnamespace($1) IS NOT NULL");
            if !is_there.bind(schema).fetch_one(&mut *transaction).await? {
                let create = statement(format!("CREATE SCHEMA \"{schema}\""));
                sqlx::query(create).execute(&mut *transaction).await?;
            }
        }
        let script = "CREATE TABLE IF NOT EXISTS {table:migrations} \
                      (version bigint NOT NULL PRIMARY KEY)";
        sqlx::query(statement(tables.fill_in(script))).execute(&mut *transaction).await?;
        let latest = "SELECT coalesce(max(version), 0) FROM {table:migrations}";
        let latest = sqlx::query_scalar(statement(tables.fill_in(latest)));
        let known = latest.fetch_one(&mut *transaction).await?;
        for (version, script) in (1_i64..).zip(MIGRATIONS).skip_while(|(at, _)| *at <= known) {
            let script = statement(tables.fill_in(script));
            sqlx::raw_sql(script).execute(&mut *transaction).await?;
            let done = "INSERT INTO {table:migrations} (version) VALUES ($1)";
            let done = sqlx::query(statement(tables.fill_in(done))).bind(version);
            done.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(known)
    }

    fn reader(&self) -> &PgPool {
        self.pool()
    }

    fn writer(&self) -> &PgPool {
        self.pool()
    }

    /// A connection that has failed goes back to its pool a moment after: it is let go before the next
    /// call.
    fn pool(&self) -> &PgPool {
        if self.inner.is_pool_suspect.swap(false, Ordering::AcqRel) {
            self.release_idle();
        }
        &self.inner.pool
    }

    fn feed_pool(&self) -> &PgPool {
        let pool = self.pool();
        self.inner.feed_pool.get_or_init(|| feed_pool(pool))
    }

    fn release_idle(&self) {
        release_idle(&self.inner.pool);
        if let Some(feed_pool) = self.inner.feed_pool.get() {
            release_idle(feed_pool);
        }
    }

    /// Returns whether the call is worth making again.
    fn is_lost(error: &sqlx::Error) -> bool {
        is_useless(error) || is_transaction_conflict(error)
    }

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
        let database = inner.pool.connect_options();
        let (channel, node) = (Arc::clone(&inner.channel), Arc::clone(&inner.node));
        let notifier = Arc::clone(&inner.notifier);
        inner.listening.ensure_running(move || {
            let (database, notifier) = (Arc::clone(&database), Arc::clone(&notifier));
            forward_notifications(database, Arc::clone(&channel), Arc::clone(&node), notifier)
        });
    }

    async fn append_to_feed(&self, until: i64, record: &str) -> Result<(), StoreError> {
        let publishing = self.retry(|| {
            sqlx::query(self.inner.publish.clone()).bind(until).bind(record).execute(self.writer())
        });
        publishing.await?;
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
