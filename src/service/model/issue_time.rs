use crate::clock::Timestamp;
use crate::token::claims::Validated;

/// When a token or session was issued, as compared with revocations of its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IssueTime {
    /// The time on the clock of the issuing node; for a token, its `iat`.
    pub(crate) at: Timestamp,
    /// The latest revocation of the subject that the issuing node knew; it revokes only what was issued before it.
    pub(crate) after_revocation: Option<Timestamp>,
}

impl IssueTime {
    /// Returns an issue time without a known revocation.
    pub(crate) fn at(at: Timestamp) -> Self {
        Self { at, after_revocation: None }
    }

    pub(crate) fn of_token(token: &Validated) -> Self {
        let after_revocation = token.claims().after_revocation_us.map(Timestamp::from_micros);
        Self { at: token.issued_at(), after_revocation }
    }
}
