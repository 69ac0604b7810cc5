use std::fmt;

use crate::jose::JwsFault;
use crate::validate::issuers::KeyFetch;

/// The reason for rejecting a token, for logs and metrics. The client is told only whether the token has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenFault {
    /// The token is longer than the policy allows.
    TooLong,
    /// The token is not a compact JWS, or its header is not a strict JSON object.
    Malformed,
    /// The `typ` is not that of an access token.
    Type,
    /// The header requires an extension that is not supported.
    UnsupportedHeader,
    /// The algorithm is unknown or not allowed.
    Algorithm,
    /// The key ring has no key with this `kid` and algorithm, or the key has been retired.
    UnknownKey,
    /// The signature is invalid.
    Signature,
    /// The claims are not a strict JSON object, or a claim is missing or malformed.
    Claims,
    /// The token is from another issuer.
    Issuer,
    /// The token is for another audience.
    Audience,
    /// The token is not valid yet, or its `iat` is in the future.
    NotYetValid,
    /// The token has expired.
    Expired,
    /// The token's lifetime exceeds the limit of the validator or of the service's policy. A revocation of it could
    /// be forgotten before it expires.
    LifetimeTooLong,
    /// The token has been revoked.
    Revoked,
    /// The token is valid as far as this node knows, but revocations of other nodes are unknown: the store has been
    /// unreachable for longer than the policy's `max_revocation_staleness`. The client is told to retry.
    RevocationsUnavailable,
    /// The token could not be checked, since the keys have not been fetched yet. The client is told to retry.
    KeysUnavailable,
}

impl TokenFault {
    /// Returns whether the same token may be accepted later: the request is then rejected with a 503, not a 401.
    #[must_use]
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::KeysUnavailable | Self::RevocationsUnavailable)
    }

    /// Returns a short name for metrics and logs.
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
            JwsFault::WrongType => Self::Type,
            JwsFault::UnsupportedHeader => Self::UnsupportedHeader,
        }
    }
}
