use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::service::exchange::{ExchangeRequest, ExchangedToken};
use crate::service::issue::IssuedToken;
use crate::service::model::access_token::AccessToken;
use crate::service::model::idempotency::{
    REPEATABLE_FOR, RememberedExchange, describe_bearer, other_request,
};
use crate::service::model::session::Session;
use crate::service::session::no_session;
use crate::service::token_service::TokenService;
use crate::service::writer::Writer;
use crate::token::claims::Claims;

/// A repeatable exchange.
pub(super) struct RepeatableExchange {
    key: String,
    /// The request, including the one-time password.
    asked: String,
    /// Identifies it among the concurrent exchanges of a session.
    pub(super) flight: [u8; 36],
}

impl RepeatableExchange {
    fn key_of<'a>(&'a self, session: &'a Session) -> [&'a str; 3] {
        ["exchange key", session.id.as_str(), &self.key]
    }

    fn request_of<'a>(&'a self, session: &'a Session) -> [&'a str; 3] {
        ["exchange", session.id.as_str(), &self.asked]
    }
}

impl TokenService {
    /// Returns the repetition of a request, if it has a key.
    pub(super) fn repeatable(&self, request: &ExchangeRequest) -> Option<RepeatableExchange> {
        let key = request.idempotency_key.as_ref()?.expose().to_owned();
        let code = request.one_time_password.as_ref().map(|code| code.expose().to_owned());
        let bearer = request.bearer.as_deref().map(describe_bearer);
        let ends = request.expires_at.map(|end| end.to_string());
        let (acl, claims) = (&request.acl, &request.custom_claims);
        let asked = json!([request.invalidate, code, bearer, ends, acl, claims]).to_string();
        let flight = self.inner.sealing.digest_request(&["exchanges under way", &key, &asked]);
        Some(RepeatableExchange { key, asked, flight: flight.to_bytes() })
    }

    /// Returns the stored exchange with the same key, if the session has one.
    pub(super) fn remembered<'a>(
        &self,
        session: &'a Session,
        repeatable: &RepeatableExchange,
        now: Timestamp,
    ) -> Option<&'a RememberedExchange> {
        session.exchanges.find(&self.inner.sealing, &repeatable.key_of(session), now)
    }

    pub(super) fn remember_exchange(
        &self,
        session: &Session,
        repeatable: &RepeatableExchange,
        exchanged: &ExchangedToken,
        now: Timestamp,
    ) -> Result<RememberedExchange, Error> {
        let sealing = &self.inner.sealing;
        let answer =
            json!([exchanged.token.access_token.expose(), exchanged.created_at.as_micros()]);
        Ok(RememberedExchange {
            key: sealing.digest_request(&repeatable.key_of(session)),
            request: sealing.digest_request(&repeatable.request_of(session)),
            answer: sealing.seal(&answer.to_string(), &context(session))?,
            until: now + REPEATABLE_FOR,
        })
    }

    fn open_exchange(
        &self,
        session: &Session,
        remembered: &RememberedExchange,
    ) -> Result<ExchangedToken, Error> {
        let corrupt = || Error::new(ErrorKind::Internal, "a remembered exchange cannot be read");
        let opened = self.inner.sealing.open(&remembered.answer, &context(session))?;
        let (jwt, created_at): (String, u64) =
            serde_json::from_str(&opened).map_err(|_| corrupt())?;
        // The service itself has signed and sealed it.
        let payload = jwt.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let payload = payload.ok_or_else(corrupt)?;
        let claims: Claims = serde_json::from_slice(&payload).map_err(|_| corrupt())?;
        let token = IssuedToken {
            access_token: AccessToken::new(jwt),
            token_id: claims.jti,
            issued_at: Timestamp::from_secs(claims.iat),
            expires_at: Timestamp::from_secs(claims.exp),
            message: None,
        };
        Ok(ExchangedToken {
            token,
            customer_id: session.customer_id.clone(),
            organization_id: session.organization_id.clone(),
            acl: claims.acl,
            custom_claims: claims.custom_claims,
            created_at: Timestamp::from_micros(created_at),
        })
    }
}

impl Writer {
    /// Returns the response of an earlier exchange.
    pub(super) fn replay(
        &self,
        session: &Session,
        remembered: &RememberedExchange,
        repeatable: &RepeatableExchange,
        request: &ExchangeRequest,
    ) -> Result<ExchangedToken, Error> {
        if self.was_ended(session) {
            return Err(no_session());
        }
        self.details.session(session);
        let (throttle, sealing) = (&self.inner.throttle, &self.inner.sealing);
        // A caller that knows the key but not the code must not find the code by guessing: the error for a different
        // request would reveal as much as that for a wrong code.
        let permit = match &request.one_time_password {
            Some(_) => {
                let keys = throttle.keys_of_codes(&session.subject());
                Some(throttle.acquire(keys, self.now())?)
            }
            None => None,
        };
        if !sealing.verify_request(&repeatable.request_of(session), &remembered.request) {
            return Err(other_request());
        }
        if let Some(permit) = permit {
            throttle.give_back(&permit);
        }
        let exchanged = self.open_exchange(session, remembered)?;
        self.details.replayed();
        Ok(exchanged)
    }
}

/// The context that a stored response is sealed for.
fn context(session: &Session) -> [&str; 2] {
    ["exchange", session.id.as_str()]
}
