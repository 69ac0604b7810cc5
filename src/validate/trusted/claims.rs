use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::custom_claims::custom_claims_of;
use crate::error::{Error, ErrorKind};
use crate::token::acl::Acl;
use crate::token::claims::SubjectType;
use crate::token::organization::Organization;

/// The claims of a trusted issuer's token, unchanged. The signature, the issuer and the audience have been checked;
/// the times (`exp`, `nbf`, `iat`) are checked afterwards.
#[derive(Clone, Debug)]
pub struct ForeignClaims(Map<String, Value>);

impl ForeignClaims {
    pub(super) fn new(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    /// Returns the claim of this name, if the token has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Returns the claim of this name, if the token has it and it is a string.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    /// Returns all claims.
    #[must_use]
    pub fn as_object(&self) -> &Map<String, Value> {
        &self.0
    }
}

/// The claims of a trusted issuer's token, translated into this crate's terms: the result of
/// [`TrustedIssuer::map_claims`](crate::TrustedIssuer::map_claims).
#[derive(Clone, Debug)]
#[must_use]
pub struct MappedClaims {
    pub(super) subject: String,
    pub(super) subject_type: SubjectType,
    pub(super) client_id: String,
    pub(super) organization: Option<Organization>,
    pub(super) acl: Acl,
    pub(super) custom_claims: Map<String, Value>,
}

impl MappedClaims {
    /// Creates the claims of a principal. Its token grants nothing until [`acl`](Self::acl) is set.
    pub fn new(subject_type: SubjectType, subject: impl Into<String>) -> Self {
        let subject = subject.into();
        Self {
            client_id: subject.clone(),
            subject,
            subject_type,
            organization: None,
            acl: Acl::default(),
            custom_claims: Map::new(),
        }
    }

    /// Sets the client that the token was issued to. Default: the subject.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = client_id.into();
        self
    }

    /// Sets the ACL. Default: it grants nothing.
    pub fn acl(mut self, acl: Acl) -> Self {
        self.acl = acl;
        self
    }

    /// Sets the organization that the principal is bound to, or [`Organization::All`].
    pub fn organization(mut self, organization: impl Into<Organization>) -> Self {
        self.organization = Some(organization.into());
        self
    }

    /// Sets the `customClaims` that handlers read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidFields`] if they do not serialize to a JSON object.
    pub fn custom_claims(mut self, custom_claims: impl Serialize) -> Result<Self, Error> {
        self.custom_claims = custom_claims_of(custom_claims)?;
        Ok(self)
    }
}

type Mapping = dyn Fn(&ForeignClaims) -> Result<MappedClaims, Error> + Send + Sync;

/// How claims are read.
#[derive(Clone)]
pub(super) struct MapClaims(Arc<Mapping>);

impl MapClaims {
    pub(super) fn new(
        map: impl Fn(&ForeignClaims) -> Result<MappedClaims, Error> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(map))
    }

    pub(super) fn map(&self, claims: &ForeignClaims) -> Result<MappedClaims, Error> {
        let mapped = (self.0)(claims)?;
        let is_blank = mapped.subject.trim().is_empty() || mapped.client_id.trim().is_empty();
        if is_blank { Err(invalid_token("the subject or the client is blank")) } else { Ok(mapped) }
    }
}

impl fmt::Debug for MapClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MapClaims")
    }
}

pub(super) fn invalid_token(problem: &'static str) -> Error {
    Error::new(ErrorKind::InvalidToken, problem)
}
