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

/// Returns a bound of the memory that a token takes with its claims, in bytes: by the length of both,
/// and by how many objects, lists and elements the claims have, each of which takes the more the
/// shorter it is written.
pub(super) fn memory_of(token: &str, claims: &[u8]) -> usize {
    const CONTAINER: usize = 640;
    const ELEMENT: usize = 160;
    let structure = claims.iter().map(|byte| match byte {
        b'{' | b'[' => CONTAINER,
        b',' => ELEMENT,
        _ => 0,
    });
    token.len() + claims.len() + structure.sum::<usize>()
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
