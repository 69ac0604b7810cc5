//! Removes sessions from the store, and leaves tombstones while the request that started one may be repeated.

use crate::error::Error;
use crate::service::model::session::Session;
use crate::service::recent_events::EndedSession;
use crate::service::stores::CompareAndSet;
use crate::service::writer::Writer;
use crate::token::identifier::TokenId;

impl Writer {
    /// Removes a session from the store in the version that was read; returns whether it existed. While the request
    /// that started it may be repeated, a tombstone stays.
    pub(super) async fn take_session(
        &self,
        session: &Session,
    ) -> Result<CompareAndSet<bool>, Error> {
        let (stores, version, now) = (&self.stores, session.version, self.now());
        let taken = match session.tombstone(new_ending_id()?, now) {
            Some(tombstone) => {
                let written = stores.replace_session(tombstone, version, now).await;
                written.map(|written| written.map(|()| true))
            }
            None => {
                let taken = stores.take_session(&session.key, version).await;
                taken.map(|taken| taken.map(|taken| taken.is_some()))
            }
        };
        // The store may have removed it although its response came too late.
        self.inner.phantom_tokens.remove(&session.key).await;
        if !matches!(taken, Ok(CompareAndSet::Conflict)) {
            self.remember_end(session);
        }
        taken
    }

    /// Records that a session was ended, to end it again if the store loses that.
    pub(super) fn remember_end(&self, session: &Session) {
        if self.inner.stores.are_shared() {
            let ended = EndedSession { key: session.key, id: session.id.clone() };
            self.inner.recent_events.add_ended_session(ended);
        }
    }
}

/// Returns an id for an operation that ends a session, so that no two callers write the same tombstone.
pub(super) fn new_ending_id() -> Result<TokenId, Error> {
    TokenId::new(format!("end_{}", uuid::Uuid::new_v4().simple()))
}
