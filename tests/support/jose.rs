//! Keys that are the same in every run, and what tests of them share.

use std::fmt::Debug;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
#[cfg(not(all(feature = "aws-lc-rs", feature = "rust-crypto")))]
use countersign::jose::DefaultProvider;
#[cfg(all(feature = "aws-lc-rs", feature = "rust-crypto"))]
use countersign::jose::{AwsLcRs, RustCrypto};
use countersign::jose::{CryptoProvider, PrivateKey};
use countersign::{Algorithm, Error, ErrorKind};

pub const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256, Algorithm::HS256];

/// All the providers that were compiled in.
#[cfg(all(feature = "aws-lc-rs", feature = "rust-crypto"))]
pub fn providers() -> Vec<&'static dyn CryptoProvider> {
    vec![&AwsLcRs, &RustCrypto]
}

#[cfg(not(all(feature = "aws-lc-rs", feature = "rust-crypto")))]
pub fn providers() -> Vec<&'static dyn CryptoProvider> {
    vec![&DefaultProvider]
}

/// The key of each algorithm. Its other forms are below.
pub fn private_key(algorithm: Algorithm) -> PrivateKey {
    match algorithm {
        Algorithm::EdDSA => PrivateKey::from_pem(ED25519_PKCS8.as_bytes()).unwrap(),
        Algorithm::ES256 => PrivateKey::from_pem(P256_PKCS8.as_bytes()).unwrap(),
        Algorithm::RS256 => PrivateKey::from_pem(RSA_PKCS8.as_bytes()).unwrap(),
        _ => PrivateKey::from_hmac_secret(&base64url_decode(HMAC_SECRET)).unwrap(),
    }
}

#[track_caller]
pub fn assert_invalid_key<T: Debug>(answer: Result<T, Error>) {
    let error = answer.map(|accepted| panic!("{accepted:?} was accepted")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidKey, "{error}");
}

pub fn base64url_decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

pub fn base64url_encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The encodings of the eight points of small order and, after them, those that are not canonical.
pub const SMALL_ORDER: [&str; 14] = [
    "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "7P_______________________________________38",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIA",
    "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU",
    "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_IU",
    "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o",
    "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA_o",
    "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIA",
    "7P________________________________________8",
    "7f_______________________________________38",
    "7f________________________________________8",
    "7v_______________________________________38",
    "7v________________________________________8",
];

/// n of the curve (FIPS 186-5), big-endian.
pub const P256_ORDER: &str = "_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE";

// Keys that were made for these tests and are used nowhere else

pub const HMAC_SECRET: &str =
    "ex-PIedpWDcYo7EpTKkIomYjhJ-3R_qd_VuXKAZvyO80ocJ7dMOiwMDi7k8PRNkvNdwnNBUcZbUgfdp8XzOKoQ";

pub const ED25519_JWK: &str = r#"{"kty": "OKP",
"crv": "Ed25519",
"d": "bIfIxo0F55YgixhZHx_kgDuPwvIMzLQ0wuBYSVaco3I",
"x": "32jcIyQxt4xEbTtwrcPRPQ3NkHLTGuAHC3FPxIw95dI"}"#;
pub const ED25519_PKCS8: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIGyHyMaNBeeWIIsYWR8f5IA7j8LyDMy0NMLgWElWnKNy
-----END PRIVATE KEY-----
";
pub const ED25519_SPKI: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA32jcIyQxt4xEbTtwrcPRPQ3NkHLTGuAHC3FPxIw95dI=
-----END PUBLIC KEY-----
";

pub const P256_JWK: &str = r#"{"kty": "EC",
"crv": "P-256",
"d": "_REB77ORGeyuSx36_4Qj8aBVzVhtnpDoOIW9a0qYZr4",
"x": "AexmSsxtYvKuOFMWkJB6zHf7TPdCmC3vcCSG2nfZxOg",
"y": "fgiZRozyqizaUUHx99z8b2MtL6C9lP83_hRqdj3_MaI"}"#;
pub const P256_PKCS8: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg/REB77ORGeyuSx36
/4Qj8aBVzVhtnpDoOIW9a0qYZr6hRANCAAQB7GZKzG1i8q44UxaQkHrMd/tM90KY
Le9wJIbad9nE6H4ImUaM8qos2lFB8ffc/G9jLS+gvZT/N/4UanY9/zGi
-----END PRIVATE KEY-----
";
pub const P256_SEC1: &str = "-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIP0RAe+zkRnsrksd+v+EI/GgVc1YbZ6Q6DiFvWtKmGa+oAoGCCqGSM49
AwEHoUQDQgAEAexmSsxtYvKuOFMWkJB6zHf7TPdCmC3vcCSG2nfZxOh+CJlGjPKq
LNpRQfH33PxvYy0voL2U/zf+FGp2Pf8xog==
-----END EC PRIVATE KEY-----
";
pub const P256_SPKI: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEAexmSsxtYvKuOFMWkJB6zHf7TPdC
mC3vcCSG2nfZxOh+CJlGjPKqLNpRQfH33PxvYy0voL2U/zf+FGp2Pf8xog==
-----END PUBLIC KEY-----
";

pub const RSA_PKCS8: &str = "-----BEGIN PRIVATE KEY-----
MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQDg0id2nKv1faIH
BdjbwP6aEDWzYXGj8wrogV0+NAyVNYDQLSR44hCktCiO7H+JN/yXXtq4cCRdQ23c
+bS0Q9I3OvUtAE2hQibuKGFHAN9PyMfnWsdHhlhIEj5J49QspgZPlbZMx8q4fmoS
WMfdMs82Q3ruYz7XfTz/vnIuVjSrYSTIOinwwbbrrO5etftrNM/3xlJqaQAVsCsB
gna9+YVZx5cNxlSrPwfYqKoLkkoWEic/RROFVUHFAoWMD7gW11PA852a2Pd3ihC8
dBJKHqXaWwmFf76OfFCJ94nUEtgD2suyoAdGoYZR6q6kdP+AcAsDKMR27rWrPmmy
2X264YAhAgMBAAECggEAB+L3ZW7LjXoRxANNfy/+/nKRH7DMZr7w5AUduz/iLR3K
XgMnY2IyyURUo+bh9nNTVhAKxiuQ6wChiv3re+NhLXTRAvoevwhuCy65ct8x9j+J
27DQis7IrAaPztHCMKrGT+Zllb3we5ZbrDcXE8hjgnjNiC1NGAwZprMMmFmH0Xcv
Fhj414Byjux58wWzrJckvprudsVLwhV8QwkAae2BAAaAlM1byUnrahZuYisM+Fjp
BgoLNsuZHHAzBntK6Z3NwKwBC5GxfJcv98Od5s7wwVUp92+FeHhZwAQQGcIMcxTm
a9+a54satH40xlY2FH03MSn2pe5BNTfw5H1CzIL/AQKBgQD5OYyCU+Rj8pyHYB7a
L17AeSM+Z07Y0pPBLdbtmL4Yk4w6Wp1aOvuqyfVEnbX02mM/gjrNBUXQn245/NZj
+KJ0FUQGwiaKphdytRyW7I13mqWQZgwBqRSFlMArPFYIdlKhJb6olTeOgJ5Bueop
CDnzJUTCCHZdv1giwEdTUgoPMQKBgQDm7sTvKOoC+vQFgVt6gZA0feTEwxnfLLO0
Comibi1nCVJYNjqeKpbMvlI+gBL942TQeKl7TKLiKnG5Y4nK8Qdmk8WrKQLtSaI2
z2CmaWNaF2h+vC61qLz0AZjmzA6FRByLHk3aKq0WCfyqxJKWB5nKGat2lZDTW+dg
2EZNZk2j8QKBgQDNRpVxE2Be4ooDByziUXod1qks0TKkbG2/A96vvMt2urEZr2FD
3KlFtysJ5Uzl7KsquD1ueRVUDL1hjduYZEaKjqmFV40fTkap+Hsf5J9xEDOmiCcD
hxycGjVeZ0gFmE/e45Pyj1U/TrkLMfKo8Vmp59yGZSn5dY1GslENU9ltQQKBgQCc
x6uBpqhAv7kdZ7YAVKffSz0d7ErLPiD+cU0BroU6d5Sk+KQRL17Tv748Wl0Kau/N
rK17XQsUOracoxwwYDSjCl3fluc6y4vKZD38nH3r8wppSD7564XkrpTs08pj5Vrv
g/Jc1C5QURVtpijSnHRnRcgnqOD67WEHWa1Y7MR3MQKBgBOCJvtxhftKbN2MVg5G
yaurgkDltBMv+lqAF+Ig4ae9FY0YnOyr3sm7n1RyxdjclXDIhM3y9r+BnMButTxe
M32p24EZdlRvGFjnu501sanquPXrQnMAVGhEEwtr/ZnxyYR6sFh1zC4OUSCqlYTj
bmcn+kKMUQixGFkUNdznCTj2
-----END PRIVATE KEY-----
";
pub const RSA_PKCS1: &str = "-----BEGIN RSA PRIVATE KEY-----
MIIEpAIBAAKCAQEA4NIndpyr9X2iBwXY28D+mhA1s2Fxo/MK6IFdPjQMlTWA0C0k
eOIQpLQojux/iTf8l17auHAkXUNt3Pm0tEPSNzr1LQBNoUIm7ihhRwDfT8jH51rH
R4ZYSBI+SePULKYGT5W2TMfKuH5qEljH3TLPNkN67mM+1308/75yLlY0q2EkyDop
8MG266zuXrX7azTP98ZSamkAFbArAYJ2vfmFWceXDcZUqz8H2KiqC5JKFhInP0UT
hVVBxQKFjA+4FtdTwPOdmtj3d4oQvHQSSh6l2lsJhX++jnxQifeJ1BLYA9rLsqAH
RqGGUequpHT/gHALAyjEdu61qz5pstl9uuGAIQIDAQABAoIBAAfi92Vuy416EcQD
TX8v/v5ykR+wzGa+8OQFHbs/4i0dyl4DJ2NiMslEVKPm4fZzU1YQCsYrkOsAoYr9
63vjYS100QL6Hr8IbgsuuXLfMfY/iduw0IrOyKwGj87RwjCqxk/mZZW98HuWW6w3
FxPIY4J4zYgtTRgMGaazDJhZh9F3LxYY+NeAco7sefMFs6yXJL6a7nbFS8IVfEMJ
AGntgQAGgJTNW8lJ62oWbmIrDPhY6QYKCzbLmRxwMwZ7SumdzcCsAQuRsXyXL/fD
nebO8MFVKfdvhXh4WcAEEBnCDHMU5mvfmueLGrR+NMZWNhR9NzEp9qXuQTU38OR9
QsyC/wECgYEA+TmMglPkY/Kch2Ae2i9ewHkjPmdO2NKTwS3W7Zi+GJOMOlqdWjr7
qsn1RJ219NpjP4I6zQVF0J9uOfzWY/iidBVEBsImiqYXcrUcluyNd5qlkGYMAakU
hZTAKzxWCHZSoSW+qJU3joCeQbnqKQg58yVEwgh2Xb9YIsBHU1IKDzECgYEA5u7E
7yjqAvr0BYFbeoGQNH3kxMMZ3yyztAqJom4tZwlSWDY6niqWzL5SPoAS/eNk0Hip
e0yi4ipxuWOJyvEHZpPFqykC7UmiNs9gpmljWhdofrwutai89AGY5swOhUQcix5N
2iqtFgn8qsSSlgeZyhmrdpWQ01vnYNhGTWZNo/ECgYEAzUaVcRNgXuKKAwcs4lF6
HdapLNEypGxtvwPer7zLdrqxGa9hQ9ypRbcrCeVM5eyrKrg9bnkVVAy9YY3bmGRG
io6phVeNH05Gqfh7H+SfcRAzpognA4ccnBo1XmdIBZhP3uOT8o9VP065CzHyqPFZ
qefchmUp+XWNRrJRDVPZbUECgYEAnMergaaoQL+5HWe2AFSn30s9HexKyz4g/nFN
Aa6FOneUpPikES9e07++PFpdCmrvzayte10LFDq2nKMcMGA0owpd35bnOsuLymQ9
/Jx96/MKaUg++euF5K6U7NPKY+Va74PyXNQuUFEVbaYo0px0Z0XIJ6jg+u1hB1mt
WOzEdzECgYATgib7cYX7SmzdjFYORsmrq4JA5bQTL/pagBfiIOGnvRWNGJzsq97J
u59UcsXY3JVwyITN8va/gZzAbrU8XjN9qduBGXZUbxhY57udNbGp6rj160JzAFRo
RBMLa/2Z8cmEerBYdcwuDlEgqpWE425nJ/pCjFEIsRhZFDXc5wk49g==
-----END RSA PRIVATE KEY-----
";
pub const RSA_SPKI: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA4NIndpyr9X2iBwXY28D+
mhA1s2Fxo/MK6IFdPjQMlTWA0C0keOIQpLQojux/iTf8l17auHAkXUNt3Pm0tEPS
Nzr1LQBNoUIm7ihhRwDfT8jH51rHR4ZYSBI+SePULKYGT5W2TMfKuH5qEljH3TLP
NkN67mM+1308/75yLlY0q2EkyDop8MG266zuXrX7azTP98ZSamkAFbArAYJ2vfmF
WceXDcZUqz8H2KiqC5JKFhInP0UThVVBxQKFjA+4FtdTwPOdmtj3d4oQvHQSSh6l
2lsJhX++jnxQifeJ1BLYA9rLsqAHRqGGUequpHT/gHALAyjEdu61qz5pstl9uuGA
IQIDAQAB
-----END PUBLIC KEY-----
";
pub const RSA_PUBLIC_PKCS1: &str = "-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEA4NIndpyr9X2iBwXY28D+mhA1s2Fxo/MK6IFdPjQMlTWA0C0keOIQ
pLQojux/iTf8l17auHAkXUNt3Pm0tEPSNzr1LQBNoUIm7ihhRwDfT8jH51rHR4ZY
SBI+SePULKYGT5W2TMfKuH5qEljH3TLPNkN67mM+1308/75yLlY0q2EkyDop8MG2
66zuXrX7azTP98ZSamkAFbArAYJ2vfmFWceXDcZUqz8H2KiqC5JKFhInP0UThVVB
xQKFjA+4FtdTwPOdmtj3d4oQvHQSSh6l2lsJhX++jnxQifeJ1BLYA9rLsqAHRqGG
UequpHT/gHALAyjEdu61qz5pstl9uuGAIQIDAQAB
-----END RSA PUBLIC KEY-----
";
