//! What many threads read while some change it: the code whose order of reads and writes matters.
//!
//! It knows nothing of tokens, so that the package in `models/` can run these very files under loom,
//! in every order that the memory model allows.

pub(crate) mod epoch;
mod epoch_swap;
mod primitives;
mod single_flight;

pub(crate) use self::epoch::CheckedEpoch;
pub(crate) use self::epoch_swap::EpochSwap;
pub(crate) use self::single_flight::{FlightResult, SingleFlight};
