//! Reads the body of a request, with checks of media type, size and time.

use axum_core::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value};

use crate::json;
use crate::service::Policy;

/// The media types that a route accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    Form,
}

/// A body that was read.
pub(super) struct Received {
    media: Media,
    bytes: Bytes,
}

/// Why a body was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFault {
    UnsupportedMediaType,
    TooLarge,
    TooSlow,
    Aborted,
}

/// Checks the announced length. A route without a body calls only this.
pub(super) fn check_announced_len(headers: &HeaderMap, policy: &Policy) -> Result<(), BodyFault> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
    let limit = u64::try_from(policy.http.max_body_len).unwrap_or(u64::MAX);
    if announced.is_some_and(|len: u64| len > limit) { Err(BodyFault::TooLarge) } else { Ok(()) }
}

/// Reads the body, unless it is announced as too long. An absent body counts as an empty object, whatever its media
/// type.
pub(super) async fn receive(
    headers: &HeaderMap,
    body: Body,
    accepted: &[Media],
    policy: &Policy,
) -> Result<Received, BodyFault> {
    check_announced_len(headers, policy)?;
    let reading = Limited::new(body, policy.http.max_body_len).collect();
    let collected = tokio::time::timeout(policy.http.body_deadline, reading).await;
    let bytes = match collected {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(BodyFault::TooLarge),
        Ok(Err(_)) => return Err(BodyFault::Aborted),
        Err(_) => return Err(BodyFault::TooSlow),
    };
    if bytes.is_empty() {
        return Ok(Received { media: Media::Json, bytes });
    }
    let media = media_type(headers).filter(|media| accepted.contains(media));
    media.map(|media| Received { media, bytes }).ok_or(BodyFault::UnsupportedMediaType)
}

impl Received {
    /// Returns the body's members. A null member counts as absent: clients serialize unset fields as null.
    pub(super) fn members(&self) -> Result<Map<String, Value>, String> {
        if self.bytes.is_empty() {
            return Ok(Map::new());
        }
        let mut members = match self.media {
            Media::Json => json::parse_object(&self.bytes)
                .map_err(|error| format!("The request's JSON {error}"))?,
            Media::Form => form_members(&self.bytes)?,
        };
        members.retain(|_, value| !value.is_null());
        Ok(members)
    }
}

/// Requires one header, with a known media type and no charset except UTF-8 (RFC 8259 §8.1).
fn media_type(headers: &HeaderMap) -> Option<Media> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let mut parts = value.to_str().ok()?.split(';');
    let essence = parts.next()?.trim();
    let media = if essence.eq_ignore_ascii_case("application/json") {
        Media::Json
    } else if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Media::Form
    } else {
        return None;
    };
    let foreign_charset = parts.any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        name.trim().eq_ignore_ascii_case("charset")
            && !value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    });
    (!foreign_charset).then_some(media)
}

/// Parses a form's fields. A duplicate field or invalid UTF-8 is rejected: the usual parsers take the last
/// duplicate, or put a replacement character into a password.
fn form_members(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    let mut members = Map::new();
    for (name, value) in form_urlencoded::parse(bytes) {
        if was_replaced(&name) || was_replaced(&value) {
            return Err("The request's form must be valid UTF-8".to_owned());
        }
        if members.contains_key(&*name) {
            return Err(match json::plain_name(&name) {
                Some(name) => format!("The request's form has the field `{name}` twice"),
                None => "The request's form has a field twice".to_owned(),
            });
        }
        members.insert(name.into_owned(), Value::String(value.into_owned()));
    }
    Ok(members)
}

/// A form that contains a replacement character itself, percent-encoded, is rejected, too, since it looks the same
/// after decoding.
fn was_replaced(text: &str) -> bool {
    text.contains(char::REPLACEMENT_CHARACTER)
}
