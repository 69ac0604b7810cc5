//! Making a call to an engine again, in the stores that are shared.

use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;

use crate::service::store::StoreError;

/// How long to wait before each further try.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(200)];

/// What a call came to, and whether it was made more than once: the first may have been carried
/// out, and only its answer have been lost.
pub(super) struct Retried<T> {
    pub(super) value: T,
    pub(super) is_repeated: bool,
}

/// Makes a call again where its connection was lost. A write has to bear being made twice: a
/// statement names the version that it expects, a script its writer.
pub(super) async fn retry<T, E, F>(
    is_lost: impl Fn(&E) -> bool,
    mut call: impl FnMut() -> F,
) -> Result<Retried<T>, StoreError>
where
    E: StdError + Send + Sync + 'static,
    F: Future<Output = Result<T, E>>,
{
    let mut is_repeated = false;
    for pause in PAUSES {
        match call().await {
            Ok(value) => return Ok(Retried { value, is_repeated }),
            Err(error) if is_lost(&error) => {
                tokio::time::sleep(pause).await;
                is_repeated = true;
            }
            Err(error) => return Err(StoreError::unavailable(error)),
        }
    }
    let value = call().await.map_err(StoreError::unavailable)?;
    Ok(Retried { value, is_repeated })
}

/// The error of a call that was made twice: the store cannot tell whether the first one was
/// carried out.
pub(super) fn answer_lost() -> StoreError {
    StoreError::unavailable("the connection was lost, and with it the answer")
}
