use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::service::model::session::Session;
use crate::service::model::session_position::SessionPosition;
use crate::token::identifier::{CustomerId, OrganizationId, SessionId};

/// A live session, by what its authentication token proves.
///
/// A session that wants a one-time password starts when the password is right. Until a right code is
/// presented, its token proves the password alone, and its holder is not logged in. A browser confirms the
/// code for a fresh session, by
/// [`confirm_one_time_password`](crate::TokenService::confirm_one_time_password).
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
    /// All that is asked for was proven: a right code was presented, or none is wanted.
    Proven(Session),
    /// A code was sent, and no right one has been presented yet.
    OneTimePasswordPending(PendingSession),
}

/// A session whose one-time password is still wanted, as far as a host needs it to ask for the code.
/// To confirm the code proves the rest, or an exchange with it.
#[derive(Clone, Debug)]
pub struct PendingSession(Session);

/// A page of live sessions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionList {
    /// The sessions, the oldest first.
    pub sessions: Vec<SessionState>,
    /// How many there are on all pages. Up to 10,000 behind this page are counted exactly.
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

    /// Returns the session, where its token proves all that is asked for.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::OneTimePasswordRequired`] where the one-time password is still wanted.
    pub fn proven(self) -> Result<Session, Error> {
        match self {
            Self::Proven(session) => Ok(session),
            Self::OneTimePasswordPending(_) => Err(code_required()),
        }
    }

    /// Returns where the session stands in a list; the next page may begin behind it.
    #[must_use]
    pub fn position(&self) -> SessionPosition {
        self.record().position()
    }

    /// The session as it is stored, whatever its token proves.
    pub(in crate::service) fn record(&self) -> &Session {
        match self {
            Self::Proven(session) | Self::OneTimePasswordPending(PendingSession(session)) => {
                session
            }
        }
    }
}

impl PendingSession {
    /// Its public id.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        self.0.id()
    }

    /// The customer whom the code was sent to.
    #[must_use]
    pub fn customer_id(&self) -> &CustomerId {
        self.0.customer_id()
    }

    /// The organization that it belongs to.
    #[must_use]
    pub fn organization_id(&self) -> Option<&OrganizationId> {
        self.0.organization_id()
    }

    /// When it was started.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.0.created_at()
    }

    /// When it ends.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.0.expires_at()
    }
}

pub(in crate::service) fn code_required() -> Error {
    Error::new(ErrorKind::OneTimePasswordRequired, "the session needs a one-time password")
}
