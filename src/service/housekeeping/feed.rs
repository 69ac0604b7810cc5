//! Following the feed of revocations, and rejecting tokens while it is silent for too long.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::error::Error;
use crate::service::backoff::Backoff;
use crate::service::housekeeping::suspension::{SuspensionDetector, TICK};
use crate::service::housekeeping::{FIRST_PAUSE, LONGEST_PAUSE, StopSignal};
use crate::service::revocations::RevocationSet;
use crate::service::store::{Cursor, FeedPage};
use crate::service::telemetry::{self, Work};
use crate::service::token_service::TokenServiceInner;

/// How long the feed is waited on at a time.
const FEED_WAIT: Duration = Duration::from_secs(20);

fn apply(inner: &TokenServiceInner, read: &FeedPage) {
    for event in &read.events {
        inner.apply(event);
    }
    telemetry::revocations_held(inner.revocations.len());
    if read.history_changed {
        inner.recent_events.report_loss();
    }
    if read.is_complete {
        let mut heard = inner.last_heard.lock();
        heard.last_read_at = Some(Instant::now());
        telemetry::work_succeeded(Work::Feed, inner.clock.now());
        if inner.revocations.set_stale(false) {
            tracing::info!("revocations: feed read, tokens are accepted");
        }
    }
}

/// Reads all that is in the feed now.
pub(super) async fn read_to_end(inner: &TokenServiceInner) -> Result<Cursor, Error> {
    let mut cursor = Cursor::START;
    loop {
        let read = inner.stores.read_feed(&cursor, Duration::ZERO).await?;
        apply(inner, &read);
        cursor = read.next;
        if read.is_complete {
            return Ok(cursor);
        }
    }
}

/// Makes sure that what was heard once is not relied on for ever, where nobody follows the feed.
pub(super) fn watch_staleness(inner: &Arc<TokenServiceInner>) {
    if !staleness_is_binding(inner)
        || std::mem::replace(&mut inner.last_heard.lock().is_watched, true)
    {
        return;
    }
    let mut detector = SuspensionDetector::new(inner.stores.clock());
    let inner = Arc::downgrade(inner);
    tokio::spawn(async move {
        loop {
            let Some(alive) = inner.upgrade() else { return };
            let until = {
                let mut heard = alive.last_heard.lock();
                let now = Instant::now();
                let until = heard.last_read_at.unwrap_or(now)
                    + alive.policy.runtime.max_revocation_staleness;
                let is_over = until <= now || detector.has_been_suspended(alive.stores.clock());
                if is_over {
                    heard.is_watched = false;
                    reject_for_staleness(&alive.revocations);
                    return;
                }
                until.min(now + TICK)
            };
            drop(alive);
            tokio::time::sleep_until(until).await;
        }
    });
}

fn staleness_is_binding(inner: &TokenServiceInner) -> bool {
    inner.stores.are_shared() && !inner.policy.runtime.dangerous_accept_stale_revocations
}

fn reject_for_staleness(revocations: &RevocationSet) {
    if !revocations.set_stale(true) {
        tracing::error!(
            "revocations: feed not read for longer than max_revocation_staleness, tokens are \
             rejected with a 503 until it is read; make the store reachable and keep the \
             `Housekeeping` that `start` returned"
        );
    }
}

/// Takes over what was revoked anywhere since it was read last.
pub(super) async fn follow(
    inner: Weak<TokenServiceInner>,
    mut cursor: Cursor,
    staleness: Arc<StalenessGuard>,
    mut stop: StopSignal,
) {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let Some(mut heard_at) = inner.upgrade().map(|alive| {
        let last_read_at = alive.last_heard.lock().last_read_at;
        last_read_at.unwrap_or_else(Instant::now)
    }) else {
        return;
    };
    // Until it has answered, it is asked for what there is, and not for what is to come.
    let mut wait = Duration::ZERO;
    while !stop.is_set() {
        let Some(alive) = inner.upgrade() else { return };
        let (stores, last_heard) = (alive.stores.clone(), Arc::clone(&alive.last_heard));
        // Who waits here must not keep the service alive.
        drop(alive);
        if Instant::now() >= heard_at + staleness.allowed {
            staleness.reject_tokens();
        }
        let reading = async {
            let read = stores.read_feed(&cursor, wait);
            match timeout_at(heard_at + staleness.allowed, read).await {
                Ok(read) => read,
                // It neither answered nor failed, as a store does that hangs; or has much to tell.
                Err(_) => {
                    staleness.reject_tokens();
                    // From here on the store has all the time that it needs.
                    stores.read_feed(&cursor, Duration::ZERO).await
                }
            }
        };
        // A read that is given up changes nothing.
        let read = tokio::select! {
            biased;
            () = stop.wait() => return,
            () = last_heard.read_anew.notified() => {
                wait = Duration::ZERO;
                continue;
            }
            read = reading => read,
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
                stop.sleep(backoff.failed()).await;
                wait = Duration::ZERO;
            }
        }
    }
}

/// Has tokens rejected where it has not been heard for too long what other nodes revoke. Nor is it
/// once the work has ended.
pub(super) struct StalenessGuard {
    inner: Weak<TokenServiceInner>,
    allowed: Duration,
    /// Whether there are other nodes, and the policy minds.
    is_binding: bool,
    /// Which of those that followed the feed this is.
    follower: u64,
}

impl StalenessGuard {
    pub(super) fn new(inner: &Arc<TokenServiceInner>) -> Self {
        let mut heard = inner.last_heard.lock();
        heard.follower += 1;
        Self {
            inner: Arc::downgrade(inner),
            allowed: inner.policy.runtime.max_revocation_staleness,
            is_binding: staleness_is_binding(inner),
            follower: heard.follower,
        }
    }

    /// The machine was suspended: nobody knows how old it is what was heard.
    pub(super) fn suspended(&self) {
        let Some(inner) = self.inner.upgrade().filter(|_| self.is_binding) else { return };
        inner.revocations.set_stale(true);
        inner.last_heard.read_anew.notify_one();
        tracing::warn!(
            "revocations: the clock ran ahead, as where the machine was suspended; tokens are rejected with a \
             503 until the feed is read"
        );
    }

    fn reject_tokens(&self) {
        if let Some(inner) = self.inner.upgrade().filter(|_| self.is_binding) {
            reject_for_staleness(&inner.revocations);
        }
    }
}

impl Drop for StalenessGuard {
    fn drop(&mut self) {
        let Some(inner) = self.inner.upgrade().filter(|_| self.is_binding) else { return };
        // Another may follow it by now.
        if inner.last_heard.lock().follower == self.follower {
            inner.revocations.set_stale(true);
            tracing::info!(
                "housekeeping: ended, tokens are rejected with a 503 until it is started again"
            );
        }
    }
}
