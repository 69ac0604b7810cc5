use std::fmt;

use async_trait::async_trait;

use crate::error::Error;
use crate::token::claims::Validated;
use crate::token::identifier::{CustomerId, OrganizationId};

/// Decides which customers a bearer may start sessions for.
///
/// It is called when a bearer starts a session and no `customerId` scope of its ACL names the customer. Without a
/// directory, a bearer that is bound to an organization may start sessions only for the customers named in its ACL,
/// and a bearer that is bound to none may do so for any customer.
///
/// ```
/// use countersign::sessions::CustomerDirectory;
/// use countersign::{CustomerId, Error, OrganizationId, Validated};
///
/// /// An organization's customers have its id in theirs.
/// #[derive(Debug)]
/// struct ByPrefix;
///
/// #[async_trait::async_trait]
/// impl CustomerDirectory for ByPrefix {
///     async fn may_start(
///         &self,
///         _bearer: &Validated,
///         organization: Option<&OrganizationId>,
///         customer: &CustomerId,
///     ) -> Result<bool, Error> {
///         let Some(organization) = organization else { return Ok(true) };
///         Ok(customer.as_str().starts_with(&format!("{organization}-")))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which customers a bearer may name",
    label = "has to be a `CustomerDirectory`",
    note = "implement `CustomerDirectory` for a type of yours, with `#[async_trait]`"
)]
#[async_trait]
pub trait CustomerDirectory: fmt::Debug + Send + Sync + 'static {
    /// Returns whether `bearer`, whose ACL grants `PostAuthenticationToken`, may start a session of `customer` in
    /// `organization`. The deadline is the policy's `runtime.store_deadline`.
    ///
    /// # Errors
    ///
    /// Any error that prevents a decision; the session is then not started. The client is sent its kind and message.
    /// Use [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) for an outage.
    async fn may_start(
        &self,
        bearer: &Validated,
        organization: Option<&OrganizationId>,
        customer: &CustomerId,
    ) -> Result<bool, Error>;
}
