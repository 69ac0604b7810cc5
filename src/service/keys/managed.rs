use std::fmt;
use std::sync::Arc;

use crate::jose::{Algorithm, CryptoProvider};
use crate::service::store::{self, KeyStore};

/// Signing keys that the service makes and changes itself, as the policy's
/// [`rotation_schedule`](crate::Policy::rotation_schedule) says, and that nodes share.
///
/// The keys are in a [`KeyStore`], the private ones sealed with the service's
/// [sealing key](crate::SealingKey): a node that has the store and the sealing key has the signing
/// keys, and none of them is in a file. When each key signs is written down ahead, so all nodes turn
/// to the next one together, also while the store is out of reach.
///
/// They come with [`catch_up`](crate::TokenService::catch_up), and are kept up with by
/// [`run_housekeeping`](crate::TokenService::run_housekeeping). Until they have come, tokens are
/// answered 503, and none is issued.
///
/// ```
/// # #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
/// # async fn example() -> Result<(), countersign::Error> {
/// use countersign::store::MemoryStore;
/// use countersign::{Algorithm, Grant, ManagedKeys, TokenService};
///
/// let tokens = TokenService::builder()
///     .issuer("https://auth.example.com")
///     .audience("https://api.example.com")
///     // A store that nodes share would be given here: SQLite, Postgres or Redis.
///     .keys(ManagedKeys::new(Algorithm::EdDSA).store(MemoryStore::new()))
///     .build()?;
/// tokens.catch_up().await?;
/// tokio::spawn(tokens.run_housekeeping());
/// tokens.issue(Grant::user("jane.doe@example.com")).await?;
/// # Ok(()) }
/// # #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(example())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct ManagedKeys {
    pub(super) algorithm: Algorithm,
    pub(super) provider: Arc<dyn CryptoProvider>,
    pub(in crate::service) store: Arc<dyn KeyStore>,
}

impl ManagedKeys {
    /// Keys of an algorithm, made by a provider. They are in memory unless a store is given: each
    /// process then has its own.
    pub fn with_provider(algorithm: Algorithm, provider: impl CryptoProvider + 'static) -> Self {
        Self { algorithm, provider: Arc::new(provider), store: store::default_keys() }
    }

    /// Where the keys are kept.
    pub fn store(mut self, store: impl KeyStore) -> Self {
        self.store = Arc::new(store);
        self
    }
}

impl fmt::Debug for ManagedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedKeys")
            .field("algorithm", &self.algorithm)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
