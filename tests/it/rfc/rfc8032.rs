//! Edwards-Curve Digital Signature Algorithm (EdDSA).

use countersign::jose::{PrivateKey, VerificationKey};
use zeroize::Zeroizing;

use crate::keys::{RFC_8032_TEST_1, RFC_8037_PUBLIC, RFC_8037_SEED, bytes, providers, text};

#[test]
fn section_7_1_signatures_of_ed25519() {
    for (seed, public, message, signature) in [
        (RFC_8037_SEED, RFC_8037_PUBLIC, "", RFC_8032_TEST_1),
        (
            "TM0Imyj_ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U-4pvs",
            "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw",
            "cg",
            "kqAJqfDUyrhyDoILX2QlQKKye1QWUD-Ps3YiI-vbadoIWsHkPhWZbkWPNhPQ8R2MOHsurrQwKu6wDSkWErsMAA",
        ),
    ] {
        for provider in providers() {
            let seed: [u8; 32] = bytes(seed).try_into().unwrap();
            let private = PrivateKey::Ed25519(Zeroizing::new(seed));
            let key = provider.verification_key(&private).unwrap();
            assert_eq!(key, VerificationKey::ed25519(&bytes(public)).unwrap());
            let signed = provider.signer(&private).unwrap().sign(&bytes(message)).unwrap();
            assert_eq!(text(signed), text(bytes(signature)));
        }
    }
}
