//! Changes a password on behalf of its owner: with the old one, and with a one-time password if the credential
//! requires one.
//!
//! The order of steps is that of an exchange. Everything that can fail comes first: the policy, the old password,
//! the hash of the new one, the code, whose attempt is counted before it is compared. Then the code is spent by a
//! conditional write over the session's version that was read, so that one code yields one change; and the password
//! is written, on the condition that the old one is unchanged. If that write fails, the code becomes valid again.

use crate::audit::Operation;
use crate::error::{Error, InvalidField};
use crate::service::model::authentication_token::AuthenticationToken;
use crate::service::model::entity::{Entity, EntityId};
use crate::service::model::one_time_password::OneTimePassword;
use crate::service::model::password::{Password, PasswordHash};
use crate::service::model::session::Session;
use crate::service::names::PresentedName;
use crate::service::one_time_password::code_invalid;
use crate::service::request_context::RequestContext;
use crate::service::session::no_session;
use crate::service::session::state::code_required;
use crate::service::stores::{CompareAndSet, retry_on_conflict};
use crate::service::token_service::TokenService;
use crate::service::writer::Writer;

/// A change of a password by its owner; the argument of [`TokenService::change_password`].
#[derive(Clone, Debug)]
#[must_use]
pub struct PasswordChange {
    id: EntityId,
    old: Password,
    new: Password,
    presented: Option<PresentedCode>,
}

/// A one-time password, and the token of the session that it was sent for.
#[derive(Clone, Debug)]
struct PresentedCode {
    token: AuthenticationToken,
    code: OneTimePassword,
}

impl PasswordChange {
    /// Creates a change from the old password, which authenticates the owner, to a new one. An `id` without an
    /// organization takes that of the call's [`context`](RequestContext::organization_id), if any; one of another
    /// organization than that is treated as unknown.
    pub fn new(id: EntityId, old: Password, new: Password) -> Self {
        Self { id, old, new, presented: None }
    }

    /// Sets the one-time password that the customer was sent for a session, and that session's authentication token.
    /// The session must have been started with this credential by [`log_in_customer`](TokenService::log_in_customer).
    pub fn one_time_password(
        mut self,
        token: AuthenticationToken,
        code: impl Into<String>,
    ) -> Self {
        let code = OneTimePassword::presented(code);
        self.presented = Some(PresentedCode { token, code });
        self
    }
}

/// The write that follows a right code.
#[derive(Clone)]
struct ProvenChange {
    entity: Entity,
    hash: PasswordHash,
}

impl TokenService {
    /// Changes a password on behalf of its owner, who authenticates with the old one. A customer whose credential is
    /// registered with `otp_required` also presents the one-time password of a session that was started with this
    /// credential. A one-time password is valid for one change or one exchange.
    ///
    /// An expired password is accepted as the old one, so that it can be changed. It does not start a session,
    /// though: a customer who needs a one-time password and has no live session left needs the host's
    /// [`set_password`](Self::set_password).
    ///
    /// The call counts as a login: it is throttled together with other attempts for that name. It ends sessions and
    /// revokes tokens as [`set_password`](Self::set_password) does.
    ///
    /// ```
    /// # use countersign::entities::PasswordChange;
    /// # use countersign::{
    /// #     AuthenticationToken, EntityId, Error, Password, RequestContext, TokenService,
    /// # };
    /// # async fn use_it(
    /// #     tokens: TokenService, token: AuthenticationToken, old: Password, new: Password,
    /// #     code: String, context: RequestContext,
    /// # ) -> Result<(), Error> {
    /// let jane = EntityId::customer("jane@example.com")?;
    /// let change = PasswordChange::new(jane, old, new).one_time_password(token, code);
    /// tokens.change_password(change, &context).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidCredentials`](crate::ErrorKind::InvalidCredentials) and the other errors of
    /// [`issue_user_token`](Self::issue_user_token); [`InvalidFields`](crate::ErrorKind::InvalidFields) if the policy
    /// rejects the new password, it equals the old one, or the code is malformed;
    /// [`OneTimePasswordRequired`](crate::ErrorKind::OneTimePasswordRequired) if a code is required and none was
    /// presented; [`OneTimePasswordInvalid`](crate::ErrorKind::OneTimePasswordInvalid) if it is wrong, used or
    /// expired, which counts as a failure as in an [`exchange`](Self::exchange);
    /// [`NotFound`](crate::ErrorKind::NotFound) if the token belongs to no live session of this credential. After
    /// these errors, the code is still valid, except that the last allowed wrong code ends the session. After
    /// [`Unavailable`](crate::ErrorKind::Unavailable), the new password may already be set.
    pub async fn change_password(
        &self,
        change: PasswordChange,
        context: &RequestContext,
    ) -> Result<(), Error> {
        let name = self.presented_id(&change.id, context);
        let attempt = name.attempt(context.attempt(Operation::CHANGE_PASSWORD)).to_owned();
        let context = context.clone();
        self.write(attempt, |writer| async move {
            writer.try_change_password(&name, change, &context).await
        })
        .await
    }

    /// Returns the faults of a change that need no look at the credential.
    fn change_faults(&self, change: &PasswordChange) -> Vec<InvalidField> {
        let fault = if change.old.expose() == change.new.expose() {
            Some("must not be the old one".to_owned())
        } else {
            self.inner.policy.password_fault(&change.new)
        };
        let mut invalid = Vec::new();
        invalid.extend(fault.map(|fault| InvalidField::new("newPassword", fault)));
        let presented = change.presented.as_ref();
        invalid.extend(presented.and_then(|presented| self.code_fault(&presented.code)));
        invalid
    }
}

impl Writer {
    async fn try_change_password(
        &self,
        name: &PresentedName,
        change: PasswordChange,
        context: &RequestContext,
    ) -> Result<(), Error> {
        let invalid = self.change_faults(&change);
        if !invalid.is_empty() {
            return Err(Error::from_invalid_fields(invalid));
        }
        let PasswordChange { old, new, presented, .. } = change;
        let entity = self.prove(name, old, context, |_| Ok(())).await?.entity;
        if presented.is_none() && entity.asks_for_code() {
            return Err(code_required());
        }
        let hash = self.inner.hashing.create(new).await?;
        match presented {
            Some(presented) => {
                let proven = ProvenChange { entity, hash };
                self.change_by_code(proven, &presented, context).await
            }
            None => {
                let id = entity.id().clone();
                self.write_password(&id, hash, Some(entity)).await
            }
        }
    }

    async fn change_by_code(
        &self,
        proven: ProvenChange,
        presented: &PresentedCode,
        context: &RequestContext,
    ) -> Result<(), Error> {
        let mut accepted = None;
        retry_on_conflict!({
            let session = self.find_live_session(&presented.token, context).await?;
            // Checked before an attempt is counted: a caller must not use up the attempts of another session.
            if !is_session_of(&session, &proven.entity) {
                return Err(no_session());
            }
            self.details.session(&session);
            if session.one_time_password.is_none() {
                return Err(code_invalid());
            }
            let code = Some(&presented.code);
            let checked = self.check_one_time_password(session, code, &mut accepted).await?;
            let CompareAndSet::Written(session) = checked else {
                return Ok(CompareAndSet::Conflict);
            };
            self.spend_code_on(session, proven.clone()).await
        })
    }

    /// Spends the code of a session on a change; no other change can use it.
    async fn spend_code_on(
        &self,
        session: Session,
        proven: ProvenChange,
    ) -> Result<CompareAndSet<()>, Error> {
        let now = self.now();
        let stores = &self.stores;
        let spent = self.with_code_spent(session.clone(), now);
        match stores.replace_session(spent.clone(), session.version, now).await {
            Ok(CompareAndSet::Written(())) => {}
            Ok(CompareAndSet::Conflict) => return Ok(CompareAndSet::Conflict),
            Err(error) => {
                self.give_try_back(session, now).await;
                return Err(error);
            }
        }
        let ProvenChange { entity, hash } = proven;
        let changed = self.write_password(entity.id(), hash, Some(entity.clone())).await;
        if changed.is_err() {
            // A write whose response was lost may still have changed the password.
            let current = stores.get_entity(entity.id()).await;
            if let (Ok(Some(current)), Some(before)) = (current, session.one_time_password)
                && entity.has_the_credential_of(&current)
            {
                self.give_code_back(spent, before, now).await;
            }
        }
        changed.map(CompareAndSet::Written)
    }
}

/// Returns whether a session was started with a credential, and for the customer that the credential now belongs to.
fn is_session_of(session: &Session, entity: &Entity) -> bool {
    session.credential() == Some(entity.id())
        && session.customer_id().as_str() == entity.subject(false)
        && session.organization_id() == entity.organization_id()
}
