//! How the keys of an issuer are reached.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Error;
use crate::jose::KeyRing;
use crate::validate::trusted::remote::file::FileFetcher;
use crate::validate::trusted::remote::{HttpFetcher, KeyFetcher, KeyLocation, RemotePolicy};

/// The host's settings of how keys are reached.
#[derive(Clone, Default)]
pub(crate) struct Reach {
    /// In PEM.
    pub(crate) root_certificates: Vec<Vec<u8>>,
    pub(crate) proxy: Option<String>,
    pub(crate) bearer_file: Option<PathBuf>,
    pub(crate) place: Option<KeyPlace>,
}

/// Where keys are that are not fetched over HTTP.
#[derive(Clone, Debug)]
pub(crate) enum KeyPlace {
    Ring(KeyRing),
    File(PathBuf),
    Fetcher(Arc<dyn KeyFetcher>),
}

/// Where the keys of an issuer come from.
#[derive(Clone, Debug)]
pub(crate) enum KeySource {
    /// They are fetched, over and over.
    Fetched(Arc<dyn KeyFetcher>),
    /// They are those of a ring of the host's.
    Ring(KeyRing),
}

impl KeySource {
    /// Returns the source by an issuer's settings; `location` is where its keys are over HTTP.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) where the settings contradict each other,
    /// or those of HTTP cannot be used.
    pub(crate) fn new(
        policy: &RemotePolicy,
        has_url: bool,
        location: impl FnOnce() -> Result<KeyLocation, Error>,
    ) -> Result<Self, Error> {
        let reach = &policy.reach;
        let Some(place) = reach.place.clone() else {
            let fetcher = HttpFetcher::new(location()?, policy)?;
            return Ok(Self::Fetched(Arc::new(fetcher)));
        };
        let is_of_http = has_url
            || !reach.root_certificates.is_empty()
            || reach.proxy.is_some()
            || reach.bearer_file.is_some();
        if is_of_http {
            let problem = "the keys of a trusted issuer are at a URL or elsewhere, not both";
            return Err(Error::configuration(problem));
        }
        Ok(match place {
            KeyPlace::Ring(ring) => Self::Ring(ring),
            KeyPlace::File(path) => {
                Self::Fetched(Arc::new(FileFetcher { path, max_bytes: policy.max_set_bytes }))
            }
            KeyPlace::Fetcher(fetcher) => Self::Fetched(fetcher),
        })
    }

    /// Returns where the keys are, for the log.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Fetched(fetcher) => fetcher.name(),
            Self::Ring(_) => "a ring of the host".to_owned(),
        }
    }
}

/// Without the proxy, whose URL may have a password.
impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reach")
            .field("root_certificates", &self.root_certificates.len())
            .field("proxy", &self.proxy.is_some())
            .field("bearer_file", &self.bearer_file)
            .field("place", &self.place)
            .finish()
    }
}
