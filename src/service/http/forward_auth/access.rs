use std::borrow::Cow;

use crate::guard::admission::forbidden;
use crate::rejection::{LogReason, Rejection};
use crate::service::http::forward_auth::ForwardedRequest;
use crate::token::acl::ORGANIZATION;
use crate::token::claims::Validated;

/// The access that a rule requires of the caller of a proxy's request.
#[derive(Clone, Debug)]
#[must_use]
pub struct Access {
    demand: Demand,
}

#[derive(Clone, Debug)]
enum Demand {
    Denied,
    AnyCaller,
    Permission {
        permission: Cow<'static, str>,
        scope: Vec<(Cow<'static, str>, String)>,
        in_own_organization: bool,
    },
}

impl Access {
    /// Denies the request, for paths that no rule covers.
    pub fn denied() -> Self {
        Self { demand: Demand::Denied }
    }

    /// Admits every caller with a valid token or session.
    pub fn any_caller() -> Self {
        Self { demand: Demand::AnyCaller }
    }

    /// Admits callers whose token grants `permission`.
    pub fn permission(permission: impl Into<Cow<'static, str>>) -> Self {
        let (permission, scope) = (permission.into(), Vec::new());
        Self { demand: Demand::Permission { permission, scope, in_own_organization: false } }
    }

    /// Requires the permission in a scope in which `key` has this value. Without a permission, every caller is
    /// denied.
    pub fn scope(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        match &mut self.demand {
            Demand::Permission { scope, .. } => scope.push((key.into(), value.into())),
            Demand::AnyCaller | Demand::Denied => self.demand = Demand::Denied,
        }
        self
    }

    /// Requires the permission in the caller's own organization, for an upstream that acts only in that one; see
    /// [`RequireLayer::in_own_organization`](crate::RequireLayer::in_own_organization). Without a permission, every
    /// caller is denied.
    pub fn in_own_organization(mut self) -> Self {
        match &mut self.demand {
            Demand::Permission { in_own_organization, .. } => *in_own_organization = true,
            Demand::AnyCaller | Demand::Denied => self.demand = Demand::Denied,
        }
        self
    }

    pub(super) fn check(
        &self,
        request: &ForwardedRequest,
        caller: &Validated,
    ) -> Result<(), Rejection> {
        match &self.demand {
            Demand::AnyCaller => Ok(()),
            Demand::Denied => {
                tracing::debug!(method = %request.method(), "forward auth: the rule denies every caller, the request is rejected with a 403");
                Err(forbidden(caller, LogReason::InsufficientPermission))
            }
            Demand::Permission { permission, scope, in_own_organization } => {
                let mut asked: Vec<_> =
                    scope.iter().map(|(key, value)| (&**key, value.as_str())).collect();
                let own = caller.organization_id().filter(|_| *in_own_organization);
                asked.extend(own.map(|id| (ORGANIZATION, id.as_str())));
                caller.require(permission, &asked)
            }
        }
    }
}
