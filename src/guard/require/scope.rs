use std::sync::Arc;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::Extensions;
use http::request::Parts;

use crate::guard::rejection::Rejection;

/// The scope that the layers in front of a handler checked the caller's token for, left for the
/// handler, which need not read the request a second time and find something else.
///
/// ```
/// use axum::{Router, routing::get};
/// use countersign::layers::require::CheckedScope;
/// # fn app(tokens: countersign::TokenService) -> Router {
/// let orders = get(async |scope: CheckedScope| {
///     format!("orders of {:?}", scope.get("organizationId"))
/// });
/// let permission = tokens.require("GetOrders").scope_from_path("organizationId");
/// Router::new()
///     .route("/{organizationId}/orders", orders.route_layer(permission))
///     .layer(tokens.validate_layer())
/// # }
/// ```
///
/// # Rejections
///
/// As an extractor: a [`Rejection`] with 500 where no layer has checked a scope, and a line in the log.
/// `Option<CheckedScope>` is `None` then.
#[derive(Clone, Debug, Default)]
pub struct CheckedScope {
    values: Vec<(Arc<str>, Arc<str>)>,
}

impl CheckedScope {
    /// Returns the value that was checked under `key`; none where no layer checked that key, or two of
    /// them checked different values.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let mut values = self.values.iter().filter(|(known, _)| **known == *key);
        let (_, value) = values.next()?;
        values.all(|(_, other)| other == value).then_some(&**value)
    }

    /// Adds what was checked to what layers in front have checked.
    pub(crate) fn leave(extensions: &mut Extensions, checked: Vec<(Arc<str>, Arc<str>)>) {
        if checked.is_empty() {
            return;
        }
        match extensions.get_mut::<Self>() {
            Some(known) => known.values.extend(checked),
            None => {
                extensions.insert(Self { values: checked });
            }
        }
    }
}

impl<S: Sync> FromRequestParts<S> for CheckedScope {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let checked = parts.extensions.get::<Self>().cloned();
        checked.ok_or_else(|| {
            Rejection::missing_layer(
                "a layer that checks a scope, as RequireLayer with `scope_from_path`,",
                "the extractor CheckedScope",
            )
        })
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for CheckedScope {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Rejection> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}
