use std::error::Error as StdError;
use std::fmt;

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::service::model::one_time_password::OneTimePassword;
use crate::token::identifier::{CustomerId, OrganizationId, SessionId};

/// Delivers one-time passwords to customers, such as by e-mail or text message.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not deliver one-time passwords",
    label = "has to be a `OneTimePasswordSender`",
    note = "implement `OneTimePasswordSender` for a type of yours that sends an e-mail or text message, with `#[async_trait]`"
)]
#[async_trait]
pub trait OneTimePasswordSender: fmt::Debug + Send + Sync + 'static {
    /// Delivers a one-time password. The deadline is the policy's `sessions.sender_deadline`. If the delivery fails,
    /// the session is not started. The call runs on a task of the service, in the span of the request, and continues
    /// if the client disconnects.
    ///
    /// # Errors
    ///
    /// Any error that prevents the delivery. The client is sent a 503 without the details.
    async fn send(
        &self,
        message: OneTimePasswordMessage,
    ) -> Result<(), Box<dyn StdError + Send + Sync>>;
}

/// A one-time password and its recipient.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OneTimePasswordMessage {
    /// The customer who owns the session.
    pub customer_id: CustomerId,
    /// The name that the customer logged in with, if the session was started with name and password.
    pub username: Option<String>,
    /// The organization that the session belongs to.
    pub organization_id: Option<OrganizationId>,
    /// The session's public id.
    pub session_id: SessionId,
    /// The one-time password.
    pub one_time_password: OneTimePassword,
    /// When the one-time password expires.
    pub expires_at: Timestamp,
}
