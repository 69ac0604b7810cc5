//! What the crate promises, through its public API and over real HTTP on the loopback. Nothing here needs
//! a server, a browser or a program beside Rust: what does is in `engines`.

mod actor;
mod architecture;
mod attacks;
mod audiences;
mod bulk;
mod cached;
mod chaos_checker;
mod clocks;
mod examples;
mod exchange;
mod faulty_store;
#[cfg(feature = "remote-jwks")]
mod foreign_tokens;
mod handlers;
mod hang_ups;
mod housekeeping;
mod idempotency;
mod idempotent_starts;
#[cfg(feature = "remote-jwks")]
mod jwks_url;
mod keys;
mod layers;
mod lifetimes;
mod list_entities;
mod log_out;
mod managed_keys;
mod observability;
mod passwords;
mod pem;
mod properties;
#[cfg(feature = "remote-jwks")]
mod providers;
#[cfg(feature = "remote-jwks")]
mod reaching_keys;
mod redaction;
#[cfg(feature = "remote-jwks")]
mod remote_issuers;
mod revocation;
mod rfc;
mod sealing_keys;
mod sessions;
#[cfg(feature = "sqlite")]
mod sqlite_operations;
#[cfg(feature = "sqlite")]
mod sqlite_store;
mod start;
mod stores;
mod testing;
mod token_cache;
#[cfg(feature = "remote-jwks")]
mod trusting_others;
#[cfg(feature = "sqlite")]
mod upgrade;
mod users_and_entities;
mod wait_for_end;
mod wycheproof;

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "`engines` uses the rest")]
mod support;
