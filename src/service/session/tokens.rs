use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::service::model::entity::Entity;
use crate::service::model::session::{Held, Session};
use crate::service::session::no_session;
use crate::service::stores::CompareAndSet;
use crate::service::token_service::TokenService;
use crate::service::writer::Writer;

impl TokenService {
    /// Returns the claims that a session's tokens may have now: the session's ACL, as far as the credential that it
    /// was started with still holds it, and the audiences of that credential or of the starter.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the credential is disabled, removed, or of another organization:
    /// such a change ends its sessions, and this one was being written at that moment.
    pub(in crate::service) async fn present_rights(
        &self,
        session: &Session,
    ) -> Result<Held, Error> {
        let Some(credential) = &session.credential else {
            let audiences = session.starter.as_ref().and_then(|starter| starter.audiences.clone());
            return Ok(Held { acl: session.acl.clone(), audiences });
        };
        let stores = &self.inner.stores;
        let is_usable = |entity: &Entity| {
            !entity.is_disabled() && entity.organization_id() == session.organization_id()
        };
        let holds_all = |entity: &Entity| is_usable(entity) && session.acl.narrows(&entity.acl);
        let recent = stores.get_recent_entity(credential, self.now()).await?;
        if let Some(recent) = recent.filter(|recent| holds_all(&recent.entity)) {
            let audiences = recent.entity.audiences.clone();
            return Ok(Held { acl: session.acl.clone(), audiences });
        }
        // An old copy must not reduce what a token grants.
        let held = stores.get_entity(credential).await?.filter(is_usable).ok_or_else(no_session)?;
        let is_whole = session.acl.narrows(&held.acl);
        let acl = if is_whole { session.acl.clone() } else { session.acl.intersect(&held.acl) };
        Ok(Held { acl, audiences: held.audiences })
    }
}

impl Writer {
    /// Records in a session that a token of it expires at `expires_at`, before the token is returned: an operation
    /// that ends the session has either done so by then, and the write conflicts, or finds how long there is
    /// something to revoke.
    pub(in crate::service) async fn note_token_of(
        &self,
        session: Session,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<CompareAndSet<Session>, Error> {
        let idle_timeout = self.inner.policy.sessions.idle_timeout;
        let is_known = session.tokens_until >= Some(self.accepted_until(expires_at));
        if is_known && !is_use_due(&session, now, idle_timeout) {
            return Ok(CompareAndSet::Written(session));
        }
        // Without an idle timeout, the expiry that its holder sees has not changed.
        let updated_at = if idle_timeout.is_some() { now } else { session.updated_at };
        let version = session.version;
        let noted = self.with_token_noted(session, expires_at, now).next_version(updated_at);
        let written = self.stores.replace_session(noted.clone(), version, now).await?;
        Ok(written.map(|()| noted))
    }

    /// Extends the time for which the end of a session is published to `needed_until`, without recording a use.
    pub(in crate::service) async fn note_listener_of(
        &self,
        session: Session,
        needed_until: Timestamp,
        now: Timestamp,
    ) -> Result<CompareAndSet<()>, Error> {
        if session.tokens_until >= Some(self.accepted_until(needed_until)) {
            return Ok(CompareAndSet::Written(()));
        }
        let (version, updated_at) = (session.version, session.updated_at);
        let noted = self.with_end_noted(session, needed_until, now).next_version(updated_at);
        self.stores.replace_session(noted, version, now).await
    }

    /// Returns a session with its use and a token of it recorded.
    pub(in crate::service) fn with_token_noted(
        &self,
        session: Session,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Session {
        let noted = self.with_end_noted(session, expires_at, now);
        noted.used_at(now, self.inner.policy.sessions.idle_timeout)
    }

    /// Returns a session whose end is published until `needed_until`, with a reserve for later tokens: a write for
    /// each token would cost more than to keep the record of a log-out for longer.
    fn with_end_noted(
        &self,
        mut session: Session,
        needed_until: Timestamp,
        now: Timestamp,
    ) -> Session {
        let until = self.accepted_until(needed_until);
        if session.tokens_until < Some(until) {
            let longest = now + self.inner.policy.tokens.max_exchanged_lifetime;
            session.tokens_until = Some(until.max(self.accepted_until(longest)));
        }
        session
    }
}

/// How outdated the recorded expiry may be, since each update is a write.
pub(in crate::service) const NOTED_EVERY: Duration = Duration::from_secs(60);

/// Returns whether a use of the session must be written, to move its expiry.
fn is_use_due(session: &Session, now: Timestamp, idle_timeout: Option<Duration>) -> bool {
    let (end, before) = (session.end_after_use(now, idle_timeout), session.expires_at);
    let moved = end.saturating_since(before).max(before.saturating_since(end));
    // The last step up to its latest expiry may be shorter, but is still made.
    moved >= NOTED_EVERY || (end != before && end == session.latest_end())
}
