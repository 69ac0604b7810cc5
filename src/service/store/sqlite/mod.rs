//! All stores in one SQLite file: one machine, any number of processes.

use std::fmt;
use std::fs::OpenOptions;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Executor as _, SqlStr};

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::service::model::authentication_token::SessionKey;
use crate::service::model::entity::{Entity, EntityId};
use crate::service::model::key_schedule::KeySchedule;
use crate::service::model::session::Session;
use crate::service::model::subject::Subject;
use crate::service::store::feed::Notifier;
use crate::service::store::record;
use crate::service::store::retry::answer_lost;
use crate::service::store::retry::{Retried, retry};
use crate::service::store::sql::{
    Dialect, FEED_LIMIT, Outcome, PURGE_LIMIT, Statements, TableNames, Tables,
    implement_session_store, implement_stores, is_current_schema, micros, not_migrated,
    reject_later_schema, rows, statement,
};
use crate::service::store::subject_position::SubjectPosition;
use crate::service::store::{
    Cursor, EntityStore, FeedEvent, FeedPage, KeyStore, PageRequest, SessionFilter, SessionPage,
    SessionStore, Store, StoreError, SubjectSessions,
};
use crate::token::claims::SubjectType;
use crate::token::identifier::{OrganizationId, SessionId};

/// The versions of the schema, in order: what was released stays as it is.
const MIGRATIONS: [(i64, &str); 10] = [
    (1, include_str!("schema_1.sql")),
    (2, include_str!("schema_2.sql")),
    (3, include_str!("schema_3.sql")),
    (4, include_str!("schema_4.sql")),
    (5, include_str!("schema_5.sql")),
    (6, include_str!("schema_6.sql")),
    (7, include_str!("schema_7.sql")),
    (8, include_str!("schema_8.sql")),
    (9, include_str!("schema_9.sql")),
    (1_000, include_str!("schema_1000.sql")),
];
const LATEST_VERSION: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;
const DIALECT: Dialect = Dialect {
    has_migrations: "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '{table:migrations}')",
    skip_locked: "",
    by_bytes: "",
    if_primary: "true",
    // By the last one, readers tell whether the file is the one that they have read.
    is_past: "id < (SELECT max(id) FROM {table:revocations})",
    time: "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
    earlier: "min",
};
/// How often the feed is polled: a write by another process does not wake this one's notifier.
const POLL: Duration = Duration::from_millis(25);
/// How long a write waits for another process's. Less than the service's deadline.
const BUSY_TIMEOUT: Duration = Duration::from_secs(4);
const LOCK_PAUSE: Duration = Duration::from_millis(10);
const READERS: u32 = 4;
/// What the write-ahead log is cut to once nobody reads what is beyond, in bytes. It is checkpointed at half of that.
const LOG_LIMIT: &str = "8388608";
/// What SQLite says where somebody else has a lock.
const BUSY: u32 = 5;
/// What SQLite says of a file that the system does not open for it.
const CANNOT_OPEN: u32 = 14;

/// All stores in one SQLite file, for any number of processes on one machine.
///
/// The file is in write-ahead mode, so that readers and the writer do not wait for each other, and `synchronous` is
/// `FULL`: a confirmed write is on the disk. With a lower level, a power failure would revert the last writes, and
/// with them an exchange whose JWT a client already has.
///
/// ```no_run
/// use countersign::store::SqliteStore;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = SqliteStore::open("/var/lib/app/tokens.sqlite").await?;
/// store.migrate().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

/// An entry of the feed, if there is one, beside whether the reader's last one is in this file.
type Row = (bool, Option<i64>, Option<String>, Option<Vec<u8>>);

struct Inner {
    writer: Connections,
    readers: Connections,
    /// One that waits for nobody.
    checkpoints: SqlitePool,
    tables: Tables,
    statements: Statements,
    publish: SqlStr,
    read_feed: SqlStr,
    notifier: Notifier,
}

impl SqliteStore {
    /// Opens a file, or creates it with read access for its owner only. [`migrate`](Self::migrate) creates the
    /// tables.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if it cannot be opened or is not a database.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, &TableNames::default()).await
    }

    /// Opens a file like [`open`](Self::open), with other names for the tables.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open), and [`ErrorKind::Configuration`] for invalid names, or for a schema, which
    /// SQLite does not have.
    pub async fn open_with(path: impl AsRef<Path>, names: &TableNames) -> Result<Self, Error> {
        let tables = names.check()?;
        if tables.schema.is_some() {
            return Err(Error::configuration("SQLite has no schemas"));
        }
        let path = path.as_ref();
        let unopened = |error| {
            Error::new(ErrorKind::Unavailable, "the SQLite file cannot be opened")
                .with_source(explain_opening(path, error))
        };
        create(path).map_err(|error| unopened(sqlx::Error::Io(error)))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .pragma("journal_size_limit", LOG_LIMIT)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(BUSY_TIMEOUT)
                .test_before_acquire(false)
                .idle_timeout(None)
                .max_lifetime(None)
        };
        // The writer first: it is what turns the file over to the write-ahead mode.
        let writer = connect(&pool(1), &options).await.map_err(unopened)?;
        let readers = connect(&pool(READERS), &options).await.map_err(unopened)?;
        let impatient = options.busy_timeout(Duration::ZERO);
        let checkpoints = connect(&pool(1), &impatient).await.map_err(unopened)?;
        let revocations = tables.table("revocations");
        Ok(Self {
            inner: Arc::new(Inner {
                writer: Connections(writer),
                readers: Connections(readers),
                checkpoints,
                statements: Statements::new(&tables, &DIALECT),
                publish: statement(format!(
                    "INSERT INTO {revocations} (until, record, nonce) \
                     VALUES ($1, $2, randomblob(16))"
                )),
                // A file that was put back gives numbers out again, and has no such entry, or another
                // one: all is read again.
                read_feed: statement(format!(
                    "WITH reader AS (SELECT $1 = 0 OR EXISTS (SELECT 1 FROM {revocations} \
                     WHERE id = $1 AND ifnull(hex(nonce), '') = $2) AS is_known) \
                     SELECT reader.is_known, published.id, published.nonce, published.record \
                     FROM reader LEFT JOIN \
                     (SELECT id, ifnull(hex(nonce), '') AS nonce, record FROM {revocations} \
                     WHERE id > (SELECT iif(is_known, $1, 0) FROM reader) \
                     ORDER BY id LIMIT $3) AS published ON true"
                )),
                tables,
                notifier: Notifier::new(),
            }),
        })
    }

    /// Creates the tables, or migrates them to this release. It writes nothing if they are current, and may run in
    /// several processes at once.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if the file is not accessible, [`ErrorKind::Configuration`] if its tables are of a
    /// later release.
    pub async fn migrate(&self) -> Result<(), Error> {
        if self.is_current().await.map_err(not_migrated)? {
            return Ok(());
        }
        let mut known = 0;
        let migration = async {
            let tables = &self.inner.tables;
            let mut transaction = self.writer().0.begin_with("BEGIN IMMEDIATE").await?;
            let script = "CREATE TABLE IF NOT EXISTS {table:migrations} \
                          (version INTEGER NOT NULL PRIMARY KEY) STRICT";
            sqlx::query(statement(tables.fill_in(script))).execute(&mut *transaction).await?;
            let latest = "SELECT coalesce(max(version), 0) FROM {table:migrations}";
            let latest = sqlx::query_scalar(statement(tables.fill_in(latest)));
            known = latest.fetch_one(&mut *transaction).await?;
            for (version, script) in MIGRATIONS.into_iter().skip_while(|(at, _)| *at <= known) {
                let script = statement(tables.fill_in(script));
                sqlx::raw_sql(script).execute(&mut *transaction).await?;
                let done = "INSERT INTO {table:migrations} (version) VALUES ($1)";
                let done = sqlx::query(statement(tables.fill_in(done))).bind(version);
                done.execute(&mut *transaction).await?;
            }
            transaction.commit().await
        };
        migration.await.map_err(not_migrated)?;
        reject_later_schema(known, LATEST_VERSION)
    }

    fn reader(&self) -> &Connections {
        &self.inner.readers
    }

    fn writer(&self) -> &Connections {
        &self.inner.writer
    }

    /// A file does not lose connections.
    fn is_lost(_: &sqlx::Error) -> bool {
        false
    }

    /// It has one writer at a time.
    fn is_undone(_: &sqlx::Error) -> bool {
        false
    }

    fn clean_up_after(&self, _: &sqlx::Error) {}

    async fn explain(&self, error: StoreError) -> StoreError {
        error
    }

    fn prepare_to_wait(&self) {}

    /// Cuts the write-ahead log, which keeps the size that it has once had, once nothing is left to purge.
    async fn clean_up_after_purge(&self, purged: u64) {
        if purged > 0 {
            return;
        }
        if let Err(error) = self.cut_log().await {
            tracing::debug!(%error, "sqlite store: the write-ahead log could not be cut, the next purge tries again");
        }
    }

    /// Most of it is done beside the writers. For the rest nobody is waited for, since writers would wait meanwhile.
    async fn cut_log(&self) -> Result<(), sqlx::Error> {
        let checkpoints = "PRAGMA wal_checkpoint(PASSIVE); PRAGMA wal_checkpoint(TRUNCATE)";
        sqlx::raw_sql(checkpoints).execute(&self.inner.checkpoints).await.map(drop)
    }

    async fn append_to_feed(&self, until: i64, record: &str) -> Result<(), StoreError> {
        let statement = &self.inner.publish;
        self.write(|| sqlx::query(statement.clone()).bind(until).bind(record)).await?;
        self.inner.notifier.notify();
        Ok(())
    }

    async fn read_page(&self, after: Cursor) -> Result<FeedPage, StoreError> {
        let (after_id, after_nonce) = parse_cursor(&after)?;
        let reading = self.read(|| {
            sqlx::query(self.inner.read_feed.clone())
                .bind(after_id)
                .bind(after_nonce)
                .bind(rows(FEED_LIMIT))
        });
        let published: Vec<Row> = reading.await?.all()?;
        let is_known = published.iter().all(|(is_known, ..)| *is_known);
        // The last one that was read: in this file, there may be none.
        let (mut last, mut nonce) = if is_known { (after_id, after_nonce) } else { (0, "") };
        let mut events = Vec::with_capacity(published.len());
        for (_, id, its_nonce, record) in &published {
            let (Some(id), Some(its_nonce), Some(record)) = (id, its_nonce, record) else {
                continue;
            };
            (last, nonce) = (*id, its_nonce);
            events.push(record::read_event(record, &id.to_string()));
        }
        let is_complete = events.len() < FEED_LIMIT;
        let next = Cursor::new(&format!("{last}/{nonce}"));
        Ok(FeedPage { events, next, is_complete, history_changed: !is_known })
    }
}

/// The id and the nonce of the last entry that was read.
fn parse_cursor(cursor: &Cursor) -> Result<(i64, &str), StoreError> {
    let Some(mark) = cursor.mark() else { return Ok((0, "")) };
    let no_cursor = || StoreError::corrupt("not a cursor of the feed");
    let (id, nonce) = mark.split_once('/').ok_or_else(no_cursor)?;
    Ok((id.parse().map_err(StoreError::corrupt)?, nonce))
}

/// Connects, waiting for whoever else is turning the file over to the write-ahead mode just now: that
/// takes a lock which SQLite's own busy timeout does not wait for.
async fn connect(
    pool: &SqlitePoolOptions,
    options: &SqliteConnectOptions,
) -> Result<SqlitePool, sqlx::Error> {
    let mut waited = Duration::ZERO;
    loop {
        match pool.clone().connect_with(options.clone()).await {
            Err(error) if has_code(&error, BUSY) && waited < BUSY_TIMEOUT => {
                tokio::time::sleep(LOCK_PAUSE).await;
                waited += LOCK_PAUSE;
            }
            connected => return connected,
        }
    }
}

/// Makes the file where it is not there: SQLite would let everybody read it. One that is there is not opened, for
/// closing it would end the locks that other stores of this process have on it.
fn create(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created.map(drop),
    }
}

/// Returns why a file cannot be opened: SQLite says no more than that.
fn explain_opening(path: &Path, error: sqlx::Error) -> sqlx::Error {
    if !has_code(&error, CANNOT_OPEN) {
        return error;
    }
    let opening = OpenOptions::new().read(true).write(true).open(path);
    opening.err().map_or(error, sqlx::Error::Io)
}

/// Returns whether an error has a code of SQLite, which may be extended in its upper bits.
fn has_code(error: &sqlx::Error, expected: u32) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code.parse().is_ok_and(|code: u32| code & 0xff == expected))
}

/// A pool of connections to the file.
struct Connections(SqlitePool);

impl Connections {
    async fn run(&self, query: Query) -> Result<Outcome<sqlx::Sqlite>, sqlx::Error> {
        Outcome::of(self.0.fetch_many(query)).await
    }
}

implement_stores!(SqliteStore, sqlx::Sqlite);
