//! Decides whether a request comes from the app's own pages, or from another site that makes the browser send it
//! with the user's cookies.

use std::sync::Arc;

use http::header::{CONNECTION, ORIGIN, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};

use crate::error::Error;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The requests whose cookies are accepted.
#[derive(Clone, Debug, Default)]
pub(super) struct OriginRule {
    listed: Arc<Vec<HeaderValue>>,
    accepts_any: bool,
}

impl OriginRule {
    /// Adds an origin whose pages count as the app's own.
    pub(super) fn allow(mut self, origin: &str) -> Result<Self, Error> {
        let value = HeaderValue::from_str(origin).ok().filter(|_| is_serialized_origin(origin));
        let value = value.ok_or_else(|| {
            Error::configuration(format!(
                "{origin:?} is not an origin: it must be a scheme, a host in lower case and a port \
                 unless it is the scheme's default, like https://app.example.com"
            ))
        })?;
        Arc::make_mut(&mut self.listed).push(value);
        Ok(self)
    }

    pub(super) fn accept_any(self) -> Self {
        Self { accepts_any: true, ..self }
    }

    /// Returns whether a cookie of this request is accepted, or one may be set in its response.
    pub(super) fn accepts<B>(&self, request: &Request<B>) -> bool {
        let headers = request.headers();
        self.accepts_any
            || (is_safe(request.method()) && !is_upgrade(headers))
            || self.is_from_own_pages(headers)
    }

    /// Browsers set both headers, and no script of a page can change them. A subdomain (`same-site`) is another
    /// origin, whose owner must not act for users of this one.
    fn is_from_own_pages(&self, headers: &HeaderMap) -> bool {
        let site = only(headers, &SEC_FETCH_SITE).map(HeaderValue::as_bytes);
        let is_own = matches!(site, Some(b"same-origin" | b"none"));
        is_own || only(headers, &ORIGIN).is_some_and(|origin| self.listed.contains(origin))
    }
}

/// Returns the value of a header that is present exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Safe methods are those of RFC 9110 §9.2.1. An extended CONNECT (RFC 8441), which opens a WebSocket over HTTP/2,
/// is not safe.
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// A GET that opens a WebSocket is not safe: it has no preflight, and any page can read what the WebSocket sends.
fn is_upgrade(headers: &HeaderMap) -> bool {
    let asks = |value: &HeaderValue| {
        let mut options = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        options.any(|option| option.eq_ignore_ascii_case(b"upgrade"))
    };
    headers.contains_key(UPGRADE) || headers.get_all(CONNECTION).iter().any(asks)
}

/// Returns whether the text is an origin as browsers write it (RFC 6454 §6.2); no other text would ever match.
fn is_serialized_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.chars().all(|one| matches!(one, 'a'..='z' | '0'..='9' | '+' | '-' | '.'));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => {
            address.parse().is_ok_and(|parsed: std::net::Ipv6Addr| parsed.to_string() == address)
        }
        None => {
            !host.is_empty()
                && host.chars().all(|one| matches!(one, 'a'..='z' | '0'..='9' | '-' | '.' | '_'))
        }
    };
    let is_port = port.is_none_or(|port| {
        let is_default = matches!((scheme, port), ("http", "80") | ("https", "443"));
        !is_default && port.parse().is_ok_and(|number: u16| number.to_string() == port)
    });
    is_scheme && is_host && is_port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_listed_as_browsers_write_it_or_not_at_all() {
        for good in [
            "https://app.example.com",
            "http://localhost:3000",
            "https://app.example.com:8443",
            "https://192.0.2.1",
            "https://[2001:db8::1]:444",
            "capacitor://localhost",
        ] {
            assert!(OriginRule::default().allow(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "*",
            "null",
            "app.example.com",
            "https://",
            "https://App.example.com",
            "HTTPS://app.example.com",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://app.example.com:443",
            "http://localhost:80",
            "https://app.example.com:",
            "https://app.example.com:0443",
            "https://app.example.com:70000",
            "https://*.example.com",
            "https://user@app.example.com",
            "https://app.example.com, https://b.example.com",
            " https://app.example.com",
            "https://b\u{fc}cher.example",
            "https://[2001:DB8::1]",
            "https://[::1",
            "://app.example.com",
        ] {
            assert!(OriginRule::default().allow(bad).is_err(), "{bad}");
        }
    }
}
