//! Doing again what a store has lost: a failover to a standby that was behind, a crash or a restore takes away
//! what was answered last.

use std::sync::Weak;

use tokio::sync::watch;

use crate::error::Error;
use crate::service::backoff::Backoff;
use crate::service::housekeeping::{FIRST_PAUSE, LONGEST_PAUSE, StopSignal};
use crate::service::recent_events::EndedSession;
use crate::service::store::FeedEvent;
use crate::service::token_service::{TokenService, TokenServiceInner};

/// What is still to be done again.
struct Lost {
    published: Vec<FeedEvent>,
    /// A log-out was answered, and the session is back.
    ended_sessions: Vec<EndedSession>,
}

impl Lost {
    fn is_empty(&self) -> bool {
        self.published.is_empty() && self.ended_sessions.is_empty()
    }
}

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
        let mut lost = Lost {
            published: alive.recent_events.published(alive.stores.clock().earliest_now()),
            ended_sessions: alive.recent_events.ended_sessions(),
        };
        drop(alive);
        if lost.is_empty() {
            continue;
        }
        tracing::warn!(
            events = lost.published.len(),
            sessions = lost.ended_sessions.len(),
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

/// Does all of it, the last first, and removes each that is done. Stops at the next loss.
async fn redo(
    inner: &Weak<TokenServiceInner>,
    lost: &mut Lost,
    losses: &watch::Receiver<u64>,
) -> Result<(), Error> {
    while let Some(event) = lost.published.last() {
        if has_lost_more(losses) {
            return Ok(());
        }
        let Some(alive) = inner.upgrade() else { return Ok(()) };
        let (tokens, event) = (TokenService { inner: alive }, event.clone());
        tokens.write_unaudited(|writer| async move { writer.stores.publish(event).await }).await?;
        lost.published.pop();
    }
    while let Some(session) = lost.ended_sessions.last() {
        if has_lost_more(losses) {
            return Ok(());
        }
        let Some(alive) = inner.upgrade() else { return Ok(()) };
        let (tokens, session) = (TokenService { inner: alive }, session.clone());
        tokens.write_unaudited(|writer| async move { writer.end_again(&session).await }).await?;
        lost.ended_sessions.pop();
    }
    Ok(())
}
