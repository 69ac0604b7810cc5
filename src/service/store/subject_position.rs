//! How far the sessions of a subject were read, where they are read in the order of their ends.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::Timestamp;
use crate::service::model::authentication_token::SessionKey;
use crate::service::store::Cursor;

/// The last session that was read, by its end and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SubjectPosition {
    pub(super) end: Timestamp,
    pub(super) key: SessionKey,
}

impl SubjectPosition {
    pub(super) fn to_cursor(self) -> Cursor {
        let key = URL_SAFE_NO_PAD.encode(self.key.as_bytes());
        Cursor::new(&format!("{}/{key}", self.end.as_micros()))
    }

    /// Reads what [`to_cursor`](Self::to_cursor) wrote; `None` is before all sessions.
    pub(super) fn of(cursor: &Cursor) -> Option<Self> {
        let (end, key) = cursor.mark()?.split_once('/')?;
        let key = URL_SAFE_NO_PAD.decode(key).ok()?.try_into().ok()?;
        let end = Timestamp::from_micros(end.parse().ok()?);
        Some(Self { end, key: SessionKey::from_bytes(key) })
    }
}
