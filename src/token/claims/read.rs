//! Deserializes the claims of a token, each by its own rule.

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use crate::token::claims::SubjectType;
use crate::token::identifier::TokenId;

/// Reads a non-empty string.
pub(super) fn filled<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() { Err(D::Error::custom("has an empty claim")) } else { Ok(text) }
}

pub(super) fn subject_type<'de, D: Deserializer<'de>>(from: D) -> Result<SubjectType, D::Error> {
    let text = String::deserialize(from)?;
    SubjectType::parse(&text).ok_or_else(|| D::Error::custom("has an unknown subject_type"))
}

pub(super) fn token_id<'de, D: Deserializer<'de>>(from: D) -> Result<TokenId, D::Error> {
    filled(from).map(|text| TokenId::from_signed_claim(&text))
}

/// Reads a time of RFC 7519 §2, limited to the integers that every JSON parser reads exactly: 0 to 2^53 − 1.
pub(crate) fn numeric_date<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    const MAX: u64 = (1 << 53) - 1;
    let seconds = u64::deserialize(from)?;
    if seconds <= MAX { Ok(seconds) } else { Err(D::Error::custom("has a time out of range")) }
}

pub(super) fn some_date<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    numeric_date(from).map(Some)
}

/// Reads one string, or an array of them (RFC 7519 §4.1.3).
pub(crate) fn audience<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Audience::deserialize(from)? {
        Audience::One(audience) => vec![audience],
        Audience::Several(audiences) => audiences,
    })
}
