//! What has to be done now and then, and what has to be heard of.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::error::Error;
use crate::service::token_service::{Parts, TokenService};
use crate::store::Cursor;
use crate::telemetry;

/// How long the feed is waited on at a time.
const FEED_WAIT: Duration = Duration::from_secs(20);
/// In how many parts a store is purged at a time. What is left is for the next time.
const MAX_PARTS: usize = 10_000;
/// How long to wait after a failure: doubled with each that follows, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl TokenService {
    /// Keeps the service in order for as long as it lives: hears of what other nodes take back,
    /// removes what has ended from the store, and forgets revocations and failed logins that no
    /// longer matter. The host spawns it once:
    ///
    /// ```
    /// # fn example(tokens: countersign::TokenService) {
    /// tokio::spawn(tokens.run_housekeeping());
    /// # }
    /// ```
    ///
    /// A store that fails is a warning in the log, and is tried again; it never ends this. It ends
    /// once the last clone of the service has been dropped.
    ///
    /// Without it, the store is never purged, and what other nodes take back is not heard of.
    pub fn run_housekeeping(&self) -> impl Future<Output = ()> + Send + 'static {
        let parts = Arc::downgrade(&self.parts);
        async move {
            let feed = follow_feed(parts.clone());
            let purging = purge_periodically(parts);
            tokio::join!(feed, purging);
        }
    }

    /// Removes what has ended from the store, and forgets what no longer matters. What
    /// [`run_housekeeping`](Self::run_housekeeping) does every `housekeeping_interval`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where the store is out of reach;
    /// what is in memory is tidied up all the same.
    pub async fn purge_expired(&self) -> Result<(), Error> {
        let now = self.now();
        self.parts.throttle.purge(now);
        self.parts.revocations.purge(now);
        telemetry::revocations_held(self.parts.revocations.len());
        // A store may purge in parts, so that nobody has to wait for it.
        for _ in 0..MAX_PARTS {
            if self.parts.stores.purge_expired(now).await? == 0 {
                break;
            }
        }
        Ok(())
    }
}

async fn purge_periodically(parts: Weak<Parts>) {
    loop {
        let Some(parts_now) = parts.upgrade() else { return };
        let interval = parts_now.policy.housekeeping_interval;
        let tokens = TokenService { parts: parts_now };
        if let Err(error) = tokens.purge_expired().await {
            tracing::warn!(error = ?error, "the store could not be purged; trying again later");
        }
        drop(tokens);
        tokio::time::sleep(interval).await;
    }
}

/// Takes over what was revoked anywhere, from the beginning on: this node may have been started
/// anew, and what it revoked itself is harmless twice.
async fn follow_feed(parts: Weak<Parts>) {
    let mut cursor = Cursor::START;
    let mut pause = FIRST_PAUSE;
    loop {
        let Some(parts_now) = parts.upgrade() else { return };
        let stores = parts_now.stores.clone();
        // Who waits here must not keep the service alive.
        drop(parts_now);
        match stores.revocations(&cursor, FEED_WAIT).await {
            Ok(read) => {
                let Some(parts_now) = parts.upgrade() else { return };
                for revocation in &read.revocations {
                    parts_now.revocations.insert(revocation);
                }
                telemetry::revocations_held(parts_now.revocations.len());
                cursor = read.next;
                pause = FIRST_PAUSE;
            }
            Err(error) => {
                tracing::warn!(
                    error = ?error,
                    "what other nodes take back is not heard of; trying again"
                );
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}
