use crate::clock::Timestamp;
use crate::token::claims::SubjectType;
use crate::token::identifier::{SessionId, TokenId};

/// What is taken back, and until when that has to be remembered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revocation {
    /// What is taken back.
    pub target: RevocationTarget,
    /// When the last token that it can hit is dead, and it may be forgotten.
    pub until: Timestamp,
}

/// What a [`Revocation`] takes back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevocationTarget {
    /// The one token with this `jti`.
    Token(TokenId),
    /// All tokens exchanged from this session.
    Session(SessionId),
    /// All tokens of a subject that were issued before an instant.
    SubjectBefore {
        /// What sort of principal it is: a user and an entity may share a name.
        subject_type: SubjectType,
        /// The tokens' `sub`.
        subject: String,
        /// Tokens whose `iat` is earlier are taken back. An `iat` has whole seconds, so one that
        /// was issued within the second of this instant counts as earlier.
        before: Timestamp,
    },
    /// Nothing is revoked: whoever keeps a copy of this registered entity has to read it anew.
    EntityChanged {
        /// What sort of principal it is.
        subject_type: SubjectType,
        /// Its name or id.
        name: String,
    },
}
