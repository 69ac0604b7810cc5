//! The cache of phantom tokens.

use std::fmt;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use moka::future::Cache;
use tokio::sync::OnceCell;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::service::model::access_token::AccessToken;
use crate::service::model::authentication_token::SessionKey;
use crate::sync::SingleFlight;
use crate::token::claims::Validated;

/// The maximum size of the cached tokens in bytes. Evicted tokens are issued again.
const CAPACITY: u64 = 128 * 1024 * 1024;
/// The size of an entry besides its text, which is held again in parsed form.
const OVERHEAD: usize = 1_024;
const COPIES: usize = 3;

/// A JWT issued for a session, with the result of its validation.
#[derive(Debug)]
pub(crate) struct PhantomToken {
    pub(crate) token: AccessToken,
    pub(crate) validated: Arc<Validated>,
    pub(super) use_until: Timestamp,
    /// Whether the session was found again after this was cached: see
    /// [`TokenService::phantom_token`](crate::TokenService).
    pub(super) confirmed: AtomicBool,
}

impl PhantomToken {
    /// The approximate size in bytes.
    fn weight(&self) -> u32 {
        let bytes = self.token.expose().len().saturating_mul(COPIES).saturating_add(OVERHEAD);
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

pub(super) struct PhantomTokenCache {
    pub(super) ready: Cache<SessionKey, Arc<PhantomToken>>,
    pub(super) flights: SingleFlight<SessionKey, OnceCell<PhantomTokenResult>>,
}

/// An issued token, or the error for all requests that waited for it.
type PhantomTokenResult = Result<Arc<PhantomToken>, Arc<Error>>;

impl PhantomTokenCache {
    pub(super) fn new(lifetime: Duration) -> Self {
        let ready = Cache::builder()
            .max_capacity(CAPACITY)
            .weigher(|_, token: &Arc<PhantomToken>| token.weight())
            .time_to_live(lifetime)
            .build();
        Self { ready, flights: SingleFlight::new(RandomState::new()) }
    }

    pub(super) async fn remove(&self, key: &SessionKey) {
        self.ready.invalidate(key).await;
    }
}

impl fmt::Debug for PhantomTokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PhantomTokenCache").finish_non_exhaustive()
    }
}
