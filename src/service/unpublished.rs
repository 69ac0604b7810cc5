//! Revocations of this node that are not in a store yet.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::service::model::revocation::Revocation;

/// The revocations that are still to be published and that no request waits for.
#[derive(Debug, Default)]
pub(super) struct Unpublished {
    made: Mutex<Vec<Revocation>>,
    added: Notify,
}

impl Unpublished {
    pub(super) fn add(&self, made: Revocation) {
        self.lock().push(made);
        self.added.notify_one();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Returns the last one, which stays until it is [removed](Self::remove).
    pub(super) fn last(&self) -> Option<Revocation> {
        self.lock().last().cloned()
    }

    pub(super) fn remove(&self, published: &Revocation) {
        self.lock().retain(|made| made != published);
    }

    /// Waits until one was added since the last call.
    pub(super) async fn added(&self) {
        self.added.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Revocation>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
