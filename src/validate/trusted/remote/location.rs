//! Where the keys of an issuer are.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

use crate::error::Error;

/// Where a JWK Set is.
#[derive(Clone, Debug)]
pub(crate) enum KeyLocation {
    /// At a URL.
    Jwks(Url),
    /// Where the metadata of an issuer say, which are at one of these.
    Metadata { issuer: String, urls: [Url; 2] },
}

impl KeyLocation {
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] where it is no URL.
    pub(crate) fn jwks(url: &str) -> Result<Self, Error> {
        let no_url = |_| Error::configuration("the jwks_url is not a URL");
        Url::parse(url).map(Self::Jwks).map_err(no_url)
    }

    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] where the issuer is no URL.
    pub(crate) fn metadata_of(issuer: &str) -> Result<Self, Error> {
        let problem = "a trusted issuer that is not a URL needs a jwks_url";
        let url = Url::parse(issuer).map_err(|_| Error::configuration(problem))?;
        Ok(Self::Metadata { issuer: issuer.to_owned(), urls: metadata_urls(&url) })
    }

    /// Returns whether it is on this machine.
    pub(crate) fn is_on_loopback(&self) -> bool {
        self.urls().iter().all(|url| {
            let host = url.host_str().unwrap_or_default();
            let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        })
    }

    pub(super) fn urls(&self) -> &[Url] {
        match self {
            Self::Jwks(url) => std::slice::from_ref(url),
            Self::Metadata { urls, .. } => urls,
        }
    }
}

/// As it may be logged.
impl fmt::Display for KeyLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jwks(url) => f.write_str(&without_secrets(url.as_str())),
            Self::Metadata { issuer, .. } => f.write_str(&without_secrets(issuer)),
        }
    }
}

/// A URL as it may be logged: a name, a password or a query may be what its server is asked with.
pub(crate) fn without_secrets(url: &str) -> String {
    let Some(mut url) = Url::parse(url).ok().filter(Url::has_host) else {
        return "(not a URL)".to_owned();
    };
    // What has a host takes these.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// RFC 8414 §3.1: between host and path; OpenID Connect Discovery 1.0 §4: behind the path.
fn metadata_urls(issuer: &Url) -> [Url; 2] {
    let path = issuer.path().trim_end_matches('/');
    let at = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url.set_query(None);
        url.set_fragment(None);
        url
    };
    [
        at(format!("/.well-known/oauth-authorization-server{path}")),
        at(format!("{path}/.well-known/openid-configuration")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_are_between_host_and_path_or_behind_it() {
        let urls = |issuer| metadata_urls(&Url::parse(issuer).unwrap()).map(String::from);
        assert_eq!(
            urls("https://idp.example.com/tenant"),
            [
                "https://idp.example.com/.well-known/oauth-authorization-server/tenant",
                "https://idp.example.com/tenant/.well-known/openid-configuration",
            ]
        );
        assert_eq!(
            urls("https://idp.example.com"),
            [
                "https://idp.example.com/.well-known/oauth-authorization-server",
                "https://idp.example.com/.well-known/openid-configuration",
            ]
        );
    }

    #[test]
    fn what_may_be_a_secret_in_a_url_is_not_shown() {
        let shown = without_secrets("https://svc:pass-word@idp.example.com/keys?api_key=k#part");
        assert_eq!(shown, "https://idp.example.com/keys");
        for no_url in ["svc:pass-word", "svc:pass-word@idp.example.com/keys", "pass-word"] {
            assert_eq!(without_secrets(no_url), "(not a URL)");
        }
    }
}
