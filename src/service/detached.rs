//! Work that runs to its end even if its caller disconnects.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::task::Poll;

use tracing::Instrument as _;
use tracing::instrument::WithSubscriber as _;

use crate::error::{Error, ErrorKind};

/// Proof of running on a task that is not dropped. Functions that write to a store require it.
pub(super) struct Detached(());

/// The error source of work that panicked.
const PANICKED: &str = "panicked";

/// Runs work to its end on a task of its own, within the caller's span.
pub(super) async fn run_to_completion<T, W>(
    work: impl FnOnce(Detached) -> W + Send + 'static,
) -> Result<T, Error>
where
    T: Send + 'static,
    W: Future<Output = Result<T, Error>> + Send,
{
    let running = async move { work(Detached(())).await };
    let running = running.in_current_span().with_current_subscriber();
    tokio::spawn(running).await.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Internal, "a task failed").with_source(error))
    })
}

/// Converts a panic to an error, so that its audit event can be written.
pub(super) async fn catch_panic<T>(
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut work = pin!(work);
    // The unwound state is dropped; only the stores may see it half-done.
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        polled.unwrap_or_else(|_| {
            let error = Error::new(ErrorKind::Internal, "the service panicked");
            Poll::Ready(Err(error.with_reason(PANICKED)))
        })
    })
    .await
}

/// Resumes a panic that was converted to an error, for a supervisor that restarts the work.
pub(super) fn resume_panic(error: &Error) {
    if error.reason() == PANICKED {
        resume_unwind(Box::new(PANICKED));
    }
}
