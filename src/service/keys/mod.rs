//! Signing keys that the service makes itself, shares with other nodes, and changes by a schedule.

mod managed;
mod manager;
mod new_keys;
mod ring;
mod source;
mod text;

#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod with_default_provider;

pub use self::managed::ManagedKeys;
pub(in crate::service) use self::manager::KeyManager;
pub use self::source::KeySource;
