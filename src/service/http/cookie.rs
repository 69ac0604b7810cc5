//! Cookies (RFC 6265): reading one, and writing one that scripts and other sites do not get.

use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

/// The cookie that an authentication token or a JWT travels in, unless another is named. The
/// prefix makes browsers insist on `Secure`, `Path=/` and no `Domain` (RFC 6265bis §4.1.3.2).
pub(super) const DEFAULT_COOKIE: &str = "__Host-session";

/// What a request's cookies say.
pub(super) enum Cookie<'a> {
    Absent,
    Value(&'a str),
    /// Two of one name, and two opinions about who is asking; or one that is no text.
    Ambiguous,
}

pub(super) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Cookie<'a> {
    let mut found = Cookie::Absent;
    // Bytes, not text: another cookie of the site may hold what is no ASCII. And no blanks but
    // ASCII's are trimmed, since the others would let a name through that only looks like ours.
    let pairs = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter_map(|pair| {
            let end = pair.iter().position(|byte| *byte == b'=')?;
            Some((pair.get(..end)?, pair.get(end + 1..)?))
        });
    for (key, value) in pairs {
        if key != name.as_bytes() {
            continue;
        }
        let Ok(value) = std::str::from_utf8(value) else { return Cookie::Ambiguous };
        found = match found {
            Cookie::Absent => Cookie::Value(value),
            Cookie::Value(known) if known == value => Cookie::Value(known),
            _ => return Cookie::Ambiguous,
        };
    }
    found
}

/// Whether other sites' requests carry a cookie (RFC 6265bis §4.1.2.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SameSite {
    /// Never.
    Strict,
    /// Only when a link leads here.
    #[default]
    Lax,
    /// Always. Requests forged by other sites are the host's to tell from real ones.
    None,
}

/// A `Set-Cookie` that scripts cannot read and plain HTTP does not carry.
pub(super) fn set_cookie(
    name: &str,
    value: &str,
    max_age: Duration,
    same_site: SameSite,
) -> Option<HeaderValue> {
    let same_site = match same_site {
        SameSite::Strict => "Strict",
        SameSite::Lax => "Lax",
        SameSite::None => "None",
    };
    let seconds = max_age.as_secs();
    let cookie = format!(
        "{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; Secure; SameSite={same_site}"
    );
    let mut header = HeaderValue::from_str(&cookie).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cookies_of_one_name_that_differ_are_ambiguous() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_bytes(text.as_bytes()).unwrap());
            match find(&headers, "s") {
                Cookie::Absent => "absent".to_owned(),
                Cookie::Value(value) => value.to_owned(),
                Cookie::Ambiguous => "ambiguous".to_owned(),
            }
        };
        assert_eq!(read("a=1; s=x=y; b=2"), "x=y");
        assert_eq!(read("S=1; ss=2"), "absent");
        assert_eq!(read("s=1; s=1"), "1");
        assert_eq!(read("s=1; s=2"), "ambiguous");
        assert_eq!(read("name=é; s=1"), "1");
        assert_eq!(read("\u{a0}s=1"), "absent");
    }
}
