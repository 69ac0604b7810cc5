mod checked;

use std::time::Duration;

use serde_json::{Map, Value};

use crate::audit::{Attempt, Operation};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, InvalidField};
use crate::service::actor::Actor;
use crate::service::model::entity::{Credential, Entity, EntityId};
use crate::service::model::idempotency::{IdempotencyKey, describe_bearer};
use crate::service::model::issue_time::IssueTime;
use crate::service::model::session::Starter;
use crate::service::model::subject::SubjectRef;
use crate::service::names::PresentedName;
use crate::service::one_time_password::{CodeAskedBy, no_sender};
use crate::service::password::invalid_credentials;
use crate::service::permission;
use crate::service::policy::expiry_fault;
use crate::service::request_context::RequestContext;
use crate::service::session::new::{CustomerLogin, NewSession, SessionEnd, StartedSession};
use crate::service::session::organization_of;
use crate::service::session::start::checked::RepeatableStart;
use crate::service::token_service::TokenService;
use crate::service::writer::Writer;
use crate::token::acl::Acl;
use crate::token::claims::{SubjectType, Validated};
use crate::token::identifier::{CustomerId, OrganizationId};
use crate::token::organization::Organization;

/// Why a session was not started: its customer was logged out at the same time.
const ENDED_MEANWHILE: &str = "ended_meanwhile";

/// A session to be started, whose fields were checked.
struct CheckedSession {
    customer_id: CustomerId,
    expires_at: Timestamp,
    session: NewSession,
}

/// Who starts a session.
#[derive(Clone, Copy)]
enum StartedBy<'a> {
    Host,
    Credential(&'a Entity),
    Bearer(&'a Validated),
}

impl StartedBy<'_> {
    /// Returns the owner of an idempotency key. A host may pass on keys of its customers.
    fn owner_of_key(
        self,
        organization: Option<&OrganizationId>,
        customer: &CustomerId,
    ) -> Vec<String> {
        match self {
            Self::Host => {
                let organization = organization.map_or("", OrganizationId::as_str);
                vec!["host".into(), organization.into(), customer.to_string()]
            }
            Self::Credential(entity) => vec!["credential".into(), entity.id().to_string()],
            Self::Bearer(bearer) => vec!["bearer".into(), bearer.principal().to_string()],
        }
    }

    /// Returns the bearer as a part of the request, if there is one.
    fn describe_bearer(self) -> Option<Value> {
        match self {
            Self::Bearer(bearer) => Some(describe_bearer(bearer)),
            Self::Host | Self::Credential(_) => None,
        }
    }

    fn asks_for_code(self) -> CodeAskedBy {
        match self {
            Self::Host => CodeAskedBy::Host,
            Self::Credential(_) | Self::Bearer(_) => CodeAskedBy::Client,
        }
    }

    fn credential(self) -> Option<EntityId> {
        match self {
            Self::Credential(entity) => Some(entity.id().clone()),
            Self::Host | Self::Bearer(_) => None,
        }
    }

    /// Returns the starter, if it is a bearer. `audiences` are those of the service.
    fn starter(self, audiences: &[String]) -> Option<Starter> {
        match self {
            Self::Bearer(bearer) => {
                let is_for = |audience| bearer.audiences().contains(audience);
                let is_for_all = audiences.iter().all(is_for);
                Some(Starter {
                    subject: SubjectRef::of_token(bearer).to_subject(),
                    token_issued: IssueTime::of_token(bearer),
                    audiences: (!is_for_all).then(|| bearer.audiences().to_vec()),
                })
            }
            Self::Host | Self::Credential(_) => None,
        }
    }
}

impl TokenService {
    /// Starts a session of a customer without the customer's password, as `actor` asks. If a one-time password is
    /// required, it has been sent when the call returns; if it cannot be sent, no session remains.
    ///
    /// With an [idempotency key](NewSession::idempotency_key), the session is written before its code is sent, so
    /// that only one of several identical concurrent requests sends a code. If the node crashes in between or the
    /// store fails, the session has no code; repeating the request sends one.
    ///
    /// The session belongs to the organization of `context` or, if that has none, to the one in `new`. The two must
    /// not differ.
    ///
    /// ```
    /// # use countersign::{Acl, Actor, CustomerId, Error, NewSession, RequestContext, TokenService};
    /// # async fn use_it(
    /// #     tokens: TokenService, acl: Acl, context: RequestContext,
    /// # ) -> Result<(), Error> {
    /// // The host has logged this customer in by a way of its own:
    /// let new = NewSession::of(CustomerId::new("cus_1")?).acl(acl);
    /// let started = tokens.start_session(Actor::Host, new, &context).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Sessions that a bearer starts
    ///
    /// The bearer is a user or a machine client whose ACL grants `PostAuthenticationToken` for this `customerId`, and
    /// everything that the session may grant. The session's custom claims are limited to those that the policy opens
    /// to everybody and those that the bearer may pass on. Its lifetime is limited by the policy's
    /// `sessions.max_delegated_lifetime`, and it ends when the bearer is revoked. Its tokens are limited to the
    /// bearer's audiences. If neither `context` nor `new` names an organization, it belongs to the bearer's.
    ///
    /// A bearer that is bound to an organization may start sessions for the customers that a `customerId` scope of
    /// its ACL names, and for those that the [`CustomerDirectory`](crate::sessions::CustomerDirectory) allows.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidFields`] for an expiry, an organization, wildcards or claims that the policy or `context`
    /// does not allow; [`ErrorKind::Configuration`] if the host requires a one-time password but there is no sender;
    /// [`ErrorKind::Unavailable`] if the code cannot be delivered, the store is unreachable, or the same request is
    /// still sending its code; [`ErrorKind::Throttled`] if the customer has as many live sessions as the policy's
    /// `sessions.max_per_customer`; [`ErrorKind::Conflict`] if a given token already has a session, the customer was
    /// logged out everywhere at that moment, or the session that the same idempotency key has started has ended or
    /// was started more than 60 seconds ago.
    ///
    /// If a bearer starts the session: [`ErrorKind::InsufficientPermission`] if it lacks the permission,
    /// [`ErrorKind::AclExceedsGrant`] or [`ErrorKind::CustomClaimsNotAllowed`] if the session would grant more than
    /// the bearer or the policy's `sessions.delegable_acl` allows, and [`ErrorKind::Throttled`] if it has started as
    /// many live sessions as the policy's `sessions.max_per_starter`.
    pub async fn start_session(
        &self,
        actor: impl Into<Actor<'_>>,
        new: NewSession,
        context: &RequestContext,
    ) -> Result<StartedSession, Error> {
        let actor = actor.into();
        let customer = new.customer_id.as_ref();
        let subject = customer.map(|id| (SubjectType::Customer, id.as_str()));
        let attempt = Attempt { subject, ..context.attempt(Operation::START_SESSION).by(actor) };
        let attempt = attempt.to_owned();
        let (actor, context) = (actor.to_owned(), context.clone());
        self.write(attempt, |writer| async move {
            let started = match actor.borrowed() {
                Actor::Host => writer.start_for_host(new, &context).await,
                Actor::Bearer(bearer) => writer.start_for_bearer(bearer, new, &context).await,
            };
            started.inspect(|started| writer.details.session(started.session.record()))
        })
        .await
    }

    /// Starts a session of a customer who logs in with name and password, with the ACL and claims of the credential's
    /// registration: a credential of the organization of `context` or, if that has none, one without an organization.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidCredentials`], [`ErrorKind::Throttled`] and [`ErrorKind::Overloaded`] as
    /// for [`issue_user_token`](Self::issue_user_token), and those of
    /// [`start_session`](Self::start_session).
    pub async fn log_in_customer(
        &self,
        login: CustomerLogin,
        context: &RequestContext,
    ) -> Result<StartedSession, Error> {
        let name = self.presented(SubjectType::Customer, &login.username, context);
        let attempt = name.attempt(context.attempt(Operation::START_SESSION)).to_owned();
        let context = context.clone();
        self.write(attempt, |writer| async move {
            let started = writer.try_log_in_customer(login, &name, &context).await;
            started.inspect(|started| writer.details.session(started.session.record()))
        })
        .await
    }

    /// Returns the fault of a caller's request for a one-time password.
    fn sender_fault(&self, otp_required: bool) -> Option<InvalidField> {
        let message = "is not supported: this service sends no one-time passwords";
        let is_fault = otp_required && self.inner.sender.is_none();
        is_fault.then(|| InvalidField::new("otpRequired", message))
    }

    /// Checks that a one-time password that the host requires can be sent.
    fn check_sender(&self, otp_required: bool) -> Result<(), Error> {
        if otp_required && self.inner.sender.is_none() { Err(no_sender()) } else { Ok(()) }
    }

    fn end_fault(
        &self,
        ends: SessionEnd,
        now: Timestamp,
        longest: Duration,
    ) -> Option<InvalidField> {
        let end = self.end_of(ends, now, longest);
        expiry_fault(end, end, now, longest)
    }

    fn end_of(&self, ends: SessionEnd, now: Timestamp, longest: Duration) -> Timestamp {
        match ends {
            SessionEnd::ByPolicy => now + self.inner.policy.sessions.lifetime.min(longest),
            SessionEnd::After(lifetime) => now + lifetime,
            SessionEnd::At(end) => end,
        }
    }

    fn longest_delegated_session(&self) -> Duration {
        let policy = &self.inner.policy;
        policy.sessions.max_lifetime.min(policy.sessions.max_delegated_lifetime)
    }

    /// Checks the fields of a session that is to be started.
    fn check_session(&self, new: NewSession, now: Timestamp) -> Result<CheckedSession, Error> {
        self.check_session_within(new, now, self.inner.policy.sessions.max_lifetime)
    }

    /// Checks them for a session with this maximum lifetime.
    fn check_session_within(
        &self,
        new: NewSession,
        now: Timestamp,
        longest: Duration,
    ) -> Result<CheckedSession, Error> {
        let policy = &self.inner.policy;
        let mut invalid = new.invalid.clone();
        invalid.extend(new.idempotency_key.as_ref().and_then(IdempotencyKey::fault));
        invalid.extend(new.token_fault());
        invalid.extend(self.end_fault(new.ends, now, longest));
        invalid.extend(self.sender_fault(new.otp_required));
        invalid.extend(policy.acl_fault(&new.acl));
        invalid.extend(policy.custom_claims_fault(&new.custom_claims));
        if invalid.is_empty() {
            invalid.extend(policy.room_fault(&new.acl, &new.custom_claims));
        }
        let expires_at = self.end_of(new.ends, now, longest);
        match new.customer_id.clone().filter(|_| invalid.is_empty()) {
            Some(customer_id) => Ok(CheckedSession { customer_id, expires_at, session: new }),
            None => Err(Error::from_invalid_fields(invalid)),
        }
    }
}

impl Writer {
    async fn start_for_host(
        &self,
        mut new: NewSession,
        context: &RequestContext,
    ) -> Result<StartedSession, Error> {
        let (now, repeatable) = (self.now(), RepeatableStart::of(&new));
        self.check_sender(new.otp_required)?;
        if let Some(organization) = organization_of(context, new.organization.as_ref())? {
            new.organization = Some(Organization::One(organization));
        }
        new.invalid.extend(self.inner.policy.organization_fault(new.organization.as_ref()));
        let new = self.check_session(new, now)?;
        self.start_checked(new, StartedBy::Host, repeatable, now).await
    }

    async fn start_for_bearer(
        &self,
        bearer: &Validated,
        new: NewSession,
        context: &RequestContext,
    ) -> Result<StartedSession, Error> {
        let (now, repeatable) = (self.now(), RepeatableStart::of(&new));
        self.check_bearer(bearer)?;
        let longest = self.longest_delegated_session();
        let mut new = self.check_session_within(new, now, longest)?;
        let asked = permission::POST_AUTHENTICATION_TOKEN;
        let (customer_id, named) = (&new.customer_id, new.session.organization.clone());
        let organization =
            self.organization_for(bearer, context, asked, Some(customer_id), named.as_ref())?;
        let organization = organization.map_or(named, |id| Some(Organization::One(id)));
        if let Some(fault) = self.inner.policy.organization_fault(organization.as_ref()) {
            return Err(Error::from_invalid_fields(vec![fault]));
        }
        let session_organization = organization;
        let organization = session_organization.as_ref().and_then(Organization::id);
        self.check_customer(bearer, organization, &new.customer_id).await?;
        let acl = &new.session.acl;
        let beyond = |held: Acl| self.first_beyond(acl, organization, &[held]);
        let delegable = self.inner.policy.sessions.delegable_acl.clone();
        let beyond = beyond(bearer.acl()).or_else(|| delegable.and_then(beyond));
        if let Some(entry) = beyond {
            return Err(Error::new(
                ErrorKind::AclExceedsGrant,
                format!("acl.{entry} exceeds what the bearer may grant"),
            ));
        }
        new.session.organization = session_organization;
        // Fields that the host has not set itself are treated as requested by the bearer.
        new.session.custom_claims =
            self.merge_custom_claims(&Map::new(), &new.session.custom_claims, Some(bearer))?;
        self.start_checked(new, StartedBy::Bearer(bearer), repeatable, now).await
    }

    async fn try_log_in_customer(
        &self,
        login: CustomerLogin,
        name: &PresentedName,
        context: &RequestContext,
    ) -> Result<StartedSession, Error> {
        let ends = login.expires_at.map_or(SessionEnd::ByPolicy, SessionEnd::At);
        let repeatable = RepeatableStart::of_login(&login);
        let mut invalid = login.invalid;
        invalid.extend(login.idempotency_key.as_ref().and_then(IdempotencyKey::fault));
        invalid.extend(self.end_fault(ends, self.now(), self.inner.policy.sessions.max_lifetime));
        invalid.extend(self.sender_fault(login.otp_required));
        let Some(password) = login.password.filter(|_| invalid.is_empty()) else {
            return Err(Error::from_invalid_fields(invalid));
        };
        let proven = self.verify_password(name, password, context).await?;
        let Credential::Customer { customer_id, otp_required, .. } = proven.entity.credential()
        else {
            return Err(Error::new(
                ErrorKind::Internal,
                "a customer's credential is of another kind",
            ));
        };
        let mut new = NewSession::of(customer_id.clone())
            .acl(proven.entity.acl.clone())
            .otp_required(*otp_required || login.otp_required);
        self.check_organization(&proven.entity)?;
        new.organization = proven.entity.organization.clone();
        new.custom_claims = proven.entity.custom_claims.clone();
        new.ends = ends;
        self.check_sender(new.otp_required)?;
        let new = self.check_session(new, proven.at)?;
        let is_repeatable = repeatable.is_some();
        let started_by = StartedBy::Credential(&proven.entity);
        let started = match self.start_checked(new, started_by, repeatable, proven.at).await {
            Err(error) if error.reason() == ENDED_MEANWHILE => {
                return Err(invalid_credentials(ENDED_MEANWHILE));
            }
            started => started?,
        };
        // An operation that ends the sessions of a credential changes the credential first: either that is visible
        // here by now, or the operation will find this session.
        match self.inner.stores.get_entity(proven.entity.id()).await {
            Ok(Some(current)) if proven.entity.has_the_credential_of(&current) => Ok(started),
            Ok(_) => {
                // An identical request may have started it earlier, and tokens have been issued from it since.
                match self.end_session_of_token(&started.token, context).await {
                    Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                    _ => Err(invalid_credentials("changed_meanwhile")),
                }
            }
            Err(error) => {
                // Nobody has its token, except a client that repeats the request.
                if !is_repeatable {
                    self.stores.remove_session(&started.session.record().id).await?;
                }
                Err(error)
            }
        }
    }
}
