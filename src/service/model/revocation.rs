use crate::clock::Timestamp;
use crate::service::model::subject::Subject;
use crate::token::claims::SubjectType;
use crate::token::identifier::{SessionId, TokenId};

/// A revocation, and how long it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revocation {
    /// The revoked tokens.
    pub target: RevocationTarget,
    /// When the last token that it revokes has expired, so that the revocation may be forgotten.
    pub until: Timestamp,
}

/// The tokens that a [`Revocation`] revokes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevocationTarget {
    /// The one token with this `jti`.
    Token(TokenId),
    /// All tokens exchanged from this session.
    Session(SessionId),
    /// All tokens of a subject that were issued before an instant.
    SubjectBefore {
        /// Whose tokens: two of one name, in two organizations or of two kinds, are two.
        subject: Subject,
        /// The instant of the revocation. A token stays good whose issuer knew of it, or of a later one:
        /// its claim `after_revocation_us` says so.
        before: Timestamp,
        /// All other tokens are revoked whose `iat` is earlier: later than the instant by as much as
        /// clocks may differ.
        issued_before: Timestamp,
        /// Until when the subject gets nothing new, where it is blocked.
        blocked_until: Option<Timestamp>,
        /// The random number of the process that the revocation was requested from. `None` for one that no node has to
        /// repeat: it repeats another one, or is of an instant in the past.
        made_by: Option<u64>,
    },
    /// The same of all subjects of a name, whatever their organization. Nothing revokes like this: it is
    /// how a record is read that says nothing of an organization.
    SubjectAnywhereBefore {
        /// The tokens' `subject_type`.
        subject_type: SubjectType,
        /// The tokens' `sub`.
        subject: String,
        /// The instant of the revocation, which revokes what was issued up to a second later.
        before: Timestamp,
    },
}
