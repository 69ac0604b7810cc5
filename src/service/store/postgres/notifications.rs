//! Listens to the database for what was published, and wakes the notifier.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::time::timeout;

use crate::service::store::feed::Notifier;

/// After so long without a notification, the connection is asked whether it still leads somewhere.
const QUIET: Duration = Duration::from_secs(30);
/// How long that may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Notifies for as long as the database can be listened to, over a connection of its own: one that
/// is waited on for ever must not take a place among the others. What this node has announced itself
/// was read already.
pub(super) async fn forward_notifications(
    database: Arc<PgConnectOptions>,
    channel: Arc<str>,
    node: Arc<str>,
    notifier: Arc<Notifier>,
) -> Result<(), sqlx::Error> {
    let own = PgPoolOptions::new().max_connections(1).connect_lazy_with((*database).clone());
    let mut listener = PgListener::connect_with(&own).await?;
    listener.listen(&channel).await?;
    // Something may have been published while nobody listened.
    notifier.notify();
    loop {
        match timeout(QUIET, listener.try_recv()).await {
            Ok(heard) => {
                // Without one, the connection was lost in between.
                if heard?.is_none_or(|heard| heard.payload() != &*node) {
                    notifier.notify();
                }
            }
            Err(_) => {
                let asking = sqlx::query("SELECT 1").execute(&mut listener);
                timeout(ANSWER_TIMEOUT, asking).await.map_err(io::Error::from)??;
            }
        }
    }
}
