//! Cookies (RFC 6265): reads them, and writes them so that scripts and other sites cannot read them.

use std::sync::Arc;
use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::error::{Error, ErrorKind};
use crate::guard::bearer::is_token_character;
use crate::rejection::{LogReason, Rejection};
use crate::service::StartedSession;
use crate::service::issue::IssuedToken;
use crate::service::model::authentication_token::AuthenticationToken;

/// The cookie that holds an authentication token or a JWT: `__Host-session` by default, with the attributes `Path=/;
/// HttpOnly; Secure; SameSite=Lax`. Scripts cannot read it, and it is not sent over plain HTTP.
///
/// ```
/// use countersign::cookies::{SameSite, SessionCookie};
///
/// let cookie = SessionCookie::new("__Host-shop")?.same_site(SameSite::Strict);
/// // At log-out, beside revoking what is in it:
/// let header = (http::header::SET_COOKIE, cookie.removal());
/// # Ok::<(), countersign::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCookie {
    name: Arc<str>,
    same_site: SameSite,
    domain: Option<Arc<str>>,
    is_secure: bool,
}

/// The browsers' limit, in bytes, on name and value together; longer cookies are ignored (RFC 6265bis §5.6).
const MAX_COOKIE_LEN: usize = 4_096;
/// For this prefix, browsers require `Secure`, `Path=/` and no `Domain` (RFC 6265bis §4.1.3.2).
const HOST_PREFIX: &str = "__Host-";

impl Default for SessionCookie {
    fn default() -> Self {
        Self::named("__Host-session")
    }
}

impl SessionCookie {
    /// Creates a cookie with another name, which must begin with `__Host-`, so that no subdomain can set a cookie of
    /// that name for this host.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the name lacks the prefix, or is not a token
    /// (RFC 6265 §4.1.1).
    pub fn new(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        match name.strip_prefix(HOST_PREFIX) {
            Some(rest) if !rest.is_empty() => Self::dangerous_without_prefix(name),
            _ => Err(Error::configuration(format!(
                "the name of the cookie must begin with {HOST_PREFIX}, and {name:?} does not"
            ))),
        }
    }

    /// Creates a cookie whose name has no prefix. Dangerous: an attacker who controls a subdomain, or a plain HTTP
    /// connection to one, can set it for this host and make a user act in the attacker's account.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the name is not a token (RFC 6265 §4.1.1).
    pub fn dangerous_without_prefix(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        if name.is_empty() || !name.bytes().all(is_token_character) {
            let problem = format!("the name of the cookie, {name:?}, is not a token (RFC 6265)");
            return Err(Error::configuration(problem));
        }
        Ok(Self::named(name))
    }

    /// Creates a cookie that is also sent over plain HTTP, for development with a browser that treats
    /// `http://localhost` as insecure. An attacker on the network path can read it. Its name cannot begin with
    /// `__Host-` or `__Secure-`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the name is not a token (RFC 6265 §4.1.1), or
    /// has such a prefix.
    pub fn insecure_over_http(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        if name.starts_with("__") {
            return Err(Error::configuration(format!(
                "browsers accept no cookie named {name:?} over plain HTTP: its prefix asks for HTTPS"
            )));
        }
        Ok(Self { is_secure: false, ..Self::dangerous_without_prefix(name)? })
    }

    fn named(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), same_site: SameSite::default(), domain: None, is_secure: true }
    }

    /// Sends the cookie to all hosts of a domain (RFC 6265 §5.2.3), such as `example.com`. Each of them can then read
    /// it, and set another one with its name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the name begins with `__Host-`, which
    /// excludes a domain, or the domain is not a host name.
    pub fn domain(self, domain: impl Into<String>) -> Result<Self, Error> {
        let domain = domain.into();
        if self.name.starts_with(HOST_PREFIX) {
            return Err(Error::configuration(format!(
                "the cookie {:?} has no domain: its prefix keeps it to one host",
                self.name
            )));
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        if domain.is_empty() || !domain.bytes().all(is_name) {
            return Err(Error::configuration(format!("{domain:?} is not a valid cookie domain")));
        }
        Ok(Self { domain: Some(domain.into()), ..self })
    }

    /// Sets which requests of other sites carry it; see [`SameSite`]. Default: `Lax`.
    #[must_use]
    pub fn same_site(self, same_site: SameSite) -> Self {
        Self { same_site, ..self }
    }

    /// Returns the `Set-Cookie` value that removes the cookie from a browser, with the attributes that it was set
    /// with. A copy of the cookie may exist: revoke the token as well.
    #[must_use]
    pub fn removal(&self) -> HeaderValue {
        // A validated name is a valid header value.
        self.set("", Duration::ZERO).unwrap_or(HeaderValue::from_static(""))
    }

    /// Returns the value of a request's cookie with this name; `None` if there is none, or it is empty.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] with 400 if there are several cookies of this name with different values, or the value is not
    /// text.
    pub fn read<'a>(&self, headers: &'a HeaderMap) -> Result<Option<&'a str>, Rejection> {
        match self.find(headers) {
            Cookie::Absent => Ok(None),
            Cookie::Value(value) => Ok(Some(value)),
            Cookie::Ambiguous => Err(Rejection::new(LogReason::AmbiguousCookie, "")),
        }
    }

    /// Returns the authentication token in a request's cookie with this name, for a handler that is not behind an
    /// [`ExchangeLayer`](crate::ExchangeLayer), such as one that confirms a one-time password.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] with 401 if there is none, or it is not a token; and that of [`read`](Self::read).
    pub fn token(&self, headers: &HeaderMap) -> Result<AuthenticationToken, Rejection> {
        let rejection = |reason| Rejection::new(reason, "");
        let value = self.read(headers)?;
        let text = value.ok_or_else(|| rejection(LogReason::MissingCredentials))?;
        AuthenticationToken::from_text(text).map_err(|_| rejection(LogReason::UnknownSession))
    }

    /// Returns the `Set-Cookie` value that sets the cookie; `None` if the value is not valid in a header.
    pub(super) fn set(&self, value: &str, max_age: Duration) -> Option<HeaderValue> {
        let Self { name, same_site, domain, is_secure } = self;
        let domain = domain.as_ref().map(|domain| format!("; Domain={domain}")).unwrap_or_default();
        let secure = if *is_secure { "; Secure" } else { "" };
        let same_site = match same_site {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        };
        let seconds = max_age.as_secs();
        let cookie = format!(
            "{name}={value}{domain}; Path=/; Max-Age={seconds}; HttpOnly{secure}; SameSite={same_site}"
        );
        let mut header = HeaderValue::from_str(&cookie).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// Finds the cookie in a request.
    pub(super) fn find<'a>(&self, headers: &'a HeaderMap) -> Cookie<'a> {
        let mut found = Cookie::Absent;
        for value in headers.get_all(COOKIE) {
            for pair in pairs(value) {
                let Some(value) = self.value_of(pair) else { continue };
                if value.is_empty() {
                    continue;
                }
                let Ok(value) = std::str::from_utf8(value) else { return Cookie::Ambiguous };
                found = match found {
                    Cookie::Absent => Cookie::Value(value),
                    Cookie::Value(known) if known == value => Cookie::Value(known),
                    _ => return Cookie::Ambiguous,
                };
            }
        }
        found
    }

    /// Removes the cookie from a request, and leaves all others unchanged.
    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        let is_in = |value| pairs(value).any(|pair| self.value_of(pair).is_some());
        if !headers.get_all(COOKIE).iter().any(is_in) {
            return;
        }
        let without = |value: &HeaderValue| {
            let mut others: Vec<_> = pairs(value).collect();
            others.retain(|pair| self.value_of(pair).is_none());
            let others = HeaderValue::from_bytes(&others.join(&b"; "[..])).ok();
            others.filter(|value| !value.is_empty())
        };
        let kept: Vec<_> = headers.get_all(COOKIE).iter().filter_map(without).collect();
        headers.remove(COOKIE);
        for value in kept {
            headers.append(COOKIE, value);
        }
    }

    /// Returns the value of a pair with this name.
    fn value_of<'a>(&self, pair: &'a [u8]) -> Option<&'a [u8]> {
        pair.strip_prefix(self.name.as_bytes())?.strip_prefix(b"=")
    }
}

impl StartedSession {
    /// Returns the `Set-Cookie` value with which a browser keeps the authentication token until the session expires.
    /// An [`ExchangeLayer`](crate::ExchangeLayer) reads it.
    ///
    /// Another site must not be able to log its visitors in to an account of its own: put a handler that accepts
    /// forms behind a [`SameOriginLayer`](crate::SameOriginLayer). A handler that accepts only JSON does not need it,
    /// since browsers send a preflight request before they send JSON from another site.
    #[must_use]
    pub fn cookie(&self, cookie: &SessionCookie) -> HeaderValue {
        let record = self.session.record();
        // Idle expiry is decided by the service, not by the browser.
        let lifetime = record.latest_end().saturating_since(self.at);
        // A token is base64url, which is valid in a header.
        cookie.set(self.token.expose(), lifetime).unwrap_or_else(|| cookie.removal())
    }
}

impl IssuedToken {
    /// Returns the `Set-Cookie` value with which a browser keeps the JWT until it expires; see
    /// [`StartedSession::cookie`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if its name and the token are longer than the 4,096 bytes that browsers keep (RFC
    /// 6265bis §5.6): a browser would drop the cookie, and its user would have to log in again and again. A session's
    /// authentication token is short, whatever its ACL.
    pub fn cookie(&self, cookie: &SessionCookie) -> Result<HeaderValue, Error> {
        let token = self.access_token.expose();
        let len = cookie.name.len() + token.len();
        if len > MAX_COOKIE_LEN {
            let problem = format!(
                "the token and the name of its cookie are {len} bytes long, and browsers ignore a cookie of more \
                 than {MAX_COOKIE_LEN}: grant fewer permissions, or start a session, whose token is short"
            );
            return Err(Error::new(ErrorKind::Internal, problem));
        }
        // A JWT is base64url and dots, which is valid in a header.
        Ok(cookie.set(token, self.expires_in()).unwrap_or_else(|| cookie.removal()))
    }
}

/// Splits the pairs of a `Cookie` header (RFC 6265 §5.4). Bytes, not text: another cookie of the site may not be
/// ASCII. Only ASCII blanks are trimmed: trimming others would accept a look-alike of our cookie's name.
fn pairs(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii)
}

/// The cookie found in a request.
pub(super) enum Cookie<'a> {
    Absent,
    Value(&'a str),
    /// Several cookies of one name with different values, or one that is not text.
    Ambiguous,
}

/// Whether requests from other sites carry a cookie (RFC 6265bis §4.1.2.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SameSite {
    /// Requests from other sites never carry it.
    Strict,
    /// A request from another site carries it only if the user follows a link.
    #[default]
    Lax,
    /// All requests carry it. The layers' rule about origins still applies.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cookies_of_one_name_that_differ_are_ambiguous() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_bytes(text.as_bytes()).unwrap());
            match SessionCookie::dangerous_without_prefix("s").unwrap().find(&headers) {
                Cookie::Absent => "absent".to_owned(),
                Cookie::Value(value) => value.to_owned(),
                Cookie::Ambiguous => "ambiguous".to_owned(),
            }
        };
        assert_eq!(read("a=1; s=x=y; b=2"), "x=y");
        assert_eq!(read("S=1; ss=2"), "absent");
        assert_eq!(read("s=1; s=1"), "1");
        assert_eq!(read("s=1; s=2"), "ambiguous");
        assert_eq!(read("s="), "absent");
        assert_eq!(read("s=; s=1"), "1");
        assert_eq!(read("name=é; s=1"), "1");
        assert_eq!(read("\u{a0}s=1"), "absent");
    }

    #[test]
    fn a_name_is_a_token_and_begins_with_the_prefix_unless_a_host_takes_the_risk() {
        assert!(SessionCookie::new("__Host-shop").is_ok());
        for name in ["shop", "__Host-", "__host-shop", "__Secure-shop", " __Host-shop"] {
            let error = SessionCookie::new(name).unwrap_err();
            assert!(error.message().contains("__Host-"), "{error}");
        }
        assert!(SessionCookie::dangerous_without_prefix("shop").is_ok());
        for name in ["", "a b", "a=b", "a;b", "a\r\nb", "\u{fc}"] {
            assert!(SessionCookie::dangerous_without_prefix(name).is_err(), "{name:?}");
            assert!(SessionCookie::new(format!("__Host-{name}")).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_token_is_read_or_the_caller_is_not_logged_in() {
        let token = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_static(text));
            SessionCookie::default().token(&headers)
        };
        assert_eq!(token("a=1; __Host-session=abc").unwrap().expose(), "abc");
        for (text, status, code) in [
            ("a=1", 401, "missing-token"),
            ("__Host-session=", 401, "missing-token"),
            ("__Host-session=a b", 401, "unknown-session"),
            ("__Host-session=a; __Host-session=b", 400, "malformed-credentials"),
        ] {
            let rejection = token(text).unwrap_err();
            assert_eq!((rejection.status().as_u16(), rejection.code()), (status, code), "{text}");
        }
    }

    #[test]
    fn a_cookie_is_removed_with_the_attributes_that_it_was_set_with() {
        let cookie = SessionCookie::default().same_site(SameSite::Strict);
        let set = cookie.set("token", Duration::from_secs(60)).unwrap();
        let set = set.to_str().unwrap().replace("=token", "=").replace("=60", "=0");
        assert_eq!(cookie.removal(), set);
    }
}
