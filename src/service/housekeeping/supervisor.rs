//! Keeping each part of the background work going, whatever becomes of the others.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::service::backoff::Backoff;
use crate::service::housekeeping::StopSignal;
use crate::service::telemetry::{self, Work};

/// How long to wait before a part that panicked is started again: doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// What has gone on for so long begins with the first pause again.
const WELL_AFTER: Duration = Duration::from_secs(60);

/// Runs a part of the background work until it ends, and starts it again where it panics.
pub(super) async fn supervise<F>(work: Work, mut stop: StopSignal, mut begin: impl FnMut() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let began = Instant::now();
        // A set, since what is in it ends with this future.
        let mut running = JoinSet::new();
        running.spawn(begin().in_current_span());
        let has_panicked =
            running.join_next().await.is_some_and(|end| end.is_err_and(|error| error.is_panic()));
        if !has_panicked || stop.is_set() {
            return;
        }
        if began.elapsed() > WELL_AFTER {
            backoff.succeeded();
        }
        let pause = backoff.failed();
        telemetry::work_restarted(work);
        tracing::error!(
            work = work.as_str(),
            pause_seconds = pause.as_secs_f64(),
            "housekeeping: a task panicked, it is restarted after a pause; this is a bug in the store or in this \
             crate, report it with the panic message"
        );
        stop.sleep(pause).await;
    }
}
