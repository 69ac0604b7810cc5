use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::custom_claims::custom_claims_of;
use crate::error::{Error, InvalidField};
use crate::service::model::authentication_token::AuthenticationToken;
use crate::service::model::idempotency::IdempotencyKey;
use crate::service::model::password::Password;
use crate::service::model::session::Session;
use crate::service::session::state::SessionState;
use crate::token::acl::Acl;
use crate::token::identifier::CustomerId;
use crate::token::organization::Organization;

/// The settings of a session to be started; the argument of
/// [`TokenService::start_session`](crate::TokenService::start_session).
///
/// ```
/// # fn example(acl: countersign::Acl) -> Result<(), countersign::Error> {
/// use std::time::Duration;
/// use countersign::{CustomerId, NewSession};
///
/// let session = NewSession::of(CustomerId::new("cus_1")?)
///     .acl(acl)
///     .lifetime(Duration::from_secs(8 * 3_600));
/// # Ok(())
/// # }
/// ```
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
    /// Faults that a route found in the fields, to be reported with the others. The customer may be missing in that
    /// case.
    pub(in crate::service) invalid: Vec<InvalidField>,
}

/// When a session expires.
#[derive(Clone, Copy, Debug)]
pub(in crate::service) enum SessionEnd {
    ByPolicy,
    After(Duration),
    At(Timestamp),
}

impl NewSession {
    /// Creates the settings of a customer's session. Its tokens grant nothing until [`acl`](Self::acl) is set.
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

    /// Sets the organization that the session belongs to, or [`Organization::All`]. Default: none.
    pub fn organization(mut self, organization: impl Into<Organization>) -> Self {
        self.organization = Some(organization.into());
        self
    }

    /// Sets the session's ACL: the maximum that its tokens may grant. Default: nothing.
    pub fn acl(mut self, acl: Acl) -> Self {
        self.acl = acl;
        self
    }

    /// Sets the `customClaims` of its tokens: any value that serializes to a JSON object.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidFields`](crate::ErrorKind::InvalidFields) if it serializes to anything else.
    pub fn custom_claims(mut self, custom_claims: impl Serialize) -> Result<Self, Error> {
        self.custom_claims = custom_claims_of(custom_claims)?;
        Ok(self)
    }

    /// Sets whether an exchange requires a one-time password, which is sent when the session starts. Default: no.
    pub fn otp_required(mut self, otp_required: bool) -> Self {
        self.otp_required = otp_required;
        self
    }

    /// Sets the lifetime. Default: the policy's [`sessions.lifetime`](crate::policy::Sessions::lifetime).
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.ends = SessionEnd::After(lifetime);
        self
    }

    /// Sets the expiry. Default: that of the [`lifetime`](Self::lifetime).
    pub fn expires_at(mut self, expires_at: Timestamp) -> Self {
        self.ends = SessionEnd::At(expires_at);
        self
    }

    /// Sets an idempotency key, 16 to 128 random visible ASCII characters such as a UUID. The same request with the
    /// same actor and key, within 60 seconds, returns the same session and token: for a client that lost the
    /// response to the first one. After that, it is a conflict as long as the session is kept.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(IdempotencyKey::presented(key));
        self
    }

    /// Sets the authentication token, in place of a random one, for demos and tests. Dangerous: anybody who
    /// guesses the text has the session.
    ///
    /// It consists of letters, digits, `-`, `_` and `~`, so that every path, header and cookie can carry it. It has
    /// no dot, since layers recognize a JWT by its dots. Any other token is rejected when the session is started,
    /// with [`InvalidFields`](crate::ErrorKind::InvalidFields).
    ///
    /// A token has one session at a time. A session that an exchange has used up counts until the tokens
    /// exchanged from it have expired.
    pub fn dangerous_token(mut self, token: AuthenticationToken) -> Self {
        self.token = Some(token);
        self
    }

    /// Returns the fault of a token that was set.
    pub(in crate::service) fn token_fault(&self) -> Option<InvalidField> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~".contains(&byte);
        let is_fault = |token: &&AuthenticationToken| !token.expose().bytes().all(fits);
        let message = "may only contain letters, digits and -_~";
        self.token.as_ref().filter(is_fault).map(|_| InvalidField::new("token", message))
    }
}

/// A newly started session, with its authentication token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StartedSession {
    /// The authentication token. It cannot be read again.
    pub token: AuthenticationToken,
    /// The session, which is pending if it requires a one-time password.
    pub session: SessionState,
    /// When it was returned; the lifetime of a cookie counts from then.
    pub(in crate::service) at: Timestamp,
}

impl StartedSession {
    pub(in crate::service) fn new(
        token: AuthenticationToken,
        session: Session,
        at: Timestamp,
    ) -> Self {
        Self { token, session: SessionState::of(session), at }
    }
}

/// A customer's login with name and password; the argument of
/// [`TokenService::log_in_customer`](crate::TokenService::log_in_customer).
#[derive(Clone, Debug)]
#[must_use]
pub struct CustomerLogin {
    pub(in crate::service) username: String,
    pub(in crate::service) password: Option<Password>,
    pub(in crate::service) otp_required: bool,
    pub(in crate::service) expires_at: Option<Timestamp>,
    pub(in crate::service) idempotency_key: Option<IdempotencyKey>,
    /// Faults that a route found in the fields, to be reported with the others. The name and the password may be
    /// missing in that case.
    pub(in crate::service) invalid: Vec<InvalidField>,
}

impl CustomerLogin {
    /// Creates a login with a name and a password.
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

    /// Sets whether an exchange requires a one-time password. It always does if the credential was registered with
    /// `otp_required`.
    pub fn otp_required(mut self, otp_required: bool) -> Self {
        self.otp_required = otp_required;
        self
    }

    /// Sets when the session expires. Default: as the policy says.
    pub fn expires_at(mut self, expires_at: Timestamp) -> Self {
        self.expires_at = Some(expires_at);
        self
    }

    /// Sets an idempotency key; see [`NewSession::idempotency_key`]. The password is checked each time.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(IdempotencyKey::presented(key));
        self
    }
}
