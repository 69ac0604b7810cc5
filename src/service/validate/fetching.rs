//! What a validator does about keys that are elsewhere.

use std::sync::Arc;

use crate::domain::claims::Validated;
use crate::error::{Error, ErrorKind};
use crate::service::trusted::TrustedIssuer;
use crate::service::validate::{TokenFault, Validator, ValidatorBuilder};

impl ValidatorBuilder {
    /// Accepts the tokens of an issuer elsewhere, too. Given several times, those of all of them.
    pub fn trusted_issuer(mut self, issuer: TrustedIssuer) -> Self {
        self.trusted_issuers.push(issuer);
        self
    }
}

impl Validator {
    /// [`validate`](Self::validate), which waits where the keys of a
    /// [`TrustedIssuer`] have to be fetched first, for as long as that may take.
    ///
    /// # Errors
    ///
    /// Those of [`validate`](Self::validate).
    pub async fn validate_fetching(&self, token: &str) -> Result<Arc<Validated>, TokenFault> {
        if let Some(flight) = self.begin_fetch_for(token) {
            flight.landed().await;
        }
        self.validate(token)
    }

    /// Fetches the keys of all [`TrustedIssuer`]s that have not come yet, so that the first requests
    /// need not wait. What cannot be had is fetched when it is needed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] where the keys of one cannot be had now.
    pub async fn fetch_keys(&self) -> Result<(), Error> {
        let now = || self.rules.clock.now();
        let missing = || self.rules.trusted.keys().filter(|keys| !keys.are_good(now()));
        // All at once: they begin before the first is waited for.
        let flights: Vec<_> = missing().filter_map(|keys| keys.fetch(now())).collect();
        for flight in flights {
            flight.landed().await;
        }
        match missing().next() {
            None => Ok(()),
            Some(keys) => {
                let problem = "the keys of a trusted issuer cannot be had";
                Err(Error::new(ErrorKind::Unavailable, problem).with_source(format!("{keys:?}")))
            }
        }
    }
}
