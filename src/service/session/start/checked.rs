//! Starting a session whose fields were checked, or finding the one that the same request has started.

use serde_json::json;

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
use crate::service::session::state::SessionState;
use crate::service::stores::{CompareAndSet, retry_on_conflict};
use crate::service::writer::Writer;
use crate::token::claims::SubjectType;
use crate::token::identifier::{OrganizationId, SessionId};
use crate::token::organization::Organization;

/// How many tokens an idempotency key has. The next one is for who uses a key again once the first request
/// may be repeated no more, and its session lives on; who has used them all gets a random token.
const TOKENS_OF_A_KEY: u8 = 8;

/// A request to start a session that may be repeated.
pub(super) struct RepeatableStart {
    key: IdempotencyKey,
    /// What was asked for.
    asked: String,
}

impl RepeatableStart {
    pub(super) fn of(new: &NewSession) -> Option<Self> {
        let asked = || {
            let organization = new.organization.as_ref().map(Organization::id);
            let ends = format!("{:?}", new.ends);
            json!([new.otp_required, ends, organization, new.acl, new.custom_claims]).to_string()
        };
        new.idempotency_key.clone().map(|key| Self { key, asked: asked() })
    }

    pub(super) fn of_login(login: &CustomerLogin) -> Option<Self> {
        let ends = login.expires_at.map(|end| end.to_string());
        let asked = json!([login.otp_required, ends]).to_string();
        login.idempotency_key.clone().map(|key| Self { key, asked })
    }
}

/// What a request that may be repeated finds.
enum RepeatedStart {
    /// The session of the first one.
    Replayed(Box<StartedSession>),
    /// Nothing; it is to start a session by this token.
    First(AuthenticationToken),
}

impl Writer {
    /// Starts a session whose fields were checked; or returns the one that the same request has started.
    pub(super) async fn start_checked(
        &self,
        checked: CheckedSession,
        origin: StartedBy<'_>,
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
        let Some(RepeatableStart { key, asked }) = repeatable else {
            let token = checked.session.token.clone();
            let token = token.map_or_else(AuthenticationToken::generate, Ok)?;
            let started = self.start_with(token, &checked, origin, None, now).await?;
            return match started {
                CompareAndSet::Written(started) => Ok(started),
                CompareAndSet::Conflict => Err(has_its_session()),
            };
        };
        let owner = origin.owner_of_key(organization, &checked.customer_id);
        let organization = organization.map_or("", OrganizationId::as_str);
        let owned = [key.expose(), &*owner];
        let request = [key.expose(), &*owner, organization, customer, &*asked];
        retry_on_conflict!({
            match self.find_started(&checked, &owned, &request).await? {
                RepeatedStart::Replayed(started) => Ok(CompareAndSet::Written(*started)),
                RepeatedStart::First(token) => {
                    let digest = self.inner.sealing.digest_request(&request);
                    let start =
                        RememberedStart { request: digest, until: self.now() + REPEATABLE_FOR };
                    self.start_with(token, &checked, origin, Some(start), now).await
                }
            }
        })
    }

    /// Finds the session that the same request has started, or the token to start one by.
    ///
    /// The token follows from the key and its owner, so that of the same requests at once one starts a session,
    /// and nobody has a key's session who does not prove to be its owner.
    async fn find_started(
        &self,
        checked: &CheckedSession,
        owned: &[&str],
        request: &[&str],
    ) -> Result<RepeatedStart, Error> {
        for number in 0..TOKENS_OF_A_KEY {
            let number = number.to_string();
            let bits = self.inner.sealing.derive_from_request(&[owned, &[&*number]].concat());
            let known = checked.session.token.clone();
            let token = known.unwrap_or_else(|| AuthenticationToken::of_bits(&bits));
            let Some(session) = self.stores.get_session(&token.key()).await? else {
                return Ok(RepeatedStart::First(token));
            };
            let start = session.start.as_ref().filter(|start| start.until > self.now());
            if let Some(start) = start {
                if !self.inner.sealing.verify_request(request, &start.request) {
                    return Err(other_request());
                }
                let session = self.check_live(session).map_err(|_| {
                    let message =
                        "the session that was started with this key has ended: use another";
                    Error::new(ErrorKind::Conflict, message).with_reason("ended")
                })?;
                if session.one_time_password.as_ref().is_some_and(|code| code.is_proven) {
                    // The key proves no second factor.
                    let message = "the one-time password of the session that was started with this \
                                   key has been used: use another";
                    return Err(Error::new(ErrorKind::Conflict, message).with_reason("proven"));
                }
                self.details.replayed();
                let session = SessionState::of(session);
                let started = Box::new(StartedSession { token, session });
                return Ok(RepeatedStart::Replayed(started));
            }
        }
        match &checked.session.token {
            Some(_) => Err(has_its_session()),
            None => AuthenticationToken::generate().map(RepeatedStart::First),
        }
    }

    async fn start_with(
        &self,
        token: AuthenticationToken,
        checked: &CheckedSession,
        origin: StartedBy<'_>,
        start: Option<RememberedStart>,
        now: Timestamp,
    ) -> Result<CompareAndSet<StartedSession>, Error> {
        let new = &checked.session;
        // Nobody is sent a code for a session that is there already.
        if new.token.is_some() && self.stores.get_session(&token.key()).await?.is_some() {
            return Ok(CompareAndSet::Conflict);
        }
        let id = SessionId::new(uuid::Uuid::new_v4().to_string())?;
        let customer_id = checked.customer_id.clone();
        let is_repeatable = start.is_some();
        let mut session = Session {
            organization_id: new.organization.as_ref().and_then(Organization::id).cloned(),
            credential: origin.credential(),
            starter: origin.starter(&self.inner.audiences),
            acl: new.acl.clone(),
            custom_claims: new.custom_claims.clone(),
            start,
            ..Session::new(token.key(), id, customer_id, now, checked.expires_at)
        }
        .used_at(now, self.inner.policy.sessions.idle_timeout);
        let issued = self.inner.revocations.issue_time(session.subject().borrowed(), now);
        session.after_revocation = issued.after_revocation;
        self.check_session_limits(&session, now).await?;
        let mut code = None;
        if new.otp_required {
            let (made, state) = self.make_one_time_password(&session.id, now)?;
            session.one_time_password = Some(state);
            code = Some(made);
        }
        let deliver = async || match (&code, origin) {
            (None, _) => Ok(()),
            // As often as it is asked for: the host knows what it does.
            (Some(code), StartedBy::Host) => self.deliver(&session, code).await,
            (Some(code), _) => self.deliver_throttled(&session, code).await,
        };
        if !is_repeatable {
            deliver().await?;
            return self.insert_session(token, session.clone(), now).await;
        }
        // The other way round, so that of the same requests at once one sends a code.
        let started = self.insert_session(token, session.clone(), now).await?;
        if let CompareAndSet::Written(_) = started
            && let Err(error) = deliver().await
        {
            if let Err(error) = self.stores.remove_session(&session.id).await {
                tracing::debug!(%error, "a session whose code was not delivered is left to expire");
            }
            return Err(error);
        }
        Ok(started)
    }

    async fn insert_session(
        &self,
        token: AuthenticationToken,
        session: Session,
        now: Timestamp,
    ) -> Result<CompareAndSet<StartedSession>, Error> {
        let inserted = self.stores.insert_session(session.clone(), now).await;
        let CompareAndSet::Written(()) = CompareAndSet::of(inserted)? else {
            return Ok(CompareAndSet::Conflict);
        };
        if self.was_ended(&session) {
            self.stores.remove_session(&session.id).await?;
            let message =
                "the customer or the starter of the session was logged out everywhere meanwhile";
            return Err(Error::new(ErrorKind::Conflict, message).with_reason(ENDED_MEANWHILE));
        }
        let session = SessionState::of(session);
        Ok(CompareAndSet::Written(StartedSession { token, session }))
    }
}

fn has_its_session() -> Error {
    Error::new(ErrorKind::Conflict, "the token has its session")
}
