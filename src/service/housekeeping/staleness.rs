//! Rejecting tokens while it has not been heard for too long what other nodes revoke.
//!
//! Who follows the feed does not judge that: it may hang, or wait to be started again after a panic.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::service::housekeeping::StopSignal;
use crate::service::housekeeping::suspension::SuspensionDetector;
use crate::service::last_heard::Heard;
use crate::service::token_service::TokenServiceInner;

/// How often it is looked whether the machine was suspended.
const TICK: Duration = Duration::from_secs(1);

/// Whether what was heard last may still be relied on.
enum Finding {
    /// It is to be looked again at that instant.
    Good(Instant),
    Silent,
    Suspended,
}

fn is_binding(inner: &TokenServiceInner) -> bool {
    inner.stores.are_shared() && !inner.policy.runtime.dangerous_accept_stale_revocations
}

/// Has tokens rejected where what was heard last may not be relied on any more. What was heard is locked
/// meanwhile: a reading that succeeds at this moment is not overruled.
fn judge(inner: &TokenServiceInner, heard: &Heard, detector: &mut SuspensionDetector) -> Finding {
    let now = Instant::now();
    let until = heard.last_read_at.unwrap_or(now) + inner.policy.runtime.max_revocation_staleness;
    if detector.has_been_suspended(inner.stores.clock()) {
        inner.revocations.set_stale(true);
        inner.last_heard.read_anew.notify_one();
        tracing::warn!(
            "revocations: the clock ran ahead, as where the machine was suspended; tokens are rejected with a \
             503 until the feed is read"
        );
        return Finding::Suspended;
    }
    if until > now {
        return Finding::Good(until.min(now + TICK));
    }
    if !inner.revocations.set_stale(true) {
        tracing::error!(
            "revocations: feed not read for longer than max_revocation_staleness, tokens are \
             rejected with a 503 until it is read; make the store reachable and keep the \
             `Housekeeping` that `start` returned"
        );
    }
    Finding::Silent
}

/// Makes sure that what was heard once is not relied on for ever, where nobody follows the feed.
pub(super) fn watch_last_read(inner: &Arc<TokenServiceInner>) {
    if !is_binding(inner) || std::mem::replace(&mut inner.last_heard.lock().is_watched, true) {
        return;
    }
    let mut detector = SuspensionDetector::new(inner.stores.clock());
    let inner = Arc::downgrade(inner);
    tokio::spawn(async move {
        loop {
            let Some(alive) = inner.upgrade() else { return };
            let until = {
                let mut heard = alive.last_heard.lock();
                let Finding::Good(until) = judge(&alive, &heard, &mut detector) else {
                    heard.is_watched = false;
                    return;
                };
                until
            };
            drop(alive);
            tokio::time::sleep_until(until).await;
        }
    });
}

/// Watches for as long as the feed is followed.
pub(super) async fn watch(inner: Weak<TokenServiceInner>, mut stop: StopSignal) {
    let Some(alive) = inner.upgrade().filter(|alive| is_binding(alive)) else { return };
    let mut detector = SuspensionDetector::new(alive.stores.clock());
    drop(alive);
    while !stop.is_set() {
        let Some(alive) = inner.upgrade() else { return };
        let finding = judge(&alive, &alive.last_heard.lock(), &mut detector);
        drop(alive);
        let now = Instant::now();
        let pause = match finding {
            Finding::Good(until) => until.saturating_duration_since(now),
            Finding::Silent | Finding::Suspended => TICK,
        };
        stop.sleep(pause).await;
    }
}

/// Has tokens rejected once the feed is no longer followed.
pub(super) struct FollowerGuard {
    inner: Weak<TokenServiceInner>,
    /// Which of those that followed the feed this is.
    follower: u64,
}

impl FollowerGuard {
    pub(super) fn new(inner: &Arc<TokenServiceInner>) -> Self {
        let mut heard = inner.last_heard.lock();
        heard.follower += 1;
        Self { inner: Arc::downgrade(inner), follower: heard.follower }
    }
}

impl Drop for FollowerGuard {
    fn drop(&mut self) {
        let Some(inner) = self.inner.upgrade().filter(|inner| is_binding(inner)) else { return };
        // Another may follow it by now.
        if inner.last_heard.lock().follower == self.follower {
            inner.revocations.set_stale(true);
            tracing::info!(
                "housekeeping: ended, tokens are rejected with a 503 until it is started again"
            );
        }
    }
}
