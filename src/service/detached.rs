use std::future::Future;

use tracing::Instrument as _;

use crate::error::{Error, ErrorKind};

/// Does all of something that must not be left half-done, though whoever asked for it hangs up.
pub(super) async fn run_to_completion<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    tokio::spawn(work.in_current_span()).await.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Internal, "a task failed").with_source(error))
    })
}
