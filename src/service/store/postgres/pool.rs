//! The connections: how they are made, what they are asked before they are used, and when they are let
//! go.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{Connection as _, Executor as _};
use tokio::time::Instant;

use crate::service::store::sql::statement;

/// How long a connection may take to be made.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// One reads the feed, and one announces what was published, or takes the place of one on which nothing
/// comes.
const FEED_CONNECTIONS: u32 = 2;
/// What was not used for so long is asked whether it still leads somewhere before it is used.
const UNUSED: Duration = Duration::from_secs(1);
/// How long that may take. It leaves time to connect anew within `ACQUIRE_TIMEOUT`.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a connection that was used may take to be ready for the next call. After a call that
/// gave up this is for the rest of its answer: an engine that is slow need not be connected to
/// anew, and one that is gone without a word must not keep its places in the pool.
const READY_TIMEOUT: Duration = Duration::from_secs(3);

/// The server ends a statement before the service gives it up, so that no backend goes on for a caller
/// that is gone. Set once connected, since a pooler in between rejects it among the options of the start.
pub(super) const SETTINGS: [(&str, &str); 2] =
    [("statement_timeout", "4s"), ("lock_timeout", "3s")];
/// Has the server notice that a connection has ended while it works for it. Not every server knows it.
const CHECK_INTERVAL: &str = "SELECT set_config('client_connection_check_interval', '1s', false)";
/// The condition of each statement that reads: fails on a standby, whose content may be old. A statement
/// of its own would cost a round trip, and a host's pool is not ours to check.
pub(super) const IF_PRIMARY: &str = "(SELECT CASE WHEN pg_is_in_recovery() \
                                     THEN 'the server is no primary' ELSE 'true' END)::boolean";

/// The options of a pool that the store makes itself, of connections to the server.
pub(super) fn own_pool(age: &Arc<ConnectionAge>) -> PgPoolOptions {
    pooler_pool(age).after_connect(|connection, _| Box::pin(prepare(connection)))
}

/// The same of connections to a pooler, where a setting would stay with a process that others use, too.
///
/// A connection that died is found out by the call that meets it, which is then made again: asking each
/// before its use would cost a round trip a call. One on which nothing comes any more is not found out
/// that way, for the driver would wait for as long as the kernel.
///
/// One that was made before the server was replaced is not used again.
pub(super) fn pooler_pool(age: &Arc<ConnectionAge>) -> PgPoolOptions {
    let age = Arc::clone(age);
    PgPoolOptions::new()
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(move |connection, meta| {
            let is_outdated = age.is_outdated(meta.age);
            Box::pin(async move {
                if is_outdated {
                    return Ok(false);
                }
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
}

/// How old connections may be that are still used.
#[derive(Debug, Default)]
pub(super) struct ConnectionAge {
    outdated_at: Mutex<Option<Instant>>,
}

impl ConnectionAge {
    /// Has no connection be used again that is there now, those included that are in use.
    pub(super) fn outdate(&self) {
        *self.outdated_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn is_outdated(&self, age: Duration) -> bool {
        let outdated_at = *self.outdated_at.lock().unwrap_or_else(PoisonError::into_inner);
        outdated_at.is_some_and(|at| at.elapsed() <= age)
    }
}

/// A pool with the options of another one, for the feed alone: requests that wait for a lock must not keep a node
/// from hearing what was revoked. Its connections are kept: where the server allows few, requests would take their
/// places.
pub(super) fn feed_pool(options: PgPoolOptions, server: PgConnectOptions) -> PgPool {
    options
        .min_connections(0)
        .max_connections(FEED_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(server)
}

/// Lets the idle connections go.
pub(super) fn release_idle(pool: &PgPool) {
    while let Some(idle) = pool.try_acquire() {
        drop(idle.detach());
    }
}

/// Returns why no connection can be made: a pool says no more than that it has tried for long enough.
pub(super) async fn connection_error(server: &PgConnectOptions) -> Option<sqlx::Error> {
    let connecting = async {
        let mut connection = PgConnection::connect_with(server).await?;
        connection.fetch_optional(statement(format!("SELECT {IF_PRIMARY}"))).await
    };
    tokio::time::timeout(ANSWER_TIMEOUT, connecting).await.ok()?.err()
}

/// Rejects a standby, and limits what the server does for a call.
async fn prepare(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let settings = SETTINGS.map(|(name, value)| format!("set_config('{name}', '{value}', false)"));
    let settings = format!("SELECT {} WHERE {IF_PRIMARY}", settings.join(", "));
    sqlx::raw_sql(statement(settings)).execute(&mut *connection).await?;
    match sqlx::raw_sql(CHECK_INTERVAL).execute(connection).await {
        Err(sqlx::Error::Database(_)) => Ok(()),
        set => set.map(drop),
    }
}

/// Fails where nothing comes from the server: the pool closes the connection then.
async fn answers_within(limit: Duration, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    match tokio::time::timeout(limit, connection.ping()).await {
        Ok(answer) => answer,
        Err(elapsed) => Err(sqlx::Error::Io(elapsed.into())),
    }
}

/// Returns whether the connection is of no use any more: it has ended, or leads to a server that is no
/// primary.
pub(super) fn is_useless(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| match &*code {
            // A shutdown; a write on a standby; a table that a standby does not have.
            "57P01" | "57P02" | "57P03" | "25006" | "0A000" => true,
            // A transaction that the server has waited for in vain.
            "25P03" => true,
            // What `IF_PRIMARY` raises.
            "22P02" => error.message().contains("no primary"),
            // Connection exceptions.
            code => code.starts_with("08"),
        }),
        _ => false,
    }
}

/// Returns whether transactions were in each other's way, so that the server undid this one.
pub(super) fn is_transaction_conflict(error: &sqlx::Error) -> bool {
    has_code(error, &["40001", "40P01"])
}

/// Returns whether a lock was waited for in vain.
pub(super) fn is_locked_out(error: &sqlx::Error) -> bool {
    has_code(error, &["55P03"])
}

/// Returns whether the role may not do what it was told to.
pub(super) fn is_denied(error: &sqlx::Error) -> bool {
    has_code(error, &["42501"])
}

fn has_code(error: &sqlx::Error, codes: &[&str]) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| codes.contains(&&*code))
}
