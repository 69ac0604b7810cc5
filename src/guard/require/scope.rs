use std::sync::Arc;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::Extensions;
use http::request::Parts;

use crate::rejection::Rejection;

/// The scope for which the layers in front of a handler checked the caller's token. The handler reads the values
/// here instead of from the request, where it might find different ones.
///
/// ```
/// use axum::{Router, routing::get};
/// use countersign::layers::require::CheckedScope;
/// # fn app(tokens: countersign::TokenService) -> Router {
/// let orders = get(async |scope: CheckedScope| {
///     format!("orders of {:?}", scope.get("organizationId"))
/// });
/// let permission = tokens.require_layer("GetOrders").scope_from_path("organizationId");
/// Router::new()
///     .route("/{organizationId}/orders", orders.route_layer(permission))
///     .layer(tokens.validate_layer())
/// # }
/// ```
///
/// # Rejections
///
/// As an extractor: a [`Rejection`] with 500, and an error in the log, if no layer has checked a scope.
/// `Option<CheckedScope>` is then `None`.
#[derive(Clone, Debug, Default)]
pub struct CheckedScope {
    values: Vec<(Arc<str>, Arc<str>)>,
}

impl CheckedScope {
    /// Returns the value that was checked for `key`, if a layer checked that key. A request for which two layers find
    /// different values is rejected.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| **known == *key).map(|(_, value)| &**value)
    }

    /// Adds the scope of this layer to that of layers in front. Returns the key for which one of them has checked
    /// another value, if there is one.
    pub(crate) fn leave(
        extensions: &mut Extensions,
        checked: Vec<(Arc<str>, Arc<str>)>,
    ) -> Result<(), Arc<str>> {
        if checked.is_empty() {
            return Ok(());
        }
        let Some(known) = extensions.get_mut::<Self>() else {
            extensions.insert(Self { values: checked });
            return Ok(());
        };
        for (key, value) in checked {
            match known.values.iter().find(|(other, _)| *other == key) {
                Some((_, other)) if *other != value => return Err(key),
                Some(_) => {}
                None => known.values.push((key, value)),
            }
        }
        Ok(())
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
