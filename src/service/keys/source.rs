use crate::jose::KeyRing;
use crate::service::keys::ManagedKeys;

/// Where a service has its signing keys from: see
/// [`NeedsKeys::keys`](crate::builder::NeedsKeys).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum KeySource {
    /// The host, which changes them itself.
    Ring(KeyRing),
    /// The service, which makes and changes them, and shares them with other nodes.
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
