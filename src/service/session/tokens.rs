use crate::clock::Timestamp;
use crate::error::Error;
use crate::service::model::entity::Entity;
use crate::service::model::session::Session;
use crate::service::session::no_session;
use crate::service::stores::CompareAndSet;
use crate::service::token_service::TokenService;
use crate::token::acl::Acl;

impl TokenService {
    /// Returns the list that a session's tokens may carry now: its own, as far as the credential that it
    /// was started with still holds it.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) where the credential is disabled, gone, or of another
    /// organization: what changes it so ends its sessions, and this one was being written at that moment.
    pub(in crate::service) async fn present_list(&self, session: &Session) -> Result<Acl, Error> {
        let Some(credential) = &session.credential else { return Ok(session.acl.clone()) };
        let stores = &self.inner.stores;
        let is_usable = |entity: &Entity| {
            !entity.is_disabled() && entity.organization_id() == session.organization_id()
        };
        let holds_all = |entity: &Entity| is_usable(entity) && session.acl.narrows(&entity.acl);
        let recent = stores.get_recent_entity(credential, self.now()).await?;
        if recent.is_some_and(|recent| holds_all(&recent.entity)) {
            return Ok(session.acl.clone());
        }
        // Nobody is given less for a copy that is old.
        let held = stores.get_entity(credential).await?.filter(is_usable).ok_or_else(no_session)?;
        let is_whole = session.acl.narrows(&held.acl);
        Ok(if is_whole { session.acl.clone() } else { session.acl.intersect(&held.acl) })
    }

    /// Notes in a session that a token of it ends at `expires_at`, before that is answered: whoever
    /// ends the session has either done so by then, and the write conflicts, or finds how long there
    /// is something to revoke.
    pub(in crate::service) async fn note_token_of(
        &self,
        session: Session,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<CompareAndSet<Session>, Error> {
        if session.tokens_until >= Some(self.accepted_until(expires_at)) {
            return Ok(CompareAndSet::Written(session));
        }
        let (version, updated_at) = (session.version, session.updated_at);
        // What its holder is told of it has not changed.
        let noted = self.with_token_noted(session, expires_at, now).next_version(updated_at);
        let written = self.inner.stores.replace_session(noted.clone(), version, now).await?;
        Ok(written.map(|()| noted))
    }

    /// Returns a session with room for later tokens, too: a write for each would cost more than the
    /// longer memory of a log-out.
    pub(in crate::service) fn with_token_noted(
        &self,
        mut session: Session,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Session {
        let until = self.accepted_until(expires_at);
        if session.tokens_until < Some(until) {
            let longest = now + self.inner.policy.tokens.max_exchanged_lifetime;
            session.tokens_until = Some(until.max(self.accepted_until(longest)));
        }
        session
    }
}
