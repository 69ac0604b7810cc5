use std::error::Error as StdError;
use std::fmt;

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::service::model::one_time_password::OneTimePassword;
use crate::token::identifier::{CustomerId, OrganizationId, SessionId};

/// Delivers one-time passwords to customers: by e-mail, text message, or whatever the host has.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not deliver one-time passwords",
    label = "has to be a `OneTimePasswordSender`",
    note = "implement `OneTimePasswordSender` for a type of yours that sends an e-mail or text message, with `#[async_trait]`"
)]
#[async_trait]
pub trait OneTimePasswordSender: fmt::Debug + Send + Sync + 'static {
    /// Delivers a code. It may take as long as the policy's `sessions.sender_deadline`; a session whose
    /// code cannot be delivered is not started. It is called on a task of the service's, in the span of the
    /// request, and goes on where the client hangs up.
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
    /// The name that the customer logged in with, where it was by name and password.
    pub username: Option<String>,
    /// The organization that the session belongs to.
    pub organization_id: Option<OrganizationId>,
    /// The session's public id.
    pub session_id: SessionId,
    /// The code.
    pub one_time_password: OneTimePassword,
    /// Until when it is good.
    pub expires_at: Timestamp,
}
