//! `RequireLayer`: forwards only requests whose token grants a permission.
//!
//! It goes behind a [`ValidateLayer`](crate::ValidateLayer) or an `ExchangeLayer`, whose result it reads; without
//! one it responds with a 500 and logs an error. A token without the permission is a 403 with `insufficient_scope`,
//! no token a 401.
//!
//! A permission may be required within a scope, whose values come from the request. The layer passes them on to the
//! handler as a [`CheckedScope`], so that the handler acts on the values that were checked.
//!
//! A handler may require a permission itself, in its signature: see [`Caller`](crate::Caller).

pub(crate) mod caller;
mod check;
pub(crate) mod layer;
mod scope;
mod service;

pub(crate) use self::layer::RequireLayer;
pub use self::scope::CheckedScope;
pub use self::service::Require;
