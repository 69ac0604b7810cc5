//! The header `Forwarded` (RFC 7239 §4): the addresses from which proxies received a request.
//!
//! A proxy appends its element to those that the client wrote, which may be malformed. So the header is split from
//! the right: the proxy's element is well-formed, and nothing to its left can change it.

/// Returns the `for` of each element of a header's value, from the left. An element that has none or is malformed
/// yields an empty text.
pub(super) fn forwarded_for(value: &[u8]) -> Vec<&str> {
    let mut hops: Vec<_> = split_from_the_right(value, b',').map(for_of).collect();
    hops.reverse();
    hops.into_iter().map(Option::unwrap_or_default).collect()
}

fn for_of(element: &[u8]) -> Option<&str> {
    let mut found = None;
    for pair in split_from_the_right(element, b';') {
        let pair = std::str::from_utf8(pair).ok()?.trim();
        if pair.is_empty() {
            continue;
        }
        let (name, value) = pair.split_once('=')?;
        let value = unquoted(value)?;
        if name.eq_ignore_ascii_case("for") && found.replace(value).is_some() {
            // A parameter has exactly one value.
            return None;
        }
    }
    found
}

/// Addresses contain no character that a quoted string escapes.
fn unquoted(value: &str) -> Option<&str> {
    let text = match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?,
        None => value,
    };
    let has_quote = text
        .char_indices()
        .any(|(at, character)| character == '"' && !is_escaped(text.as_bytes(), at));
    (!has_quote).then_some(text)
}

/// Splits at the separators outside of quoted strings, from the right.
fn split_from_the_right(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut is_quoted = false;
        for (at, byte) in text.iter().enumerate().rev() {
            if *byte == b'"' && !(is_quoted && is_escaped(text, at)) {
                is_quoted = !is_quoted;
            } else if *byte == separator && !is_quoted {
                let (left, right) = text.split_at(at);
                rest = Some(left);
                return right.get(1..);
            }
        }
        rest.take()
    })
}

/// Returns whether an odd number of backslashes precedes a byte.
fn is_escaped(text: &[u8], at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_element_names_where_its_proxy_got_the_request_from() {
        for (value, expected) in [
            ("for=192.0.2.43", &["192.0.2.43"][..]),
            ("For=192.0.2.43, FOR=198.51.100.17", &["192.0.2.43", "198.51.100.17"]),
            (r#"for="[2001:db8:cafe::17]:4711""#, &["[2001:db8:cafe::17]:4711"]),
            ("proto=https;for=192.0.2.60 ; by=203.0.113.43", &["192.0.2.60"]),
            ("for=192.0.2.1;", &["192.0.2.1"]),
            (r#"host="a,b;for=1.1.1.1";for=192.0.2.1"#, &["192.0.2.1"]),
            (r#"host="a\",b";for=192.0.2.1"#, &["192.0.2.1"]),
            ("for=_hidden, for=unknown", &["_hidden", "unknown"]),
            ("by=203.0.113.43,for=192.0.2.1", &["", "192.0.2.1"]),
            ("", &[""]),
        ] {
            assert_eq!(forwarded_for(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn nothing_that_a_client_writes_changes_the_element_of_the_proxy() {
        let of_proxy = r#"for=192.0.2.1;host="a,for=6.6.6.6;x=:80""#;
        for of_client in [
            &b"for=\""[..],
            b"for=\"x",
            b"\"",
            b"\\",
            b"\\\"",
            b"for=6.6.6.6\\",
            b"\xff",
            b",",
            b"for=6.6.6.6;\"",
        ] {
            let value = [of_client, b", ", of_proxy.as_bytes()].concat();
            assert_eq!(forwarded_for(&value).last(), Some(&"192.0.2.1"), "{of_client:?}");
        }
    }

    #[test]
    fn an_element_that_is_not_well_formed_names_nobody() {
        for value in [
            r#"for="192.0.2.1"#,
            r#"for=192.0.2.1""#,
            r#"for="192.0.2.1"x"#,
            r#"for=192.0.2.1;host=a"b"#,
            "for=192.0.2.1;for=198.51.100.7",
            "192.0.2.1",
        ] {
            assert_eq!(forwarded_for(value.as_bytes()), [""], "{value}");
        }
    }
}
