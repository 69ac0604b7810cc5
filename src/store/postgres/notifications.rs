use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPool};

use crate::store::feed::Bell;

/// How long to wait where the database cannot be listened to. The feed is polled meanwhile.
const PAUSE: Duration = Duration::from_millis(250);

/// Rings for as long as it is let.
pub(super) async fn listen(pool: PgPool, channel: String, bell: Arc<Bell>) {
    loop {
        if let Err(error) = ring_for_notifications(&pool, &channel, &bell).await {
            tracing::debug!(%error, "the database cannot be listened to; trying again");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ring_for_notifications(
    pool: &PgPool,
    channel: &str,
    bell: &Bell,
) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(channel).await?;
    loop {
        // Before the first, too, and where the connection was lost in between: something may have
        // been published while nobody listened.
        bell.ring();
        listener.try_recv().await?;
    }
}
