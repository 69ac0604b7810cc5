//! Issues tokens for a name and a password, or an id and a secret.

use crate::audit::Operation;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::service::issue::IssuedToken;
use crate::service::model::entity::EntityId;
use crate::service::model::password::Password;
use crate::service::model::secret::{Secret, SecretVerdict, StoredSecrets};
use crate::service::model::subject::Subject;
use crate::service::principals::UNKNOWN;
use crate::service::request_context::RequestContext;
use crate::service::store::RecentEntity;
use crate::service::token_service::TokenService;
use crate::token::claims::SubjectType;

impl TokenService {
    /// Logs a user in by name and password: a user of the organization of `context` or, if that has none, a user
    /// without an organization.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidCredentials`] for an unknown name, a wrong or expired password, and a user who is disabled;
    /// neither the error nor the response time tells which.
    /// [`ErrorKind::Throttled`] after too many failures, [`ErrorKind::Overloaded`] if too many users log in at once,
    /// [`ErrorKind::Unavailable`] if the store is unreachable.
    pub async fn issue_user_token(
        &self,
        name: &str,
        password: Password,
        context: &RequestContext,
    ) -> Result<IssuedToken, Error> {
        let name = self.presented(SubjectType::User, name, context);
        let attempt = name.attempt(context.attempt(Operation::ISSUE_USER_TOKEN)).to_owned();
        let context = context.clone();
        self.write(attempt, |writer| async move {
            let proven = writer.verify_password(&name, password, &context).await?;
            let issued = writer.issue_to(&proven.entity, proven.at)?;
            writer.details.issued(&issued.token_id);
            Ok(issued)
        })
        .await
    }

    /// Logs a machine client in by id and secret.
    ///
    /// Over a [`Cached`](crate::store::Cached) store, the token's lifetime starts when the cached copy of the client
    /// was read.
    ///
    /// # Errors
    ///
    /// Those of [`issue_user_token`](Self::issue_user_token) except [`ErrorKind::Overloaded`].
    pub async fn issue_machine_token(
        &self,
        id: &str,
        secret: &Secret,
        context: &RequestContext,
    ) -> Result<IssuedToken, Error> {
        let attempt = context.attempt(Operation::ISSUE_MACHINE_TOKEN).of(SubjectType::Machine, id);
        self.audited_login(attempt, self.try_issue_machine_token(id, secret, context)).await
    }

    async fn try_issue_machine_token(
        &self,
        id: &str,
        secret: &Secret,
        context: &RequestContext,
    ) -> Result<IssuedToken, Error> {
        let began_at = self.now();
        let judged = match EntityId::machine(id) {
            Ok(id) => self.verify_machine_secret(&id, secret, context, began_at).await?,
            Err(_) => self.verify_secret_against(None, secret, context),
        };
        let is_good = judged.is_good();
        let JudgedSecret { entity, verdict } = judged;
        if verdict == SecretVerdict::Unknowable {
            return Err(Error::new(
                ErrorKind::Internal,
                "a machine client's secret was sealed with a key that is not set: add it with \
                 `sealing_key`, after the current one",
            ));
        }
        // A generated secret cannot be guessed, so a caller that has it is admitted: failed guesses of others must
        // not lock a machine client out. All other attempts are throttled.
        let is_generated = matches!(
            verdict,
            SecretVerdict::Valid { is_generated: true }
                | SecretVerdict::WithinGrace { is_generated: true }
        );
        if entity.is_err() || !is_generated {
            let throttle = &self.inner.throttle;
            let keys = throttle.keys(SubjectType::Machine, None, id, context.address);
            let permit = throttle.acquire(keys, began_at)?;
            if is_good {
                throttle.succeeded(&permit);
            } else {
                throttle.failed(&permit);
            }
        }
        let reason = match (entity, verdict) {
            (Ok(found), SecretVerdict::Valid { .. }) => {
                return self.issue_to(&found.entity, found.read_at);
            }
            (Ok(found), SecretVerdict::WithinGrace { .. }) => {
                let mut token = self.issue_to(&found.entity, found.read_at)?;
                token.message = Some("The secret is expired and within the grace period");
                return Ok(token);
            }
            (Ok(_), SecretVerdict::Expired) => "expired_secret",
            (Ok(_), SecretVerdict::Invalid | SecretVerdict::Unknowable) => "wrong_secret",
            (Err(unusable), _) => unusable,
        };
        let message = "Invalid entity id/secret or secret is expired";
        Err(Error::new(ErrorKind::InvalidCredentials, message).with_reason(reason))
    }

    /// Verifies a secret against a cached copy of its client, if there is one and the secret is right for it.
    /// Otherwise, it verifies against the store, so that no caller is rejected because of an old copy. A rejected
    /// secret costs the same reads of the store, and two verifications, whether or not the client exists or is
    /// cached.
    async fn verify_machine_secret(
        &self,
        id: &EntityId,
        secret: &Secret,
        context: &RequestContext,
        began_at: Timestamp,
    ) -> Result<JudgedSecret, Error> {
        let stores = &self.inner.stores;
        let recent = stores.get_recent_entity(id, began_at).await?;
        let judged = self.verify_secret_against(recent.clone(), secret, context);
        if judged.is_good() {
            let ended = |copy: &RecentEntity| {
                let revocations = &self.inner.revocations;
                let ended = |subject: &Subject| {
                    let issued = revocations.issue_time(subject.borrowed(), copy.read_at);
                    revocations.contains_issued(subject.borrowed(), issued)
                };
                Subject::each_of(&copy.entity).iter().any(ended)
            };
            // Its token would have been revoked before it was issued.
            if !recent.as_ref().is_some_and(|recent| recent.is_copy && ended(recent)) {
                return Ok(judged);
            }
            stores.invalidate(id);
        }
        let found = if recent.as_ref().is_some_and(|recent| recent.is_copy) {
            let now = self.now();
            let entity = stores.get_entity(id).await?;
            entity.map(|entity| RecentEntity::just_read(entity, now))
        } else {
            recent
        };
        // Also if nothing was read anew: a rejection must take as long for a known id as for an unknown one.
        Ok(self.verify_secret_against(found, secret, context))
    }

    fn verify_secret_against(
        &self,
        found: Option<RecentEntity>,
        secret: &Secret,
        context: &RequestContext,
    ) -> JudgedSecret {
        let found = found.ok_or(UNKNOWN);
        let entity =
            found.and_then(|found| self.check_usable(&found.entity, context).map(|()| found));
        let nobodys = StoredSecrets::default();
        let secrets = entity.as_ref().ok().and_then(|found| found.entity.secrets());
        let (sealing, grace) = (&self.inner.sealing, self.inner.policy.secrets.grace);
        let verdict = secrets.unwrap_or(&nobodys).verify(sealing, secret, self.now(), grace);
        JudgedSecret { entity, verdict }
    }
}

/// The result of verifying a secret and the copy of the client that it used; or why the client is treated as
/// unknown.
struct JudgedSecret {
    entity: Result<RecentEntity, &'static str>,
    verdict: SecretVerdict,
}

impl JudgedSecret {
    fn is_good(&self) -> bool {
        self.entity.is_ok() && self.verdict.is_good()
    }
}
