//! Exchanges an authentication token for a JWT: narrowed, and exactly once.
//!
//! The order of steps ensures it. Everything that can fail (the one-time password, the ACL, the claims, the expiry,
//! the signature) comes before the session is marked as used up, by a conditional write over the version that was
//! read. So a failed request leaves the session unchanged, except for the attempts that wrong one-time passwords
//! cost; and of concurrent requests that would succeed, exactly one does.
//!
//! A used-up session is kept until its JWTs have expired, so that its holder can log out with the token.

mod repeat;
mod request;

use serde_json::{Map, Value};

pub use self::request::ExchangeRequest;
use crate::audit::Operation;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, InvalidField};
use crate::service::exchange::repeat::RepeatableExchange;
use crate::service::issue::{Grant, IssuedToken, new_session_token_id, too_long};
use crate::service::model::authentication_token::AuthenticationToken;
use crate::service::model::idempotency::{IdempotencyKey, REPEATABLE_FOR};
use crate::service::model::session::{Held, Session};
use crate::service::permission;
use crate::service::policy::expiry_fault;
use crate::service::request_context::RequestContext;
use crate::service::session::no_session;
use crate::service::stores::{CompareAndSet, retry_on_conflict};
use crate::service::token_service::TokenService;
use crate::service::writer::Writer;
use crate::token::acl::Acl;
use crate::token::claims::Validated;
use crate::token::identifier::{CustomerId, OrganizationId};

/// The JWT that an authentication token was exchanged for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExchangedToken {
    /// The JWT.
    pub token: IssuedToken,
    /// The customer that the JWT was issued to.
    pub customer_id: CustomerId,
    /// The organization of the session, which the JWT is bound to.
    pub organization_id: Option<OrganizationId>,
    /// The JWT's ACL.
    pub acl: Acl,
    /// The JWT's `customClaims`.
    pub custom_claims: Map<String, Value>,
    /// The time of the exchange.
    pub created_at: Timestamp,
}

impl TokenService {
    /// Exchanges an authentication token for a JWT. If `context` names an organization, the session must belong
    /// to it.
    ///
    /// ```
    /// # use countersign::{Acl, AuthenticationToken, Error, ExchangeRequest, RequestContext, TokenService};
    /// # async fn example(
    /// #     tokens: TokenService, token: AuthenticationToken, narrower: Acl, context: RequestContext,
    /// # ) -> Result<(), Error> {
    /// let request = ExchangeRequest::default().acl(narrower);
    /// let exchanged = tokens.exchange(&token, request, &context).await?;
    /// println!("valid until {}", exchanged.token.expires_at);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if the token has no live session, or its session belongs to another organization;
    /// [`ErrorKind::OneTimePasswordRequired`] and [`ErrorKind::OneTimePasswordInvalid`];
    /// [`ErrorKind::AclExceedsGrant`] and [`ErrorKind::CustomClaimsNotAllowed`] if the request exceeds what the
    /// session and the bearer may grant; [`ErrorKind::InvalidFields`] if the expiry or the claims exceed their
    /// limits; [`ErrorKind::Throttled`] after too many wrong one-time passwords in the customer's sessions, or if the
    /// session cannot remember another repeatable exchange; [`ErrorKind::Unavailable`] if the store is unreachable.
    /// After these errors, the token is still valid, with two exceptions: the last wrong one-time password that the
    /// policy allows ends the session, and after `Unavailable` the store may have completed the write. Repeat such an
    /// exchange with an [`idempotency_key`](ExchangeRequest::idempotency_key).
    pub async fn exchange(
        &self,
        token: &AuthenticationToken,
        request: ExchangeRequest,
        context: &RequestContext,
    ) -> Result<ExchangedToken, Error> {
        self.exchange_presented(Some(token), request, context).await
    }

    /// Exchanges a presented authentication token, or `None` if it is malformed.
    pub(super) async fn exchange_presented(
        &self,
        token: Option<&AuthenticationToken>,
        request: ExchangeRequest,
        context: &RequestContext,
    ) -> Result<ExchangedToken, Error> {
        let mut attempt = context.attempt(Operation::EXCHANGE);
        if let Some(bearer) = &request.bearer {
            attempt = attempt.by(bearer);
        }
        let (attempt, token, context) = (attempt.to_owned(), token.cloned(), context.clone());
        self.write(attempt, |writer| async move {
            writer.try_exchange(token.as_ref(), &request, &context).await
        })
        .await
    }

    /// Returns the faults of a request that do not depend on the session.
    fn exchange_faults(&self, request: &ExchangeRequest) -> Vec<InvalidField> {
        let policy = &self.inner.policy;
        let now = self.now();
        let mut invalid = request.invalid.clone();
        invalid.extend(request.idempotency_key.as_ref().and_then(IdempotencyKey::fault));
        let code = request.one_time_password.as_ref();
        invalid.extend(code.and_then(|code| self.code_fault(code)));
        if let Some(expires_at) = request.expires_at {
            let (end, longest) =
                (expires_at.floor_to_second(), policy.tokens.max_exchanged_lifetime);
            invalid.extend(expiry_fault(expires_at, end, now, longest));
        }
        if let Some(acl) = &request.acl {
            if acl.is_empty() {
                invalid.push(InvalidField::new("acl", "must not be empty"));
            }
            invalid.extend(policy.acl_fault(acl));
        }
        let claims = request.custom_claims.as_ref();
        invalid.extend(claims.and_then(|claims| policy.custom_claims_fault(claims)));
        invalid
    }

    fn sign_exchange(
        &self,
        session: &Session,
        held: &Held,
        request: &ExchangeRequest,
        now: Timestamp,
    ) -> Result<ExchangedToken, Error> {
        let policy = &self.inner.policy;
        let widening = request.bearer.as_deref().filter(|bearer| self.may_widen(bearer, session));
        let acl = match &request.acl {
            None => held.acl.clone(),
            Some(asked) => {
                let organization = session.organization_id();
                let beyond = |bearers: Option<Acl>| {
                    let mut grants = vec![held.acl.within(organization)];
                    grants.extend(bearers);
                    self.first_beyond(asked, organization, &grants)
                };
                let delegable =
                    policy.sessions.delegable_acl.clone().filter(|_| widening.is_some());
                let entry = beyond(widening.map(Validated::acl))
                    .or_else(|| delegable.and_then(|delegable| beyond(Some(delegable))));
                if let Some(entry) = entry {
                    return Err(Error::new(
                        ErrorKind::AclExceedsGrant,
                        format!("acl.{entry} exceeds what the session or the bearer holds"),
                    ));
                }
                asked.clone()
            }
        };
        let custom_claims = match &request.custom_claims {
            None => session.custom_claims.clone(),
            Some(asked) => self.merge_custom_claims(&session.custom_claims, asked, widening)?,
        };
        let expires_at =
            request.expires_at.unwrap_or(now + policy.tokens.exchanged_lifetime).floor_to_second();
        let token_id = new_session_token_id()?;
        // What a bearer adds is valid only for audiences of the bearer's own token.
        let is_widened = request.acl.is_some() || request.custom_claims.is_some();
        let audiences = match widening.filter(|_| is_widened) {
            Some(bearer) => Some(common_audiences(held, bearer)?),
            None => held.audiences.clone(),
        };
        let grant = Grant {
            custom_claims: custom_claims.clone(),
            ..Grant::of_session(session, Held { acl: acl.clone(), audiences })
        };
        let issued = self.issue_time(&grant, now);
        let issued_at = issued.at.floor_to_second();
        let access_token = self.sign(grant, token_id.clone(), issued, expires_at)?;
        if !self.fits(&access_token) {
            let asked = request.acl.is_some() || request.custom_claims.is_some();
            let field = if request.acl.is_some() { "acl" } else { "customClaims" };
            let message = "makes the token longer than the policy allows";
            return Err(if asked {
                Error::from_invalid_fields(vec![InvalidField::new(field, message)])
            } else {
                too_long()
            });
        }
        let customer_id = session.customer_id.clone();
        let token = IssuedToken { access_token, token_id, issued_at, expires_at, message: None };
        let organization_id = session.organization_id.clone();
        Ok(ExchangedToken {
            token,
            customer_id,
            organization_id,
            acl,
            custom_claims,
            created_at: now,
        })
    }

    /// Signs the JWT, and stores it with the session if the request may be repeated.
    fn prepare_exchange(
        &self,
        mut session: Session,
        held: &Held,
        request: &ExchangeRequest,
        repeatable: Option<&RepeatableExchange>,
        now: Timestamp,
    ) -> Result<(ExchangedToken, Session), Error> {
        let exchanged = self.sign_exchange(&session, held, request, now)?;
        if let Some(repeatable) = repeatable {
            let remembered = self.remember_exchange(&session, repeatable, &exchanged, now)?;
            if !session.exchanges.add(remembered, now) {
                let message = "too many exchanges of the session may be repeated now";
                let error = Error::new(ErrorKind::Throttled, message);
                return Err(error
                    .with_reason("too_many_exchanges")
                    .with_retry_after(REPEATABLE_FOR));
            }
        }
        Ok((exchanged, session))
    }

    /// A bearer of another organization adds nothing here.
    fn may_widen(&self, bearer: &Validated, session: &Session) -> bool {
        let mut scope = vec![("customerId", session.customer_id().as_str())];
        scope.extend(session.organization_id().map(|id| ("organizationId", id.as_str())));
        bearer.may_act_in(session.organization_id())
            && self.permits(bearer, permission::POST_AUTHENTICATION_TOKEN_EXCHANGE, &scope)
    }
}

impl Writer {
    async fn try_exchange(
        &self,
        token: Option<&AuthenticationToken>,
        request: &ExchangeRequest,
        context: &RequestContext,
    ) -> Result<ExchangedToken, Error> {
        let invalid = self.exchange_faults(request);
        if !invalid.is_empty() {
            return Err(Error::from_invalid_fields(invalid));
        }
        if let Some(bearer) = &request.bearer {
            self.check_bearer(bearer)?;
        }
        let token = token.ok_or_else(no_session)?;
        let Some(repeatable) = self.repeatable(request) else {
            return Box::pin(self.exchange_checked(token, request, context, None)).await;
        };
        // Concurrent identical requests run one at a time, so that their code is counted as one attempt.
        let mut first = None;
        let exchanging = async {
            let exchanging = self.exchange_checked(token, request, context, Some(&repeatable));
            first = Some(Box::pin(exchanging).await);
        };
        self.inner.exchanges.join((token.key(), repeatable.flight), exchanging).await;
        match first {
            Some(exchanged) => exchanged,
            None => {
                Box::pin(self.exchange_checked(token, request, context, Some(&repeatable))).await
            }
        }
    }

    async fn exchange_checked(
        &self,
        token: &AuthenticationToken,
        request: &ExchangeRequest,
        context: &RequestContext,
        repeatable: Option<&RepeatableExchange>,
    ) -> Result<ExchangedToken, Error> {
        let mut accepted = None;
        let exchanged = retry_on_conflict!({
            // Before the session is read: what ends it after that revokes the token, too.
            let now = self.now();
            self.check_revocations_are_known()?;
            let session = self.find_kept_session(token, context).await?;
            if let Some(repeatable) = repeatable
                && let Some(remembered) = self.remembered(&session, repeatable, now)
            {
                let is_try = accepted.is_some();
                let replayed = self.replay(&session, remembered, repeatable, request)?;
                if is_try {
                    self.give_replayed_try_back(session, now).await;
                }
                return Ok(CompareAndSet::Written(replayed));
            }
            let session = self.check_live(session)?;
            self.details.session(&session);
            let held = self.present_rights(&session).await?;
            let presented = request.one_time_password.as_ref();
            let checked = self.check_one_time_password(session, presented, &mut accepted).await?;
            let CompareAndSet::Written(session) = checked else {
                return Ok(CompareAndSet::Conflict);
            };
            let prepared = self.prepare_exchange(session.clone(), &held, request, repeatable, now);
            let (exchanged, used) = match prepared {
                Ok(prepared) => prepared,
                Err(error) => {
                    self.give_try_back(session, now).await;
                    return Err(error);
                }
            };
            let used_up = self.use_up(used, request, &exchanged.token, now).await;
            if used_up.is_err() && accepted.is_some() {
                // Where the store has done its work all the same, this changes nothing.
                self.give_try_back(session, now).await;
            }
            Ok(used_up?.map(|()| exchanged))
        });
        exchanged.inspect(|exchanged| self.details.issued(&exchanged.token.token_id))
    }

    /// Writes the exchange: the point of no return. Once the store has replied, the caller has its token.
    async fn use_up(
        &self,
        session: Session,
        request: &ExchangeRequest,
        token: &IssuedToken,
        now: Timestamp,
    ) -> Result<CompareAndSet<()>, Error> {
        let stores = &self.stores;
        let (key, version) = (session.key, session.version);
        if request.invalidate {
            let until = self.accepted_until(token.expires_at);
            let used_up = session.used_up(token.token_id.clone(), Some(until), now);
            let written = stores.replace_session(used_up, version, now).await;
            // A store that replies too late may have completed the write.
            self.inner.phantom_tokens.remove(&key).await;
            return written;
        }
        if session.one_time_password.is_none() && request.idempotency_key.is_none() {
            let noted = self.note_token_of(session, token.expires_at, now).await?;
            return Ok(noted.map(drop));
        }
        let noted = self.with_token_noted(session, token.expires_at, now);
        stores.replace_session(self.with_code_spent(noted, now), version, now).await
    }
}

/// Returns the audiences that the session's tokens and the bearer's token have in common.
fn common_audiences(held: &Held, bearer: &Validated) -> Result<Vec<String>, Error> {
    let is_held = |audience: &&String| {
        held.audiences.as_ref().is_none_or(|audiences| audiences.contains(audience))
    };
    let common: Vec<_> = bearer.audiences().iter().filter(is_held).cloned().collect();
    if common.is_empty() {
        let problem = "the session and the bearer have no audience in common";
        return Err(Error::new(ErrorKind::AclExceedsGrant, problem));
    }
    Ok(common)
}
