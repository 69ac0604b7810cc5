//! What has to be done now and then, and what has to be heard of.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::error::Error;
use crate::service::backoff::Backoff;
use crate::service::revocations::RevocationSet;
use crate::service::store::{Cursor, FeedPage};
use crate::service::telemetry;
use crate::service::token_service::{TokenService, TokenServiceInner};

/// How long the feed is waited on at a time.
const FEED_WAIT: Duration = Duration::from_secs(20);
/// In how many parts a store is purged at a time. What is left is for the next time.
const MAX_PARTS: usize = 10_000;
/// How long to wait after a failure: doubled with each that follows, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Clocks are read a little before the instant that was waited for.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

impl TokenService {
    /// Keeps the service in order for as long as it lives: hears of what other nodes revoke,
    /// changes [`ManagedKeys`](crate::ManagedKeys) by their schedule, removes what has ended from
    /// the store, and forgets revocations and failed logins that no longer matter. The host spawns
    /// it once:
    ///
    /// ```
    /// # fn example(tokens: countersign::TokenService) {
    /// tokio::spawn(tokens.run_housekeeping());
    /// # }
    /// ```
    ///
    /// A store that fails is a warning in the log, and is tried again; it never ends this. It ends
    /// once the last clone of the service has been dropped: keep one, also where its layers are all
    /// that is used.
    ///
    /// Without it, the store is never purged, managed keys are never changed, and what other nodes
    /// revoke is not heard of: over a store that lasts, no token is accepted then, unless the
    /// policy says so.
    pub fn run_housekeeping(&self) -> impl Future<Output = ()> + Send + 'static {
        let inner = Arc::downgrade(&self.inner);
        async move {
            let feed = follow_feed(inner.clone());
            let keys = follow_key_schedule(inner.clone());
            let purging = purge_periodically(inner);
            tokio::join!(feed, keys, purging);
        }
    }

    /// Hears of what other nodes have revoked so far, and has the managed keys come.
    /// [`run_housekeeping`](Self::run_housekeeping) does it, too; called before the first request
    /// is served, it spares that one a 503. What it has heard is relied on for the policy's
    /// `max_revocation_staleness`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where the store is out of reach;
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) where the shared keys were sealed with a
    /// key that was not given, or were, and are no longer there.
    pub async fn catch_up(&self) -> Result<(), Error> {
        if let Some(keys) = &self.inner.key_manager {
            keys.refresh().await?;
        }
        let mut cursor = Cursor::START;
        loop {
            let read = self.inner.stores.read_feed(&cursor, Duration::ZERO).await?;
            apply(&self.inner, &read);
            if read.is_complete {
                watch_staleness(&self.inner);
                return Ok(());
            }
            cursor = read.next;
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
        self.inner.throttle.purge(now);
        self.inner.keys.forget_retired(now);
        self.inner.revocations.purge(now);
        telemetry::revocations_held(self.inner.revocations.len());
        // A store may purge in parts, so that nobody has to wait for it.
        for _ in 0..MAX_PARTS {
            if self.inner.stores.purge_expired(now).await? == 0 {
                break;
            }
        }
        Ok(())
    }
}

async fn purge_periodically(inner: Weak<TokenServiceInner>) {
    loop {
        let Some(alive) = inner.upgrade() else { return };
        let interval = alive.policy.housekeeping_interval;
        let tokens = TokenService { inner: alive };
        if let Err(error) = tokens.purge_expired().await {
            tracing::warn!(error = ?error, "housekeeping: purge failed, expired records stay until the next run");
        }
        drop(tokens);
        tokio::time::sleep(interval).await;
    }
}

/// Reads the shared keys now and then, and turns to each when its time comes.
async fn follow_key_schedule(inner: Weak<TokenServiceInner>) {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let Some(alive) = inner.upgrade() else { return };
        let Some(keys) = &alive.key_manager else { return };
        // First what is known already, which the store cannot hold up.
        if let Err(error) = keys.apply_known().await {
            tracing::error!(error = ?error, "signing keys: known keys cannot be installed");
        }
        let pause = match keys.refresh().await {
            Ok(pause) => {
                backoff.succeeded();
                pause.max(SHORTEST_PAUSE)
            }
            Err(error) => {
                tracing::warn!(error = ?error, "signing keys: reading the store failed, trying again");
                backoff.failed()
            }
        };
        drop(alive);
        tokio::time::sleep(pause).await;
    }
}

fn apply(inner: &TokenServiceInner, read: &FeedPage) {
    for event in &read.events {
        inner.apply(event);
    }
    telemetry::revocations_held(inner.revocations.len());
    if read.is_complete {
        let mut heard = inner.last_heard.lock();
        heard.last_read_at = Some(Instant::now());
        if inner.revocations.set_stale(false) {
            tracing::info!("revocations: feed read, tokens are accepted");
        }
    }
}

/// Makes sure that what was heard once is not relied on for ever, where nobody follows the feed.
fn watch_staleness(inner: &Arc<TokenServiceInner>) {
    if !staleness_is_binding(inner)
        || std::mem::replace(&mut inner.last_heard.lock().is_watched, true)
    {
        return;
    }
    let inner = Arc::downgrade(inner);
    tokio::spawn(async move {
        loop {
            let Some(alive) = inner.upgrade() else { return };
            let until = {
                let mut heard = alive.last_heard.lock();
                let now = Instant::now();
                let until =
                    heard.last_read_at.unwrap_or(now) + alive.policy.max_revocation_staleness;
                if until <= now {
                    heard.is_watched = false;
                    reject_for_staleness(&alive.revocations);
                    return;
                }
                until
            };
            drop(alive);
            tokio::time::sleep_until(until).await;
        }
    });
}

fn staleness_is_binding(inner: &TokenServiceInner) -> bool {
    inner.stores.are_shared() && !inner.policy.dangerous_accept_stale_revocations
}

fn reject_for_staleness(revocations: &RevocationSet) {
    if !revocations.set_stale(true) {
        tracing::error!(
            "revocations: feed not read for longer than max_revocation_staleness, tokens are \
             answered 503 until it is read; make the store reachable and keep `run_housekeeping` \
             running"
        );
    }
}

/// Takes over what was revoked anywhere, from the beginning on: this node may have been started
/// anew, and what it revoked itself is harmless twice.
async fn follow_feed(inner: Weak<TokenServiceInner>) {
    let Some(alive) = inner.upgrade() else { return };
    let staleness = StalenessGuard::new(&alive);
    drop(alive);
    let mut cursor = Cursor::START;
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut heard_at = Instant::now();
    // Until it has answered, it is asked for what there is, and not for what is to come.
    let mut wait = Duration::ZERO;
    loop {
        let Some(alive) = inner.upgrade() else { return };
        let stores = alive.stores.clone();
        // Who waits here must not keep the service alive.
        drop(alive);
        let read = stores.read_feed(&cursor, wait);
        let read = match timeout_at(heard_at + staleness.allowed, read).await {
            Ok(read) => read,
            // It neither answered nor failed, as a store does that hangs; or has much to tell.
            Err(_) => {
                staleness.reject_tokens();
                // From here on the store has all the time that it needs.
                stores.read_feed(&cursor, Duration::ZERO).await
            }
        };
        match read {
            Ok(read) => {
                let Some(alive) = inner.upgrade() else { return };
                apply(&alive, &read);
                cursor = read.next;
                backoff.succeeded();
                // What is there already is not waited for, and until all of it was read, nobody
                // knows what the rest says.
                wait = Duration::ZERO;
                if read.is_complete {
                    heard_at = Instant::now();
                    wait = FEED_WAIT.min(staleness.allowed / 2);
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = ?error,
                    "revocations: reading the feed failed, trying again"
                );
                if Instant::now() >= heard_at + staleness.allowed {
                    staleness.reject_tokens();
                }
                tokio::time::sleep(backoff.failed()).await;
                wait = Duration::ZERO;
            }
        }
    }
}

/// Has tokens rejected where it has not been heard for too long what other nodes revoke. Nor is it
/// once housekeeping has ended.
struct StalenessGuard {
    revocations: Arc<RevocationSet>,
    allowed: Duration,
    /// Whether there are other nodes, and the policy minds.
    is_binding: bool,
}

impl StalenessGuard {
    fn new(inner: &TokenServiceInner) -> Self {
        Self {
            revocations: Arc::clone(&inner.revocations),
            allowed: inner.policy.max_revocation_staleness,
            is_binding: staleness_is_binding(inner),
        }
    }

    fn reject_tokens(&self) {
        if self.is_binding {
            reject_for_staleness(&self.revocations);
        }
    }
}

impl Drop for StalenessGuard {
    fn drop(&mut self) {
        if self.is_binding {
            self.revocations.set_stale(true);
            tracing::info!("housekeeping: ended, tokens are answered 503 until it runs again");
        }
    }
}
