//! What holds whatever comes: laws, tried with values that nobody thought of.
//!
//! A case that fails is made as small as it gets, and printed. Half of the cases of a run are new.

mod acl;
mod memory_store;
mod models;
mod revocations;
mod wire;
