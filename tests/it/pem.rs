//! Keys in PEM as files, variables and secrets have them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign::jose::{PrivateKey, VerificationKey};
use countersign::{Error, ErrorKind};

use crate::support::jose::{
    ED25519_PKCS8, ED25519_SPKI, P256_PKCS8, P256_SEC1, RSA_PKCS1, RSA_SPKI,
};

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const PARAMETERS: &str =
    "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";

/// The same key in the forms that people have.
fn forms(pem: &str) -> Vec<String> {
    let mut lines: Vec<&str> = pem.trim().lines().collect();
    let (begin, end) = (lines.remove(0), lines.pop().unwrap());
    let content = lines.concat();
    let wide = content.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap());
    let wide: Vec<&str> = wide.collect();
    vec![
        pem.to_owned(),
        format!("{pem}\n \n\t\n"),
        format!("\n\n{pem}"),
        format!("{begin}\n{content}\n{end}"),
        format!("{begin}\n{}\n{end}\n", wide.join("\n")),
        pem.replace('\n', "  \n"),
        pem.lines().map(|line| format!("    {line}\n")).collect(),
        format!("\u{feff}{pem}"),
        pem.replace('\n', "\\n"),
        pem.replace('\n', "\\r\\n"),
        STANDARD.encode(pem),
        format!("{CERTIFICATE}{pem}"),
        format!("{pem}{CERTIFICATE}"),
        format!("{PARAMETERS}{pem}"),
    ]
}

#[test]
fn a_pem_key_is_read_in_the_forms_that_people_have() {
    for pem in [ED25519_PKCS8, P256_PKCS8, P256_SEC1, RSA_PKCS1] {
        for form in forms(pem) {
            assert!(PrivateKey::from_pem(form.as_bytes()).is_ok(), "{form}");
        }
    }
    for pem in [ED25519_SPKI, RSA_SPKI] {
        let plain = VerificationKey::from_pem(pem.as_bytes()).unwrap();
        for form in forms(pem) {
            assert!(VerificationKey::from_pem(form.as_bytes()).unwrap() == plain, "{form}");
        }
    }
}

#[track_caller]
fn assert_says<T>(read: Result<T, Error>, word: &str) {
    let Err(error) = read else { panic!("it is read: {word}") };
    assert_eq!(error.kind(), ErrorKind::InvalidKey);
    assert!(error.to_string().contains(word), "{error}: {word}");
}

#[test]
fn a_pem_key_that_is_not_read_is_rejected_by_what_it_is() {
    let block = |label: &str, body: &str| {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    };
    let encrypted = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA";
    for (pem, word) in [
        (block("ENCRYPTED PRIVATE KEY", "AAAA"), "(PKCS#8)"),
        (block("RSA PRIVATE KEY", encrypted), "Proc-Type"),
        (block("OPENSSH PRIVATE KEY", "AAAA"), "OpenSSH"),
        (CERTIFICATE.to_owned(), "certificate"),
        (ED25519_SPKI.to_owned(), "public key and no private"),
        (block("PRIVATE KEY", "A!AA"), "not in base64"),
        (block("PRIVATE KEY", "AAAA").replace("END PRIVATE", "END RSA PRIVATE"), "another label"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA".to_owned(), "cut off"),
        (format!("{ED25519_PKCS8}{P256_PKCS8}"), "more than one"),
        ("secret".to_owned(), "not in PEM form"),
    ] {
        assert_says(PrivateKey::from_pem(pem.as_bytes()), word);
    }
    assert_says(VerificationKey::from_pem(CERTIFICATE.as_bytes()), "certificate");
    assert_says(VerificationKey::from_pem(ED25519_PKCS8.as_bytes()), "a public one is wanted");
}

#[test]
fn the_parsers_reason_is_the_source_of_the_error() {
    let pem = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let error = PrivateKey::from_pem(pem.as_bytes()).unwrap_err();
    assert!(std::error::Error::source(&error).is_some());
}
