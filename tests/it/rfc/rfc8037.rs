//! Ed25519 in JOSE.

use countersign::jose::{PrivateKey, SigningKey, VerificationKey};
use serde_json::json;
use zeroize::Zeroizing;

use crate::support::jose::{base64url_decode, base64url_encode, providers};

pub const APPENDIX_A_1_D: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
pub const APPENDIX_A_1_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

#[test]
fn appendix_a_1_to_a_5_a_key_its_thumbprint_and_a_signature() {
    const INPUT: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    const SIGNATURE: &str =
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    for provider in providers() {
        let jwk = json!({
            "kty": "OKP", "crv": "Ed25519", "d": APPENDIX_A_1_D, "x": APPENDIX_A_1_X,
        });
        let key = SigningKey::from_jwk_with(jwk.to_string().as_bytes(), provider).unwrap();
        assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let seed: [u8; 32] = base64url_decode(APPENDIX_A_1_D).try_into().unwrap();
        let private = PrivateKey::Ed25519(Zeroizing::new(seed));
        let public = provider.verification_key(&private).unwrap();
        assert_eq!(public, VerificationKey::ed25519(&base64url_decode(APPENDIX_A_1_X)).unwrap());
        let signature = provider.signer(&private).unwrap().sign(INPUT.as_bytes()).unwrap();
        assert_eq!(base64url_encode(&signature), SIGNATURE);
        assert!(provider.verifier(&public).unwrap().verify(INPUT.as_bytes(), &signature));
    }
}
