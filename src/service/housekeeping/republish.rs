//! Publishing again what a store has lost: a failover to a standby that was behind, a crash or a restore
//! takes away what was answered last.

use std::sync::Weak;

use tokio::sync::watch;

use crate::error::Error;
use crate::service::backoff::Backoff;
use crate::service::housekeeping::{FIRST_PAUSE, LONGEST_PAUSE, StopSignal};
use crate::service::store::FeedEvent;
use crate::service::token_service::{TokenService, TokenServiceInner};

/// Publishes again what this node published lately, after each loss.
pub(super) async fn after_losses(
    inner: Weak<TokenServiceInner>,
    mut losses: watch::Receiver<u64>,
    mut stop: StopSignal,
) {
    loop {
        tokio::select! {
            loss = losses.changed() => if loss.is_err() { return },
            () = stop.wait() => return,
        }
        let Some(alive) = inner.upgrade() else { return };
        let mut events = alive.recent_events.get(alive.stores.clock().earliest_now());
        drop(alive);
        if events.is_empty() {
            continue;
        }
        tracing::warn!(
            events = events.len(),
            "revocations: the store has lost its last writes, as in a crash, a failover or a restore; \
             publishing again what this node published in the last 10 minutes"
        );
        // Also before the first one, for all nodes find a loss at once.
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        while !events.is_empty() {
            stop.sleep(backoff.failed()).await;
            if stop.is_set() {
                return;
            }
            if let Err(error) = publish(&inner, &mut events).await {
                tracing::warn!(
                    error = ?error,
                    "revocations: publishing again failed, trying again"
                );
            }
        }
    }
}

/// Publishes events, the last first, and removes each that is published.
async fn publish(
    inner: &Weak<TokenServiceInner>,
    events: &mut Vec<FeedEvent>,
) -> Result<(), Error> {
    while let Some(event) = events.last() {
        let Some(alive) = inner.upgrade() else {
            events.clear();
            break;
        };
        let (tokens, event) = (TokenService { inner: alive }, event.clone());
        tokens.write_unaudited(|writer| async move { writer.stores.publish(event).await }).await?;
        events.pop();
    }
    Ok(())
}
