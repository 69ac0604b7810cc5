use std::fmt;

use crate::jose::JwsFault;
use crate::validate::issuers::KeyFetch;

/// Why a token is rejected. For logs and metrics: a caller is told only whether it has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenFault {
    /// It is longer than the policy allows.
    TooLong,
    /// It is no compact JWS, or its header is no strict JSON object.
    Malformed,
    /// Its `typ` is not that of an access token.
    Type,
    /// Its header asks for something that is not supported.
    UnsupportedHeader,
    /// Its algorithm is unknown or not allowed.
    Algorithm,
    /// The ring has no key with its `kid` and algorithm, or that key has retired.
    UnknownKey,
    /// The signature is not good.
    Signature,
    /// Its claims are no strict JSON object, or one is missing or of a wrong form.
    Claims,
    /// It is from another issuer.
    Issuer,
    /// It is for another audience.
    Audience,
    /// It is not valid yet, or claims to have been issued in the future.
    NotYetValid,
    /// It has expired.
    Expired,
    /// It lives longer than the validator allows, or the policy of its service: a revocation would
    /// be forgotten before its end.
    LifetimeTooLong,
    /// It has been revoked.
    Revoked,
    /// Nothing is wrong with it, but whether it has been revoked elsewhere cannot be told: the
    /// store has been out of reach for longer than the policy's `max_revocation_staleness`. No
    /// fault of the caller's, who is told to try again.
    RevocationsUnavailable,
    /// Whether anything is wrong with it cannot be told: the keys that it would be checked with have
    /// not come yet. No fault of the caller's, who is told to try again.
    KeysUnavailable,
}

impl TokenFault {
    /// Returns whether nothing may be wrong with the token, and the same one may be accepted later:
    /// a 503, and not a 401.
    #[must_use]
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::KeysUnavailable | Self::RevocationsUnavailable)
    }

    /// A short name for metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Type => "wrong_type",
            Self::UnsupportedHeader => "unsupported_header",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::LifetimeTooLong => "lifetime_too_long",
            Self::Revoked => "revoked",
            Self::RevocationsUnavailable => "revocations_unavailable",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "the access token has expired",
            Self::RevocationsUnavailable => "whether the access token was revoked cannot be told",
            Self::KeysUnavailable => "whether the access token is valid cannot be told yet",
            _ => "the access token is not valid",
        })
    }
}

impl std::error::Error for TokenFault {}

/// Why a token is not accepted, or not yet.
pub(crate) struct NotAccepted {
    pub(crate) fault: TokenFault,
    /// The fetch of the keys that it would be checked with.
    pub(crate) fetch: Option<KeyFetch>,
}

impl From<TokenFault> for NotAccepted {
    fn from(fault: TokenFault) -> Self {
        Self { fault, fetch: None }
    }
}

impl From<JwsFault> for NotAccepted {
    fn from(fault: JwsFault) -> Self {
        TokenFault::from(fault).into()
    }
}

impl From<JwsFault> for TokenFault {
    fn from(fault: JwsFault) -> Self {
        match fault {
            JwsFault::Malformed => Self::Malformed,
            JwsFault::UnknownAlgorithm => Self::Algorithm,
            JwsFault::NoKeyId => Self::UnknownKey,
            JwsFault::WrongType => Self::Type,
            JwsFault::UnsupportedHeader => Self::UnsupportedHeader,
        }
    }
}
