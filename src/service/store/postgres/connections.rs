//! How a statement gets to the server: over which connection, and how long one is waited for.

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::{Connection as _, Executor as _, Postgres, SqlStr};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::service::store::postgres::Query;
use crate::service::store::postgres::pool::{SETTINGS, release_idle};
use crate::service::store::sql::{Outcome, statement};

/// How long a call waits for a connection. Less than the service's deadline.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a call waits for a new connection before it takes one that has come free meanwhile: where the server allows
/// no more, a new one never comes. Longer each time, for one that takes long to be made.
const FIRST_PATIENCE: Duration = Duration::from_millis(250);
const LONGER: u32 = 3;
/// How long a transaction through a pooler is waited for: less than the service's deadline. One that was given up
/// would keep its place, and a write that nobody waits for would be made later.
const TRANSACTION_TIMEOUT: Duration = Duration::from_millis(4_500);
/// The same of its beginning, for which a pooler without a free server may let it wait.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a server waits for the next statement of a transaction. A node that has failed must not keep its locks.
const IDLE_TIMEOUT: &str = "; SET LOCAL idle_in_transaction_session_timeout = '5s'";

/// Waits for so long; after that, the connection counts as lost.
async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    timeout(limit, work).await.unwrap_or_else(|elapsed| Err(sqlx::Error::Io(elapsed.into())))
}

/// A pool, and how its connections are used.
pub(super) struct Connections {
    pool: PgPool,
    /// As many as there may be connections: who has a place waits for nobody but the server.
    places: Arc<Semaphore>,
    /// What begins each statement's transaction, where a pooler may lead any two transactions to two servers'
    /// processes.
    begin: Option<SqlStr>,
}

impl Connections {
    pub(super) fn new(pool: PgPool) -> Self {
        let places = usize::try_from(pool.options().get_max_connections());
        let places = places.unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Self { pool, places: Arc::new(Semaphore::new(places)), begin: None }
    }

    /// Over a pooler in transaction mode.
    ///
    /// The driver sends a statement in two parts, so both are in one transaction. A prepared statement would stay with
    /// the process that prepared it, and so would settings, which are the transaction's own.
    pub(super) fn over_transaction_pooler(pool: PgPool) -> Self {
        let settings = SETTINGS.map(|(name, value)| format!("; SET LOCAL {name} = '{value}'"));
        let begin = statement(format!("BEGIN{}{IDLE_TIMEOUT}", settings.concat()));
        Self { begin: Some(begin), ..Self::new(pool) }
    }

    pub(super) fn lead_through_pooler(&self) -> bool {
        self.begin.is_some()
    }

    pub(super) async fn run(&self, query: Query) -> Result<Outcome<Postgres>, sqlx::Error> {
        let acquiring = timeout(ACQUIRE_TIMEOUT, self.acquire());
        let (mut connection, place) = acquiring.await.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
        let Some(begin) = self.begin.clone() else {
            return Outcome::of(connection.fetch_many(query)).await;
        };
        // The driver leaves a transaction open whose caller hangs up while it begins.
        let transaction = tokio::spawn(async move {
            let mut has_begun = false;
            let running = async {
                let beginning = within(BEGIN_TIMEOUT, connection.begin_with(begin));
                let mut transaction = beginning.await?;
                has_begun = true;
                let outcome = Outcome::of(transaction.fetch_many(query.persistent(false))).await?;
                transaction.commit().await?;
                Ok(outcome)
            };
            let outcome = within(TRANSACTION_TIMEOUT, running).await;
            if !has_begun || matches!(outcome, Err(sqlx::Error::Io(_))) {
                // Nobody knows what comes next over it: it is closed.
                drop(connection.detach());
            }
            drop(place);
            outcome
        });
        transaction.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    /// Returns a connection, and the place that it has until it is dropped.
    async fn acquire(
        &self,
    ) -> Result<(PoolConnection<Postgres>, Option<OwnedSemaphorePermit>), sqlx::Error> {
        let mut patience = FIRST_PATIENCE;
        loop {
            // They are never closed.
            let place = Arc::clone(&self.places).acquire_owned().await.ok();
            let mut acquiring = Box::pin(self.pool.acquire());
            match timeout(patience, &mut acquiring).await {
                Ok(acquired) => return Ok((acquired?, place)),
                // It keeps its place. A connection that is late is there for others.
                Err(_) => drop(tokio::spawn(async move {
                    drop(acquiring.await);
                    drop(place);
                })),
            }
            patience *= LONGER;
        }
    }

    /// Returns the way to the server.
    pub(super) fn server(&self) -> Arc<PgConnectOptions> {
        self.pool.connect_options()
    }

    /// Lets the idle connections go.
    pub(super) fn release_idle(&self) {
        release_idle(&self.pool);
    }
}
