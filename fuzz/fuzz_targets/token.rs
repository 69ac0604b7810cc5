//! Whatever text comes as a token, it is rejected, unless it is one that was signed; and it makes no
//! difference whether tokens are remembered.

#![no_main]

use std::sync::LazyLock;

use countersign::{Grant, TokenService};
use libfuzzer_sys::fuzz_target;

struct House {
    remembering: TokenService,
    forgetful: TokenService,
    good: String,
}

static HOUSE: LazyLock<House> = LazyLock::new(|| {
    let remembering = countersign_fuzz::service(1 << 20);
    let good = countersign_fuzz::runtime()
        .block_on(remembering.issue(Grant::user("jane@example.com")))
        .unwrap()
        .access_token;
    let good = good.expose().to_owned();
    House { remembering, forgetful: countersign_fuzz::service(0), good }
});

fuzz_target!(|text: &str| {
    let House { remembering, forgetful, good } = &*HOUSE;
    // What is behind a tilde is put into the good token, at the place that stands before it.
    let token = match text.split_once('~') {
        Some((at, change)) => {
            let at = at.parse().unwrap_or(0_usize) % good.len();
            format!("{}{change}{}", &good[..at], &good[at..])
        }
        None => text.to_owned(),
    };
    let first = remembering.validator().validate(&token).map(drop);
    let again = remembering.validator().validate(&token).map(drop);
    let forgotten = forgetful.validator().validate(&token).map(drop);
    assert_eq!(first, again);
    assert_eq!(first, forgotten);
    assert_eq!(first.is_ok(), token == *good);
});
