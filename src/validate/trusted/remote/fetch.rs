//! Asking for a JWK Set over HTTP: bounded in time and size, led nowhere else.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Proxy, Url};
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};
use crate::json;
use crate::validate::trusted::remote::file::read_file;
use crate::validate::trusted::remote::key_fetcher::{JwkSet, KeyFetcher};
use crate::validate::trusted::remote::location::KeyLocation;
use crate::validate::trusted::remote::{Reach, RemotePolicy};

/// Kubernetes serves a set to those alone who ask for the first of these (RFC 7517 §8.5.1).
const MEDIA_TYPES: &str = "application/jwk-set+json, application/json";
/// What a `max-age` is cut to: less would be asked for all the time, more would keep a key for long
/// that its issuer has ended.
const SHORTEST_MAX_AGE: Duration = Duration::from_secs(60);
const LONGEST_MAX_AGE: Duration = Duration::from_secs(86_400);
/// Longer than any bearer token that a request's headers have room for.
const MAX_BEARER_BYTES: usize = 16 * 1024;
/// The part of the deadline after which the second of two addresses is asked, too.
const HEDGE_AFTER: u32 = 4;

/// The [`KeyFetcher`] that asks over HTTP.
pub(crate) struct HttpFetcher {
    client: Client,
    location: KeyLocation,
    bearer_file: Option<PathBuf>,
    max_bytes: usize,
    allows_http: bool,
    hedge_after: Duration,
}

pub(super) fn failed(problem: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Unavailable, problem)
}

/// The problem of a fetch that reached its deadline.
pub(super) const TIMED_OUT: &str = "the fetch timed out";

impl HttpFetcher {
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] where a URL is not of `https`, a certificate or the proxy cannot be
    /// read, or there is no TLS.
    pub(crate) fn new(location: KeyLocation, policy: &RemotePolicy) -> Result<Self, Error> {
        let fetcher = Self {
            client: client(policy)?,
            location,
            bearer_file: policy.reach.bearer_file.clone(),
            max_bytes: policy.max_set_bytes,
            allows_http: policy.allows_http,
            hedge_after: policy.fetch_timeout / HEDGE_AFTER,
        };
        if !fetcher.location.urls().iter().all(|url| fetcher.allows(url)) {
            return Err(Error::configuration("the URL of the keys must use https"));
        }
        Ok(fetcher)
    }

    fn allows(&self, url: &Url) -> bool {
        url.scheme() == "https" || (self.allows_http && url.scheme() == "http")
    }

    /// Returns the URL of the keys, by the issuer's metadata at one of two URLs. The second is asked as soon as the
    /// first has failed, or has not responded for a while.
    async fn discover(
        &self,
        issuer: &str,
        [first, second]: &[Url; 2],
        bearer: Option<&HeaderValue>,
    ) -> Result<Url, Error> {
        let first = self.read_metadata(first, issuer, bearer);
        tokio::pin!(first);
        let mut failure = None;
        match tokio::time::timeout(self.hedge_after, &mut first).await {
            Ok(Ok(url)) => return Ok(url),
            Ok(Err(error)) => failure = Some(error),
            Err(_) => {}
        }
        let second = self.read_metadata(second, issuer, bearer);
        tokio::pin!(second);
        if failure.is_none() {
            tokio::select! {
                outcome = &mut second => match outcome {
                    Ok(url) => return Ok(url),
                    Err(other) => return first.await.map_err(|error| more_telling(error, other)),
                },
                outcome = &mut first => match outcome {
                    Ok(url) => return Ok(url),
                    Err(error) => failure = Some(error),
                },
            }
        }
        let other = match second.await {
            Ok(url) => return Ok(url),
            Err(other) => other,
        };
        Err(match failure {
            Some(error) => more_telling(error, other),
            None => other,
        })
    }

    /// RFC 8414 §3.3: metadata are those of the issuer that was asked for, to the letter.
    async fn read_metadata(
        &self,
        url: &Url,
        issuer: &str,
        bearer: Option<&HeaderValue>,
    ) -> Result<Url, Error> {
        let (metadata, _) = self.get(url, bearer).await?;
        let members = json::parse_object(&metadata).map_err(|error| {
            failed("the metadata are no JSON object").with_source(error.to_string())
        })?;
        let text = |name: &str| members.get(name).and_then(serde_json::Value::as_str);
        if text("issuer") != Some(issuer) {
            let named: String = text("issuer").unwrap_or_default().chars().take(200).collect();
            return Err(failed("the issuer in the metadata is another one")
                .with_source(format!("{named:?} in the place of {issuer:?}")));
        }
        let url = text("jwks_uri").ok_or_else(|| failed("the metadata have no jwks_uri"))?;
        let url = Url::parse(url).ok().filter(|url| self.allows(url));
        url.ok_or_else(|| failed("the jwks_uri in the metadata is no https URL"))
    }

    async fn get(
        &self,
        url: &Url,
        bearer: Option<&HeaderValue>,
    ) -> Result<(Vec<u8>, HeaderMap), Error> {
        let mut request = self.client.get(url.clone()).header(ACCEPT, MEDIA_TYPES);
        // Metadata may name another server, which could be anybody's.
        let is_ours = self.location.urls().iter().all(|known| known.origin() == url.origin());
        if let Some(bearer) = bearer.filter(|_| is_ours) {
            request = request.header(AUTHORIZATION, bearer);
        }
        let mut response = request.send().await.map_err(unreachable)?;
        if !response.status().is_success() {
            let status = response.status().as_u16();
            return Err(
                failed(format!("the response had the status {status}")).with_source(StatusFault)
            );
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > self.max_bytes {
                return Err(failed("the response is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((body, response.headers().clone()))
    }

    /// Reads the file of the bearer token, which may be another one by now.
    async fn read_bearer(&self) -> Result<Option<HeaderValue>, Error> {
        let Some(path) = &self.bearer_file else { return Ok(None) };
        let unusable = || failed("the bearer file holds no token");
        let text = Zeroizing::new(
            read_file(path, MAX_BEARER_BYTES)
                .await
                .map_err(|error| failed("the bearer file cannot be read").with_source(error))?,
        );
        let token = text.trim_ascii();
        if token.is_empty() {
            return Err(unusable());
        }
        let value = Zeroizing::new([b"Bearer ".as_slice(), token].concat());
        let mut value = HeaderValue::from_bytes(&value).map_err(|_| unusable())?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

#[async_trait]
impl KeyFetcher for HttpFetcher {
    async fn fetch(&self) -> Result<JwkSet, Error> {
        let bearer = self.read_bearer().await?;
        let bearer = bearer.as_ref();
        let (set, headers) = match &self.location {
            KeyLocation::Jwks(url) => self.get(url, bearer).await?,
            KeyLocation::Metadata { issuer, urls } => {
                self.get(&self.discover(issuer, urls, bearer).await?, bearer).await?
            }
        };
        let set = JwkSet::new(set);
        Ok(match max_age(&headers) {
            Some(max_age) => set.max_age(max_age),
            None => set,
        })
    }

    fn name(&self) -> String {
        self.location.to_string()
    }
}

impl fmt::Debug for HttpFetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpFetcher").field(&format_args!("{}", self.location)).finish()
    }
}

/// No proxy but the host's, no redirect, no cookie; a connection is not kept, since it would belong to the runtime
/// that it was made in.
fn client(policy: &RemotePolicy) -> Result<Client, Error> {
    let Reach { root_certificates, proxy, .. } = &policy.reach;
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(policy.fetch_timeout)
        .timeout(policy.fetch_timeout)
        .pool_max_idle_per_host(0)
        .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")));
    for pem in root_certificates {
        let problem = "a root certificate is not in PEM";
        let read = Certificate::from_pem_bundle(pem);
        let found = read.map_err(|error| Error::configuration(problem).with_source(error))?;
        if found.is_empty() {
            return Err(Error::configuration(problem));
        }
        builder = builder.tls_certs_merge(found);
    }
    if let Some(url) = proxy {
        // Its text may have the password.
        let proxy = Proxy::all(url.as_str());
        builder = builder.proxy(proxy.map_err(|_| Error::configuration("the proxy is no URL"))?);
    }
    builder
        .build()
        .map_err(|error| Error::configuration("keys cannot be fetched over TLS").with_source(error))
}

/// Marks the error of a status: an issuer need not have metadata at both URLs.
#[derive(Debug)]
struct StatusFault;

impl fmt::Display for StatusFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server's status is not 200")
    }
}

impl std::error::Error for StatusFault {}

/// Of the errors of two URLs, returns the one that says more.
fn more_telling(first: Error, second: Error) -> Error {
    let is_status = |error: &Error| {
        std::error::Error::source(error).is_some_and(|source| source.is::<StatusFault>())
    };
    if is_status(&first) && !is_status(&second) { second } else { first }
}

/// Returns the error of a request without a response.
fn unreachable(error: reqwest::Error) -> Error {
    let problem = if error.is_timeout() {
        TIMED_OUT
    } else if is_of_tls(&error) {
        "TLS failed"
    } else if error.is_connect() {
        "the connection failed"
    } else {
        "the response broke off"
    };
    // Its text has the URL.
    failed(problem).with_source(error.without_url())
}

/// Returns whether TLS is why there is no connection: rustls reports what it rejects as invalid data.
fn is_of_tls(error: &reqwest::Error) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        // An I/O error in another one is no source of that, but is within it.
        let mut io = error.downcast_ref::<io::Error>();
        while let Some(error) = io {
            if error.kind() == io::ErrorKind::InvalidData {
                return true;
            }
            io = error.get_ref().and_then(|within| within.downcast_ref());
        }
        source = error.source();
    }
    false
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
