//! Whether a contender admits whom it should and nobody else: what checks less is faster.

use http::HeaderValue;
use http::header::AUTHORIZATION;

use crate::contender::{Contender, Kind};
use crate::runtime;
use crate::setup::Setup;

/// Panics at the first contender that rejects a good request, or admits a bad one.
pub fn check(contenders: &[Contender], setup: &Setup) {
    let runtime = runtime();
    for contender in contenders {
        contender.time_of(&runtime, 1);
        if matches!(contender.kind, Kind::Floor | Kind::Unchecked) {
            continue;
        }
        let (name, good) = &contender.credentials;
        contender.assert_rejects(&runtime, "no credentials", None);
        contender.assert_rejects(&runtime, "altered", Some(&altered(good)));
        if name == AUTHORIZATION {
            for (fault, token) in &setup.bad_tokens {
                contender.assert_rejects(&runtime, fault, Some(&bearer(token)));
            }
        }
    }
}

/// In the signature of a token, or in the id of a session.
fn altered(credentials: &HeaderValue) -> HeaderValue {
    let mut bytes = credentials.as_bytes().to_vec();
    let at = bytes.len() - 10;
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    HeaderValue::from_bytes(&bytes).expect("printable")
}

fn bearer(token: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("Bearer {token}")).expect("printable")
}
