//! Notifications of what was published, and the bell that they ring.

use std::sync::Arc;

use sqlx::postgres::{PgListener, PgPool};

use crate::store::feed::Bell;

/// Rings for as long as the database can be listened to.
pub(super) async fn ring_for_notifications(
    pool: PgPool,
    channel: String,
    bell: Arc<Bell>,
) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(&channel).await?;
    loop {
        // Before the first, too, and where the connection was lost in between: something may have
        // been published while nobody listened.
        bell.ring();
        listener.try_recv().await?;
    }
}
