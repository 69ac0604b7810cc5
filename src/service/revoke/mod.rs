//! Revoking what was issued, before it expires.

mod publish;
mod sessions;
mod signed;

use std::time::Duration;

use crate::audit::{Attempt, Operation};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, InvalidField};
use crate::service::model::entity::{Entity, EntityId, is_subject_id};
use crate::service::model::revocation::{Revocation, RevocationTarget};
use crate::service::model::subject::{Subject, SubjectRef};
use crate::service::revocations::Origin;
use crate::service::stores::unavailable;
use crate::service::token_service::TokenService;
use crate::service::writer::Writer;
use crate::token::claims::SubjectType;
use crate::token::identifier::TokenId;
use crate::token::organization::Organization;
use crate::token::principal::Principal;
use crate::validate::revocations::Revocations as _;

const SECOND: Duration = Duration::from_secs(1);

/// The result of [`TokenService::revoke_subject`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RevokedSubject {
    /// The number of live sessions that were ended.
    pub sessions: usize,
    /// Whether a user or machine client is registered under that name (a user's opaque id counts), or a live session
    /// was ended. `false` does not prove that there is no such customer.
    pub is_known: bool,
}

/// What of a subject's is ended: what was begun before an instant.
#[derive(Clone, Copy)]
struct Cutoff {
    before: Timestamp,
    /// Whether the instant had passed when it was asked for: what was begun since stays good.
    is_past: bool,
    /// Whether nothing is issued to it until then.
    blocks: bool,
    sessions: EndedSessions,
}

/// Which sessions of a subject are ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EndedSessions {
    /// Those that are revoked as its tokens are.
    Revoked,
    All,
}

impl TokenService {
    /// Revokes one token by its `jti`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if the store is unreachable.
    pub async fn revoke_token(&self, id: &TokenId) -> Result<(), Error> {
        let attempt = Attempt { token: Some(id), ..Attempt::new(Operation::REVOKE_TOKEN) };
        let id = id.clone();
        self.write(attempt.to_owned(), |writer| async move {
            writer.revoke_token_until(&id, writer.latest_end_of_tokens()).await
        })
        .await
    }

    /// Returns a principal of this service, for a host that has no token of it. The `id` is a user's name, or the id
    /// of a machine client or customer. A user or customer of another organization is another principal.
    #[must_use]
    pub fn principal(
        &self,
        kind: SubjectType,
        id: &str,
        organization: impl Into<Organization>,
    ) -> Principal {
        // The `sub` of customers' tokens is no name.
        let name = (kind == SubjectType::User).then(|| self.normalized_name(kind, id)).flatten();
        let id = name.as_deref().unwrap_or(id);
        Principal::new(self.issuer(), organization.into().id().cloned(), kind, id)
    }

    /// Logs a principal out everywhere: revokes all of its tokens that were issued before `before`, and ends sessions
    /// that were started before it, with the tokens issued from them. For a customer, these are the customer's own
    /// sessions; for a user or machine client, those that it has started.
    ///
    /// An instant in the future counts as now. Since clocks differ, it also revokes tokens that were issued up to the
    /// schedule's [`clock_tolerance`](crate::policy::RotationSchedule::clock_tolerance) after the instant, by a node
    /// that did not know of the revocation.
    ///
    /// Give a registered user by name: this revokes tokens whose `sub` is the name, and those whose `sub` is the
    /// [`subject_id`](Entity::subject_id). Given that id, it revokes only the latter.
    ///
    /// A principal that the service does not know can be revoked as well, since the host may have had tokens issued
    /// to it. Check `is_known` in the result: a user's name given in place of a customer's id, or with another
    /// organization than the user's, logs nobody out.
    ///
    /// ```
    /// # async fn example(tokens: countersign::TokenService) -> Result<(), countersign::Error> {
    /// use countersign::{Organization, SubjectType};
    ///
    /// let customer = tokens.principal(SubjectType::Customer, "cus_1", Organization::All);
    /// let revoked = tokens.revoke_subject(&customer, tokens.now()).await?;
    /// println!("{} sessions ended", revoked.sessions);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) for a principal of another issuer, whose tokens this service does not
    /// issue; [`InvalidFields`](crate::ErrorKind::InvalidFields) if a machine client of this id is registered in
    /// another organization; and those of [`revoke_token`](Self::revoke_token). The call may be
    /// repeated: its message says if the tokens are revoked, and only some sessions are left.
    ///
    /// Sessions are ended a hundred at a time, so it takes as long as there are many. It goes on to its end if the
    /// caller drops it.
    pub async fn revoke_subject(
        &self,
        principal: &Principal,
        before: Timestamp,
    ) -> Result<RevokedSubject, Error> {
        self.end_principal(Operation::REVOKE_SUBJECT, principal, before).await
    }

    async fn end_principal(
        &self,
        operation: Operation,
        principal: &Principal,
        before: Timestamp,
    ) -> Result<RevokedSubject, Error> {
        let subject = Subject::of_principal(principal);
        let blocks = operation == Operation::BLOCK_SUBJECT;
        // Nothing was issued in the future.
        let before = if blocks { before } else { before.min(self.now()) };
        let is_past = before + SECOND < self.now();
        let cutoff = Cutoff { before, is_past, blocks, sessions: EndedSessions::Revoked };
        let attempt = Attempt {
            organization: principal.organization(),
            ..Attempt::new(operation).of(principal.subject_type(), principal.id())
        };
        let is_own = principal.issuer() == self.issuer();
        self.write(attempt.to_owned(), move |writer| async move {
            if !is_own {
                return Err(of_another_issuer());
            }
            writer.check_registered_organization(&subject).await?;
            let ended = writer.end_all(&subject, cutoff).await;
            let others = writer.other_subjects_of(&subject).await?;
            let of_others = writer.end_each(others, cutoff).await?;
            let sessions = ended? + of_others;
            let is_known = sessions > 0 || writer.is_registered(&subject).await?;
            if !is_known {
                tracing::warn!(
                    kind = %subject.subject_type(),
                    operation = operation.as_str(),
                    "revocation: nobody of that name and organization is known here; somebody of another organization \
                     is another principal, and stays logged in"
                );
            }
            Ok(RevokedSubject { sessions, is_known })
        })
        .await
    }

    /// Returns the principal that a registered principal's tokens name.
    #[must_use]
    pub fn principal_of(&self, entity: &Entity) -> Principal {
        let organization = entity.organization_id().cloned();
        let id = entity.subject(self.inner.policy.principals.opaque_subjects);
        Principal::new(self.issuer(), organization, entity.id().subject_type(), id)
    }

    /// Checks that no machine client is registered by that id in another organization: what is revoked there would be
    /// nobody's, and the one that is meant would go on.
    async fn check_registered_organization(&self, subject: &Subject) -> Result<(), Error> {
        if subject.subject_type() != SubjectType::Machine {
            return Ok(());
        }
        let Some(id) = id_of(subject) else { return Ok(()) };
        // Where the store is out of reach, what can be revoked on this node is.
        match self.inner.stores.get_entity(&id).await {
            Ok(Some(entity)) if entity.organization_id() != subject.organization_id() => {
                Err(other_organization())
            }
            _ => Ok(()),
        }
    }

    /// Blocks a principal until an instant: logs it out everywhere, and rejects all further tokens and sessions for
    /// it, by its own login, by [`issue`](Self::issue), and by [`start_session`](Self::start_session) of the host or
    /// a bearer. Use it for principals without a registration that could be [disabled](Self::disable_entity), such as
    /// customers that only the host knows.
    ///
    /// A block cannot be lifted before its time. A further call can extend it.
    ///
    /// ```
    /// # async fn example(tokens: countersign::TokenService) -> Result<(), countersign::Error> {
    /// use std::time::Duration;
    /// use countersign::{Organization, SubjectType};
    ///
    /// let customer = tokens.principal(SubjectType::Customer, "cus_1", Organization::All);
    /// let until = tokens.now() + Duration::from_secs(30 * 86_400);
    /// tokens.block_subject(&customer, until).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`revoke_subject`](Self::revoke_subject).
    pub async fn block_subject(
        &self,
        principal: &Principal,
        until: Timestamp,
    ) -> Result<RevokedSubject, Error> {
        self.end_principal(Operation::BLOCK_SUBJECT, principal, until).await
    }

    /// Checks that a subject is not [blocked](Self::block_subject) now.
    pub(super) fn check_blocked(&self, subject: SubjectRef<'_>) -> Result<(), Error> {
        self.check_revocations_are_known()?;
        if self.is_blocked(subject) { Err(disabled()) } else { Ok(()) }
    }

    /// Checks that this node has heard lately what others have revoked: until then it issues nothing, since
    /// it does not know to whom.
    pub(super) fn check_revocations_are_known(&self) -> Result<(), Error> {
        if self.inner.revocations.is_stale() {
            self.inner.revocations.remind_of_start();
            return Err(unavailable("the revocations of other nodes are not known"));
        }
        Ok(())
    }

    pub(super) fn is_blocked(&self, subject: SubjectRef<'_>) -> bool {
        self.inner.revocations.is_blocked(subject, self.now())
    }

    /// Returns whether a user or machine client of that organization and id is registered.
    async fn is_registered(&self, subject: &Subject) -> Result<bool, Error> {
        if subject.subject_type() == SubjectType::Customer {
            return Ok(false);
        }
        if subject.subject_type() == SubjectType::User && is_subject_id(subject.id()) {
            // Only a registration makes one.
            return Ok(true);
        }
        let Some(id) = id_of(subject) else { return Ok(false) };
        let entity = self.inner.stores.get_entity(&id).await?;
        Ok(entity.is_some_and(|entity| Subject::each_of(&entity).contains(subject)))
    }
}

impl Writer {
    /// Publishes a revocation that this node has made because of another one, and ends the sessions that it ends.
    pub(in crate::service) async fn publish_repeat(
        &self,
        revocation: Revocation,
    ) -> Result<(), Error> {
        let target = revocation.target.clone();
        if let Err(error) = self.stores.publish(revocation.into()).await {
            self.note_failure_to_revoke();
            return Err(error);
        }
        let RevocationTarget::SubjectBefore { subject, .. } = target else { return Ok(()) };
        self.end_sessions_of(&subject, self.cutoff_now()).await.map(drop)
    }

    /// Revokes a token that ends at `expires_at`.
    pub(super) async fn revoke_token_until(
        &self,
        id: &TokenId,
        expires_at: Timestamp,
    ) -> Result<(), Error> {
        let until = self.accepted_until(expires_at);
        if self.kept_until(until) <= self.inner.stores.clock().earliest_now() {
            // No node accepts it any more, by any clock.
            return Ok(());
        }
        self.remember(RevocationTarget::Token(id.clone()), until).await
    }

    /// Ends everything that a principal's credential has yielded so far.
    ///
    /// Of sessions, all: a login under way may have read the credential as it was, and the clock of the
    /// node that it runs on may be ahead of ours.
    pub(super) async fn end_tokens_and_sessions(&self, entity: &Entity) -> Result<(), Error> {
        let cutoff = Cutoff { sessions: EndedSessions::All, ..self.cutoff_now() };
        self.end_each(Subject::each_of(entity), cutoff).await.map(drop)
    }

    /// Ends what each of some subjects has, and of each what can be ended.
    async fn end_each(&self, subjects: Vec<Subject>, cutoff: Cutoff) -> Result<usize, Error> {
        let (mut ended, mut failed) = (0, Ok(()));
        for subject in subjects {
            match self.end_all(&subject, cutoff).await {
                Ok(of_subject) => ended += of_subject,
                Err(error) => failed = Err(error),
            }
        }
        failed.map(|()| ended)
    }

    /// Returns what else a subject's tokens may name it by: a registered user is known by its name and by
    /// an opaque id.
    async fn other_subjects_of(&self, subject: &Subject) -> Result<Vec<Subject>, Error> {
        let entity = match id_of(subject) {
            Some(id) if subject.subject_type() == SubjectType::User => {
                self.inner.stores.get_entity(&id).await?
            }
            _ => None,
        };
        let mut subjects = entity.map(|entity| Subject::each_of(&entity)).unwrap_or_default();
        if !subjects.contains(subject) {
            return Ok(Vec::new());
        }
        subjects.retain(|other| other != subject);
        Ok(subjects)
    }

    async fn end_all(&self, subject: &Subject, cutoff: Cutoff) -> Result<usize, Error> {
        // Where one of the two cannot be done, the other is: not everybody can ask for it again.
        let published = self.end_tokens_before(subject, cutoff).await;
        let ended = self.end_sessions_of(subject, cutoff).await;
        published?;
        ended.map_err(|error| match error.kind() {
            ErrorKind::Unavailable => unavailable(
                "the tokens are revoked, and not all sessions could be ended: the call may be repeated",
            )
            .with_source(error),
            _ => error,
        })
    }

    /// Revokes the tokens that a subject was issued before an instant. On this node at once, and
    /// elsewhere once it is heard, sessions that were started on the word of such a token have ended.
    async fn end_tokens_before(&self, subject: &Subject, cutoff: Cutoff) -> Result<(), Error> {
        let revocation = self.insert_revocation(subject.clone(), cutoff);
        self.publish(revocation.into()).await
    }
}

impl TokenService {
    fn cutoff_now(&self) -> Cutoff {
        Cutoff {
            before: self.now(),
            is_past: false,
            blocks: false,
            sessions: EndedSessions::Revoked,
        }
    }

    /// Makes a revocation of the tokens that a subject was issued before an instant. It is applied on this node, and
    /// still to be published.
    fn insert_revocation(&self, subject: Subject, cutoff: Cutoff) -> Revocation {
        let now = self.now();
        let revocations = &self.inner.revocations;
        let before = if cutoff.is_past {
            cutoff.before
        } else {
            let asked_at = cutoff.before.min(now);
            let age = now.saturating_since(asked_at);
            revocations.next_instant(subject.borrowed(), asked_at, age)
        };
        let target = RevocationTarget::SubjectBefore {
            subject,
            before,
            issued_before: self.issued_before(cutoff).max(before),
            blocked_until: cutoff.blocks.then_some(cutoff.before),
            // Tokens that were issued after an instant in the past stay good, so no node has to repeat it.
            made_by: (!cutoff.is_past).then_some(revocations.maker()),
        };
        self.insert_of_this_node(target, now)
    }

    fn insert_of_this_node(&self, target: RevocationTarget, now: Timestamp) -> Revocation {
        let policy = &self.inner.policy;
        let mut until = self.inner.stores.clock().latest_now();
        if let RevocationTarget::SubjectBefore { subject, issued_before, .. } = &target {
            // A session that could not be removed, or was being written, is known by it while it lives.
            let sessions = match subject.subject_type() {
                SubjectType::Customer => policy.sessions.max_lifetime,
                SubjectType::User | SubjectType::Machine => policy.sessions.max_delegated_lifetime,
            };
            until = until.max(*issued_before) + policy.longest_token_lifetime().max(sessions);
        }
        let until = self.kept_until(self.accepted_until(until));
        let revocation = Revocation { target, until };
        let others_after = now - policy.tokens.rotation_schedule.clock_tolerance;
        self.inner.revocations.insert(&revocation, Origin::ThisNode { others_after }, now);
        revocation
    }

    /// Revokes again what another node has revoked without knowing of the revocation that this node made: as of now,
    /// and no token that the other one does not mean to reach.
    pub(in crate::service) fn revoke_again(&self, heard: &RevocationTarget) {
        let RevocationTarget::SubjectBefore { subject, issued_before, .. } = heard else { return };
        if !self.inner.revocations.is_latest_of_this_node(subject.borrowed()) {
            // The latest one revokes what was issued knowing of this node's.
            return;
        }
        let now = self.now();
        let target = RevocationTarget::SubjectBefore {
            subject: subject.clone(),
            before: self.inner.revocations.next_instant(subject.borrowed(), now, Duration::ZERO),
            issued_before: *issued_before,
            blocked_until: None,
            made_by: None,
        };
        let revocation = self.insert_of_this_node(target, now);
        self.inner.recent_events.add(revocation.clone().into());
        self.inner.unpublished.add(revocation);
    }

    /// Returns the instant before which all is revoked that was issued without knowing of a revocation:
    /// the clock of the node that issued it may have been ahead.
    fn issued_before(&self, cutoff: Cutoff) -> Timestamp {
        cutoff.before + self.inner.policy.tokens.rotation_schedule.clock_tolerance
    }
}

/// Returns the id that a user or machine client is registered by, if it is.
fn id_of(subject: &Subject) -> Option<EntityId> {
    let id = EntityId::new(subject.subject_type(), subject.id()).ok()?;
    Some(id.organization(subject.organization_id().cloned()))
}

/// Of a machine client that is registered, and named with another organization than its own.
pub(super) fn other_organization() -> Error {
    let message = "is not that of the principal that is registered by this name";
    Error::from_invalid_fields(vec![InvalidField::new("organization", message)])
}

pub(super) fn of_another_issuer() -> Error {
    Error::new(ErrorKind::NotFound, "the principal is of another issuer, which revokes its tokens")
}

pub(super) fn disabled() -> Error {
    Error::new(ErrorKind::Disabled, "the principal is disabled or blocked")
}
