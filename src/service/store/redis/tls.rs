//! What TLS needs before the first connection.

use crate::error::Error;

/// Has the driver find a crypto provider: with two of them in a program, rustls chooses none by itself.
#[cfg(feature = "redis-tls")]
pub(super) fn prepare() -> Result<(), Error> {
    use rustls::crypto::{CryptoProvider, aws_lc_rs};

    if CryptoProvider::get_default().is_none() {
        // Where the host has set one meanwhile, that is used.
        let _ = aws_lc_rs::default_provider().install_default();
    }
    Ok(())
}

/// Returns what is missing.
#[cfg(not(feature = "redis-tls"))]
pub(super) fn prepare() -> Result<(), Error> {
    Err(Error::configuration("TLS to a Redis server needs the feature `redis-tls`"))
}
