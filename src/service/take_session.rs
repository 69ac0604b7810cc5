//! Taking sessions out of the store, and the tombstones that stay where the request that started one may be
//! repeated.

use crate::error::Error;
use crate::service::model::session::Session;
use crate::service::stores::{CompareAndSet, retry_on_conflict};
use crate::service::writer::Writer;
use crate::token::identifier::TokenId;

impl Writer {
    /// Takes a session out of the store as it was read; returns whether it was there. While the request that
    /// started it may be repeated, a tombstone stays.
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
        // The store may have taken it although its response came too late.
        self.inner.phantom_tokens.remove(&session.key).await;
        taken
    }

    /// Keeps a tombstone of a session that was removed, where it needs one.
    pub(super) async fn bury(&self, removed: &Session) -> Result<(), Error> {
        let (stores, now) = (&self.stores, self.now());
        let Some(tombstone) = removed.tombstone(new_ending_id()?, now) else { return Ok(()) };
        match CompareAndSet::of(stores.insert_session(tombstone, now).await)? {
            CompareAndSet::Written(()) => return Ok(()),
            CompareAndSet::Conflict => {}
        }
        // The request was repeated in between, and has started another by the same token.
        retry_on_conflict!({
            match stores.get_session(&removed.key).await? {
                Some(session) if !session.is_used_up() => {
                    self.take_session(&session).await.map(|taken| taken.map(drop))
                }
                _ => Ok(CompareAndSet::Written(())),
            }
        })
    }
}

/// Returns an id of what ends a session, so that no two callers write the same tombstone.
fn new_ending_id() -> Result<TokenId, Error> {
    TokenId::new(format!("end_{}", uuid::Uuid::new_v4().simple()))
}
