use crate::clock::Timestamp;
use crate::service::model::subject::Subject;
use crate::token::claims::SubjectType;
use crate::token::identifier::{SessionId, TokenId};

/// A revocation, and how long it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revocation {
    /// The revoked tokens.
    pub target: RevocationTarget,
    /// When the last token that it revokes has expired, so that the revocation can be dropped.
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
        /// The subject. The same name in two organizations, or of two kinds, makes two subjects.
        subject: Subject,
        /// The instant of the revocation. It does not revoke a token whose issuer knew of it or of a later one, as
        /// its claim `after_revocation_us` states.
        before: Timestamp,
        /// All other tokens with an `iat` before this are revoked. It is later than `before` by the maximum
        /// difference of clocks.
        issued_before: Timestamp,
        /// The end of the block, if the subject is blocked: until then, it gets no tokens and sessions.
        blocked_until: Option<Timestamp>,
        /// The random number of the process that the revocation was requested from. `None` for one that no node has to
        /// repeat: it repeats another one, or is of an instant in the past.
        made_by: Option<u64>,
    },
    /// The same for all subjects of a name, whatever their organization. Such revocations are no longer made: a
    /// record that lacks the organization is read as one.
    SubjectAnywhereBefore {
        /// The tokens' `subject_type`.
        subject_type: SubjectType,
        /// The tokens' `sub`.
        subject: String,
        /// The instant of the revocation, which also revokes tokens issued up to a second later.
        before: Timestamp,
    },
}
