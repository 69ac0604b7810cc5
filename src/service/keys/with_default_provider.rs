use crate::jose::{Algorithm, DefaultProvider};
use crate::service::keys::ManagedKeys;

impl ManagedKeys {
    /// [`with_provider`](Self::with_provider) the [`DefaultProvider`].
    pub fn new(algorithm: Algorithm) -> Self {
        Self::with_provider(algorithm, DefaultProvider)
    }
}
