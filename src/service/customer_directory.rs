use std::fmt;

use async_trait::async_trait;

use crate::error::Error;
use crate::token::claims::Validated;
use crate::token::identifier::{CustomerId, OrganizationId};

/// Knows which customers belong to an organization, so that a bearer starts no session of another's.
///
/// It is asked where a session is started on a bearer's word and the bearer's list does not name the
/// customer by a `customerId` scope. Without one, a bearer that is bound to an organization may name no
/// customer but those, and one that is bound to none may name anybody.
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
    /// Returns whether `bearer`, whose list grants `PostAuthenticationToken`, may start a session of
    /// `customer`, which will belong to `organization`. It may take as long as the policy's
    /// `runtime.store_deadline`.
    ///
    /// # Errors
    ///
    /// Whatever kept it from being known; the session is not started then. Callers are told the kind and
    /// the message: [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) for an outage.
    async fn may_start(
        &self,
        bearer: &Validated,
        organization: Option<&OrganizationId>,
        customer: &CustomerId,
    ) -> Result<bool, Error>;
}
