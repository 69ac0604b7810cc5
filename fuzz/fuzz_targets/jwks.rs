//! Whatever an issuer publishes as its keys, it is read or rejected; and what is read is published as
//! it was read.

#![no_main]

use countersign::{KeyRing, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(ring) = KeyRing::from_jwks(bytes) else { return };
    let published = ring.to_jwks(Timestamp::MIN);
    let again = KeyRing::from_jwks(published.as_bytes()).unwrap();
    assert_eq!(again.to_jwks(Timestamp::MIN).len(), published.len());
});
