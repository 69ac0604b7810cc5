//! Edwards-Curve Digital Signature Algorithm (EdDSA).

use countersign::jose::{PrivateKey, VerificationKey};
use zeroize::Zeroizing;

use crate::rfc::rfc8037::{APPENDIX_A_1_D, APPENDIX_A_1_X};
use crate::support::jose::{base64url_decode, base64url_encode, providers};

#[test]
fn section_7_1_signatures_of_ed25519() {
    for (seed, public, message, signature) in [
        (
            APPENDIX_A_1_D,
            APPENDIX_A_1_X,
            "",
            "5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc-bRr0lv18FlbviRlUUFDjnoQCw",
        ),
        (
            "TM0Imyj_ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U-4pvs",
            "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw",
            "cg",
            "kqAJqfDUyrhyDoILX2QlQKKye1QWUD-Ps3YiI-vbadoIWsHkPhWZbkWPNhPQ8R2MOHsurrQwKu6wDSkWErsMAA",
        ),
    ] {
        for provider in providers() {
            let seed: [u8; 32] = base64url_decode(seed).try_into().unwrap();
            let private = PrivateKey::Ed25519(Zeroizing::new(seed));
            let key = provider.verification_key(&private).unwrap();
            assert_eq!(key, VerificationKey::ed25519(&base64url_decode(public)).unwrap());
            let signed =
                provider.signer(&private).unwrap().sign(&base64url_decode(message)).unwrap();
            assert_eq!(base64url_encode(signed), base64url_encode(base64url_decode(signature)));
        }
    }
}
