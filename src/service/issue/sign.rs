use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, InvalidField};
use crate::service::issue::Grant;
use crate::service::model::access_token::AccessToken;
use crate::service::model::issue_time::IssueTime;
use crate::service::stores::unavailable;
use crate::service::token_service::TokenService;
use crate::token::claims::{Claims, SubjectType};
use crate::token::identifier::TokenId;
use crate::validate::revocations::Revocations as _;

impl TokenService {
    pub(in crate::service) fn sign(
        &self,
        grant: Grant,
        token_id: TokenId,
        issued: IssueTime,
        expires_at: Timestamp,
    ) -> Result<AccessToken, Error> {
        let policy = &self.inner.policy;
        let invalid = |field: &str, message: &str| {
            Error::from_invalid_fields(vec![InvalidField::new(field, message)])
        };
        if grant.subject.trim().is_empty() {
            return Err(invalid("subject", "must not be blank"));
        }
        if let Some(fault) = policy.acl_fault(&grant.acl) {
            return Err(Error::from_invalid_fields(vec![fault]));
        }
        let audiences = self.present_audiences(grant.audiences.as_deref());
        if audiences.is_empty() {
            return Err(Error::configuration(
                "the service no longer has the token's audiences: update the principal",
            ));
        }
        let is_machine = grant.subject_type == SubjectType::Machine;
        if is_machine && grant.subject == policy.tokens.first_party_client_id {
            return Err(invalid(
                "subject",
                "is the first-party client id, which no machine client may take",
            ));
        }
        let client_id = if is_machine {
            grant.subject.clone()
        } else {
            policy.tokens.first_party_client_id.clone()
        };
        let claims = Claims {
            iss: self.inner.issuer.clone(),
            sub: grant.subject,
            subject_type: grant.subject_type,
            aud: audiences,
            iat: issued.at.as_secs(),
            nbf: Some(issued.at.as_secs()),
            exp: expires_at.as_secs(),
            after_revocation_us: issued.after_revocation.map(Timestamp::as_micros),
            jti: token_id,
            client_id,
            sid: grant.session_id,
            organization_id: grant.organization.and_then(|organization| organization.id().cloned()),
            acl: grant.acl,
            custom_claims: grant.custom_claims,
        };
        let payload = serde_json::to_vec(&claims).map_err(|error| {
            Error::new(ErrorKind::Internal, "claims cannot be written").with_source(error)
        })?;
        let none = || {
            if self.inner.keys.are_awaited() {
                self.inner.revocations.remind_of_start();
                unavailable("the signing keys have not been loaded yet")
            } else {
                Error::new(ErrorKind::Internal, "there is no signing key")
            }
        };
        let key = self.inner.keys.active().ok_or_else(none)?;
        key.sign_compact(&payload).map(AccessToken::new)
    }

    /// Returns whether a token is short enough to be accepted by a validator.
    pub(in crate::service) fn fits(&self, token: &AccessToken) -> bool {
        token.expose().len() <= self.inner.policy.tokens.max_len
    }
}

/// The registered claims exceed the length of a token, which is not the caller's fault.
pub(in crate::service) fn too_long() -> Error {
    Error::new(ErrorKind::Internal, "the token is longer than the policy's tokens.max_len")
}
