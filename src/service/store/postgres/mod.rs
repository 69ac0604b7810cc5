//! All stores in a Postgres database: any number of machines.

mod feed;
mod notifications;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnection, PgPoolOptions};
use sqlx::{Connection as _, SqlStr};

use crate::clock::Timestamp;
use crate::error::Error;
use crate::service::model::entity::{Entity, EntityId};
use crate::service::model::key_schedule::KeySchedule;
use crate::service::model::session::{Session, SessionKey};
use crate::service::model::subject::Subject;
use crate::service::store::feed::Notifier;
use crate::service::store::listener::Listener;
use crate::service::store::postgres::notifications::forward_notifications;
use crate::service::store::record;
use crate::service::store::retry::answer_lost;
use crate::service::store::retry::{Retried, retry};
use crate::service::store::sql::{
    Dialect, PURGE_LIMIT, Statements, TableNames, Tables, implement_stores, is_current_schema,
    micros, not_migrated, reject_later_schema, rows, statement,
};
use crate::service::store::{
    Cursor, EntityStore, FeedEvent, FeedPage, KeyStore, Page, SessionFilter, SessionPage,
    SessionStore, Store, StoreError,
};
use crate::token::claims::SubjectType;
use crate::token::identifier::{OrganizationId, SessionId};

pub use sqlx::PgPool;

/// The versions of the schema, in order: what was released stays as it is.
const MIGRATIONS: [&str; 8] = [
    include_str!("schema_1.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
    include_str!("schema_6.sql"),
    include_str!("schema_7.sql"),
    include_str!("schema_8.sql"),
];
const LATEST_VERSION: i64 = MIGRATIONS.len() as i64;
const DIALECT: Dialect = Dialect {
    has_migrations: "SELECT to_regclass('{table:migrations}') IS NOT NULL",
    skip_locked: "FOR UPDATE SKIP LOCKED",
    by_bytes: "COLLATE \"C\"",
    // Not `clock_timestamp`, which an index cannot be searched by.
    time: "(extract(epoch FROM statement_timestamp()) * 1000000)::bigint",
    earlier: "least",
};
/// Whether a part of the feed came out of a dump of another cluster: it has numbers of transactions
/// that are still to come in this one.
const IS_RESTORED: &str = "SELECT EXISTS (SELECT 1 FROM {table:revocations} \
                           WHERE xid >= pg_snapshot_xmax(pg_current_snapshot()))";
/// Held while the tables are made: "countersign" cut to what a lock's number has room for.
const MIGRATION_LOCK: i64 = 0x0063_6f75_6e74_6572;
/// How often the feed is looked at where no notification comes: one may get lost with its
/// connection, and a pooler in front of the database may pass on none.
const POLL: Duration = Duration::from_secs(1);
/// How long a call waits for a connection. Less than the service's deadline.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
const CONNECTIONS: u32 = 16;
/// What was not used for so long is asked whether it still leads somewhere before it is used.
const UNUSED: Duration = Duration::from_secs(1);
/// How long that may take. It leaves time to connect anew within `ACQUIRE_TIMEOUT`.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a connection that was used may take to be ready for the next call. After a call that
/// gave up this is for the rest of its answer: an engine that is slow need not be connected to
/// anew, and one that is gone without a word must not keep its places in the pool.
const READY_TIMEOUT: Duration = Duration::from_secs(3);

/// All stores in a Postgres database, version 13 or later.
///
/// A write that was answered is durable as far as `synchronous_commit` of the database is on, as it
/// is by default.
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
/// One role can do all. With two, one owns the tables and migrates them, and the service runs as another,
/// which can change rows and nothing else:
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
/// Name the schema by [`TableNames::schema`]. With each release, have the owner
/// [`migrate`](Self::migrate) before the service starts. The service may call it all the same: it writes
/// nothing where nothing is to do, and fails where it would have to.
#[derive(Clone)]
pub struct PostgresStore {
    inner: Arc<Inner>,
}

struct Inner {
    pool: PgPool,
    tables: Tables,
    statements: Statements,
    publish: SqlStr,
    read_feed: SqlStr,
    channel: String,
    notifier: Arc<Notifier>,
    listener: Listener,
}

impl PostgresStore {
    /// A store in the database of that URL, over a pool of up to 16 connections of its own. It
    /// connects when it is first used.
    ///
    /// Give its role a `statement_timeout` of a little less than the policy's `runtime.store_deadline`, as by
    /// `ALTER ROLE app SET statement_timeout = '4s'`: what a call has given up, as behind a lock,
    /// ends in the server, too, then.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) where it is no URL of a
    /// Postgres database.
    pub fn connect(url: &str) -> Result<Self, Error> {
        Self::connect_with(url, &TableNames::default())
    }

    /// A store that [connects](Self::connect) itself, in tables of other names than the usual ones.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect), and
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) for names that are none.
    pub fn connect_with(url: &str, names: &TableNames) -> Result<Self, Error> {
        let invalid = || Error::configuration("not a URL of a Postgres database");
        // The driver takes a URL of whatever scheme.
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(invalid());
        }
        // A connection that died is found out by the call that meets it, which is then made again:
        // asking each before its use would cost a round trip a call. One on which nothing comes
        // any more is not found out that way, for the driver would wait for as long as the kernel.
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for >= UNUSED {
                        answers_within(ANSWER_TIMEOUT, connection).await?;
                    }
                    Ok(true)
                })
            })
            .after_release(|connection, _| {
                Box::pin(async move {
                    answers_within(READY_TIMEOUT, connection).await?;
                    Ok(true)
                })
            })
            .connect_lazy(url)
            .map_err(|_| invalid())?;
        Self::new(pool, names)
    }

    /// A store over the host's pool. One more connection, beside it, listens to what other nodes
    /// publish. The pool's `acquire_timeout` should be less than the policy's
    /// `runtime.store_deadline`. Where a connection is found to have ended, the pool's idle ones are let go.
    /// Giving up connections on which nothing comes any more is up to the pool:
    /// that of [`connect`](Self::connect) does it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) for names that are none.
    pub fn new(pool: PgPool, names: &TableNames) -> Result<Self, Error> {
        let tables = names.check()?;
        let revocations = tables.table("revocations");
        Ok(Self {
            inner: Arc::new(Inner {
                pool,
                statements: Statements::new(&tables, &DIALECT),
                publish: statement(format!(
                    "WITH published AS \
                     (INSERT INTO {revocations} (until, record) VALUES ($1, $2) RETURNING id) \
                     SELECT pg_notify($3, '') FROM published"
                )),
                read_feed: feed::read_statement(&revocations),
                channel: format!(
                    "{}.{}",
                    tables.schema.as_deref().unwrap_or_default(),
                    tables.prefix
                ),
                tables,
                notifier: Arc::new(Notifier::new()),
                listener: Listener::default(),
            }),
        })
    }

    /// Makes the schema and the tables, or brings them up to this release. It writes nothing where
    /// they are, and is harmless when several nodes do it at once. To be called after a backup was put
    /// back, too.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where the database is out of reach
    /// or does not allow it, [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) where
    /// its tables are of a later release.
    pub async fn migrate(&self) -> Result<(), Error> {
        if self.is_current().await.map_err(not_migrated)?
            && !self.is_restored().await.map_err(not_migrated)?
        {
            return Ok(());
        }
        let mut known = 0;
        let migration = async {
            let tables = &self.inner.tables;
            let mut transaction = self.inner.pool.begin().await?;
            let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(MIGRATION_LOCK);
            lock.execute(&mut *transaction).await?;
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
            known = latest.fetch_one(&mut *transaction).await?;
            for (version, script) in (1_i64..).zip(MIGRATIONS).skip_while(|(at, _)| *at <= known) {
                let script = statement(tables.fill_in(script));
                sqlx::raw_sql(script).execute(&mut *transaction).await?;
                let done = "INSERT INTO {table:migrations} (version) VALUES ($1)";
                let done = sqlx::query(statement(tables.fill_in(done))).bind(version);
                done.execute(&mut *transaction).await?;
            }
            let restored = "UPDATE {table:revocations} SET xid = pg_current_xact_id() \
                            WHERE xid > pg_current_xact_id()";
            sqlx::query(statement(tables.fill_in(restored))).execute(&mut *transaction).await?;
            transaction.commit().await
        };
        migration.await.map_err(not_migrated)?;
        reject_later_schema(known, MIGRATIONS.len())
    }

    async fn is_restored(&self) -> Result<bool, StoreError> {
        let statement = statement(self.inner.tables.fill_in(IS_RESTORED));
        let reading = self.retry(|| sqlx::query_scalar(statement.clone()).fetch_one(self.reader()));
        Ok(reading.await?.value)
    }

    fn reader(&self) -> &PgPool {
        &self.inner.pool
    }

    fn writer(&self) -> &PgPool {
        &self.inner.pool
    }

    /// Returns whether the call is worth making again.
    fn is_lost(error: &sqlx::Error) -> bool {
        is_gone(error) || is_transaction_conflict(error)
    }

    /// What ended one connection has mostly ended the idle ones, too. They are let go, for a call
    /// would run out of tries before it has met them all.
    fn clean_up_after(&self, error: &sqlx::Error) {
        if is_gone(error) {
            while let Some(idle) = self.inner.pool.try_acquire() {
                drop(idle.detach());
            }
        }
    }

    fn prepare_to_wait(&self) {
        let inner = &self.inner;
        let (database, channel) = (inner.pool.connect_options(), inner.channel.clone());
        let notifier = Arc::clone(&inner.notifier);
        inner.listener.ensure_listening(move || {
            forward_notifications(Arc::clone(&database), channel.clone(), Arc::clone(&notifier))
        });
    }

    async fn append_to_feed(&self, until: i64, record: &str) -> Result<(), StoreError> {
        let publishing = self.retry(|| {
            sqlx::query(self.inner.publish.clone())
                .bind(until)
                .bind(record)
                .bind(&self.inner.channel)
                .execute(self.writer())
        });
        publishing.await.map(drop)
    }
}

/// Fails where nothing comes from the server: the pool closes the connection then.
async fn answers_within(limit: Duration, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    match tokio::time::timeout(limit, connection.ping()).await {
        Ok(answer) => answer,
        Err(elapsed) => Err(sqlx::Error::Io(elapsed.into())),
    }
}

/// Returns whether the connection is gone.
fn is_gone(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        // Connection exceptions, a shutdown.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.starts_with("08") || matches!(&*code, "57P01" | "57P02" | "57P03")
        }),
        _ => false,
    }
}

/// Returns whether transactions were in each other's way, so that the server undid this one.
fn is_transaction_conflict(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| matches!(&*code, "40001" | "40P01"))
}

implement_stores!(PostgresStore, sqlx::Postgres);
