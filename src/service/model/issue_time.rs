use crate::clock::Timestamp;
use crate::token::claims::Validated;

/// When something was issued, as far as revocations of its subject go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IssueTime {
    /// By the clock of the node that issued it; of a token, its `iat`.
    pub(crate) at: Timestamp,
    /// The latest revocation of the subject that this node knew of: what that revokes was issued before.
    pub(crate) after_revocation: Option<Timestamp>,
}

impl IssueTime {
    /// Of what was issued without knowing of a revocation.
    pub(crate) fn at(at: Timestamp) -> Self {
        Self { at, after_revocation: None }
    }

    pub(crate) fn of_token(token: &Validated) -> Self {
        let after_revocation = token.claims().after_revocation_us.map(Timestamp::from_micros);
        Self { at: token.issued_at(), after_revocation }
    }
}
