//! `RequireLayer`: lets requests through whose token grants a permission.
//!
//! It stands behind a [`ValidateLayer`](crate::ValidateLayer) or an
//! `ExchangeLayer`, whose finding it reads; without one it answers 500 and says
//! so in the log. A token without the permission is a 403 with `insufficient_scope`, no token a
//! 401.
//!
//! A permission may be asked for within a scope, whose values come from the request. A value that
//! the request does not have is not inside any restriction.

mod layer;
mod service;

#[cfg(feature = "router")]
mod path;

pub use self::layer::RequireLayer;
pub use self::service::Require;
