use crate::jose::KeyRing;
use crate::service::keys::ManagedKeys;

/// The source of a service's signing keys: see [`NeedsKeys::keys`](crate::builder::NeedsKeys).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum KeySource {
    /// A key ring that the host rotates itself.
    Ring(KeyRing),
    /// Keys that the service generates and rotates, and that all nodes share.
    Managed(ManagedKeys),
}

impl From<KeyRing> for KeySource {
    fn from(keys: KeyRing) -> Self {
        Self::Ring(keys)
    }
}

impl From<ManagedKeys> for KeySource {
    fn from(keys: ManagedKeys) -> Self {
        Self::Managed(keys)
    }
}
