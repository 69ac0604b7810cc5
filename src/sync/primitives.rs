//! What all of it is made of, which a model brings its own of.

#[cfg(not(countersign_models))]
pub(super) use arc_swap::{ArcSwap, Guard};
#[cfg(not(countersign_models))]
pub(super) use std::sync::{Mutex, OnceLock, atomic::AtomicU64};

#[cfg(countersign_models)]
pub(super) use crate::stand_ins::{ArcSwap, AtomicU64, Guard, Mutex, OnceLock};
