use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::service::model::authentication_token::SessionKey;
use crate::service::model::idempotency::{
    RememberedExchange, RememberedExchanges, RememberedStart,
};
use crate::service::model::issue_time::IssueTime;
use crate::service::model::one_time_password::{OneTimePasswordState, StoredCode};
use crate::service::model::sealing::Sealed;
use crate::service::model::session::{Session, Starter};
use crate::service::model::subject::Subject;
use crate::service::store::record::{
    FORM, Form, RecordFault, base64, entity_id, keyed_digest, read_subject_type,
};
use crate::token::acl::Acl;
use crate::token::identifier::{CustomerId, OrganizationId, SessionId, TokenId};

#[derive(Serialize, Deserialize)]
pub(super) struct SessionForm<'a> {
    form: u32,
    #[serde(with = "base64")]
    key: Vec<u8>,
    id: Cow<'a, SessionId>,
    customer_id: Cow<'a, CustomerId>,
    organization_id: Option<Cow<'a, OrganizationId>>,
    credential: Option<EntityIdForm<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    starter: Option<StarterForm<'a>>,
    acl: Cow<'a, Acl>,
    custom_claims: Cow<'a, Map<String, Value>>,
    one_time_password: Option<OneTimePasswordForm>,
    created_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after_revocation: Option<u64>,
    updated_at: u64,
    expires_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    latest_end: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used_up_by: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens_until: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<RememberedStartForm>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    exchanges: Vec<RememberedExchangeForm>,
    version: u64,
}

#[derive(Serialize, Deserialize)]
struct EntityIdForm<'a> {
    subject_type: Cow<'a, str>,
    name: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct StarterForm<'a> {
    subject_type: Cow<'a, str>,
    organization_id: Option<Cow<'a, OrganizationId>>,
    subject: Cow<'a, str>,
    token_issued_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token_after_revocation: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    audiences: Option<Cow<'a, [String]>>,
}

#[derive(Serialize, Deserialize)]
struct OneTimePasswordForm {
    code: Option<CodeForm>,
    tries_left: u32,
    resends_left: u32,
    sent_at: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_proven: bool,
}

#[derive(Serialize, Deserialize)]
struct CodeForm {
    #[serde(with = "base64")]
    digest: Vec<u8>,
    expires_at: u64,
}

/// The request that started a session.
#[derive(Serialize, Deserialize)]
struct RememberedStartForm {
    #[serde(with = "base64")]
    request: Vec<u8>,
    until: u64,
}

#[derive(Serialize, Deserialize)]
struct RememberedExchangeForm {
    #[serde(with = "base64")]
    key: Vec<u8>,
    #[serde(with = "base64")]
    request: Vec<u8>,
    #[serde(with = "base64")]
    answer: Vec<u8>,
    until: u64,
}

impl<'a> SessionForm<'a> {
    pub(super) fn of(session: &'a Session) -> Self {
        let credential = session.credential.as_ref().map(|id| EntityIdForm {
            subject_type: id.subject_type().as_str().into(),
            name: id.name().into(),
        });
        Self {
            form: FORM,
            key: session.key.as_bytes().to_vec(),
            id: Cow::Borrowed(&session.id),
            customer_id: Cow::Borrowed(&session.customer_id),
            organization_id: session.organization_id.as_ref().map(Cow::Borrowed),
            credential,
            starter: session.starter.as_ref().map(StarterForm::of),
            acl: Cow::Borrowed(&session.acl),
            custom_claims: Cow::Borrowed(&session.custom_claims),
            one_time_password: session.one_time_password.as_ref().map(OneTimePasswordForm::of),
            created_at: session.created_at.as_micros(),
            after_revocation: session.after_revocation.map(Timestamp::as_micros),
            updated_at: session.updated_at.as_micros(),
            expires_at: session.expires_at.as_micros(),
            latest_end: session.latest_end.map(Timestamp::as_micros),
            used_up_by: session.used_up_by.as_ref().map(|id| id.as_str().into()),
            tokens_until: session.tokens_until.map(Timestamp::as_micros),
            start: session.start.as_ref().map(RememberedStartForm::of),
            exchanges: session.exchanges.0.iter().map(RememberedExchangeForm::of).collect(),
            version: session.version,
        }
    }

    pub(super) fn into_session(self) -> Result<Session, RecordFault> {
        let key = self.key.try_into().map_err(|_| RecordFault::Value("the key"))?;
        // A session is of the organization of the credential that it was started with.
        let credential = self.credential.map(|id| {
            let organization = self.organization_id.as_deref().cloned();
            Ok(entity_id(&id.subject_type, id.name)?.organization(organization))
        });
        let exchanges = self.exchanges.into_iter().map(RememberedExchangeForm::into_exchange);
        Ok(Session {
            key: SessionKey::from_bytes(key),
            id: self.id.into_owned(),
            customer_id: self.customer_id.into_owned(),
            organization_id: self.organization_id.map(Cow::into_owned),
            credential: credential.transpose()?,
            starter: self.starter.map(StarterForm::into_starter).transpose()?,
            acl: self.acl.into_owned(),
            custom_claims: self.custom_claims.into_owned(),
            one_time_password: self
                .one_time_password
                .map(OneTimePasswordForm::into_state)
                .transpose()?,
            created_at: Timestamp::from_micros(self.created_at),
            after_revocation: self.after_revocation.map(Timestamp::from_micros),
            updated_at: Timestamp::from_micros(self.updated_at),
            expires_at: Timestamp::from_micros(self.expires_at),
            latest_end: self.latest_end.map(Timestamp::from_micros),
            used_up_by: self.used_up_by.map(|id| TokenId::from_signed_claim(&id)),
            tokens_until: self.tokens_until.map(Timestamp::from_micros),
            start: self.start.map(RememberedStartForm::into_start).transpose()?,
            exchanges: RememberedExchanges(exchanges.collect::<Result<_, _>>()?),
            version: self.version,
        })
    }
}

impl<'a> StarterForm<'a> {
    fn of(starter: &'a Starter) -> Self {
        Self {
            subject_type: starter.subject.subject_type().as_str().into(),
            organization_id: starter.subject.organization_id().map(Cow::Borrowed),
            subject: starter.subject.id().into(),
            token_issued_at: starter.token_issued.at.as_micros(),
            token_after_revocation: starter.token_issued.after_revocation.map(Timestamp::as_micros),
            audiences: starter.audiences.as_deref().map(Cow::Borrowed),
        }
    }

    fn into_starter(self) -> Result<Starter, RecordFault> {
        let subject = Subject::new(read_subject_type(&self.subject_type)?, &*self.subject)
            .organization(self.organization_id.map(Cow::into_owned));
        let token_issued = IssueTime {
            at: Timestamp::from_micros(self.token_issued_at),
            after_revocation: self.token_after_revocation.map(Timestamp::from_micros),
        };
        Ok(Starter { subject, token_issued, audiences: self.audiences.map(Cow::into_owned) })
    }
}

impl OneTimePasswordForm {
    fn of(state: &OneTimePasswordState) -> Self {
        let code = state.code.as_ref().map(|code| CodeForm {
            digest: code.digest.to_bytes().to_vec(),
            expires_at: code.expires_at.as_micros(),
        });
        Self {
            code,
            tries_left: state.tries_left,
            resends_left: state.resends_left,
            sent_at: state.sent_at.as_micros(),
            is_proven: state.is_proven,
        }
    }

    fn into_state(self) -> Result<OneTimePasswordState, RecordFault> {
        let code = self.code.map(|code| {
            let expires_at = Timestamp::from_micros(code.expires_at);
            keyed_digest(code.digest).map(|digest| StoredCode { digest, expires_at })
        });
        Ok(OneTimePasswordState {
            code: code.transpose()?,
            tries_left: self.tries_left,
            resends_left: self.resends_left,
            sent_at: Timestamp::from_micros(self.sent_at),
            is_proven: self.is_proven,
        })
    }
}

impl RememberedStartForm {
    fn of(start: &RememberedStart) -> Self {
        Self { request: start.request.to_bytes().to_vec(), until: start.until.as_micros() }
    }

    fn into_start(self) -> Result<RememberedStart, RecordFault> {
        let until = Timestamp::from_micros(self.until);
        Ok(RememberedStart { request: keyed_digest(self.request)?, until })
    }
}

impl RememberedExchangeForm {
    fn of(exchange: &RememberedExchange) -> Self {
        Self {
            key: exchange.key.to_bytes().to_vec(),
            request: exchange.request.to_bytes().to_vec(),
            answer: exchange.answer.as_bytes().to_vec(),
            until: exchange.until.as_micros(),
        }
    }

    fn into_exchange(self) -> Result<RememberedExchange, RecordFault> {
        Ok(RememberedExchange {
            key: keyed_digest(self.key)?,
            request: keyed_digest(self.request)?,
            answer: Sealed::from_bytes(self.answer),
            until: Timestamp::from_micros(self.until),
        })
    }
}

impl Form for SessionForm<'_> {
    fn number(&self) -> u32 {
        self.form
    }
}
