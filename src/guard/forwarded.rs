//! The header `Forwarded` (RFC 7239 §4): the addresses that proxies have got a request from.

/// Returns the `for` of each element of a header's value, the left-most first. An element without one, or that is
/// not well-formed, is an empty text.
pub(super) fn forwarded_for(value: &[u8]) -> Vec<&str> {
    let value = std::str::from_utf8(value).unwrap_or_default();
    split_unquoted(value, b',').map(|element| for_of(element).unwrap_or_default()).collect()
}

fn for_of(element: &str) -> Option<&str> {
    let mut found = None;
    for pair in split_unquoted(element, b';') {
        let (name, value) = pair.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("for")
            && found.replace(unquoted(value.trim())?).is_some()
        {
            // A name has one value.
            return None;
        }
    }
    found
}

/// Addresses have nothing in them that would be escaped in a quoted string.
fn unquoted(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').filter(|text| !text.contains(['"', '\\'])),
        None => Some(value),
    }
}

/// Splits at a separator that is in no quoted string.
fn split_unquoted(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut is_quoted, mut is_escaped) = (false, false);
        let end = text.bytes().position(|byte| {
            let is_end = byte == separator && !is_quoted;
            is_quoted ^= byte == b'"' && !is_escaped;
            is_escaped = is_quoted && byte == b'\\' && !is_escaped;
            is_end
        });
        match end {
            Some(end) => {
                rest = text.get(end + 1..);
                text.get(..end)
            }
            None => rest.take(),
        }
    })
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
            (r#"host="a,b;for=1.1.1.1";for=192.0.2.1"#, &["192.0.2.1"]),
            ("for=_hidden, for=unknown", &["_hidden", "unknown"]),
            ("by=203.0.113.43,for=192.0.2.1", &["", "192.0.2.1"]),
            ("", &[""]),
        ] {
            assert_eq!(forwarded_for(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn what_is_not_well_formed_names_nobody_and_takes_in_what_follows() {
        for value in [
            r#"for="192.0.2.1, for=198.51.100.7"#,
            r#"for="192.0.2.1\", for=198.51.100.7"#,
            "for=192.0.2.1;for=198.51.100.7",
            "192.0.2.1",
            r#"for="192.0.2.1"x"#,
        ] {
            assert_eq!(forwarded_for(value.as_bytes()), [""], "{value}");
        }
        assert_eq!(forwarded_for(b"for=192.0.2.1, \xff"), [""]);
    }
}
