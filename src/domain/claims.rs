//! What an access token says: the claims of RFC 9068 and ours.

use std::fmt;

use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::domain::acl::{Acl, ReadAcl};
use crate::domain::identifier::{OrganizationId, SessionId, TokenId};
use crate::domain::redacted::secret_text;
use crate::json::{Name, Names, StrictIgnored, StrictValue, Text};
use crate::sync::GoodAsOf;

secret_text! {
    /// A signed access token (RFC 7515 §7.1, compact form), ready to be sent.
    AccessToken
}

impl AccessToken {
    #[cfg_attr(not(feature = "service"), allow(dead_code, reason = "only issuing makes one"))]
    pub(crate) fn new(compact: String) -> Self {
        Self(compact.into())
    }
}

/// What sort of principal a token speaks for: the claim `subject_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SubjectType {
    /// A person who logs in with a name and a password.
    User,
    /// A machine with an id and a secret.
    Entity,
    /// A customer, by way of a session.
    Customer,
}

impl SubjectType {
    /// As the claim is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Entity => "entity",
            Self::Customer => "customer",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::User, Self::Entity, Self::Customer].into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for SubjectType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The claims of an access token.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) subject_type: SubjectType,
    #[serde(serialize_with = "write_audience")]
    pub(crate) aud: Vec<String>,
    pub(crate) iat: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nbf: Option<u64>,
    pub(crate) exp: u64,
    pub(crate) jti: TokenId,
    pub(crate) client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sid: Option<SessionId>,
    #[serde(rename = "organizationId", skip_serializing_if = "Option::is_none")]
    pub(crate) organization_id: Option<OrganizationId>,
    pub(crate) acl: Acl,
    #[serde(rename = "customClaims", skip_serializing_if = "Map::is_empty")]
    pub(crate) custom_claims: Map<String, Value>,
}

/// RFC 7519 §4.1.3: one audience may be written as a plain string, which every client reads.
fn write_audience<S: serde::Serializer>(audiences: &[String], s: S) -> Result<S::Ok, S::Error> {
    match audiences {
        [one] => s.serialize_str(one),
        several => s.collect_seq(several),
    }
}

/// Reads claims in one pass, each by its own type and under the rules of [`crate::json`].
pub(crate) struct ReadClaims;

impl<'de> DeserializeSeed<'de> for ReadClaims {
    type Value = Claims;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Claims, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ReadClaims {
    type Value = Claims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the claims of an access token")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Claims, A::Error> {
        let mut names = Names::default();
        let (mut iss, mut sub, mut subject_type, mut aud) = (None, None, None, None);
        let (mut iat, mut nbf, mut exp, mut jti) = (None, None, None, None);
        let (mut client_id, mut sid, mut organization_id) = (None, None, None);
        let (mut acl, mut custom_claims) = (None, Map::new());
        while let Some(name) = members.next_key_seed(Name)? {
            match &*name {
                "iss" => iss = Some(members.next_value_seed(Text)?),
                "sub" => sub = Some(members.next_value_seed(FilledText)?),
                "subject_type" => {
                    let text = members.next_value_seed(Text)?;
                    let parsed = SubjectType::parse(&text);
                    subject_type = Some(parsed.ok_or_else(|| wrong::<A::Error>("subject_type"))?);
                }
                "aud" => aud = Some(members.next_value_seed(Audience)?),
                "iat" => iat = Some(members.next_value_seed(NumericDate)?),
                "nbf" => nbf = Some(members.next_value_seed(NumericDate)?),
                "exp" => exp = Some(members.next_value_seed(NumericDate)?),
                "jti" => {
                    let text = members.next_value_seed(FilledText)?;
                    jti = Some(TokenId::from_signed_claim(&text));
                }
                "client_id" => client_id = Some(members.next_value_seed(FilledText)?),
                "sid" => sid = Some(identifier(members.next_value_seed(Text)?, SessionId::new)?),
                "organizationId" => {
                    let text = members.next_value_seed(Text)?;
                    organization_id = Some(identifier(text, OrganizationId::new)?);
                }
                "acl" => acl = Some(members.next_value_seed(ReadAcl)?),
                "customClaims" => match members.next_value_seed(StrictValue::member())? {
                    Value::Object(object) => custom_claims = object,
                    _ => return Err(wrong("customClaims")),
                },
                _ => members.next_value_seed(StrictIgnored::member())?,
            }
            names.insert(name)?;
        }
        let missing = A::Error::missing_field;
        Ok(Claims {
            iss: iss.ok_or_else(|| missing("iss"))?,
            sub: sub.ok_or_else(|| missing("sub"))?,
            subject_type: subject_type.ok_or_else(|| missing("subject_type"))?,
            aud: aud.ok_or_else(|| missing("aud"))?,
            iat: iat.ok_or_else(|| missing("iat"))?,
            nbf,
            exp: exp.ok_or_else(|| missing("exp"))?,
            jti: jti.ok_or_else(|| missing("jti"))?,
            client_id: client_id.ok_or_else(|| missing("client_id"))?,
            sid,
            organization_id,
            acl: acl.ok_or_else(|| missing("acl"))?,
            custom_claims,
        })
    }
}

fn wrong<E: serde::de::Error>(claim: &'static str) -> E {
    E::custom(format_args!("claim {claim} is not well-formed"))
}

fn identifier<T, E: serde::de::Error>(
    text: String,
    new: impl FnOnce(String) -> Result<T, crate::Error>,
) -> Result<T, E> {
    new(text).map_err(E::custom)
}

/// A string with something in it.
struct FilledText;

impl<'de> DeserializeSeed<'de> for FilledText {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        let text = Text.deserialize(deserializer)?;
        if text.is_empty() { Err(D::Error::custom("has an empty claim")) } else { Ok(text) }
    }
}

/// RFC 7519 §2, narrowed to the integers that every JSON parser reads alike: 0 to 2^53 − 1.
pub(crate) struct NumericDate;

impl<'de> DeserializeSeed<'de> for NumericDate {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_u64(self)
    }
}

impl Visitor<'_> for NumericDate {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer from 0 to 2^53 - 1")
    }

    fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<u64, E> {
        const MAX: u64 = (1 << 53) - 1;
        if seconds <= MAX { Ok(seconds) } else { Err(E::custom("has a time out of range")) }
    }
}

/// RFC 7519 §4.1.3: one string, or an array of them.
pub(crate) struct Audience;

impl<'de> DeserializeSeed<'de> for Audience {
    type Value = Vec<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<String>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Audience {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array of strings")
    }

    fn visit_str<E>(self, audience: &str) -> Result<Vec<String>, E> {
        Ok(vec![audience.to_owned()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<String>, A::Error> {
        let mut audiences = Vec::new();
        while let Some(audience) = elements.next_element_seed(Text)? {
            audiences.push(audience);
        }
        Ok(audiences)
    }
}

/// The claims of a token that has been checked: signature, times, issuer, audience, revocation.
///
/// There is no way to make one but to have a token validated, so holding it is the proof.
///
/// ```compile_fail
/// let forged: countersign::Validated = Default::default();
/// ```
#[derive(Debug)]
#[repr(C)]
pub struct Validated {
    /// First, and together: it is all that a request with a known token looks at.
    standing: Standing,
    claims: Claims,
}

/// What a validator has to know of a token that it has checked, to accept it again.
#[derive(Debug)]
pub(crate) struct Standing {
    /// As of which generation of the revocations it is known not to be one of them.
    pub(crate) revocations: GoodAsOf,
    /// As of which generation of the keys it is known to be signed by one of them.
    pub(crate) keys: u64,
    /// From when on its key no longer verifies.
    pub(crate) key_until: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// The latest of the instants that it is not valid before.
    pub(crate) begins_at: Timestamp,
    /// Which of the issuers elsewhere it is of; none where it is one's own.
    pub(crate) trusted: Option<usize>,
    /// The identity of the key that signed it.
    pub(crate) key: u64,
}

/// About what an object takes, though it holds little: a node of its tree.
const OBJECT: usize = 640;
/// What a text or a list takes beside what is in it.
const WORDS: usize = 48;

/// About what a value takes in memory, in bytes. Nesting is bounded where values are read.
fn size_of_value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => size_of::<Value>(),
        Value::String(text) => WORDS + text.len(),
        Value::Array(elements) => WORDS + elements.iter().map(size_of_value).sum::<usize>(),
        Value::Object(members) => {
            let member =
                |(name, value): (&String, &Value)| name.len() + WORDS + size_of_value(value);
            OBJECT + members.iter().map(member).sum::<usize>()
        }
    }
}

impl Validated {
    pub(crate) fn new(claims: Claims, standing: Standing) -> Self {
        Self { standing, claims }
    }

    pub(crate) fn claims(&self) -> &Claims {
        &self.claims
    }

    /// About what it takes in memory, in bytes.
    pub(crate) fn size(&self) -> usize {
        let claims = &self.claims;
        let texts = [&claims.iss, &claims.sub, &claims.client_id];
        let texts =
            texts.into_iter().chain(&claims.aud).map(|text| text.len() + WORDS).sum::<usize>();
        let custom: usize = claims
            .custom_claims
            .iter()
            .map(|(name, value)| name.len() + WORDS + size_of_value(value))
            .sum();
        size_of::<Self>() + texts + OBJECT + custom + claims.acl.size()
    }

    pub(crate) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// `iss`: who issued it.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.claims.iss
    }

    /// `sub`: the user's name, the entity's id or the customer's id, as
    /// [`subject_type`](Self::subject_type) says.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.claims.sub
    }

    /// `subject_type`: what sort of principal the subject is.
    #[must_use]
    pub fn subject_type(&self) -> SubjectType {
        self.claims.subject_type
    }

    /// `aud`: whom it is meant for.
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        &self.claims.aud
    }

    /// `iat`: when it was issued.
    #[must_use]
    pub fn issued_at(&self) -> Timestamp {
        Timestamp::from_secs(self.claims.iat)
    }

    /// `exp`: when it ends.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        Timestamp::from_secs(self.claims.exp)
    }

    /// `nbf`: when it begins.
    #[must_use]
    pub fn not_before(&self) -> Option<Timestamp> {
        self.claims.nbf.map(Timestamp::from_secs)
    }

    /// `jti`: its own id.
    #[must_use]
    pub fn token_id(&self) -> &TokenId {
        &self.claims.jti
    }

    /// `client_id`: the entity's id, or the policy's id of first-party clients.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.claims.client_id
    }

    /// `sid`: the session that it was exchanged from.
    #[must_use]
    pub fn session_id(&self) -> Option<&SessionId> {
        self.claims.sid.as_ref()
    }

    /// `organizationId`: the organization that it is bound to.
    #[must_use]
    pub fn organization_id(&self) -> Option<&OrganizationId> {
        self.claims.organization_id.as_ref()
    }

    /// `acl`: what it allows.
    #[must_use]
    pub fn acl(&self) -> &Acl {
        &self.claims.acl
    }

    /// `customClaims`: the host's own.
    #[must_use]
    pub fn custom_claims(&self) -> &Map<String, Value> {
        &self.claims.custom_claims
    }

    /// Whether [`acl`](Self::acl) grants `permission` at these scope values.
    #[must_use]
    pub fn allows(&self, permission: &str, scope: &[(&str, &str)]) -> bool {
        self.claims.acl.allows(permission, scope)
    }
}

impl Serialize for Validated {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.claims.serialize(serializer)
    }
}
