//! Starting and ending sessions of customers.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::domain::acl::Acl;
use crate::domain::identifier::{CustomerId, OrganizationId, SessionId};
use crate::domain::session::{AuthenticationToken, Session};
use crate::error::{Error, ErrorKind, InvalidField};
use crate::service::one_time_password::no_sender;
use crate::service::token_service::{TokenService, contended};

const ATTEMPTS: usize = 16;

/// What a session is to be.
#[derive(Clone, Debug)]
#[must_use]
pub struct NewSession {
    customer_id: CustomerId,
    organization_id: Option<OrganizationId>,
    acl: Acl,
    custom_claims: Map<String, Value>,
    otp_required: bool,
    lifetime: Option<Duration>,
    token: Option<AuthenticationToken>,
}

impl NewSession {
    /// A session of a customer. It allows nothing, unless told.
    pub fn of(customer_id: CustomerId) -> Self {
        Self {
            customer_id,
            organization_id: None,
            acl: Acl::default(),
            custom_claims: Map::new(),
            otp_required: false,
            lifetime: None,
            token: None,
        }
    }

    /// The organization that it belongs to.
    pub fn organization(mut self, organization_id: Option<OrganizationId>) -> Self {
        self.organization_id = organization_id;
        self
    }

    /// The most that its tokens may carry.
    pub fn acl(mut self, acl: Acl) -> Self {
        self.acl = acl;
        self
    }

    /// What its tokens carry under `customClaims`.
    pub fn custom_claims(mut self, custom_claims: Map<String, Value>) -> Self {
        self.custom_claims = custom_claims;
        self
    }

    /// Whether an exchange needs a one-time password, which is sent when the session starts.
    pub fn otp_required(mut self, otp_required: bool) -> Self {
        self.otp_required = otp_required;
        self
    }

    /// How long it lives; by default as the policy says.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// An authentication token that is known beforehand, for demos and tests.
    ///
    /// Dangerous: the session is as safe as the text is hard to guess.
    pub fn dangerous_token(mut self, token: AuthenticationToken) -> Self {
        self.token = Some(token);
        self
    }
}

/// A session that was just started, with the token that stands for it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StartedSession {
    /// The authentication token. It is nowhere to be had again.
    pub token: AuthenticationToken,
    /// The session.
    pub session: Session,
}

impl TokenService {
    /// Starts a session of a customer whom the host vouches for. Where a one-time password is
    /// wanted, it is sent before this returns; if it cannot be, there is no session.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidFields`] for a lifetime or wildcards that the policy does not allow,
    /// [`ErrorKind::Configuration`] for a one-time password without a sender,
    /// [`ErrorKind::Unavailable`] where the code cannot be delivered or the store is out of reach,
    /// [`ErrorKind::Conflict`] where a token that is known beforehand has its session already.
    pub async fn start_session(&self, new: NewSession) -> Result<StartedSession, Error> {
        let policy = &self.parts.policy;
        let lifetime = new.lifetime.unwrap_or(policy.session_lifetime);
        let invalid = |field: &str, message: &str| {
            Error::from_invalid_fields(vec![InvalidField::new(field, message)])
        };
        if lifetime.is_zero() || lifetime > policy.max_session_lifetime {
            return Err(invalid("expiredTime", "is later than the policy allows, or not to come"));
        }
        if new.acl.uses_trailing_wildcards() && !policy.trailing_wildcards {
            return Err(invalid("acl", "must not use wildcards but `*` alone"));
        }
        if new.otp_required && self.parts.sender.is_none() {
            return Err(no_sender());
        }
        let now = self.now();
        let token = match new.token {
            Some(token) => token,
            None => AuthenticationToken::generate()?,
        };
        let id = SessionId::new(uuid::Uuid::new_v4().to_string())?;
        let mut session = Session {
            organization_id: new.organization_id,
            acl: new.acl,
            custom_claims: new.custom_claims,
            ..Session::new(token.key(), id, new.customer_id, now, now + lifetime)
        };
        let mut code = None;
        if new.otp_required {
            let (one_time_password, state) = self.make_one_time_password(&session.id, now)?;
            code = Some(one_time_password);
            session.one_time_password = Some(state);
        }
        self.within_deadline(self.parts.sessions.insert(session.clone(), now)).await?;
        if let Some(code) = code {
            let expires_at = now + policy.one_time_password_lifetime;
            if let Err(error) = self.deliver(&session, code, expires_at).await {
                // Nobody has the token: what is left if this fails, too, is of no use to anyone.
                let taking = self.parts.sessions.take(&session.key, session.version);
                let _ = self.within_deadline(taking).await;
                return Err(error);
            }
        }
        Ok(StartedSession { token, session })
    }

    /// Ends a session, and, where the policy says so, the tokens that were exchanged from it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] where there is no such session, or it is of another organization.
    pub async fn end_session(
        &self,
        token: &AuthenticationToken,
        organization: Option<&OrganizationId>,
    ) -> Result<(), Error> {
        for _ in 0..ATTEMPTS {
            let session = self.find_session(token, organization).await?;
            // Before the session goes: who has to try again can still find what to revoke.
            if self.parts.policy.revoke_tokens_on_session_end {
                self.revoke_session(&session.id).await?;
            }
            let taking = self.parts.sessions.take(&session.key, session.version);
            let taken = self.within_deadline(taking).await;
            // A store that answers too late may have taken it all the same.
            self.parts.phantom_tokens.remove(&session.key).await;
            match taken {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => return Err(no_session()),
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        Err(contended())
    }

    /// The live session of that token.
    pub(super) async fn find_session(
        &self,
        token: &AuthenticationToken,
        organization: Option<&OrganizationId>,
    ) -> Result<Session, Error> {
        let session = self.within_deadline(self.parts.sessions.get(&token.key())).await?;
        session
            .filter(|session| session.expires_at > self.now())
            .filter(|session| {
                organization.is_none() || organization == session.organization_id.as_ref()
            })
            .ok_or_else(no_session)
    }
}

pub(super) fn no_session() -> Error {
    Error::new(ErrorKind::NotFound, "there is no such authentication token")
}
