//! Making a call to an engine again, in the stores that are shared.

use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;

use crate::jitter;
use crate::service::store::StoreError;

/// How long to wait before each further try, where the connection was lost.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(200)];
/// How often a call is made again that the engine has undone: others go first meanwhile. The pause doubles each time,
/// up to half a second, and a second altogether. It is shorter by a random part, so that those who were in each other's
/// way are not so again.
const TRIES_AFTER_UNDOING: u32 = 9;
const FIRST_PAUSE_AFTER_UNDOING: Duration = Duration::from_millis(2);

/// What a call came to, and whether it was made again after the connection was lost: the first may have been carried
/// out, and only its answer have been lost.
pub(super) struct Retried<T> {
    pub(super) value: T,
    pub(super) is_repeated: bool,
}

/// Makes a call again where its connection was lost, or where the engine has undone it, since others were in its way. A
/// write has to bear being made twice: a statement names the version that it expects, a script its writer.
pub(super) async fn retry<T, E, F>(
    is_lost: impl Fn(&E) -> bool,
    is_undone: impl Fn(&E) -> bool,
    mut call: impl FnMut() -> F,
) -> Result<Retried<T>, StoreError>
where
    E: StdError + Send + Sync + 'static,
    F: Future<Output = Result<T, E>>,
{
    let (mut after_loss, mut after_undoing) = (PAUSES.iter(), 0..TRIES_AFTER_UNDOING);
    let mut is_repeated = false;
    loop {
        let error = match call().await {
            Ok(value) => return Ok(Retried { value, is_repeated }),
            Err(error) => error,
        };
        let pause = if is_lost(&error) {
            is_repeated = true;
            after_loss.next().copied()
        } else if is_undone(&error) {
            after_undoing.next().map(|tries| {
                let pause = FIRST_PAUSE_AFTER_UNDOING * 2_u32.pow(tries);
                pause - jitter::below(pause / 2)
            })
        } else {
            None
        };
        match pause {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(StoreError::unavailable(error)),
        }
    }
}

/// The error of a call that was made twice: the store cannot tell whether the first one was
/// carried out.
pub(super) fn answer_lost() -> StoreError {
    StoreError::unavailable("the connection was lost, and with it the answer")
}
