//! The position of a session in a list.

use crate::clock::Timestamp;
use crate::token::identifier::SessionId;

/// The position of a session in a list, which is ordered by creation and, at the same instant, by id.
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
