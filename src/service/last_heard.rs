use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::service::store::Cursor;

/// The position up to which the feed was read, and the time of the last read.
#[derive(Debug, Default)]
pub(super) struct LastHeard {
    heard: Mutex<Heard>,
    /// Makes the reader of the feed read it at once.
    pub(super) read_anew: Notify,
}

#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The position up to which this process has applied the feed. A reader resumes here, also after a panic: a
    /// reader that began at the start would not notice that the history has changed.
    pub(super) cursor: Cursor,
    /// The time when it was last read to its end.
    pub(super) last_read_at: Option<Instant>,
    /// Whether a task watches the staleness.
    pub(super) is_watched: bool,
    /// The number of readers that have started: only the last one reports silence.
    pub(super) follower: u64,
    /// The positions of unreadable entries.
    unreadable: HashSet<Arc<str>>,
}

/// The maximum number of positions of unreadable entries.
const MAX_UNREADABLE: usize = 1_000;

impl Heard {
    /// Notes an unreadable entry. Returns whether to log it: the feed may be read again, and a thousand log lines
    /// are enough.
    pub(super) fn is_first_unreadable(&mut self, position: &Arc<str>) -> bool {
        self.unreadable.len() < MAX_UNREADABLE && self.unreadable.insert(Arc::clone(position))
    }
}

impl LastHeard {
    pub(super) fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
