//! The place of a session in a list.

use crate::clock::Timestamp;
use crate::token::identifier::SessionId;

/// Where a session stands in a list: the oldest comes first, and of sessions of one instant the one with the lesser
/// id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct SessionPosition {
    /// When the session was created.
    pub created_at: Timestamp,
    /// Its public id.
    pub id: SessionId,
}

impl SessionPosition {
    /// Creates the position of a session that was created at `created_at`.
    #[must_use]
    pub fn new(created_at: Timestamp, id: SessionId) -> Self {
        Self { created_at, id }
    }
}
