//! Sessions of customers.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::service::model::authentication_token::SessionKey;
use crate::service::model::entity::EntityId;
use crate::service::model::idempotency::{RememberedExchanges, RememberedStart};
use crate::service::model::issue_time::IssueTime;
use crate::service::model::one_time_password::OneTimePasswordState;
use crate::service::model::session_position::SessionPosition;
use crate::service::model::subject::Subject;
use crate::token::acl::Acl;
use crate::token::claims::SubjectType;
use crate::token::identifier::{CustomerId, OrganizationId, SessionId, TokenId};

const TOMBSTONES_CREATED_AT: Timestamp = Timestamp::MAX;

/// A session: the customer that an authentication token stands for, and the maximum that its tokens may grant.
#[derive(Clone, Debug)]
pub struct Session {
    pub(crate) key: SessionKey,
    pub(crate) id: SessionId,
    pub(crate) customer_id: CustomerId,
    pub(crate) organization_id: Option<OrganizationId>,
    pub(crate) credential: Option<EntityId>,
    pub(crate) starter: Option<Starter>,
    pub(crate) acl: Acl,
    pub(crate) custom_claims: Map<String, Value>,
    pub(crate) one_time_password: Option<OneTimePasswordState>,
    pub(crate) created_at: Timestamp,
    /// The latest revocation of the customer that was known when the session was started.
    pub(crate) after_revocation: Option<Timestamp>,
    pub(crate) updated_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// The limit of `expires_at`, if that moves ahead with each use.
    pub(crate) latest_end: Option<Timestamp>,
    /// What used the session up: the id of the JWT, or an id generated for this purpose. Without it, two nodes that
    /// use up one session at the same time would write the same record, and each would take the write for its own.
    pub(crate) used_up_by: Option<TokenId>,
    pub(crate) tokens_until: Option<Timestamp>,
    /// The request that started the session, if it may be repeated.
    pub(crate) start: Option<RememberedStart>,
    pub(crate) exchanges: RememberedExchanges,
    pub(crate) version: u64,
}

/// The bearer whose token started a session, and the issue time of that token. A revocation of the token revokes the
/// session, too, whatever the clock of the node that started it.
#[derive(Clone, Debug)]
pub(crate) struct Starter {
    pub(crate) subject: Subject,
    pub(crate) token_issued: IssueTime,
    /// The audiences of that token, if it was not for all of the service's: the session's tokens have no others.
    pub(crate) audiences: Option<Vec<String>>,
}

/// The claims that the session's tokens may have now.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) acl: Acl,
    /// The audiences that the tokens may have; `None` means all of the service's.
    pub(crate) audiences: Option<Vec<String>>,
}

impl Session {
    /// Creates a session as [`TokenService::start_session`](crate::TokenService) does, for tests of a custom store.
    #[must_use]
    pub fn new(
        key: SessionKey,
        id: SessionId,
        customer_id: CustomerId,
        created_at: Timestamp,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            key,
            id,
            customer_id,
            organization_id: None,
            credential: None,
            starter: None,
            acl: Acl::default(),
            custom_claims: Map::new(),
            one_time_password: None,
            created_at,
            after_revocation: None,
            updated_at: created_at,
            expires_at,
            latest_end: None,
            used_up_by: None,
            tokens_until: None,
            start: None,
            exchanges: RememberedExchanges::default(),
            version: 1,
        }
    }

    /// Returns the key that the session is stored under.
    #[must_use]
    pub fn key(&self) -> SessionKey {
        self.key
    }

    /// Returns the public id, the `sid` of the session's tokens.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// Returns the customer who owns the session.
    #[must_use]
    pub fn customer_id(&self) -> &CustomerId {
        &self.customer_id
    }

    /// Returns the organization that the session belongs to.
    #[must_use]
    pub fn organization_id(&self) -> Option<&OrganizationId> {
        self.organization_id.as_ref()
    }

    /// Returns the credential that the session was started with, if it was started with name and password.
    #[must_use]
    pub fn credential(&self) -> Option<&EntityId> {
        self.credential.as_ref()
    }

    /// Returns the subject of the session: the customer in their organization.
    #[must_use]
    pub fn subject(&self) -> Subject {
        Subject::new(SubjectType::Customer, self.customer_id.as_str())
            .organization(self.organization_id.clone())
    }

    /// Returns the user or machine client that started the session as a bearer, if one did.
    #[must_use]
    pub fn started_by(&self) -> Option<&Subject> {
        self.starter.as_ref().map(|starter| &starter.subject)
    }

    /// Returns the maximum that a token exchanged from the session may grant, unless a bearer with more permissions
    /// widens it.
    #[must_use]
    pub fn acl(&self) -> &Acl {
        &self.acl
    }

    /// Returns the custom claims of the session's tokens.
    #[must_use]
    pub fn custom_claims(&self) -> &Map<String, Value> {
        &self.custom_claims
    }

    /// Returns whether an exchange requires a one-time password.
    #[must_use]
    pub fn otp_required(&self) -> bool {
        self.one_time_password.is_some()
    }

    /// Returns whether a one-time password is wanted, and no right one was presented yet.
    pub(crate) fn is_one_time_password_pending(&self) -> bool {
        self.one_time_password.as_ref().is_some_and(|state| !state.is_proven)
    }

    pub(crate) fn is_tombstone(&self) -> bool {
        self.created_at == TOMBSTONES_CREATED_AT
    }

    /// Returns the position of the session in a list; a page may begin after it.
    #[must_use]
    pub fn position(&self) -> SessionPosition {
        SessionPosition::new(self.created_at, self.id.clone())
    }

    /// Returns when the session was started.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// Returns when the session was started, and the revocation of the customer that was known then.
    pub(crate) fn issue_time(&self) -> IssueTime {
        IssueTime { at: self.created_at, after_revocation: self.after_revocation }
    }

    /// Returns when the session was last written.
    #[must_use]
    pub fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    /// Returns when the session expires; [`Timestamp::MIN`] once an exchange has used it up. Under the policy's
    /// [`sessions.idle_timeout`](crate::policy::Sessions::idle_timeout), each use moves it.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Returns the latest time at which the session expires, however often it is used.
    #[must_use]
    pub fn latest_end(&self) -> Timestamp {
        self.latest_end.unwrap_or(self.expires_at)
    }

    /// Returns when the session expires if it is used `now`, and not again.
    pub(crate) fn end_after_use(
        &self,
        now: Timestamp,
        idle_timeout: Option<Duration>,
    ) -> Timestamp {
        let latest = self.latest_end();
        idle_timeout.map_or(latest, |timeout| latest.min(now + timeout))
    }

    /// Updates the expiry for a use `now`.
    pub(crate) fn used_at(self, now: Timestamp, idle_timeout: Option<Duration>) -> Self {
        let (latest, expires_at) = (self.latest_end(), self.end_after_use(now, idle_timeout));
        let may_move = self.latest_end.is_some() || expires_at < latest;
        Self { expires_at, latest_end: may_move.then_some(latest), ..self }
    }

    /// Returns whether an exchange has used the session up.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.used_up_by.is_some()
    }

    /// Returns when a store may drop the session. From then on, the session and all tokens issued from it have
    /// expired, and its stored requests can no longer be repeated. Until then, a log-out needs it to find the tokens
    /// to revoke.
    #[must_use]
    pub fn kept_until(&self) -> Timestamp {
        let start = self.start.as_ref().map(|start| start.until);
        let until = self.tokens_until.max(start).max(self.exchanges.until());
        until.map_or(self.expires_at, |until| until.max(self.expires_at))
    }

    /// Returns whether there is something to end: the session is live, or a token of it may be valid.
    pub(crate) fn can_be_ended(&self, now: Timestamp) -> bool {
        self.expires_at > now || self.tokens_until > Some(now)
    }

    /// Returns the record that remains if the session ends `now` and the request that started it may still be
    /// repeated: no search finds it, and its token can start no other session.
    pub(crate) fn tombstone(&self, by: TokenId, now: Timestamp) -> Option<Self> {
        self.start.as_ref().filter(|start| start.until > now)?;
        Some(Self {
            // Searches find sessions that were created before an instant.
            created_at: TOMBSTONES_CREATED_AT,
            tokens_until: None,
            exchanges: RememberedExchanges::default(),
            ..self.clone().used_up(by, None, now)
        })
    }

    /// Returns the version of the record. A store keeps the number that it is given, and compares it with the number
    /// that a later caller expects; it never generates one.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Returns the session as used up: by a token, which validators accept until `until` at the latest, or by the
    /// session that replaces it. Fields that are no longer needed are dropped.
    pub(crate) fn used_up(self, by: TokenId, until: Option<Timestamp>, now: Timestamp) -> Self {
        Self {
            acl: Acl::default(),
            custom_claims: Map::new(),
            one_time_password: None,
            expires_at: Timestamp::MIN,
            latest_end: None,
            used_up_by: Some(by),
            tokens_until: self.tokens_until.max(until),
            ..self.next_version(now)
        }
    }

    /// Returns the session that replaces this one, and requires no one-time password.
    ///
    /// It has the start time of this one: a revocation of everything before an instant covers both.
    pub(crate) fn succeeded_by(self, key: SessionKey, id: SessionId, now: Timestamp) -> Self {
        Self {
            key,
            id,
            one_time_password: None,
            updated_at: now,
            used_up_by: None,
            tokens_until: None,
            start: None,
            exchanges: RememberedExchanges::default(),
            version: 1,
            ..self
        }
    }

    /// Returns the record with the next version.
    #[must_use]
    pub fn next_version(mut self, updated_at: Timestamp) -> Self {
        self.version = self.version.wrapping_add(1);
        self.updated_at = updated_at;
        self.exchanges.forget_until(updated_at);
        self
    }
}
