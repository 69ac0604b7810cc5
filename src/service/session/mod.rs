//! Sessions of customers: finds and lists them, with helpers for starting and ending them.

mod end;
mod limits;
pub(super) mod new;
mod start;
pub(super) mod state;
pub(super) mod tokens;

use crate::audit::Operation;
use crate::error::{Error, ErrorKind, InvalidField};
use crate::service::actor::Actor;
use crate::service::model::authentication_token::AuthenticationToken;
use crate::service::model::session::Session;
use crate::service::permission;
use crate::service::request_context::RequestContext;
use crate::service::store::{PageRequest, SessionFilter};
use crate::service::token_service::TokenService;
use crate::token::claims::Validated;
use crate::token::identifier::{CustomerId, OrganizationId};
use crate::token::organization::Organization;

pub use self::new::{CustomerLogin, NewSession, StartedSession};
pub use self::state::{PendingSession, SessionList, SessionState};

impl TokenService {
    /// Returns the live session of an authentication token, and whether its one-time password is still required. The
    /// customer is logged in only if it is [`SessionState::Proven`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is none, or it belongs to another organization than `context`'s;
    /// [`ErrorKind::Unavailable`] if the store is unreachable.
    pub async fn find_session(
        &self,
        token: &AuthenticationToken,
        context: &RequestContext,
    ) -> Result<SessionState, Error> {
        self.find_open_session(token, context).await.map(SessionState::of)
    }

    /// Returns the live session of an authentication token, unless its attempts are used up.
    pub(super) async fn find_open_session(
        &self,
        token: &AuthenticationToken,
        context: &RequestContext,
    ) -> Result<Session, Error> {
        let session = self.find_live_session(token, context).await?;
        let state = session.one_time_password.as_ref();
        if state.is_some_and(|state| state.tries_left == 0) {
            // Its last attempt is being compared, or the node died meanwhile.
            return Err(no_session());
        }
        Ok(session)
    }

    /// Returns the live session of an authentication token, even if its last attempt may be in progress.
    pub(super) async fn find_live_session(
        &self,
        token: &AuthenticationToken,
        context: &RequestContext,
    ) -> Result<Session, Error> {
        self.check_revocations_are_known()?;
        let session = self.find_kept_session(token, context).await?;
        self.check_live(session)
    }

    /// Returns the session, if it is live.
    pub(super) fn check_live(&self, session: Session) -> Result<Session, Error> {
        let is_live = !session.is_used_up() && session.expires_at > self.now();
        if is_live && !self.was_ended(&session) { Ok(session) } else { Err(no_session()) }
    }

    /// Returns the session of an authentication token, to end it: also one that has ended, if tokens of it are still
    /// valid.
    pub(super) async fn find_kept_session(
        &self,
        token: &AuthenticationToken,
        context: &RequestContext,
    ) -> Result<Session, Error> {
        let session = self.inner.stores.get_session(&token.key()).await?;
        session
            .filter(|session| session.can_be_ended(self.now()))
            .filter(|session| context.may_see(session.organization_id()))
            .ok_or_else(no_session)
    }

    /// Lists live sessions: those of one customer, or all sessions of the organization of `context` or of the bearer.
    ///
    /// `actor` is the host, or a user or machine client whose ACL grants `GetAuthenticationTokenCollection` for all
    /// requested sessions.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidFields`] if the offset exceeds the policy's
    /// [`sessions.max_list_offset`](crate::policy::Sessions::max_list_offset), [`ErrorKind::InsufficientPermission`]
    /// if the bearer lacks the permission, [`ErrorKind::Unavailable`] if the store is unreachable.
    pub async fn list_sessions(
        &self,
        actor: impl Into<Actor<'_>>,
        customer_id: Option<&CustomerId>,
        page: PageRequest,
        context: &RequestContext,
    ) -> Result<SessionList, Error> {
        let actor = actor.into();
        let listing = async {
            self.check_offset(page.offset)?;
            let organization_id = match actor {
                Actor::Host => organization_of(context, None)?,
                Actor::Bearer(bearer) => {
                    self.check_bearer(bearer)?;
                    let asked = permission::GET_AUTHENTICATION_TOKEN_COLLECTION;
                    self.organization_for(bearer, context, asked, customer_id, None)?
                }
            };
            let filter = SessionFilter { customer_id: customer_id.cloned(), organization_id };
            let listed = self.inner.stores.list_sessions(&filter, &page, self.now()).await?;
            let sessions = listed.sessions.into_iter().map(SessionState::of).collect();
            Ok(SessionList { sessions, total: listed.total })
        };
        self.audited(context.attempt(Operation::LIST_SESSIONS).by(actor), listing).await
    }
}

impl TokenService {
    fn check_offset(&self, offset: usize) -> Result<(), Error> {
        let most = self.inner.policy.sessions.max_list_offset;
        if offset <= most {
            return Ok(());
        }
        let fault = InvalidField::new("offset", format!("must be an integer from 0 to {most}"));
        Err(Error::from_invalid_fields(vec![fault]))
    }

    /// Returns the organization in which `bearer` acts: that of `context` or, if it has none, the bearer's own. An
    /// error if `bearer` is of another one, or lacks the permission there.
    fn organization_for(
        &self,
        bearer: &Validated,
        context: &RequestContext,
        operation: &str,
        customer_id: Option<&CustomerId>,
        named: Option<&Organization>,
    ) -> Result<Option<OrganizationId>, Error> {
        let (theirs, ours) = (bearer.organization_id(), context.organization.as_ref());
        let is_elsewhere = ours.is_some() && !bearer.may_act_in(ours);
        if is_elsewhere || context.has_invalid_organization() {
            return Err(insufficient());
        }
        let organization = ours.or(theirs).or(named.and_then(Organization::id));
        if named.is_some_and(|named| named.id() != organization) {
            return Err(insufficient());
        }
        let mut scope = Vec::new();
        scope.extend(customer_id.map(|id| ("customerId", id.as_str())));
        scope.extend(organization.map(|id| ("organizationId", id.as_str())));
        let is_permitted = self.permits(bearer, operation, &scope);
        if is_permitted { Ok(organization.cloned()) } else { Err(insufficient()) }
    }
}

/// Returns the organization in which the host acts: that of `context`, or else the named one. An error if they
/// differ.
fn organization_of(
    context: &RequestContext,
    named: Option<&Organization>,
) -> Result<Option<OrganizationId>, Error> {
    let ours = context.organization.as_ref();
    let is_another = ours.is_some() && named.is_some_and(|named| named.id() != ours);
    if is_another || context.has_invalid_organization() {
        let fault = InvalidField::new("organization", "is not that of the request");
        return Err(Error::from_invalid_fields(vec![fault]));
    }
    Ok(ours.or(named.and_then(Organization::id)).cloned())
}

fn insufficient() -> Error {
    Error::new(ErrorKind::InsufficientPermission, "the bearer token does not grant the operation")
}

pub(super) fn no_session() -> Error {
    Error::new(ErrorKind::NotFound, "there is no such authentication token")
}
