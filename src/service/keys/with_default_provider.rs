use crate::jose::{Algorithm, DefaultProvider};
use crate::service::keys::ManagedKeys;

impl ManagedKeys {
    /// Creates managed keys that the [`DefaultProvider`] generates; see [`with_provider`](Self::with_provider).
    pub fn new(algorithm: Algorithm) -> Self {
        Self::with_provider(algorithm, DefaultProvider)
    }
}
