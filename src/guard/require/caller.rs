use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use axum_core::extract::FromRequestParts;
use http::request::Parts;

use crate::guard::admission::{Kinds, required};
use crate::guard::require::CheckedScope;
use crate::guard::require::check::{check_permission, own_organization, read_path};
use crate::rejection::Rejection;
use crate::token::claims::{SubjectType, Validated};

/// The requirement that a handler has of its [`Caller`]. The host implements it for a type of its own, and sets the
/// constants; see [`Caller`] for an example.
///
/// A scope restricts the permission. A handler whose requirement has a scope and no permission does not compile:
///
/// ```compile_fail
/// use countersign::{Caller, Requirement};
/// # use axum::{Router, routing::get};
///
/// struct InOrganization;
///
/// impl Requirement for InOrganization {
///     const SCOPE_FROM_PATH: &'static [&'static str] = &["organizationId"];
/// }
///
/// async fn orders(_: Caller<InOrganization>) -> &'static str {
///     "orders"
/// }
/// let app: Router = Router::new().route("/{organizationId}", get(orders));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what a handler requires of its caller",
    label = "has to be a `Requirement`",
    note = "name a type of your own, and write `impl Requirement for` it with the constant `PERMISSION`",
    note = "a handler that requires no more than a token takes a `Bearer`"
)]
pub trait Requirement: Send + Sync + 'static {
    /// The permission that the caller's token must grant. Default: none.
    const PERMISSION: Option<&'static str> = None;

    /// The kinds of principals that are admitted. Default: all.
    const KINDS: &'static [SubjectType] =
        &[SubjectType::User, SubjectType::Machine, SubjectType::Customer];

    /// The scope keys whose values are axum's path parameters of the same names. Default: none. See
    /// [`RequireLayer::scope_from_path`](crate::RequireLayer::scope_from_path).
    const SCOPE_FROM_PATH: &'static [&'static str] = &[];

    /// Whether the permission is required in the caller's own organization. Default: no. See
    /// [`RequireLayer::in_own_organization`](crate::RequireLayer::in_own_organization).
    const IN_OWN_ORGANIZATION: bool = false;
}

/// The caller of a handler, whose token was validated and meets the [`Requirement`] `D`.
///
/// The requirement is part of the handler's signature, so it applies to every route and method that the handler is
/// mounted at. A `route_layer` guards only the methods that were added before it: in
/// `get(list).route_layer(permission).post(create)`, `create` is open.
///
/// It dereferences to the [`Validated`] token: `caller.principal()` is the caller, `caller.organization_id()` the
/// organization that the token is bound to, and `caller.require(…)` checks further permissions.
///
/// ```
/// use axum::{Router, routing::get};
/// use countersign::{Caller, Rejection, Requirement};
///
/// struct GetOrders;
///
/// impl Requirement for GetOrders {
///     const PERMISSION: Option<&'static str> = Some("GetOrders");
///     const SCOPE_FROM_PATH: &'static [&'static str] = &["organizationId"];
/// }
///
/// async fn orders(caller: Caller<GetOrders>) -> Result<String, Rejection> {
///     let organization = caller.scope("organizationId")?;
///     Ok(format!("orders of {organization}, for {}", caller.principal()))
/// }
/// # fn app(tokens: countersign::TokenService) -> Router {
/// Router::new().route("/{organizationId}/orders", get(orders)).layer(tokens.validate_layer())
/// # }
/// ```
///
/// # Rejections
///
/// Returns a [`Rejection`]: 401 without a token; 403 if the token does not grant the permission in this scope, or the
/// kind of principal is not admitted; 500, with an error in the log, if no layer has validated the request, or the
/// route lacks a path parameter that the scope needs.
pub struct Caller<D> {
    validated: Arc<Validated>,
    scope: CheckedScope,
    requirement: PhantomData<fn() -> D>,
}

impl<D> Caller<D> {
    /// Returns the validated token, for use beyond the request.
    #[must_use]
    pub fn validated(&self) -> &Arc<Validated> {
        &self.validated
    }

    /// Returns the value of a scope key for which the caller's token was checked, by this extractor or by a layer.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] with 500, and an error in the log, if that key was not checked: the handler must not use an
    /// unchecked value instead. With [`IN_OWN_ORGANIZATION`](Requirement::IN_OWN_ORGANIZATION), this is the case for a
    /// caller that is bound to no organization. A handler that admits such callers reads
    /// [`organization_id`](Validated::organization_id), which is `None` for them.
    pub fn scope(&self, key: &str) -> Result<&str, Rejection> {
        self.scope.get(key).ok_or_else(|| Rejection::unchecked_scope(key))
    }
}

impl<D> Deref for Caller<D> {
    type Target = Validated;

    fn deref(&self) -> &Validated {
        &self.validated
    }
}

impl<D> Clone for Caller<D> {
    fn clone(&self) -> Self {
        let (validated, scope) = (Arc::clone(&self.validated), self.scope.clone());
        Self { validated, scope, requirement: PhantomData }
    }
}

impl<D> fmt::Debug for Caller<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("validated", &self.validated)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

impl<S: Sync, D: Requirement> FromRequestParts<S> for Caller<D> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        // Without a permission, a scope has no effect.
        const {
            assert!(
                D::PERMISSION.is_some()
                    || (D::SCOPE_FROM_PATH.is_empty() && !D::IN_OWN_ORGANIZATION),
                "a Requirement without a PERMISSION has no scope: give it one, or have the layer check the \
                 organization by `organization_from_path`"
            );
        }
        let validated = required(&parts.extensions, "the extractor Caller")?;
        Kinds::of(D::KINDS.iter().copied()).check(&validated)?;
        if let Some(permission) = D::PERMISSION {
            let mut scope = Vec::new();
            for key in D::SCOPE_FROM_PATH {
                scope.push(((*key).into(), read_path(parts, key, &validated)?));
            }
            scope.extend(own_organization(&validated).filter(|_| D::IN_OWN_ORGANIZATION));
            check_permission(parts, &validated, permission, scope)?;
        }
        let scope = parts.extensions.get::<CheckedScope>().cloned().unwrap_or_default();
        Ok(Self { validated, scope, requirement: PhantomData })
    }
}
