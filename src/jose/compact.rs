//! The compact serialisation of RFC 7515 §7.1, taken apart strictly.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::jose::Algorithm;
use crate::json;

/// The three segments of a token, of which nothing has been decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CompactJws<'a> {
    pub(crate) header: &'a str,
    payload: &'a str,
    signature: &'a str,
    /// Header and payload, with the dot between them.
    pub(crate) signing_input: &'a str,
}

/// What a header says of the key.
#[derive(Debug)]
pub(crate) struct JoseHeader {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
}

/// Why a text is rejected before its signature is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JwsFault {
    /// Not three non-empty segments of base64url, or a header that is no strict JSON object.
    Malformed,
    /// An algorithm that nobody here knows.
    UnknownAlgorithm,
    /// Not the type of an access token.
    WrongType,
    /// `crit`, `b64`, `zip` or `enc`.
    UnsupportedHeader,
}

impl<'a> CompactJws<'a> {
    /// Takes `token` apart. Its length is the caller's to limit.
    pub(crate) fn split(token: &'a str) -> Result<Self, JwsFault> {
        let (signing_input, signature) = token.rsplit_once('.').ok_or(JwsFault::Malformed)?;
        let (header, payload) = signing_input.split_once('.').ok_or(JwsFault::Malformed)?;
        // A fourth segment would leave a dot in the payload, which base64url has not.
        if header.is_empty() || payload.is_empty() || signature.is_empty() {
            return Err(JwsFault::Malformed);
        }
        Ok(Self { header, payload, signature, signing_input })
    }

    pub(crate) fn payload(&self) -> Result<Vec<u8>, JwsFault> {
        decode(self.payload)
    }

    pub(crate) fn signature(&self) -> Result<Vec<u8>, JwsFault> {
        decode(self.signature)
    }
}

fn decode(segment: &str) -> Result<Vec<u8>, JwsFault> {
    URL_SAFE_NO_PAD.decode(segment).map_err(|_| JwsFault::Malformed)
}

impl JoseHeader {
    /// Reads the header's segment, which has to be that of an access token.
    pub(crate) fn parse(segment: &str) -> Result<Self, JwsFault> {
        Self::parse_typed(segment, |typ| typ.is_some_and(is_access_token_type))
    }

    /// Reads the header's segment, whose `typ` has to be as somebody wants it.
    pub(crate) fn parse_typed(
        segment: &str,
        is_right: impl Fn(Option<&str>) -> bool,
    ) -> Result<Self, JwsFault> {
        let header = decode(segment)?;
        let header: Header = json::from_slice(&header).map_err(|_| JwsFault::Malformed)?;
        let unsupported = [header.crit, header.b64, header.zip, header.enc];
        if unsupported.iter().any(Option::is_some) {
            return Err(JwsFault::UnsupportedHeader);
        }
        let algorithm = header.alg.as_deref().and_then(|alg| alg.parse().ok());
        let algorithm = algorithm.ok_or(JwsFault::UnknownAlgorithm)?;
        if !is_right(header.typ.as_deref()) {
            return Err(JwsFault::WrongType);
        }
        Ok(Self { algorithm, kid: header.kid })
    }
}

/// RFC 9068 §4.
fn is_access_token_type(typ: &str) -> bool {
    is_media_type(typ, "at+jwt")
}

/// Returns whether a `typ` names a media type, which has no case and may leave `application/` out
/// (RFC 7515 §4.1.9).
pub(crate) fn is_media_type(typ: &str, name: &str) -> bool {
    const PREFIX: &str = "application/";
    let short = |name: &str| {
        let has_prefix =
            name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
        if has_prefix { PREFIX.len() } else { 0 }
    };
    typ[short(typ)..].eq_ignore_ascii_case(&name[short(name)..])
}

/// Parameters in `crit`, `b64`, `zip` and `enc` (RFC 7515 §4.1.11, RFC 7797, RFC 7516 §4.1): none
/// of it is understood here, so none of it may be ignored.
#[derive(Deserialize)]
struct Header {
    alg: Option<String>,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<IgnoredAny>,
    b64: Option<IgnoredAny>,
    zip: Option<IgnoredAny>,
    enc: Option<IgnoredAny>,
}
