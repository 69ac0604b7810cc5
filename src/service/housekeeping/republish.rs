//! Doing again what a store has lost: a failover to a standby that was behind, a crash or a restore takes away
//! what was answered last.

use std::sync::Weak;

use tokio::sync::watch;

use crate::error::Error;
use crate::service::backoff::Backoff;
use crate::service::housekeeping::{FIRST_PAUSE, LONGEST_PAUSE, StopSignal};
use crate::service::recent_events::RecentWrite;
use crate::service::token_service::{TokenService, TokenServiceInner};

/// Publishes and ends again what this node published and ended lately, after each loss.
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
        let mut lost = alive.recent_events.writes(alive.stores.clock().earliest_now());
        drop(alive);
        if lost.is_empty() {
            continue;
        }
        tracing::warn!(
            writes = lost.len(),
            "revocations: the store has lost its last writes, as in a crash, a failover or a restore; \
             publishing and ending again what this node published and ended in the last 10 minutes"
        );
        // Also before the first one, for all nodes find a loss at once.
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        while !lost.is_empty() {
            stop.sleep(backoff.failed()).await;
            if stop.is_set() || inner.strong_count() == 0 {
                return;
            }
            if has_lost_more(&losses) {
                break;
            }
            if let Err(error) = redo(&inner, &mut lost, &losses).await {
                tracing::warn!(
                    error = ?error,
                    "revocations: publishing again failed, trying again"
                );
            }
        }
    }
}

/// Returns whether the store has lost writes once more. All is then done again from the start: what was done since the
/// loss before may be lost, too, and what was written since is not among it.
fn has_lost_more(losses: &watch::Receiver<u64>) -> bool {
    losses.has_changed().unwrap_or(false)
}

/// Does all of it, the latest first, which the store has most likely lost, and removes each that is done. Stops at the next
/// loss.
async fn redo(
    inner: &Weak<TokenServiceInner>,
    lost: &mut Vec<RecentWrite>,
    losses: &watch::Receiver<u64>,
) -> Result<(), Error> {
    while let Some(write) = lost.last().cloned() {
        if has_lost_more(losses) {
            return Ok(());
        }
        let Some(alive) = inner.upgrade() else { return Ok(()) };
        let tokens = TokenService { inner: alive };
        tokens
            .write_unaudited(|writer| async move {
                match write {
                    RecentWrite::Published(event) => writer.stores.publish(event).await,
                    RecentWrite::Ended(session) => writer.end_again(&session).await,
                }
            })
            .await?;
        lost.pop();
    }
    Ok(())
}
