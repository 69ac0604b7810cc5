//! Asking for a JWK Set over HTTP: bounded in time and size, led nowhere else.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{ACCEPT, CACHE_CONTROL, HeaderMap};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use crate::error::{Error, ErrorKind};
use crate::json;
use crate::validate::trusted::remote::RemotePolicy;

/// What a `max-age` is cut to: less would be asked for all the time, more would keep a key for long
/// that its issuer has ended.
const SHORTEST_MAX_AGE: Duration = Duration::from_secs(60);
const LONGEST_MAX_AGE: Duration = Duration::from_secs(86_400);

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

    fn urls(&self) -> &[Url] {
        match self {
            Self::Jwks(url) => std::slice::from_ref(url),
            Self::Metadata { urls, .. } => urls,
        }
    }
}

/// Asks for the JWK Set of an issuer.
pub(crate) struct Fetcher {
    client: Client,
    source: KeyLocation,
    max_bytes: usize,
    allows_http: bool,
}

/// A JWK Set, and how long it may be kept where that was said.
pub(crate) struct Fetched {
    pub(crate) set: Vec<u8>,
    pub(crate) max_age: Option<Duration>,
}

pub(super) fn failed(problem: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, problem)
}

impl Fetcher {
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] where a URL is not of `https`, or there is no TLS.
    pub(crate) fn new(source: KeyLocation, policy: &RemotePolicy) -> Result<Self, Error> {
        // No proxy from the environment, no redirect, no cookie; a connection is not kept, since it
        // would belong to the runtime that it was made in.
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(policy.fetch_timeout)
            .timeout(policy.fetch_timeout)
            .pool_max_idle_per_host(0)
            .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| {
                Error::configuration("keys cannot be fetched over TLS").with_source(error)
            })?;
        let (max_bytes, allows_http) = (policy.max_set_bytes, policy.allows_http);
        let fetcher = Self { client, source, max_bytes, allows_http };
        if !fetcher.source.urls().iter().all(|url| fetcher.allows(url)) {
            return Err(Error::configuration("the URL of the keys must use https"));
        }
        Ok(fetcher)
    }

    fn allows(&self, url: &Url) -> bool {
        url.scheme() == "https" || (self.allows_http && url.scheme() == "http")
    }

    pub(super) async fn fetch(&self) -> Result<Fetched, Error> {
        let (set, headers) = match &self.source {
            KeyLocation::Jwks(url) => self.get(url).await?,
            KeyLocation::Metadata { issuer, urls } => {
                self.get(&self.discover(issuer, urls).await?).await?
            }
        };
        Ok(Fetched { set, max_age: max_age(&headers) })
    }

    /// Where the keys are, by the issuer's metadata.
    async fn discover(&self, issuer: &str, urls: &[Url]) -> Result<Url, Error> {
        let mut outcome = Err(failed("there are no metadata"));
        for url in urls {
            outcome = match self.get(url).await {
                Ok((metadata, _)) => self.jwks_uri(&metadata, issuer),
                Err(error) => Err(error),
            };
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// RFC 8414 §3.3: metadata are those of the issuer that was asked for, to the letter.
    fn jwks_uri(&self, metadata: &[u8], issuer: &str) -> Result<Url, Error> {
        let members =
            json::parse_object(metadata).map_err(|_| failed("the metadata are no JSON"))?;
        let text = |name: &str| members.get(name).and_then(serde_json::Value::as_str);
        if text("issuer") != Some(issuer) {
            return Err(failed("the metadata are another issuer's"));
        }
        let url = text("jwks_uri").ok_or_else(|| failed("the metadata name no keys"))?;
        let url = Url::parse(url).ok().filter(|url| self.allows(url));
        url.ok_or_else(|| failed("the metadata name keys that are at no https URL"))
    }

    async fn get(&self, url: &Url) -> Result<(Vec<u8>, HeaderMap), Error> {
        let unreachable = |error: reqwest::Error| {
            // Its text has the URL.
            failed("the issuer cannot be asked").with_source(error.without_url())
        };
        let request = self.client.get(url.clone()).header(ACCEPT, "application/json");
        let mut response = request.send().await.map_err(unreachable)?;
        if !response.status().is_success() {
            return Err(
                failed("the issuer did not answer 200").with_source(response.status().to_string())
            );
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > self.max_bytes {
                return Err(failed("the answer is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((body, response.headers().clone()))
    }
}

impl fmt::Display for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            KeyLocation::Jwks(url) => f.write_str(&without_secrets(url.as_str())),
            KeyLocation::Metadata { issuer, .. } => f.write_str(&without_secrets(issuer)),
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

/// RFC 9111 §5.2.2.1.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut directives = values.flat_map(|value| value.split(',')).map(str::trim);
    let seconds = directives.find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        let is_max_age = name.trim().eq_ignore_ascii_case("max-age");
        if is_max_age { value.trim().trim_matches('"').parse().ok() } else { None }
    });
    seconds.map(|seconds| Duration::from_secs(seconds).clamp(SHORTEST_MAX_AGE, LONGEST_MAX_AGE))
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

    #[test]
    fn a_max_age_is_cut_to_what_is_sensible() {
        let age = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, value.parse().unwrap());
            max_age(&headers).map(|age| age.as_secs())
        };
        assert_eq!(age("public, max-age=600"), Some(600));
        assert_eq!(age("max-age=0"), Some(60));
        assert_eq!(age("MAX-AGE=\"99999999\""), Some(86_400));
        assert_eq!(age("no-store"), None);
        assert_eq!(age("max-age=soon"), None);
    }
}
