use std::sync::Arc;

use tokio::sync::watch;

/// Holds calls to a [`FaultyStore`](super::FaultyStore) until it is released or dropped. Calls that
/// come after that are not held.
#[derive(Debug)]
#[must_use = "calls are held until this is dropped"]
pub struct HeldCalls(Arc<Gate>);

impl HeldCalls {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self(gate)
    }

    /// Waits until `count` calls have been held, including those whose callers have given up since.
    pub async fn wait_for(&self, count: usize) {
        self.0.wait_until(|state| state.held >= count).await;
    }

    /// Lets all held calls go on.
    pub fn release(self) {
        drop(self);
    }
}

impl Drop for HeldCalls {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| state.is_open = true);
    }
}

/// Where a call is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// Before it reaches the wrapped store.
    Call,
    /// When it has a result.
    Reply,
}

/// What held calls wait at.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: watch::Sender<GateState>,
}

#[derive(Debug, Default)]
struct GateState {
    held: usize,
    is_open: bool,
}

impl Gate {
    pub(super) async fn pass(&self) {
        self.state.send_modify(|state| state.held += 1);
        self.wait_until(|state| state.is_open).await;
    }

    pub(super) fn is_open(&self) -> bool {
        self.state.borrow().is_open
    }

    async fn wait_until(&self, holds: impl FnMut(&GateState) -> bool) {
        // It fails where the sender is gone, which is borrowed here.
        let _ = self.state.subscribe().wait_for(holds).await;
    }
}
