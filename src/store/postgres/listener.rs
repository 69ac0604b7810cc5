use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPool};
use tokio::task::JoinHandle;

use crate::store::feed::Bell;

/// How long to wait where the database cannot be listened to. The feed is polled meanwhile.
const PAUSE: Duration = Duration::from_millis(250);

/// The task that turns the database's notifications into rings. It ends with the store.
#[derive(Default)]
pub(super) struct Listener {
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Listener {
    /// Starts the task where it does not run: at first, and where its runtime is gone.
    pub(super) fn ensure_listening(&self, pool: &PgPool, channel: &str, bell: &Arc<Bell>) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            let listening = listen(pool.clone(), channel.to_owned(), Arc::clone(bell));
            *task = Some(tokio::spawn(listening));
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
    }
}

async fn listen(pool: PgPool, channel: String, bell: Arc<Bell>) {
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
