//! What is measured. With the feature `metrics`, through the facade of that name; without it, the
//! same functions do nothing.

#[cfg(feature = "metrics")]
mod recorder;

#[cfg(not(feature = "metrics"))]
#[path = "no_recorder.rs"]
mod recorder;

pub(crate) use self::recorder::*;
