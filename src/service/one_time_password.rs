use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::domain::identifier::{CustomerId, OrganizationId, SessionId};
use crate::domain::one_time_password::{OneTimePassword, OneTimePasswordState, StoredCode};
use crate::domain::session::Session;
use crate::error::{Error, ErrorKind};
use crate::service::token_service::TokenService;

/// Delivers one-time passwords to customers: by e-mail, text message, or whatever the host has.
#[async_trait]
pub trait OneTimePasswordSender: fmt::Debug + Send + Sync + 'static {
    /// Delivers a code. It may take as long as the policy's `sender_deadline`; a session whose
    /// code cannot be delivered is not started.
    ///
    /// # Errors
    ///
    /// Whatever kept it from being delivered. Callers are told 503, and nothing of this.
    async fn send(
        &self,
        message: OneTimePasswordMessage,
    ) -> Result<(), Box<dyn StdError + Send + Sync>>;
}

/// A code, and whom it is for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OneTimePasswordMessage {
    /// Whose session it is.
    pub customer_id: CustomerId,
    /// The organization that the session belongs to.
    pub organization_id: Option<OrganizationId>,
    /// The session's public id.
    pub session_id: SessionId,
    /// The code.
    pub one_time_password: OneTimePassword,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

impl TokenService {
    /// A code for a session, and what the session has to remember of it.
    pub(super) fn make_one_time_password(
        &self,
        session: &SessionId,
        now: Timestamp,
    ) -> Result<(OneTimePassword, OneTimePasswordState), Error> {
        let policy = &self.parts.policy;
        let code = OneTimePassword::generate(policy.one_time_password_digits)?;
        let stored = StoredCode {
            digest: self.parts.sealing.digest_code(session.as_str(), code.expose()),
            expires_at: now + policy.one_time_password_lifetime,
        };
        let tries_left = policy.one_time_password_tries;
        Ok((code, OneTimePasswordState { code: Some(stored), tries_left }))
    }

    pub(super) async fn deliver(
        &self,
        session: &Session,
        one_time_password: OneTimePassword,
        expires_at: Timestamp,
    ) -> Result<(), Error> {
        let failed = || {
            Error::new(ErrorKind::Unavailable, "the one-time password cannot be delivered")
                .with_retry_after(Duration::from_secs(5))
        };
        let sender = self.parts.sender.as_ref().ok_or_else(no_sender)?;
        let message = OneTimePasswordMessage {
            customer_id: session.customer_id.clone(),
            organization_id: session.organization_id.clone(),
            session_id: session.id.clone(),
            one_time_password,
            expires_at,
        };
        match tokio::time::timeout(self.parts.policy.sender_deadline, sender.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed().with_source(error)),
            Err(_) => Err(failed().with_source("delivering it took too long")),
        }
    }
}

pub(super) fn no_sender() -> Error {
    Error::new(
        ErrorKind::Configuration,
        "a one-time password is wanted, and the service has no one_time_password_sender",
    )
}
