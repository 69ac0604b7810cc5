use std::fmt;
use std::sync::Arc;

use crate::jose::{Algorithm, CryptoProvider};
use crate::service::store::KeyStore;

/// Signing keys that the service generates and rotates itself, by the policy's
/// [`tokens.rotation_schedule`](crate::policy::Tokens::rotation_schedule), and that all nodes share.
///
/// The keys are kept in a [`KeyStore`], with their private parts sealed by the service's [sealing
/// key](crate::SealingKey). A node needs only the store and the sealing key; no signing key is in a file. The times
/// at which the keys sign are recorded in advance, so all nodes switch to the next key at the same time, even if the
/// store is unreachable.
///
/// [`start`](crate::TokenService::start) loads the keys and keeps them up to date;
/// [`catch_up`](crate::TokenService::catch_up) loads them once. Until then, tokens are rejected with a 503, and none
/// is issued.
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
    /// Creates managed keys of an algorithm; `provider` generates them. They are kept in the [store of the
    /// service](crate::builder::TokenServiceBuilder::store). Without that setting, they are in memory, and each
    /// process has its own.
    pub fn with_provider(algorithm: Algorithm, provider: impl CryptoProvider + 'static) -> Self {
        Self { algorithm, provider: Arc::new(provider), store: None }
    }

    /// Sets the store of the keys, if it is not the one of everything else.
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
