//! Models of what threads share: each test runs the crate's own code under
//! [loom](https://docs.rs/loom) in every order in which its threads can run, and with every value
//! that the memory model lets them read.
//!
//! ```text
//! cargo test --release --manifest-path models/Cargo.toml --target-dir target/models
//! ```

#![cfg(test)]
#![allow(dead_code, reason = "a model does not need all of it")]

#[path = "../../src/sync/mod.rs"]
mod sync;

#[path = "../../src/service/epoch_lock.rs"]
mod epoch_lock;

mod revocations;
mod rotation;
mod single_flight;
mod stand_ins;
