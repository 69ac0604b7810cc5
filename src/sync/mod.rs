//! What many threads read while some change it: the code whose order of reads and writes matters.
//!
//! It knows nothing of tokens, so that the package in `models/` can run these very files under loom,
//! in every order that the memory model allows.

mod counted;
mod flights;
mod generation;
mod primitives;
mod versioned;

pub(crate) use self::counted::Counted;
pub(crate) use self::flights::{Flights, Landed};
#[cfg(feature = "service")]
pub(crate) use self::generation::Generation;
pub(crate) use self::generation::GoodAsOf;
pub(crate) use self::versioned::Versioned;
