//! Following the feed of revocations, and publishing what follows from it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Error;
use crate::service::backoff::Backoff;
use crate::service::housekeeping::{FIRST_PAUSE, LONGEST_PAUSE, StopSignal};
use crate::service::store::{FeedEvent, FeedPage};
use crate::service::telemetry::{self, Work};
use crate::service::token_service::{TokenService, TokenServiceInner};

/// How long the feed is waited on at a time.
const FEED_WAIT: Duration = Duration::from_secs(20);

/// Applies a part of the feed; returns whether it was the last one.
fn apply(tokens: &TokenService, read: FeedPage) -> bool {
    let crossing: Vec<_> = read.events.iter().filter(|event| tokens.apply(event)).collect();
    // After all of them, for one that comes later may make it needless.
    for event in crossing {
        if let FeedEvent::Revoked(heard) = event {
            tokens.revoke_again(&heard.target);
        }
    }
    let inner = &tokens.inner;
    telemetry::revocations_held(inner.revocations.len());
    let mut heard = inner.last_heard.lock();
    if read.history_changed {
        inner.recent_events.report_loss(heard.last_read_at);
    }
    // Not before all of it was applied, so that what a panic has lost is read again.
    heard.cursor = read.next;
    if read.is_complete {
        heard.last_read_at = Some(Instant::now());
        telemetry::work_succeeded(Work::Feed, inner.clock.now());
        if inner.revocations.set_stale(false) {
            tracing::info!("revocations: feed read, tokens are accepted");
        }
    }
    read.is_complete
}

/// Reads all that is in the feed now and was not read yet.
pub(super) async fn read_to_end(tokens: &TokenService) -> Result<(), Error> {
    loop {
        let cursor = tokens.inner.last_heard.lock().cursor.clone();
        let read = tokens.inner.stores.read_feed(&cursor, Duration::ZERO).await?;
        if apply(tokens, read) {
            return Ok(());
        }
    }
}

/// Publishes what this node has made of what it has read.
pub(super) async fn publish_repeats(tokens: &TokenService) -> Result<(), Error> {
    while let Some(made) = tokens.inner.unpublished.last() {
        let published = made.clone();
        tokens.write_unaudited(|writer| async move { writer.publish_repeat(made).await }).await?;
        tokens.inner.unpublished.remove(&published);
    }
    Ok(())
}

/// The same, as soon as there is some.
pub(super) async fn follow_repeats(inner: Weak<TokenServiceInner>, mut stop: StopSignal) {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let Some(alive) = inner.upgrade() else { return };
        let tokens = TokenService { inner: alive };
        let published = publish_repeats(&tokens).await;
        let unpublished = Arc::clone(&tokens.inner.unpublished);
        drop(tokens);
        if stop.is_set() {
            return;
        }
        match published {
            Ok(()) => {
                backoff.succeeded();
                tokio::select! {
                    () = unpublished.added() => {}
                    () = stop.wait() => {}
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = ?error,
                    "revocations: a revocation that repeats another one is known to this node alone, \
                     trying again"
                );
                stop.sleep(backoff.failed()).await;
            }
        }
    }
}

/// Takes over what was revoked anywhere since it was read last.
pub(super) async fn follow(inner: Weak<TokenServiceInner>, mut stop: StopSignal) {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    // Until it has answered, it is asked for what there is, and not for what is to come.
    let mut wait = Duration::ZERO;
    while !stop.is_set() {
        let Some(alive) = inner.upgrade() else { return };
        let (stores, last_heard) = (alive.stores.clone(), Arc::clone(&alive.last_heard));
        let staleness = alive.policy.runtime.max_revocation_staleness;
        // Who waits here must not keep the service alive.
        drop(alive);
        let cursor = last_heard.lock().cursor.clone();
        // A read that is given up changes nothing.
        let read = tokio::select! {
            biased;
            () = stop.wait() => return,
            () = last_heard.read_anew.notified() => {
                wait = Duration::ZERO;
                continue;
            }
            read = stores.read_feed(&cursor, wait) => read,
        };
        match read {
            Ok(read) => {
                let Some(alive) = inner.upgrade() else { return };
                let is_complete = apply(&TokenService { inner: alive }, read);
                backoff.succeeded();
                // What is there already is not waited for, and until all of it was read, nobody
                // knows what the rest says.
                wait = if is_complete { FEED_WAIT.min(staleness / 2) } else { Duration::ZERO };
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
