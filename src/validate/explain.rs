//! Tells the developer why a token was rejected: one line at DEBUG.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::json;
use crate::token::claims::Claims;
use crate::validate::TokenFault;
use crate::validate::rules::Rules;

/// How much of a text in a token is logged: its sender chooses it.
const SHOWN_CHARS: usize = 120;

/// Logs the reason, the issuer and the `kid`, and what was expected. Never the token.
pub(super) fn log_rejection(rules: &Rules, token: &[u8], fault: TokenFault) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let reason = fault.as_str();
    if token.len() > rules.max_token_len {
        let (length, limit) = (token.len(), rules.max_token_len);
        tracing::debug!(reason, length, limit, "validate: token rejected");
        return;
    }
    let mut segments = token.split(|byte| *byte == b'.');
    let header = segments.next().and_then(read_segment).unwrap_or_default();
    let payload = segments.next().and_then(decode).unwrap_or_default();
    let claims = json::parse_object(&payload).unwrap_or_default();
    let (issuer, kid) = (shown(claims.get("iss")), shown(header.get("kid")));
    let detail = detail(rules, &header, &claims, &payload, fault);
    tracing::debug!(reason, %issuer, %kid, %detail, "validate: token rejected");
}

fn detail(
    rules: &Rules,
    header: &Map<String, Value>,
    claims: &Map<String, Value>,
    payload: &[u8],
    fault: TokenFault,
) -> String {
    let name = claims.get("iss").and_then(Value::as_str);
    let trusted = name.and_then(|name| rules.trusted_issuers.by_name(name));
    let expected = trusted.and_then(|issuer| issuer.explain(fault, claims));
    match fault {
        TokenFault::Issuer => match name {
            Some(name) => unlike(name, rules.issuers()),
            None => "`iss` is missing".to_owned(),
        },
        TokenFault::Type => {
            let expected = expected.unwrap_or_else(|| "expected: at+jwt".to_owned());
            format!("`typ` is {}, {expected}", shown(header.get("typ")))
        }
        TokenFault::Audience => {
            let own = || format!("expected: {}", rules.audiences.join(", "));
            format!("`aud` is {}, {}", shown(claims.get("aud")), expected.unwrap_or_else(own))
        }
        TokenFault::Claims => {
            expected.unwrap_or_else(|| match json::from_slice::<Claims>(payload) {
                Err(error) => cut(&format!("the payload {error}")),
                Ok(_) => "the ACL has a trailing wildcard, which is not allowed".to_owned(),
            })
        }
        TokenFault::Algorithm => format!("`alg` is {}", shown(header.get("alg"))),
        TokenFault::Expired => format!("`exp` is {}", shown(claims.get("exp"))),
        TokenFault::NotYetValid => {
            format!("`nbf` is {}, `iat` is {}", shown(claims.get("nbf")), shown(claims.get("iat")))
        }
        _ => String::new(),
    }
}

/// Returns in what an issuer differs from the one among those known that is most like it.
fn unlike<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let common = |other: &str| name.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    let Some(nearest) = known.max_by_key(|other| common(other)) else { return String::new() };
    let same = common(nearest);
    let rest = |text: &str| cut(&text.chars().skip(same).collect::<String>());
    let hint = if name.trim_end_matches('/') == nearest.trim_end_matches('/') {
        ": a slash at the end"
    } else if name.eq_ignore_ascii_case(nearest) {
        ": the case of letters"
    } else {
        ""
    };
    format!(
        "`iss` is {}, expected: {nearest}; after {same} characters it has \"{}\" instead of \"{}\"{hint}",
        quoted(name),
        rest(name),
        rest(nearest),
    )
}

fn decode(segment: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(segment).ok()
}

fn read_segment(segment: &[u8]) -> Option<Map<String, Value>> {
    json::parse_object(&decode(segment)?).ok()
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => "(none)".to_owned(),
        Some(Value::String(text)) => quoted(text),
        Some(value) => cut(&value.to_string()),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", cut(text))
}

/// Escapes a text and cuts it off, so that it ends no line and fills no log.
fn cut(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN_CHARS).flat_map(char::escape_default).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() { format!("{shown}…") } else { shown }
}
