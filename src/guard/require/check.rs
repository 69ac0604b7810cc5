use std::sync::Arc;

use http::Extensions;
use http::request::Parts;

use crate::guard::admission::forbidden;
use crate::guard::authenticate::audit_authorization_rejection;
use crate::guard::path::path_parameter;
use crate::guard::require::CheckedScope;
use crate::rejection::{LogReason, Rejection};
use crate::token::acl::ORGANIZATION;
use crate::token::claims::Validated;

/// The scope in which a permission is required: its keys, with the values of the request.
pub(super) type Scope = Vec<(Arc<str>, Arc<str>)>;

/// Reads a scope's value from the path parameter of its name.
///
/// # Errors
///
/// A 500 if the route has no such parameter, or two: without the key, the check would be weaker than the host wrote.
/// A 403 if no route matched, or the value is not text: it lies in no scope.
pub(super) fn read_path(
    parts: &mut Parts,
    key: &str,
    validated: &Validated,
) -> Result<Arc<str>, Rejection> {
    path_parameter(&mut parts.extensions, key).map(Arc::from).map_err(|fault| match fault.problem {
        Some(problem) => Rejection::misplaced_parameter(key, problem),
        None => forbidden(validated, LogReason::InsufficientPermission),
    })
}

/// Adds the caller's own organization to a scope, if the caller is bound to one.
pub(super) fn own_organization(validated: &Validated) -> Option<(Arc<str>, Arc<str>)> {
    validated.organization_id().map(|id| (ORGANIZATION.into(), id.as_str().into()))
}

/// Checks that a token grants permissions in a scope: any of them, or all.
pub(super) fn check_permissions(
    validated: &Validated,
    permissions: &[Arc<str>],
    scope: &Scope,
    any: bool,
) -> Result<(), Rejection> {
    let asked: Vec<_> = scope.iter().map(|(key, value)| (&**key, &**value)).collect();
    // An empty list of permissions is denied.
    if any || permissions.is_empty() {
        let permissions: Vec<_> = permissions.iter().map(|permission| &**permission).collect();
        return validated.require_any(&permissions, &asked);
    }
    permissions.iter().try_for_each(|permission| validated.require(permission, &asked))
}

/// Checks that a token grants a permission in the scope, and passes the checked scope on to handlers.
pub(super) fn check_permission(
    parts: &mut Parts,
    validated: &Validated,
    permission: &str,
    scope: Scope,
) -> Result<(), Rejection> {
    check_permissions(validated, &[permission.into()], &scope, false)?;
    leave_scope(&mut parts.extensions, validated, scope)
}

/// Passes the checked scope on to handlers. Rejects a request for which a layer in front has checked another value
/// of a key: the two read it from different places, and a handler could act on either.
pub(crate) fn leave_scope(
    extensions: &mut Extensions,
    validated: &Validated,
    scope: Scope,
) -> Result<(), Rejection> {
    CheckedScope::leave(extensions, scope).map_err(|key| {
        tracing::warn!(key = &*key, "layers: two layers read different values for a scope key, the request is rejected with a 403; read the key in one place");
        forbidden(validated, LogReason::InsufficientPermission)
    })
}

/// Audits and returns the rejection of a token that does not grant a permission in the scope.
fn not_granted(validated: &Validated, permission: &str, scope: &[(&str, &str)]) -> Rejection {
    if validated.is_kept_by_organization(permission, scope) {
        return forbidden(validated, LogReason::OutsideOrganization);
    }
    audit_authorization_rejection(validated, LogReason::InsufficientPermission);
    Rejection::insufficient(permission, validated.issuer())
}

impl Validated {
    /// Checks that the token grants `permission` in `scope`, as a [`RequireLayer`](crate::RequireLayer) does, for
    /// scopes that only the handler knows. To require several permissions, call it for each; to require one of
    /// several, call [`require_any`](Self::require_any).
    ///
    /// ```
    /// use axum::extract::Path;
    /// use countersign::{Bearer, Rejection};
    /// # struct Todo { owner: String }
    /// # async fn load(id: u64) -> Todo { Todo { owner: "jane".to_owned() } }
    ///
    /// async fn close(Bearer(caller): Bearer, Path(id): Path<u64>) -> Result<(), Rejection> {
    ///     let todo = load(id).await;
    ///     caller.require("todos:write", &[("owner", &todo.owner)])?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// A [`Rejection`] with 403, after an event in the audit log, if [`allows`](Self::allows) is false.
    pub fn require(&self, permission: &str, scope: &[(&str, &str)]) -> Result<(), Rejection> {
        if self.allows(permission, scope) {
            Ok(())
        } else {
            Err(not_granted(self, permission, scope))
        }
    }

    /// Checks that the token grants at least one of the permissions in a scope; see [`require`](Self::require).
    ///
    /// # Errors
    ///
    /// A [`Rejection`] with 403 if it grants none of them. Its challenge names the first.
    pub fn require_any(
        &self,
        permissions: &[&str],
        scope: &[(&str, &str)],
    ) -> Result<(), Rejection> {
        if permissions.iter().any(|permission| self.allows(permission, scope)) {
            return Ok(());
        }
        let first = permissions.first().copied().unwrap_or_default();
        Err(not_granted(self, first, scope))
    }
}
