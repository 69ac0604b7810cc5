//! The request of an exchange.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::custom_claims::custom_claims_of;
use crate::error::{Error, InvalidField};
use crate::service::model::idempotency::IdempotencyKey;
use crate::service::model::one_time_password::OneTimePassword;
use crate::token::acl::Acl;
use crate::token::claims::Validated;

/// The settings of an exchange; an argument of [`TokenService::exchange`](crate::TokenService::exchange). Default: the session's own ACL and
/// claims, and the authentication token is used up.
#[derive(Clone, Debug)]
#[must_use]
pub struct ExchangeRequest {
    pub(in crate::service) invalidate: bool,
    pub(in crate::service) one_time_password: Option<OneTimePassword>,
    pub(in crate::service) custom_claims: Option<Map<String, Value>>,
    pub(in crate::service) expires_at: Option<Timestamp>,
    pub(in crate::service) acl: Option<Acl>,
    pub(in crate::service) bearer: Option<Arc<Validated>>,
    pub(in crate::service) idempotency_key: Option<IdempotencyKey>,
    /// Faults that a route found in the fields, to be reported with the others.
    pub(in crate::service) invalid: Vec<InvalidField>,
}

impl Default for ExchangeRequest {
    fn default() -> Self {
        Self {
            invalidate: true,
            one_time_password: None,
            custom_claims: None,
            expires_at: None,
            acl: None,
            bearer: None,
            idempotency_key: None,
            invalid: Vec::new(),
        }
    }
}

impl ExchangeRequest {
    /// Sets whether the exchange invalidates the authentication token. Default: yes.
    pub fn invalidate(mut self, invalidate: bool) -> Self {
        self.invalidate = invalidate;
        self
    }

    /// Sets the one-time password that the customer was sent.
    pub fn one_time_password(mut self, code: impl Into<String>) -> Self {
        self.one_time_password = Some(OneTimePassword::presented(code));
        self
    }

    /// Adds custom claims: those named in the policy's
    /// [`tokens.open_custom_claims`](crate::policy::Tokens::open_custom_claims), and those that the bearer may pass
    /// on. The session's own claims cannot be changed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidFields`](crate::ErrorKind::InvalidFields) if it does not serialize to a JSON object.
    pub fn custom_claims(mut self, custom_claims: impl Serialize) -> Result<Self, Error> {
        self.custom_claims = Some(custom_claims_of(custom_claims)?);
        Ok(self)
    }

    /// Sets when the JWT expires. Default: after the policy's `tokens.exchanged_lifetime`.
    pub fn expires_at(mut self, expires_at: Timestamp) -> Self {
        self.expires_at = Some(expires_at);
        self
    }

    /// Sets the ACL of the JWT, which must not exceed that of the session or of the bearer.
    pub fn acl(mut self, acl: Acl) -> Self {
        self.acl = Some(acl);
        self
    }

    /// Sets the bearer: a caller with its own token, whose ACL may widen the exchange.
    pub fn bearer(mut self, bearer: Arc<Validated>) -> Self {
        self.bearer = Some(bearer);
        self
    }

    /// Sets an idempotency key, 16 to 128 random visible ASCII characters such as a UUID. The same request with the
    /// same key, authentication token and bearer, within 60 seconds, returns the same JWT: for a client that lost
    /// the response to the first one.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(IdempotencyKey::presented(key));
        self
    }
}
