use std::fmt;

/// The reason why a request was rejected, for the log only: it may reveal facts that the caller must not learn, such
/// as which of their guesses was close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogReason {
    /// The request has no credentials, or those of another scheme.
    MissingCredentials,
    /// Several `Authorization` headers, or one that is no bearer token.
    MalformedCredentials,
    /// Several cookies of the session's name with different values.
    AmbiguousCookie,
    /// The token is invalid, with the fault.
    InvalidToken(&'static str),
    /// The token has expired, and is otherwise valid.
    ExpiredToken,
    /// The authentication token has no live session.
    UnknownSession,
    /// The request was sent by a page of another origin: its cookie is ignored, and no cookie is set.
    CrossOrigin,
    /// The original request of a proxy that asks by forward auth is unclear; the text says why.
    UnclearRequest(&'static str),
    /// The session requires a one-time password. A layer accepts the token of the fresh session that the service
    /// starts once the code is confirmed.
    OneTimePasswordRequired,
    /// The custom claims do not match the handler's type.
    UnexpectedCustomClaims,
    /// The token's ACL does not grant the permission.
    InsufficientPermission,
    /// The token's ACL would grant the permission, but the token is bound to another organization, or the check
    /// named no organization.
    OutsideOrganization,
    /// The kind of principal is not admitted.
    KindNotAdmitted,
    /// The principal that a handler issues a token to is disabled or blocked.
    Disabled,
    /// A dependency of the response is unreachable.
    Unavailable,
    /// The host forgot a layer, or the service failed.
    Internal,
    /// The service or a route has rejected the request with this error.
    Failed(&'static str),
}

impl LogReason {
    /// Returns the short name for the audit log and the metrics.
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

    /// Returns a sentence for the caller.
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
