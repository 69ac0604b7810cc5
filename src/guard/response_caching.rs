//! Keeps caches from serving the response of one caller to another (RFC 9111).

use http::header::{CACHE_CONTROL, Entry, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Directives that let a shared cache store a response, or make one ignore others: a cache that knows the status
/// ignores `no-store` next to `must-understand` (RFC 9111 §5.2.2.3).
const UNDONE: [&str; 3] = ["public", "s-maxage", "must-understand"];
/// The default where a handler sets nothing: no cache stores the response, including the browser's history.
const NOT_STORED: HeaderValue = HeaderValue::from_static("private, no-store");

/// The caching headers that a layer adds to responses of the requests that it forwards.
///
/// An `Authorization` header keeps shared caches from storing (RFC 9111 §3.5), unless a handler sets `public`,
/// `s-maxage` or `must-revalidate`; a cookie does not keep them from it at all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponseCaching {
    /// The request headers that credentials are read from.
    vary: &'static str,
    allows_public: bool,
}

impl ResponseCaching {
    /// The value of `Vary`.
    pub(crate) const fn of(vary: &'static str) -> Self {
        Self { vary, allows_public: false }
    }

    /// Leaves the handlers' caching headers unchanged.
    pub(crate) fn allow_public(self) -> Self {
        Self { allows_public: true, ..self }
    }

    /// Marks the response to a validated or an anonymous caller.
    pub(crate) fn mark(self, is_validated: bool, headers: &mut HeaderMap) {
        self.vary(headers);
        if !is_validated {
            return;
        }
        match headers.entry(CACHE_CONTROL) {
            Entry::Vacant(entry) => {
                entry.insert(NOT_STORED);
                if !self.allows_public {
                    remove_what_shared_caches_obey(headers);
                }
            }
            Entry::Occupied(_) if !self.allows_public => make_private(headers),
            Entry::Occupied(_) => {}
        }
    }

    /// With other credentials, the response may differ (RFC 9110 §12.5.5).
    fn vary(self, headers: &mut HeaderMap) {
        if let Entry::Vacant(entry) = headers.entry(VARY) {
            entry.insert(HeaderValue::from_static(self.vary));
            return;
        }
        let named = joined(headers, &VARY).unwrap_or_else(|| "*".to_owned());
        let names = |wanted: &str| {
            named.split(',').map(str::trim).any(|name| name.eq_ignore_ascii_case(wanted))
        };
        if names("*") {
            return;
        }
        let missing: Vec<_> = self.vary.split(", ").filter(|name| !names(name)).collect();
        if !missing.is_empty() {
            let merged = format!("{named}, {}", missing.join(", "));
            // The value was read from headers, so it is valid as one.
            let merged = HeaderValue::try_from(merged);
            headers.insert(VARY, merged.unwrap_or(HeaderValue::from_static("*")));
        }
    }
}

/// Keeps shared caches from storing a response (RFC 9111 §3).
pub(crate) fn make_private(headers: &mut HeaderMap) {
    remove_what_shared_caches_obey(headers);
    let mut values = headers.get_all(CACHE_CONTROL).iter();
    let (first, others) = (values.next(), values.next());
    let is_private = match (first, others) {
        (None, _) => true,
        (Some(value), None) => value.to_str().is_ok_and(keeps_shared_caches_away),
        _ => false,
    };
    if !is_private {
        let private = joined(headers, &CACHE_CONTROL).and_then(|text| private_form(&text));
        headers.insert(CACHE_CONTROL, private.unwrap_or(NOT_STORED));
    }
}

pub(crate) fn remove_what_shared_caches_obey(headers: &mut HeaderMap) {
    while let Some(name) = headers.keys().find(|name| is_for_shared_caches(name)).cloned() {
        headers.remove(name);
    }
}

/// Fields that only shared caches obey, in preference to `Cache-Control`: targeted ones (RFC 9213), named like
/// `CDN-Cache-Control`, and older ones.
fn is_for_shared_caches(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.ends_with("-cache-control")
        || matches!(name, "surrogate-control" | "edge-control" | "x-accel-expires")
}

/// Returns the value of a list, which may span several headers (RFC 9110 §5.3); `None` if it is not text.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values = headers.get_all(name).iter().map(HeaderValue::to_str);
    Some(values.collect::<Result<Vec<_>, _>>().ok()?.join(", "))
}

/// Splits the directives of a `Cache-Control` (RFC 9111 §5.2); a comma within quotes does not separate.
fn directives(text: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = text.split(move |character| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match character {
            '\\' if is_quoted && !was_escaped => is_escaped = true,
            '"' if !was_escaped => is_quoted = !is_quoted,
            ',' => return !is_quoted,
            _ => {}
        }
        false
    });
    parts.map(str::trim).filter(|directive| !directive.is_empty())
}

fn name_of(directive: &str) -> &str {
    directive.split('=').next().unwrap_or_default().trim_end()
}

fn is_one_of(directive: &str, names: &[&str]) -> bool {
    names.iter().any(|name| name_of(directive).eq_ignore_ascii_case(name))
}

/// A `private` with an argument applies to some fields only (RFC 9111 §5.2.2.7).
fn keeps_shared_caches_away(text: &str) -> bool {
    let is_plain = |directive: &str| !directive.contains('=');
    directives(text).any(|one| is_plain(one) && is_one_of(one, &["private", "no-store"]))
        && !directives(text).any(|one| is_one_of(one, &UNDONE))
}

/// Returns directives that are equal for browsers and private for shared caches; `None` if quotes are unbalanced.
fn private_form(text: &str) -> Option<HeaderValue> {
    let mut private = String::from("private");
    for directive in directives(text) {
        if directive.contains('"') && !directive.ends_with('"') {
            return None;
        }
        if !is_one_of(directive, &UNDONE) && !is_one_of(directive, &["private"]) {
            private.push_str(", ");
            private.push_str(directive);
        }
    }
    HeaderValue::try_from(private).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXCHANGE: ResponseCaching = ResponseCaching::of("Authorization, Cookie");

    #[track_caller]
    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    #[track_caller]
    fn assert_becomes(values: &[&str], expected: &str) {
        let mut headers = headers(&CACHE_CONTROL, values);
        EXCHANGE.mark(true, &mut headers);
        let marked: Vec<_> = headers.get_all(CACHE_CONTROL).iter().collect();
        assert_eq!(marked, [expected], "{values:?}");
        EXCHANGE.mark(true, &mut headers);
        assert_eq!(headers[CACHE_CONTROL], expected, "a second layer changes nothing");
    }

    #[test]
    fn a_response_that_says_nothing_is_not_stored() {
        assert_becomes(&[], "private, no-store");
    }

    #[test]
    fn what_keeps_shared_caches_away_is_left_as_it_is() {
        for value in ["private", "no-store", "Private, max-age=60", "max-age=0, NO-STORE"] {
            assert_becomes(&[value], value);
        }
    }

    #[test]
    fn what_lets_a_shared_cache_store_is_made_private() {
        for (value, expected) in [
            ("public", "private"),
            ("", "private"),
            ("max-age=60", "private, max-age=60"),
            ("must-revalidate", "private, must-revalidate"),
            ("no-cache", "private, no-cache"),
            ("Public, MAX-AGE=60, S-MaxAge=600", "private, MAX-AGE=60"),
            ("private, s-maxage=60", "private"),
            ("no-store, public", "private, no-store"),
            ("must-understand, no-store, max-age=60", "private, no-store, max-age=60"),
            ("private=\"set-cookie, x-a\", max-age=60", "private, max-age=60"),
            ("public=\"x\", s-maxage = 60", "private"),
            ("x=\"a, private, b\"", "private, x=\"a, private, b\""),
            ("x=\"\\\", private\", max-age=1", "private, x=\"\\\", private\", max-age=1"),
            ("x=\"a, private", "private, no-store"),
            ("max-age=60\u{e9}", "private, no-store"),
        ] {
            assert_becomes(&[value], expected);
        }
        assert_becomes(&["private", "public, max-age=5"], "private, max-age=5");
        assert_becomes(&["max-age=60", "x=\u{e9}"], "private, no-store");
    }

    #[test]
    fn fields_for_shared_caches_alone_are_removed() {
        let mut headers = headers(&CACHE_CONTROL, &["no-store"]);
        let targeted =
            ["cdn-cache-control", "surrogate-control", "edge-control", "x-accel-expires"];
        for name in [&targeted[..], &["vendor-cdn-cache-control", "x-cache"]].concat() {
            headers.append(name, HeaderValue::from_static("max-age=60"));
            headers.append(name, HeaderValue::from_static("public"));
        }
        let mut allowed = headers.clone();
        EXCHANGE.allow_public().mark(true, &mut allowed);
        EXCHANGE.mark(true, &mut headers);
        assert_eq!(headers.len(), 4, "{headers:?}");
        assert!(headers.contains_key("x-cache"));
        assert!(targeted.iter().all(|name| allowed.contains_key(*name)));
    }

    #[test]
    fn what_may_be_public_stays_and_what_says_nothing_is_not_stored_still() {
        let rule = EXCHANGE.allow_public();
        for (values, expected) in
            [(&["public, max-age=60"][..], "public, max-age=60"), (&[], "private, no-store")]
        {
            let mut headers = headers(&CACHE_CONTROL, values);
            rule.mark(true, &mut headers);
            assert_eq!(headers[CACHE_CONTROL], expected);
        }
    }

    #[test]
    fn a_response_varies_by_where_credentials_are_read_from() {
        for (values, expected) in [
            (&[][..], "Authorization, Cookie"),
            (&["Accept-Encoding"], "Accept-Encoding, Authorization, Cookie"),
            (&["cookie", "Origin"], "cookie, Origin, Authorization"),
            (&["COOKIE, authorization"], "COOKIE, authorization"),
            (&["*"], "*"),
            (&["Accept, *"], "Accept, *"),
        ] {
            let mut headers = headers(&VARY, values);
            EXCHANGE.mark(false, &mut headers);
            assert_eq!(joined(&headers, &VARY).unwrap(), expected);
            assert!(!headers.contains_key(CACHE_CONTROL));
        }
    }
}
