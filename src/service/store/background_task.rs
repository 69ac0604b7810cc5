//! A task that a store runs beside its calls: it listens for news of the feed, or announces them.

use std::fmt;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::service::backoff::Backoff;

/// How long to wait where the engine is out of reach, at first and at most. The feed is polled
/// meanwhile.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A task that ends with the store.
#[derive(Default)]
pub(super) struct BackgroundTask {
    task: Mutex<Option<JoinHandle<()>>>,
}

impl BackgroundTask {
    /// Starts the task where it does not run: at first, and where its runtime is gone. It calls
    /// `run_once`, which goes on for as long as its connection lasts, again and again.
    pub(super) fn ensure_running<F, E>(&self, run_once: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + 'static,
    {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            *task = Some(tokio::spawn(run(run_once)));
        }
    }
}

impl Drop for BackgroundTask {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
    }
}

async fn run<F, E>(mut run_once: impl FnMut() -> F)
where
    F: Future<Output = Result<(), E>>,
    E: fmt::Display,
{
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let begun = Instant::now();
        if let Err(error) = run_once().await {
            tracing::debug!(%error, "feed: notifications failed, polling until they are back");
        }
        if begun.elapsed() > LONGEST_PAUSE {
            backoff.succeeded();
        }
        tokio::time::sleep(backoff.failed()).await;
    }
}
