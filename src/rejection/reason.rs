use std::fmt;

/// Why a request was rejected, for the log alone: it may tell a caller what they must not know, as which of
/// their guesses was close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogReason {
    /// No credentials came, or those of another scheme.
    MissingCredentials,
    /// Several `Authorization` headers, or one that is no bearer token.
    MalformedCredentials,
    /// Several cookies of the session's name with different values.
    AmbiguousCookie,
    /// The token is not accepted: what is wrong with it.
    InvalidToken(&'static str),
    /// The token has expired, and is valid otherwise.
    ExpiredToken,
    /// An authentication token of which there is no live session.
    UnknownSession,
    /// Another origin had the browser send the request: its cookie does not count, and none is set.
    CrossOrigin,
    /// The original request of a proxy that asks by forward auth is unclear; the text says why.
    UnclearRequest(&'static str),
    /// The session asks for a one-time password: a layer takes the token of the fresh session that the
    /// service makes of it once the code is confirmed.
    OneTimePasswordRequired,
    /// The custom claims are not those that the handler wants.
    UnexpectedCustomClaims,
    /// The token's list does not grant the permission.
    InsufficientPermission,
    /// The token's list would grant it, and the token is bound to another organization, or none was
    /// asked about.
    OutsideOrganization,
    /// The token is of a kind of principal that is not admitted.
    KindNotAdmitted,
    /// The principal that a handler granted a token to is disabled or blocked.
    Disabled,
    /// Something that is needed for the response is out of reach.
    Unavailable,
    /// The host forgot a layer, or the service failed.
    Internal,
    /// The service or a route has rejected it, for this reason.
    Failed(&'static str),
}

impl LogReason {
    /// Returns the short name that the audit log and the metrics have for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingCredentials => "missing_credentials",
            Self::MalformedCredentials => "malformed_credentials",
            Self::AmbiguousCookie => "ambiguous_cookie",
            Self::InvalidToken(fault) => fault,
            Self::ExpiredToken => "expired",
            Self::UnknownSession => "unknown_session",
            Self::CrossOrigin => "cross_origin",
            Self::UnclearRequest(fault) => fault,
            Self::OneTimePasswordRequired => "one_time_password_required",
            Self::UnexpectedCustomClaims => "unexpected_custom_claims",
            Self::InsufficientPermission => "insufficient_permission",
            Self::OutsideOrganization => "outside_organization",
            Self::KindNotAdmitted => "kind_not_admitted",
            Self::Disabled => "disabled",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
            Self::Failed(reason) => reason,
        }
    }

    /// A sentence for the caller.
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::MissingCredentials => "A bearer token is required",
            Self::MalformedCredentials => {
                "There must be one Authorization header, holding one bearer token"
            }
            Self::AmbiguousCookie => "There are several session cookies with different values",
            Self::InvalidToken(_) => "The access token is not valid",
            Self::ExpiredToken => "The access token has expired",
            Self::UnknownSession => "The authentication token is not valid",
            Self::CrossOrigin => {
                "The request comes from another origin, or does not say from which"
            }
            Self::UnclearRequest(_) => {
                "The original request is unclear: the proxy did not send its method and URI, or its path is ambiguous"
            }
            Self::OneTimePasswordRequired => {
                "The session needs a one-time password: confirm it for a fresh session"
            }
            Self::UnexpectedCustomClaims => "The access token lacks custom claims",
            Self::InsufficientPermission => "The access token does not grant the permission",
            Self::OutsideOrganization => {
                "The access token is bound to an organization, and grants nothing outside it"
            }
            Self::KindNotAdmitted => "Principals of this kind are not admitted",
            Self::Disabled => "The principal is disabled or blocked",
            Self::Unavailable => "The service is unavailable, try again later",
            Self::Internal | Self::Failed(_) => "Internal server error",
        }
    }
}

impl fmt::Display for LogReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
