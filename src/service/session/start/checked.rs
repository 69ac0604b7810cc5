//! Starts a session whose fields were checked, or finds the one that an identical request has started.

use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::service::model::authentication_token::AuthenticationToken;
use crate::service::model::idempotency::{
    IdempotencyKey, REPEATABLE_FOR, RememberedStart, other_request,
};
use crate::service::model::session::Session;
use crate::service::model::subject::SubjectRef;
use crate::service::session::new::{CustomerLogin, NewSession, StartedSession};
use crate::service::session::start::{CheckedSession, ENDED_MEANWHILE, StartedBy};
use crate::service::stores::{CompareAndSet, retry_on_conflict};
use crate::service::writer::Writer;
use crate::token::claims::SubjectType;
use crate::token::identifier::{OrganizationId, SessionId};
use crate::token::organization::Organization;

/// A repeatable request to start a session.
pub(super) struct RepeatableStart {
    key: IdempotencyKey,
    asked: Value,
}

impl RepeatableStart {
    pub(super) fn of(new: &NewSession) -> Option<Self> {
        let asked = || {
            let organization = new.organization.as_ref().map(Organization::id);
            let ends = format!("{:?}", new.ends);
            json!([new.otp_required, ends, organization, new.acl, new.custom_claims])
        };
        new.idempotency_key.clone().map(|key| Self { key, asked: asked() })
    }

    pub(super) fn of_login(login: &CustomerLogin) -> Option<Self> {
        let ends = login.expires_at.map(|end| end.to_string());
        let asked = json!([login.otp_required, ends]);
        login.idempotency_key.clone().map(|key| Self { key, asked })
    }
}

/// What the store has for a repeatable request.
enum Found {
    /// The session that an identical request has started, and its token.
    Started(AuthenticationToken, Box<Session>),
    /// No session; the request starts one with this token.
    Nothing(AuthenticationToken),
}

impl Writer {
    /// Starts a session whose fields were checked, or returns the one that an identical request has started.
    pub(super) async fn start_checked(
        &self,
        checked: CheckedSession,
        started_by: StartedBy<'_>,
        repeatable: Option<RepeatableStart>,
        now: Timestamp,
    ) -> Result<StartedSession, Error> {
        let organization = checked.session.organization.as_ref().and_then(Organization::id);
        let customer = checked.customer_id.as_str();
        self.check_blocked(SubjectRef {
            subject_type: SubjectType::Customer,
            organization_id: organization,
            id: customer,
        })?;
        if let Some(repeatable) = repeatable {
            return self.start_once(checked, started_by, repeatable, now).await;
        }
        let token = checked.session.token.clone();
        let token = token.map_or_else(AuthenticationToken::generate, Ok)?;
        match self.start_with(token, &checked, started_by, None, now).await? {
            CompareAndSet::Written(started) => Ok(started),
            CompareAndSet::Conflict => Err(has_its_session()),
        }
    }

    /// Starts a session, unless an identical request has started one.
    async fn start_once(
        &self,
        checked: CheckedSession,
        started_by: StartedBy<'_>,
        RepeatableStart { key, asked }: RepeatableStart,
        now: Timestamp,
    ) -> Result<StartedSession, Error> {
        let organization = checked.session.organization.as_ref().and_then(Organization::id);
        let owner = started_by.owner_of_key(organization, &checked.customer_id);
        let mut key_of_owner = vec![key.expose()];
        key_of_owner.extend(owner.iter().map(String::as_str));
        let organization = organization.map_or("", OrganizationId::as_str);
        let asked = json!([asked, started_by.describe_bearer()]).to_string();
        let mut request = key_of_owner.clone();
        request.extend([organization, checked.customer_id.as_str(), &*asked]);
        retry_on_conflict!({
            match self.find_started(&checked, &key_of_owner, &request).await? {
                Found::Started(token, session) => self.repeat(token, *session, started_by).await,
                Found::Nothing(token) => {
                    let digest = self.inner.sealing.digest_request(&request);
                    let start =
                        RememberedStart { request: digest, until: self.now() + REPEATABLE_FOR };
                    self.start_with(token, &checked, started_by, Some(start), now).await
                }
            }
        })
    }

    /// Finds the session that an identical request has started, or the token to start one with.
    ///
    /// The token is derived from the key and its owner, so that of concurrent identical requests one starts a
    /// session, and only the key's owner gets its session. Each sealing key yields another token: a node with
    /// another current sealing key may have started the session.
    async fn find_started(
        &self,
        checked: &CheckedSession,
        key_of_owner: &[&str],
        request: &[&str],
    ) -> Result<Found, Error> {
        let tokens: Vec<_> = match &checked.session.token {
            Some(known) => vec![known.clone()],
            None => {
                let derived = self.inner.sealing.derive_from_request(key_of_owner);
                derived.map(|bits| AuthenticationToken::of_bits(&bits)).collect()
            }
        };
        for token in &tokens {
            if let Some(session) = self.stores.get_session(&token.key()).await? {
                let session = self.check_repeatable(session, request)?;
                return Ok(Found::Started(token.clone(), Box::new(session)));
            }
        }
        tokens.into_iter().next().map(Found::Nothing).ok_or_else(has_its_session)
    }

    /// Checks that a repeatable request has started this session.
    fn check_repeatable(&self, session: Session, request: &[&str]) -> Result<Session, Error> {
        let conflict = |reason: &'static str, message: &'static str| {
            Error::new(ErrorKind::Conflict, message).with_reason(reason)
        };
        let start = session.start.as_ref().filter(|start| start.until > self.now());
        let start = start.ok_or_else(has_its_session)?;
        if !self.inner.sealing.verify_request(request, &start.request) {
            return Err(other_request());
        }
        let session = self.check_live(session).map_err(|_| {
            conflict("ended", "the session that was started with this key has ended: use another")
        })?;
        if session.one_time_password.as_ref().is_some_and(|state| state.is_proven) {
            // The key does not prove the second factor.
            return Err(conflict(
                "proven",
                "the one-time password of the session that was started with this key has been used: \
                 use another",
            ));
        }
        Ok(session)
    }

    /// Returns the session that an identical request has started, once its customer has been sent a code, if one is
    /// required.
    async fn repeat(
        &self,
        token: AuthenticationToken,
        session: Session,
        started_by: StartedBy<'_>,
    ) -> Result<CompareAndSet<StartedSession>, Error> {
        if session.one_time_password.as_ref().is_none_or(|state| state.code.is_some()) {
            self.details.replayed();
            return Ok(CompareAndSet::Written(self.started(token, session)));
        }
        match self.send_missing_code(session, started_by.asks_for_code()).await? {
            CompareAndSet::Written(Some(session)) => {
                Ok(CompareAndSet::Written(self.started(token, session)))
            }
            CompareAndSet::Written(None) => Err(ended_meanwhile()),
            CompareAndSet::Conflict => Ok(CompareAndSet::Conflict),
        }
    }

    async fn start_with(
        &self,
        token: AuthenticationToken,
        checked: &CheckedSession,
        started_by: StartedBy<'_>,
        start: Option<RememberedStart>,
        now: Timestamp,
    ) -> Result<CompareAndSet<StartedSession>, Error> {
        let new = &checked.session;
        // No code is sent for a session that exists already.
        if new.token.is_some() && self.stores.get_session(&token.key()).await?.is_some() {
            return Ok(CompareAndSet::Conflict);
        }
        let id = SessionId::new(uuid::Uuid::new_v4().to_string())?;
        let customer_id = checked.customer_id.clone();
        let mut session = Session {
            organization_id: new.organization.as_ref().and_then(Organization::id).cloned(),
            credential: started_by.credential(),
            starter: started_by.starter(&self.inner.audiences),
            acl: new.acl.clone(),
            custom_claims: new.custom_claims.clone(),
            one_time_password: new.otp_required.then(|| self.new_code_state(now)),
            start,
            ..Session::new(token.key(), id, customer_id, now, checked.expires_at)
        }
        .used_at(now, self.inner.policy.sessions.idle_timeout);
        let issued = self.inner.revocations.issue_time(session.subject().borrowed(), now);
        session.after_revocation = issued.after_revocation;
        self.check_session_limits(&session, now).await?;
        if session.start.is_some() {
            let inserted = self.insert_session(session, now).await?;
            let CompareAndSet::Written(session) = inserted else {
                return Ok(CompareAndSet::Conflict);
            };
            // Not before, so that of concurrent identical requests one sends a code.
            let session = self.send_first_code(session, started_by, now).await?;
            return Ok(CompareAndSet::Written(self.started(token, session)));
        }
        if session.otp_required() {
            let code = self.deliver_code(&session, started_by.asks_for_code()).await?;
            session.one_time_password.as_mut().map(|state| state.code.insert(code));
        }
        let inserted = self.insert_session(session, now).await?;
        Ok(inserted.map(|session| self.started(token, session)))
    }

    /// Sends the code of a session that was inserted, if it requires one. If that fails, the session is removed.
    async fn send_first_code(
        &self,
        session: Session,
        started_by: StartedBy<'_>,
        now: Timestamp,
    ) -> Result<Session, Error> {
        if !session.otp_required() {
            return Ok(session);
        }
        let code = match self.deliver_code(&session, started_by.asks_for_code()).await {
            Ok(code) => code,
            Err(error) => {
                // The version that was read: an identical request may have sent a code since.
                if let Err(error) = self.stores.take_session(&session.key, session.version).await {
                    tracing::debug!(%error, "sessions: a session without a code is not removed, it stays until it expires");
                }
                return Err(error);
            }
        };
        self.write_delivered_code(session, code, now).await?.ok_or_else(ended_meanwhile)
    }

    async fn insert_session(
        &self,
        session: Session,
        now: Timestamp,
    ) -> Result<CompareAndSet<Session>, Error> {
        let inserted = self.stores.insert_session(session.clone(), now).await;
        let CompareAndSet::Written(()) = CompareAndSet::of(inserted)? else {
            return Ok(CompareAndSet::Conflict);
        };
        if self.was_ended(&session) {
            self.stores.remove_session(&session.id).await?;
            return Err(ended_meanwhile());
        }
        Ok(CompareAndSet::Written(session))
    }

    fn started(&self, token: AuthenticationToken, session: Session) -> StartedSession {
        StartedSession::new(token, session, self.now())
    }
}

fn has_its_session() -> Error {
    let message = "the key or the token was used to start a session before: use another";
    Error::new(ErrorKind::Conflict, message).with_reason("key_used")
}

fn ended_meanwhile() -> Error {
    let message = "the customer or the starter of the session was logged out everywhere meanwhile";
    Error::new(ErrorKind::Conflict, message).with_reason(ENDED_MEANWHILE)
}
