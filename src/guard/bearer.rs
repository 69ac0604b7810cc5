//! The `Authorization` header (RFC 9110 §11.6.2, RFC 6750 §2.1).

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};

/// The credentials in a request's headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credentials<'a> {
    /// None, or those of another scheme.
    Absent,
    /// The text in the place of a bearer token, possibly empty; see [`token`].
    Bearer(&'a [u8]),
    /// Several `Authorization` headers.
    Malformed,
}

/// Reads the header. The scheme is case-insensitive and ends where an HTTP token ends, so `Bearer_x` is another
/// scheme. It is separated from the token by spaces, not tabs.
pub(crate) fn credentials(headers: &HeaderMap) -> Credentials<'_> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Credentials::Absent };
    if values.next().is_some() {
        return Credentials::Malformed;
    }
    let bytes = value.as_bytes();
    let end = bytes.iter().position(|byte| !is_token_character(*byte)).unwrap_or(bytes.len());
    let (scheme, rest) = bytes.split_at(end);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Credentials::Absent;
    }
    let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
    if blanks == 0 {
        return Credentials::Malformed;
    }
    Credentials::Bearer(rest.get(blanks..).unwrap_or_default())
}

/// Returns whether the character is allowed in an HTTP token (RFC 9110 §5.6.2), such as a scheme or the name of a
/// cookie.
pub(crate) fn is_token_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Marks credential headers as sensitive: `Debug` of the request, which handlers log, omits them, and HTTP/2 keeps
/// them out of its tables on the way to an upstream (RFC 7541 §7.1.3).
pub(crate) fn hide_credentials(headers: &mut HeaderMap) {
    for (name, value) in headers.iter_mut() {
        if *name == AUTHORIZATION || *name == COOKIE {
            value.set_sensitive(true);
        }
    }
}

/// Returns a well-formed token (RFC 6750 §2.1): `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`. A
/// token that is in the cache needs no such check.
pub(crate) fn token(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let body = text.trim_end_matches('=');
    (!body.is_empty() && is_of_token_characters(body.as_bytes())).then_some(text)
}

/// Looks at every byte without an early exit, so that the compiler can vectorize the loop.
fn is_of_token_characters(bytes: &[u8]) -> bool {
    let is_mark = |byte: u8| (b'-'..=b'/').contains(&byte) | matches!(byte, b'_' | b'~' | b'+');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() | is_mark(byte);
    bytes.iter().fold(true, |so_far, byte| so_far & allowed(*byte))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn read(values: &[&'static [u8]]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        match credentials(&headers) {
            Credentials::Bearer(bytes) => {
                token(bytes).map_or("Malformed".to_owned(), |token| format!("Bearer({token:?})"))
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_scheme_has_no_case_and_any_number_of_blanks_behind_it() {
        for good in [&b"Bearer a.b"[..], b"bearer a.b", b"BEARER   a.b"] {
            assert_eq!(read(&[good]), r#"Bearer("a.b")"#);
        }
    }

    #[test]
    fn a_token_is_of_the_characters_that_the_rfc_allows() {
        for byte in 0..=u8::MAX {
            let allowed = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert_eq!(is_of_token_characters(&[b'a', byte]), allowed, "{byte}");
        }
    }

    #[test]
    fn another_scheme_counts_as_none() {
        for other in [
            &b"Basic YTpi"[..],
            b"Bearer-Token x",
            b"Bearer_x y",
            b"Bearer.x y",
            b"Bearer~",
            b"DPoP x",
            b"Bearerx y",
            b"",
            b"\xff",
        ] {
            assert_eq!(read(&[other]), "Absent", "{other:?}");
        }
        assert_eq!(read(&[]), "Absent");
    }

    #[test]
    fn what_is_no_well_formed_credential_is_malformed() {
        for bad in [
            &b"Bearer"[..],
            b"Bearer ",
            b"Bearer\ta.b",
            b"Bearer a b",
            b"Bearer a,b",
            b"Bearer =",
            b"Bearer a=b",
            b"Bearer \xc3\xa9",
            b"Bearer,a",
            b"Bearer/a b",
            b"Bearer=a",
        ] {
            assert_eq!(read(&[bad]), "Malformed", "{bad:?}");
        }
        assert_eq!(read(&[b"Bearer a", b"Bearer a"]), "Malformed");
        assert_eq!(read(&[b"Basic a", b"Bearer a"]), "Malformed");
    }
}
