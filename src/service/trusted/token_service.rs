use crate::error::Error;
use crate::service::trusted::TrustedIssuer;
use crate::service::{TokenService, TokenServiceBuilder};

impl TokenServiceBuilder {
    /// Accepts the tokens of an issuer elsewhere, too, where the host's handlers are:
    /// behind `TokenService::validate_layer`. The routes of the service, and its layer that exchanges,
    /// go on accepting its own alone.
    pub fn trusted_issuer(mut self, issuer: TrustedIssuer) -> Self {
        self.trusted_issuers.push(issuer);
        self
    }
}

impl TokenService {
    /// [`Validator::fetch_keys`](crate::Validator::fetch_keys) of the issuers that it trusts.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where the keys of one cannot be had
    /// now.
    pub async fn fetch_trusted_keys(&self) -> Result<(), Error> {
        self.parts.edge_validator.fetch_keys().await
    }
}
