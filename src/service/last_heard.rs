use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::service::store::Cursor;

/// How far the feed was read, and when it was read last.
#[derive(Debug, Default)]
pub(super) struct LastHeard {
    heard: Mutex<Heard>,
    /// Has who follows the feed read it at once.
    pub(super) read_anew: Notify,
}

#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Up to here, this process has applied the feed. A reader goes on from here, also after a panic: a
    /// reader that began at the start would not be told that the history has changed.
    pub(super) cursor: Cursor,
    /// When it was last read to its end.
    pub(super) last_read_at: Option<Instant>,
    /// Whether a task watches that it is not relied on for too long.
    pub(super) is_watched: bool,
    /// How many have begun to follow the feed: the last of them says when it is silent.
    pub(super) follower: u64,
    /// Where entries stand that could not be read.
    unreadable: HashSet<Arc<str>>,
}

/// Of how many entries it is remembered that they could not be read.
const MAX_UNREADABLE: usize = 1_000;

impl Heard {
    /// Notes an entry that cannot be read. Returns whether it is to be logged: the feed may be read again,
    /// and a thousand lines say it all.
    pub(super) fn is_first_unreadable(&mut self, position: &Arc<str>) -> bool {
        self.unreadable.len() < MAX_UNREADABLE && self.unreadable.insert(Arc::clone(position))
    }
}

impl LastHeard {
    pub(super) fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
