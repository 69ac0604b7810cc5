//! Checks whether a session may be started: the customer, and the number of sessions.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::service::model::session::Session;
use crate::service::model::subject::Subject;
use crate::service::permission;
use crate::service::session::insufficient;
use crate::service::stores::unavailable;
use crate::service::token_service::TokenService;
use crate::token::acl::Acl;
use crate::token::claims::Validated;
use crate::token::identifier::{CustomerId, OrganizationId};

/// When to retry a start above the limit. The expiry of the existing sessions is not looked up.
const RETRY_AFTER_TOO_MANY: Duration = Duration::from_secs(60);

impl TokenService {
    /// Checks that a bearer may start sessions for a customer.
    pub(super) async fn check_customer(
        &self,
        bearer: &Validated,
        organization: Option<&OrganizationId>,
        customer: &CustomerId,
    ) -> Result<(), Error> {
        if names_customer(bearer, organization, customer) {
            return Ok(());
        }
        let Some(directory) = &self.inner.customer_directory else {
            if bearer.organization_id().is_none() {
                return Ok(());
            }
            tracing::warn!(
                "sessions: a bearer that is bound to an organization may name no customer, its start \
                 of a session is rejected; give its list a `customerId` scope, or set a \
                 `customer_directory`"
            );
            return Err(insufficient().with_reason("customer_not_named"));
        };
        let asking = directory.may_start(bearer, organization, customer);
        match tokio::time::timeout(self.inner.policy.runtime.store_deadline, asking).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(insufficient().with_reason("other_customer")),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(unavailable("the customer directory took too long")),
        }
    }

    /// Checks that neither the customer nor the starter of the session has reached the policy's maximum.
    ///
    /// It is not atomic with the insert: a distributed store cannot count and insert in one step without blocking
    /// all other writes, and a few sessions above the limit do no harm.
    pub(super) async fn check_session_limits(
        &self,
        session: &Session,
        now: Timestamp,
    ) -> Result<(), Error> {
        let policy = &self.inner.policy;
        let customer = session.subject();
        let counts = |subject: Option<Subject>, limit: usize, reason: &'static str| async move {
            let Some(subject) = subject else { return Ok(()) };
            if self.inner.stores.count_sessions(&subject, now, limit).await? < limit {
                return Ok(());
            }
            let message = "there are too many live sessions: end one, or wait until one has ended";
            let error = Error::new(ErrorKind::Throttled, message).with_reason(reason);
            Err(error.with_retry_after(RETRY_AFTER_TOO_MANY))
        };
        let starter = session.started_by().cloned();
        let of_customer =
            counts(Some(customer), policy.sessions.max_per_customer, "too_many_sessions");
        let of_starter =
            counts(starter, policy.sessions.max_per_starter, "too_many_sessions_started");
        tokio::try_join!(of_customer, of_starter).map(drop)
    }
}

/// Returns whether a bearer's ACL names a customer to start sessions for.
fn names_customer(
    bearer: &Validated,
    organization: Option<&OrganizationId>,
    customer: &CustomerId,
) -> bool {
    let mut scope = vec![("customerId", customer.as_str())];
    scope.extend(organization.map(|id| ("organizationId", id.as_str())));
    bearer.acl().entries().iter().any(|entry| {
        entry.scope().any(|(key, _)| key == "customerId")
            && Acl::new([entry.clone()]).allows(permission::POST_AUTHENTICATION_TOKEN, &scope)
    })
}
