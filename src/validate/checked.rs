use std::sync::Arc;

use crate::clock::Timestamp;
use crate::sync::CheckedEpoch;
use crate::token::claims::{Claims, Validated};

/// A token that was checked, and what a validator needs to accept it again without doing so.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) validity: Validity,
    pub(super) issuer: CheckedIssuer,
    /// The epoch of its issuer's keys in which its key was found.
    pub(super) key_epoch: u64,
    /// About how much memory it takes, in bytes.
    pub(super) size: usize,
    pub(super) validated: Arc<Validated>,
}

/// Returns about how much memory a token takes with its claims, in bytes: a kilobyte, the length of
/// both, and what every object, list and element takes beyond those of a token with a short list.
pub(super) fn memory_of(token: &str, claims: &[u8]) -> usize {
    let lists = count(claims, |byte| byte == b'{' || byte == b'[');
    let elements = count(claims, |byte| byte == b',');
    let beyond = 640 * lists.saturating_sub(5) + 160 * elements.saturating_sub(16);
    1_024 + token.len() + claims.len() + beyond
}

/// Returns how many bytes are wanted. It counts in bytes, so that the compiler counts many at once.
fn count(text: &[u8], is_wanted: impl Fn(u8) -> bool) -> usize {
    let few = |part: &[u8]| part.iter().map(|byte| u8::from(is_wanted(*byte))).sum::<u8>();
    text.chunks(usize::from(u8::MAX)).map(|part| usize::from(few(part))).sum()
}

/// The issuer of a token, and what applies to the tokens of that issuer only.
#[derive(Debug)]
pub(super) enum CheckedIssuer {
    Own {
        /// When its key stops verifying.
        key_until: Timestamp,
        /// The epoch of the revocations in which it was not one of them.
        not_revoked: CheckedEpoch,
    },
    /// The index of a trusted issuer. Revocations do not apply.
    Trusted(usize),
}

/// When a token is valid, by its claims.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validity {
    pub(super) expires_at: Timestamp,
    /// The later of `nbf` and `iat`.
    pub(super) begins_at: Timestamp,
}

impl Validity {
    pub(super) fn of(claims: &Claims) -> Self {
        Self {
            expires_at: Timestamp::from_secs(claims.exp),
            begins_at: Timestamp::from_secs(claims.nbf.unwrap_or_default().max(claims.iat)),
        }
    }
}
