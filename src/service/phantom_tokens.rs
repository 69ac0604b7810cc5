//! The phantom tokens that are kept ready.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use moka::future::Cache;
use tokio::sync::OnceCell;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::service::model::access_token::AccessToken;
use crate::service::model::session::SessionKey;
use crate::token::claims::Validated;

/// How many sessions' tokens are kept ready. A cache may forget: they are made anew.
const CAPACITY: u64 = 100_000;

/// A JWT made for a session, with the proof that it was checked.
#[derive(Debug)]
pub(crate) struct PhantomToken {
    pub(crate) token: AccessToken,
    pub(crate) validated: Arc<Validated>,
    pub(super) use_until: Timestamp,
    /// Whether the session was found once more after this was kept: see
    /// [`TokenService::phantom_token`](crate::TokenService).
    pub(super) confirmed: AtomicBool,
}

/// A token that is made, or is to be: the first request makes it, and the next one where the first
/// gives up. That may go on for any number of them, which is why it is not left to moka: there, who
/// has seen two hundred give up panics.
pub(super) type Making = Arc<OnceCell<Result<Arc<PhantomToken>, Arc<Error>>>>;

pub(super) struct PhantomTokens {
    pub(super) cache: Cache<SessionKey, Making>,
}

impl PhantomTokens {
    pub(super) fn new(lifetime: Duration) -> Self {
        Self { cache: Cache::builder().max_capacity(CAPACITY).time_to_live(lifetime).build() }
    }

    pub(super) async fn remove(&self, key: &SessionKey) {
        self.cache.invalidate(key).await;
    }
}

impl fmt::Debug for PhantomTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PhantomTokens").finish_non_exhaustive()
    }
}
