use std::fmt;
use std::sync::Arc;

use crate::jose::{Algorithm, CryptoProvider};
use crate::service::store::KeyStore;

/// Signing keys that the service makes and changes itself, as the policy's
/// [`tokens.rotation_schedule`](crate::policy::Tokens::rotation_schedule) says, and that nodes share.
///
/// The keys are in a [`KeyStore`], the private ones sealed with the service's
/// [sealing key](crate::SealingKey): a node that has the store and the sealing key has the signing
/// keys, and none of them is in a file. When each key signs is written down ahead, so all nodes turn
/// to the next one together, also while the store is out of reach.
///
/// They are loaded by [`start`](crate::TokenService::start), which keeps up with them, or by
/// [`catch_up`](crate::TokenService::catch_up). Until then, tokens are rejected with a 503, and
/// none is issued.
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
///     .keys(ManagedKeys::new(Algorithm::EdDSA))
///     .store(MemoryStore::new()) // or one that nodes share: SQLite, Postgres or Redis
///     .build()?;
/// let housekeeping = tokens.start().await?;
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
    /// Where that is not the service's.
    pub(in crate::service) store: Option<Arc<dyn KeyStore>>,
}

impl ManagedKeys {
    /// Keys of an algorithm, made by a provider. They are in the
    /// [store of the service](crate::builder::TokenServiceBuilder::store); without one they are in memory, and
    /// each process has its own.
    pub fn with_provider(algorithm: Algorithm, provider: impl CryptoProvider + 'static) -> Self {
        Self { algorithm, provider: Arc::new(provider), store: None }
    }

    /// The store of the keys, where they are not kept with everything else.
    pub fn store(mut self, store: impl KeyStore) -> Self {
        self.store = Some(Arc::new(store));
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
