//! Announces to other nodes, by `NOTIFY`, that something was published.
//!
//! Transactions that notify commit one after the other in the whole server. So publishing does not
//! notify: a task does, once for all that was published meanwhile.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgPool;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::service::store::feed::Notifier;

/// How long one announcement is apart from the next.
const PAUSE: Duration = Duration::from_millis(20);

/// What the announcing task needs.
#[derive(Clone)]
pub(super) struct Announcer {
    pub(super) pool: PgPool,
    pub(super) channel: Arc<str>,
    /// What tells this node's announcements from those of others.
    pub(super) node: Arc<str>,
    pub(super) is_due: Arc<Notify>,
    pub(super) notifier: Arc<Notifier>,
}

/// Announces for as long as the database can be reached.
pub(super) async fn announce(announcer: Announcer) -> Result<(), sqlx::Error> {
    loop {
        announcer.is_due.notified().await;
        announcer.notifier.notify();
        sqlx::query("SELECT pg_notify($1, $2)")
            .bind(&*announcer.channel)
            .bind(&*announcer.node)
            .execute(&announcer.pool)
            .await?;
        sleep(PAUSE).await;
    }
}
