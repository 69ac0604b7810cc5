use std::sync::Arc;

use http::request::Parts;

use crate::guard::admission::forbidden;
use crate::guard::authenticate::audit_authorization_rejection;
use crate::guard::path::path_parameter;
use crate::guard::rejection::{Rejection, RejectionReason};
use crate::guard::require::CheckedScope;
use crate::token::acl::ORGANIZATION;
use crate::token::claims::Validated;

/// What a permission is asked for at: the scope's keys, with the values that the request has.
pub(super) type Scope = Vec<(Arc<str>, Arc<str>)>;

/// Reads a scope's value from the path parameter of its name.
///
/// # Errors
///
/// A 500 where the route has no such parameter, or two: dropping the key would ask for less than the
/// host wrote. A 403 where no route was found, or the value is no text: that is inside no scope.
pub(super) fn read_path(
    parts: &mut Parts,
    key: &str,
    validated: &Validated,
) -> Result<Arc<str>, Rejection> {
    path_parameter(&mut parts.extensions, key).map(Arc::from).map_err(|fault| match fault.problem {
        Some(problem) => Rejection::misplaced_parameter(key, problem),
        None => forbidden(validated, RejectionReason::InsufficientPermission),
    })
}

/// Adds the caller's own organization to a scope, where they are bound to one.
pub(super) fn own_organization(validated: &Validated) -> Option<(Arc<str>, Arc<str>)> {
    validated.organization_id().map(|id| (ORGANIZATION.into(), id.as_str().into()))
}

/// Checks that a token grants a permission there, and leaves for handlers what was checked.
pub(super) fn check_permission(
    parts: &mut Parts,
    validated: &Validated,
    permission: &str,
    scope: Scope,
) -> Result<(), Rejection> {
    let asked: Vec<_> = scope.iter().map(|(key, value)| (&**key, &**value)).collect();
    if validated.allows(permission, &asked) {
        drop(asked);
        CheckedScope::leave(&mut parts.extensions, scope);
        return Ok(());
    }
    if validated.is_kept_by_organization(permission, &asked) {
        return Err(forbidden(validated, RejectionReason::OutsideOrganization));
    }
    audit_authorization_rejection(validated, RejectionReason::InsufficientPermission);
    Err(Rejection::insufficient(permission, validated.issuer()))
}
