//! The crate's one error type.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// The error type of the crate: a [kind](ErrorKind), a message that may be shown to a client, and optionally a cause
/// as its [`source`](StdError::source).
///
/// Neither its text nor its source ever contains a password, secret, code or token.
///
/// ```
/// use countersign::{Error, ErrorKind, KeyRing};
///
/// # #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))] {
/// let error = KeyRing::from_jwks(b"no JWK Set").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidKey);
/// # }
/// // A host returns its own failures in the same way.
/// let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
/// let error = Error::new(ErrorKind::Unavailable, "the directory is out of reach").with_source(refused);
/// assert_eq!(error.to_string(), "the directory is out of reach");
/// ```
pub struct Error {
    pub(crate) details: Box<Details>,
}

pub(crate) struct Details {
    pub(crate) kind: ErrorKind,
    pub(crate) message: Cow<'static, str>,
    pub(crate) invalid_fields: Vec<InvalidField>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) reason: Option<&'static str>,
    pub(crate) source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kinds of [`Error`], by how the caller can react.
///
/// A handler that returns an [`Error`] responds with the status of its kind. One that shows a page matches on the kind:
///
/// ```
/// use countersign::{Error, ErrorKind};
///
/// /// Returns the text of a login form after a login that failed.
/// fn notice(error: &Error) -> String {
///     match error.kind() {
///         ErrorKind::InvalidCredentials => "Unknown name or wrong password.".to_owned(),
///         ErrorKind::Disabled => "This account is disabled.".to_owned(),
///         ErrorKind::Throttled => {
///             let seconds = error.retry_after().map_or(1, |delay| delay.as_secs());
///             format!("Too many attempts: try again in {seconds} seconds.")
///         }
///         // An outage, or a fault that the log tells of.
///         _ => "Please try again later.".to_owned(),
///     }
/// }
///
/// let error = Error::new(ErrorKind::Unavailable, "the store is out of reach");
/// assert_eq!(notice(&error), "Please try again later.");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is missing or contradicts another. Returned by constructors, and by calls that need a setting that
    /// is missing.
    Configuration,
    /// A key is malformed, too weak, or made for another algorithm.
    InvalidKey,
    /// The request is malformed.
    InvalidRequest,
    /// The request is well-formed, but some of its fields are invalid: see [`Error::invalid_fields`].
    InvalidFields,
    /// A name and password, or an id and secret, that do not match, have expired, or belong to no principal.
    InvalidCredentials,
    /// A machine client that does not exist, or that the caller may not manage.
    InvalidEntity,
    /// The requested object does not exist, or no longer.
    NotFound,
    /// The object exists already, or a concurrent write came first.
    Conflict,
    /// The session requires a one-time password, and the request has none.
    OneTimePasswordRequired,
    /// The one-time password is wrong, expired, or already used.
    OneTimePasswordInvalid,
    /// The request asks for more than the session or the bearer holds.
    AclExceedsGrant,
    /// The request asks for custom claims that only the host may set, or for values that only the host may set.
    CustomClaimsNotAllowed,
    /// A bearer token that is malformed, forged, expired, revoked or not for this audience.
    InvalidToken,
    /// The principal that a token or a session is for is disabled or blocked.
    Disabled,
    /// A valid token whose ACL does not grant the operation.
    InsufficientPermission,
    /// A limit of the policy is exhausted: failed attempts, one-time passwords sent, reads of secrets, or live
    /// sessions; see [`Error::retry_after`].
    Throttled,
    /// There are too many requests at once; see [`Error::retry_after`].
    Overloaded,
    /// A store, or the sender of one-time passwords, is unreachable.
    Unavailable,
    /// A fault of this crate or of the host's wiring.
    Internal,
}

impl ErrorKind {
    /// Returns a short name for metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::InvalidKey => "invalid_key",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidFields => "invalid_fields",
            Self::InvalidCredentials => "invalid_credentials",
            Self::InvalidEntity => "invalid_entity",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::OneTimePasswordRequired => "one_time_password_required",
            Self::OneTimePasswordInvalid => "one_time_password_invalid",
            Self::AclExceedsGrant => "acl_exceeds_grant",
            Self::CustomClaimsNotAllowed => "custom_claims_not_allowed",
            Self::InvalidToken => "invalid_token",
            Self::Disabled => "disabled",
            Self::InsufficientPermission => "insufficient_permission",
            Self::Throttled => "throttled",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

/// An invalid field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidField {
    /// The path of the field in dot notation: `acl.0.permissions`.
    pub field: String,
    /// The rule that the field breaks.
    pub message: String,
}

impl InvalidField {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl Error {
    /// Creates an error for a handler of the host, or for its implementation of a trait of this crate. The kind sets
    /// the [`status`](Self::status). The message is shown to the client, except for a 5xx.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            details: Box::new(Details {
                kind,
                message: message.into(),
                invalid_fields: Vec::new(),
                retry_after: None,
                reason: None,
                source: None,
            }),
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.details.source = Some(source.into());
        self
    }

    pub(crate) fn configuration(problem: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Configuration, problem)
    }

    pub(crate) fn from_invalid_fields(invalid_fields: Vec<InvalidField>) -> Self {
        let mut error = Self::new(ErrorKind::InvalidFields, "some fields are invalid");
        error.details.invalid_fields = invalid_fields;
        error
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.details.kind
    }

    /// Returns the message for the caller, without the cause.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.details.message
    }

    /// Returns the invalid fields, at most 32 faults of an invalid list. Empty for every kind except
    /// [`ErrorKind::InvalidFields`].
    #[must_use]
    pub fn invalid_fields(&self) -> &[InvalidField] {
        &self.details.invalid_fields
    }

    /// Returns how long to wait before a retry, if it is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.details.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.details.message)?;
        for (index, invalid) in self.details.invalid_fields.iter().enumerate() {
            let separator = if index == 0 { ": " } else { "; " };
            write!(f, "{separator}{} {}", invalid.field, invalid.message)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.details.kind)
            .field("message", &self.details.message)
            .field("invalid_fields", &self.details.invalid_fields)
            .field("reason", &self.details.reason)
            .field("source", &self.details.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.details.source.as_deref().map(|source| source as _)
    }
}
