//! The tables: created, and brought up to this release.

use std::time::Duration;

use crate::error::Error;
use crate::service::store::postgres::PostgresStore;
use crate::service::store::postgres::pool::is_locked_out;
use crate::service::store::sql::{not_migrated, reject_later_schema, statement};
use crate::service::store::{Store as _, StoreError};

/// The versions of the schema, in order: what was released stays as it is.
const MIGRATIONS: [(i64, &str); 11] = [
    (1, include_str!("schema_1.sql")),
    (2, include_str!("schema_2.sql")),
    (3, include_str!("schema_3.sql")),
    (4, include_str!("schema_4.sql")),
    (5, include_str!("schema_5.sql")),
    (6, include_str!("schema_6.sql")),
    (7, include_str!("schema_7.sql")),
    (8, include_str!("schema_8.sql")),
    (9, include_str!("schema_9.sql")),
    (10, include_str!("schema_10.sql")),
    (1_000, include_str!("schema_1000.sql")),
];
pub(super) const LATEST_VERSION: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;
/// Held while the tables are made: "countersign" cut to what a lock's number has room for.
const MIGRATION_LOCK: i64 = 0x0063_6f75_6e74_6572;
/// How long a migration waits for a table that somebody else uses: other statements then wait behind it,
/// for less than a call may take. So it gives up, and tries again.
const MIGRATION_LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '1s'";
const MIGRATION_PAUSE: Duration = Duration::from_secs(2);
/// Some three minutes.
const MIGRATION_TRIES: u32 = 60;

impl PostgresStore {
    /// Creates the schema and the tables, or migrates them to this release. It writes nothing if they are current, so
    /// that a role that can only change rows may call it; otherwise the role has to own the tables. It may run on
    /// several nodes at once. If a long transaction uses a table that is to be changed, it tries again for some three
    /// minutes, and keeps nobody else waiting for more than a second at a time. While it creates an index, writes to
    /// that table wait: of a table of millions of rows, for minutes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if the database is unreachable or denies access, or
    /// a table is in use for that long; [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if its tables
    /// are of a later release, or a [pooler](super::PostgresOptions::transaction_pooler) leads to another database than the
    /// direct URL. Its source, or the source of that, says why.
    pub async fn migrate(&self) -> Result<(), Error> {
        if !self.is_current().await.map_err(not_migrated)? {
            self.bring_up_to_date().await?;
        }
        self.check_pooler().await
    }

    async fn bring_up_to_date(&self) -> Result<(), Error> {
        let mut tries = 1;
        let known = loop {
            let store = self.clone();
            // The driver leaves a transaction open whose caller hangs up while it begins.
            let migrating = tokio::spawn(async move { store.try_to_migrate().await });
            match migrating.await.unwrap_or(Err(sqlx::Error::WorkerCrashed)) {
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
        reject_later_schema(known, LATEST_VERSION)
    }

    /// Checks that a pooler leads to the tables that the feed is read from. Otherwise this node would write sessions
    /// to one database, and read revocations in another.
    async fn check_pooler(&self) -> Result<(), Error> {
        let connections = &self.inner.connections;
        if !connections.lead_through_pooler() {
            return Ok(());
        }
        // A server that is copied or restored keeps all of its names and numbers, but starts anew.
        let place = "SELECT concat_ws(' ', extract(epoch FROM pg_postmaster_start_time()), current_database(), \
                     to_regclass('{table:migrations}')::oid)";
        let place = statement(self.inner.tables.fill_in(place));
        let direct = || sqlx::query_scalar::<_, String>(place.clone()).fetch_one(self.feed_pool());
        let unreachable = |error| not_migrated(StoreError::unavailable(error));
        // It may restart meanwhile.
        let before = direct().await.map_err(unreachable)?;
        let pooled = connections.run(sqlx::query(place.clone())).await.map_err(unreachable)?;
        let pooled = pooled.first::<String>().map_err(not_migrated)?;
        let after = direct().await.map_err(unreachable)?;
        if before == after && pooled.as_ref() != Some(&before) {
            return Err(Error::configuration(
                "the URL of the pooler and the direct URL lead to different databases",
            ));
        }
        Ok(())
    }

    /// Returns the version that was found.
    async fn try_to_migrate(&self) -> Result<i64, sqlx::Error> {
        let tables = &self.inner.tables;
        // Whatever the role's level: what another node has done meanwhile is to be seen.
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED";
        let mut transaction = self.feed_pool().begin_with(begin).await?;
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
        for (version, script) in MIGRATIONS.into_iter().skip_while(|(at, _)| *at <= known) {
            let script = statement(tables.fill_in(script));
            sqlx::raw_sql(script).execute(&mut *transaction).await?;
            let done = "INSERT INTO {table:migrations} (version) VALUES ($1)";
            let done = sqlx::query(statement(tables.fill_in(done))).bind(version);
            done.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(known)
    }
}
