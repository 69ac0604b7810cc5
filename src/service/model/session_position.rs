//! The place of a session in a list.

use crate::clock::Timestamp;
use crate::token::identifier::SessionId;

/// The position of a session in a list, which is in the order of creation and, at the same instant, of the ids.
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
