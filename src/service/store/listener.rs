//! A task that listens for news of the revocation feed, in the stores whose engine tells of it.

use std::fmt;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

/// How long to wait where the engine cannot be listened to. The feed is polled meanwhile.
const PAUSE: Duration = Duration::from_millis(250);

/// The task that passes an engine's notifications on to the notifier. It ends with the store.
#[derive(Default)]
pub(super) struct Listener {
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Listener {
    /// Starts the task where it does not run: at first, and where its runtime is gone. It calls
    /// `listen_once`, which listens for as long as its connection lasts, again and again.
    pub(super) fn ensure_listening<F, E>(&self, listen_once: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + 'static,
    {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            *task = Some(tokio::spawn(listen(listen_once)));
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

async fn listen<F, E>(mut listen_once: impl FnMut() -> F)
where
    F: Future<Output = Result<(), E>>,
    E: fmt::Display,
{
    loop {
        if let Err(error) = listen_once().await {
            tracing::debug!(%error, "the engine cannot be listened to; trying again");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
