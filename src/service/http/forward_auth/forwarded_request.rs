use http::uri::PathAndQuery;
use http::{HeaderMap, Method};

use crate::guard::admission::forbidden;
use crate::rejection::{LogReason, Rejection};
use crate::token::claims::Validated;

/// The original request of a client, as reported by the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedRequest {
    method: Method,
    segments: Vec<String>,
    query: Option<String>,
}

impl ForwardedRequest {
    /// Returns the method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the decoded segments of the path: `["organizations", "org 1", "orders"]` for
    /// `/organizations/org%201/orders`. A trailing slash adds an empty segment, and `/` is one empty segment.
    ///
    /// A path that readers may interpret differently is rejected before the rule is called: one with `.` or `..`, an
    /// empty segment before the last, a slash, backslash, semicolon or control character within a segment, encoded or
    /// not, or invalid UTF-8.
    #[must_use]
    pub fn segments(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// Returns the query, unchanged.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }
}

/// What the headers say of the original request.
#[derive(Clone, Debug)]
pub(super) struct Original(pub(super) Result<ForwardedRequest, OriginalFault>);

/// Why the original request is unclear.
#[derive(Clone, Debug)]
pub(super) struct OriginalFault {
    name: &'static str,
    /// The method, if it is known nevertheless.
    method: Option<Method>,
}

impl OriginalFault {
    pub(super) fn method(&self) -> Option<&Method> {
        self.method.as_ref()
    }

    pub(super) fn reject(&self, caller: &Validated) -> Rejection {
        forbidden(caller, LogReason::UnclearRequest(self.name))
    }
}

impl Original {
    pub(super) fn read(headers: &HeaderMap, is_trusted: bool) -> Self {
        let fault = |name, method| OriginalFault { name, method };
        if !is_trusted {
            return Self(Err(fault("untrusted_proxy", None)));
        }
        let method = agreed(headers, ["x-forwarded-method", "x-original-method"]);
        let method = method.and_then(|method| Method::from_bytes(method).ok());
        let Some(method) = method else {
            return Self(Err(fault("original_method", None)));
        };
        let uri = agreed(headers, ["x-forwarded-uri", "x-original-uri"]);
        // A URI that begins with its query would be read as `/`, and the part after a `#` would be ignored.
        let uri = uri.filter(|uri| uri.starts_with(b"/") && !uri.contains(&b'#'));
        let uri = uri.and_then(|uri| PathAndQuery::try_from(uri).ok());
        let Some(uri) = uri else { return Self(Err(fault("original_uri", Some(method)))) };
        let Some(segments) = segments(uri.path()) else {
            return Self(Err(fault("ambiguous_path", Some(method))));
        };
        let query = uri.query().map(str::to_owned);
        Self(Ok(ForwardedRequest { method, segments, query }))
    }
}

/// Returns the common value of all headers with these names, if there is one.
fn agreed<'a>(headers: &'a HeaderMap, names: [&str; 2]) -> Option<&'a [u8]> {
    let mut all = names.into_iter().flat_map(|name| headers.get_all(name));
    let first = all.next()?;
    all.all(|other| other == first).then_some(first.as_bytes())
}

/// Returns the segments of a path, if all readers interpret it alike.
fn segments(path: &str) -> Option<Vec<String>> {
    let segments: Vec<_> =
        path.strip_prefix('/')?.split('/').map(decoded).collect::<Option<_>>()?;
    let (last, others) = segments.split_last()?;
    let is_plain = |segment: &String| {
        let is_special = |one: char| one.is_control() || matches!(one, '/' | '\\' | ';');
        !matches!(segment.as_str(), "." | "..") && !segment.contains(is_special)
    };
    let is_clear = others.iter().all(|segment| !segment.is_empty() && is_plain(segment));
    (is_clear && is_plain(last)).then_some(segments)
}

/// Decodes a segment once. A double encoding is unclear.
fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let value = digit()? * 16 + digit()?;
            bytes.push(u8::try_from(value).ok().filter(|byte| *byte != b'%')?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn read(values: &[(&'static str, &'static str)]) -> Result<String, &'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let Original(read) = Original::read(&headers, true);
        let read = read.map_err(|fault| fault.name)?;
        Ok(format!("{} {:?} {:?}", read.method(), read.segments(), read.query()))
    }

    #[test]
    fn a_path_is_read_in_its_segments_decoded_once() {
        for (path, segments) in [
            ("/", r#"[""]"#),
            ("/orders", r#"["orders"]"#),
            ("/orders/", r#"["orders", ""]"#),
            ("/a%20b/%c3%a9/%61dmin", r#"["a b", "é", "admin"]"#),
            ("/...", r#"["..."]"#),
        ] {
            let found = read(&[("x-forwarded-method", "GET"), ("x-forwarded-uri", path)]);
            assert_eq!(found, Ok(format!("GET {segments} None")));
        }
        let found =
            read(&[("x-original-method", "PUT"), ("x-original-uri", "/orders?a=%2F..&b=//")]);
        assert_eq!(found, Ok(r#"PUT ["orders"] Some("a=%2F..&b=//")"#.to_owned()));
    }

    #[test]
    fn a_path_that_has_several_readings_is_none() {
        for path in [
            "/public/../admin",
            "/public/%2e%2E/admin",
            "/public/.%2e",
            "/./admin",
            "/.",
            "/..",
            "/%2e",
            "/public/.",
            "/public/..",
            "/public/%2e",
            "/public/%2E.",
            "/public/%2e%2e",
            "/public/../",
            "/public/%2e%2e%2fadmin",
            "/public/..%5cadmin",
            "/public/..;/admin",
            "/public/%252e%252e/admin",
            "/public/%c0%ae%c0%ae/admin",
            "//admin",
            "/public//admin",
            "/public%2fadmin",
            "/public%2Fadmin",
            "/public\\admin",
            "/public%5cadmin",
            "/admin;x=1",
            "/admin%3b",
            "/admin%00",
            "/admin%0d%0a",
            "/%2561dmin",
            "/100%",
            "/%zz",
            "/%ff",
        ] {
            let found = read(&[("x-forwarded-method", "GET"), ("x-forwarded-uri", path)]);
            assert_eq!(found, Err("ambiguous_path"), "{path}");
        }
        for path in ["", "admin", "*", "http://localhost/admin", "?a=b"] {
            let found = read(&[("x-forwarded-method", "GET"), ("x-forwarded-uri", path)]);
            assert_eq!(found, Err("original_uri"), "{path}");
        }
    }

    #[test]
    fn headers_that_disagree_say_nothing() {
        let (method, uri) = (("x-forwarded-method", "GET"), ("x-forwarded-uri", "/admin"));
        assert!(read(&[method, uri, ("x-original-uri", "/admin")]).is_ok());
        assert_eq!(read(&[method, uri, ("x-original-uri", "/public")]), Err("original_uri"));
        assert_eq!(read(&[method, uri, ("x-forwarded-uri", "/public")]), Err("original_uri"));
        assert_eq!(read(&[method, uri, ("x-original-method", "PUT")]), Err("original_method"));
        assert_eq!(read(&[method]), Err("original_uri"));
        assert_eq!(read(&[uri]), Err("original_method"));
        assert_eq!(read(&[uri, ("x-forwarded-method", "G E T")]), Err("original_method"));
    }

    #[test]
    fn nothing_is_believed_of_who_is_no_trusted_proxy() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-method", HeaderValue::from_static("GET"));
        headers.insert("x-forwarded-uri", HeaderValue::from_static("/"));
        let Original(read) = Original::read(&headers, false);
        let fault = read.unwrap_err();
        assert_eq!((fault.name, fault.method()), ("untrusted_proxy", None));
    }
}
