//! What the crate promises over real engines, in a real browser, and to clients in other languages.
//! `scripts/servers` starts the engines, and `scripts/test` installs the rest.

mod browser;
mod browser_origins;
mod clocks;
mod cluster;
mod customer_portal;
mod durable_stores;
mod engine_faults;
mod examples;
mod failovers;
mod forward_auth;
mod full_disk;
mod hang_ups;
mod idempotency;
#[cfg(feature = "remote-jwks")]
mod identity_providers;
mod independent_clients;
mod long_feeds;
mod managed_keys;
mod nodes;
mod postgres_operations;
mod postgres_poolers;
mod properties;
#[allow(dead_code, reason = "`chaos` uses the rest")]
mod proxy;
mod readme;
mod redis_operations;
mod redis_store;
mod servers;
mod tls;
mod token_server;
mod upgrade;

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "`it` uses the rest")]
mod support;
