//! Events that this node has applied and no store has yet.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::service::store::FeedEvent;

/// The events that are still to be published: those that no request waits for.
#[derive(Debug, Default)]
pub(super) struct Unpublished {
    events: Mutex<Vec<FeedEvent>>,
    added: Notify,
}

impl Unpublished {
    pub(super) fn add(&self, event: FeedEvent) {
        self.lock().push(event);
        self.added.notify_one();
    }

    /// Returns the last one, which stays until it is [removed](Self::remove).
    pub(super) fn last(&self) -> Option<FeedEvent> {
        self.lock().last().cloned()
    }

    pub(super) fn remove(&self, published: &FeedEvent) {
        self.lock().retain(|event| event != published);
    }

    /// Waits until one was added since this was called last.
    pub(super) async fn added(&self) {
        self.added.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<FeedEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
