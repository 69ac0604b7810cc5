use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// When it was heard last what other nodes revoke.
#[derive(Debug, Default)]
pub(super) struct LastHeard(Mutex<Heard>);

#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) last_read_at: Option<Instant>,
    /// Whether a task watches that it is not relied on for too long.
    pub(super) is_watched: bool,
    /// How many have begun to follow the feed: the last of them says when it is silent.
    pub(super) follower: u64,
}

impl LastHeard {
    pub(super) fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
