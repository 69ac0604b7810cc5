use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::service::model::session::Session;
use crate::service::model::session_position::SessionPosition;
use crate::token::identifier::{CustomerId, OrganizationId, SessionId};

/// A live session, by what its holder has proven.
///
/// A session that requires a one-time password starts after the check of the password. Until the right code is
/// presented, its token proves only the password, and its holder is not logged in. For a browser,
/// [`confirm_one_time_password`](crate::TokenService::confirm_one_time_password) replaces it by a fresh session.
///
/// ```
/// # use countersign::sessions::SessionState;
/// # use countersign::{AuthenticationToken, CustomerId, Error, RequestContext, TokenService};
/// # async fn use_it(
/// #     tokens: TokenService, token: AuthenticationToken, context: RequestContext,
/// # ) -> Result<(), Error> {
/// // Who calls, or an error where the code is still wanted:
/// let session = tokens.find_session(&token, &context).await?.proven()?;
/// let caller: &CustomerId = session.customer_id();
///
/// // The same, where a page asks for the code:
/// match tokens.find_session(&token, &context).await? {
///     SessionState::Proven(session) => println!("welcome, {}", session.customer_id()),
///     SessionState::OneTimePasswordPending(_) => println!("type the code that you were sent"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub enum SessionState {
    /// The holder is logged in: the right code was presented, or none is required.
    Proven(Session),
    /// A code was sent, but the right one has not been presented yet.
    OneTimePasswordPending(PendingSession),
}

/// A session that still requires its one-time password, with what a host needs to ask for the code. Confirm the code,
/// or exchange the token with it, to log the customer in.
#[derive(Clone, Debug)]
pub struct PendingSession(Session);

/// A page of a list of live sessions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionList {
    /// The sessions, oldest first.
    pub sessions: Vec<SessionState>,
    /// The total number of sessions on all pages. Up to 10,000 after this page are counted exactly.
    pub total: usize,
}

impl SessionState {
    pub(in crate::service) fn of(session: Session) -> Self {
        if session.is_one_time_password_pending() {
            Self::OneTimePasswordPending(PendingSession(session))
        } else {
            Self::Proven(session)
        }
    }

    /// Returns the session, if its holder is logged in.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::OneTimePasswordRequired`] if the one-time password is still required.
    pub fn proven(self) -> Result<Session, Error> {
        match self {
            Self::Proven(session) => Ok(session),
            Self::OneTimePasswordPending(_) => Err(code_required()),
        }
    }

    /// Returns the position of the session in a list; the next page may begin after it.
    #[must_use]
    pub fn position(&self) -> SessionPosition {
        self.record().position()
    }

    /// Returns the session as stored, whatever its token proves.
    pub(in crate::service) fn record(&self) -> &Session {
        match self {
            Self::Proven(session) | Self::OneTimePasswordPending(PendingSession(session)) => {
                session
            }
        }
    }
}

impl PendingSession {
    /// Returns the public id of the session.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        self.0.id()
    }

    /// Returns the customer that the code was sent to.
    #[must_use]
    pub fn customer_id(&self) -> &CustomerId {
        self.0.customer_id()
    }

    /// Returns the organization that the session belongs to.
    #[must_use]
    pub fn organization_id(&self) -> Option<&OrganizationId> {
        self.0.organization_id()
    }

    /// Returns when the session was started.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.0.created_at()
    }

    /// Returns when the session expires.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.0.expires_at()
    }
}

pub(in crate::service) fn code_required() -> Error {
    Error::new(ErrorKind::OneTimePasswordRequired, "the session needs a one-time password")
}
