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
    /// Returns what a session's tokens may carry now: its own list, as far as the credential that it was
    /// started with still holds it, and the audiences of that credential, or of its starter.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) where the credential is disabled, gone, or of another
    /// organization: what changes it so ends its sessions, and this one was being written at that moment.
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
        // Nobody is given less for a copy that is old.
        let held = stores.get_entity(credential).await?.filter(is_usable).ok_or_else(no_session)?;
        let is_whole = session.acl.narrows(&held.acl);
        let acl = if is_whole { session.acl.clone() } else { session.acl.intersect(&held.acl) };
        Ok(Held { acl, audiences: held.audiences })
    }
}

impl Writer {
    /// Notes in a session that a token of it ends at `expires_at`, before the token is returned: what
    /// ends the session has either done so by then, and the write conflicts, or finds how long there
    /// is something to revoke.
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
        // Without a timeout, what its holder is told of it has not changed.
        let updated_at = if idle_timeout.is_some() { now } else { session.updated_at };
        let version = session.version;
        let noted = self.with_token_noted(session, expires_at, now).next_version(updated_at);
        let written = self.stores.replace_session(noted.clone(), version, now).await?;
        Ok(written.map(|()| noted))
    }

    /// Notes in a session that its end has to be told until `needed_until`, and no use of it.
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

    /// Returns a session with its use and a token of it noted.
    pub(in crate::service) fn with_token_noted(
        &self,
        session: Session,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Session {
        let noted = self.with_end_noted(session, expires_at, now);
        noted.used_at(now, self.inner.policy.sessions.idle_timeout)
    }

    /// Returns a session whose end is told until `needed_until`, and with room for what comes later, too: a
    /// write for each token would cost more than the longer memory of a log-out.
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

/// How old the end of a session may be, as of its last use: each would be a write.
pub(in crate::service) const NOTED_EVERY: Duration = Duration::from_secs(60);

/// Returns whether the use of a session has to be written, which moves its end.
fn is_use_due(session: &Session, now: Timestamp, idle_timeout: Option<Duration>) -> bool {
    let (end, before) = (session.end_after_use(now, idle_timeout), session.expires_at);
    let moved = end.saturating_since(before).max(before.saturating_since(end));
    // The last step up to its latest end is a short one, and is made all the same.
    moved >= NOTED_EVERY || (end != before && end == session.latest_end())
}
