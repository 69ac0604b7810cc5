//! What the crate promises, through its public API and over real HTTP on the loopback.

#![allow(
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::expect_used,
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed, and nobody imports it"
)]

mod architecture;
mod attacks;
mod browser;
mod cached;
mod cluster;
mod compile_fail;
mod customer_portal;
mod durable_stores;
mod engine_faults;
mod engines;
mod examples;
mod exchange;
mod faulty_store;
mod housekeeping;
mod independent_clients;
mod keys;
mod layers;
mod long_feeds;
mod managed_keys;
mod nodes;
mod observability;
mod passwords;
mod programs;
mod properties;
mod proxy;
mod readme;
mod redaction;
mod redis_store;
mod remote_issuers;
mod revocation;
mod rfc;
mod sessions;
mod stores;
mod support;
mod testing;
mod token_cache;
mod users_and_entities;
