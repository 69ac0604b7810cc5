//! Claims out of a token.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::json::{Name, Names, StrictIgnored, StrictValue, Text};
use crate::token::acl::ReadAcl;
use crate::token::claims::{Claims, SubjectType};
use crate::token::identifier::{OrganizationId, SessionId, TokenId};

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
