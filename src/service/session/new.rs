use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::custom_claims::custom_claims_of;
use crate::error::{Error, InvalidField};
use crate::service::model::idempotency::IdempotencyKey;
use crate::service::model::password::Password;
use crate::service::model::session::AuthenticationToken;
use crate::service::session::state::SessionState;
use crate::token::acl::Acl;
use crate::token::identifier::CustomerId;
use crate::token::organization::Organization;

/// What a session is to be.
#[derive(Clone, Debug)]
#[must_use]
pub struct NewSession {
    pub(in crate::service) customer_id: Option<CustomerId>,
    pub(in crate::service) organization: Option<Organization>,
    pub(in crate::service) acl: Acl,
    pub(in crate::service) custom_claims: Map<String, Value>,
    pub(in crate::service) otp_required: bool,
    pub(in crate::service) ends: SessionEnd,
    pub(in crate::service) token: Option<AuthenticationToken>,
    pub(in crate::service) idempotency_key: Option<IdempotencyKey>,
    /// What a route found wrong with the fields that it read, to be told along with the rest. The
    /// customer may be missing then.
    pub(in crate::service) invalid: Vec<InvalidField>,
}

/// When a session is to end.
#[derive(Clone, Copy, Debug)]
pub(in crate::service) enum SessionEnd {
    ByPolicy,
    After(Duration),
    At(Timestamp),
}

impl NewSession {
    /// A session of a customer. It allows nothing, unless told.
    pub fn of(customer_id: CustomerId) -> Self {
        Self {
            customer_id: Some(customer_id),
            organization: None,
            acl: Acl::default(),
            custom_claims: Map::new(),
            otp_required: false,
            ends: SessionEnd::ByPolicy,
            token: None,
            idempotency_key: None,
            invalid: Vec::new(),
        }
    }

    /// The organization that it belongs to, or [`Organization::All`].
    pub fn organization(mut self, organization: impl Into<Organization>) -> Self {
        self.organization = Some(organization.into());
        self
    }

    /// The most that its tokens may carry.
    pub fn acl(mut self, acl: Acl) -> Self {
        self.acl = acl;
        self
    }

    /// What its tokens carry under `customClaims`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidFields`](crate::ErrorKind::InvalidFields) where it is no object in JSON.
    pub fn custom_claims(mut self, custom_claims: impl Serialize) -> Result<Self, Error> {
        self.custom_claims = custom_claims_of(custom_claims)?;
        Ok(self)
    }

    /// Whether an exchange needs a one-time password, which is sent when the session starts.
    pub fn otp_required(mut self, otp_required: bool) -> Self {
        self.otp_required = otp_required;
        self
    }

    /// How long it lives; by default as the policy says.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.ends = SessionEnd::After(lifetime);
        self
    }

    /// When it ends; by default as the policy says.
    pub fn expires_at(mut self, expires_at: Timestamp) -> Self {
        self.ends = SessionEnd::At(expires_at);
        self
    }

    /// A key by which the same request is answered once more: who lost the answer asks within 60 seconds for
    /// the same, on the word of the same actor and with the same key, and gets the same session and token. It
    /// is 16 to 128 visible ASCII characters, and random, as a UUID is.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(IdempotencyKey::presented(key));
        self
    }

    /// An authentication token that is known beforehand, for demos and tests.
    ///
    /// It has one session at a time, one that was used up included for as long as its tokens may live.
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
    /// The authentication token. It cannot be read again.
    pub token: AuthenticationToken,
    /// The session, which waits for its one-time password where one is wanted.
    pub session: SessionState,
}

/// A session that a customer asks for by name and password.
#[derive(Clone, Debug)]
#[must_use]
pub struct CustomerLogin {
    pub(in crate::service) username: String,
    pub(in crate::service) password: Option<Password>,
    pub(in crate::service) otp_required: bool,
    pub(in crate::service) expires_at: Option<Timestamp>,
    pub(in crate::service) idempotency_key: Option<IdempotencyKey>,
    /// What a route found wrong with the fields that it read, to be told along with the rest. The
    /// name and the password may be missing then.
    pub(in crate::service) invalid: Vec<InvalidField>,
}

impl CustomerLogin {
    /// A login with a name and a password.
    pub fn new(username: impl Into<String>, password: Password) -> Self {
        Self {
            username: username.into(),
            password: Some(password),
            otp_required: false,
            expires_at: None,
            idempotency_key: None,
            invalid: Vec::new(),
        }
    }

    /// Whether an exchange needs a one-time password. A credential that asks for one always gets
    /// one.
    pub fn otp_required(mut self, otp_required: bool) -> Self {
        self.otp_required = otp_required;
        self
    }

    /// When the session ends; by default as the policy says.
    pub fn expires_at(mut self, expires_at: Timestamp) -> Self {
        self.expires_at = Some(expires_at);
        self
    }

    /// A key by which the same login is answered once more, as
    /// [`NewSession::idempotency_key`] says. The password is asked for each time.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(IdempotencyKey::presented(key));
        self
    }
}
