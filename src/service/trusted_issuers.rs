use crate::service::TokenServiceBuilder;
use crate::validate::trusted::TrustedIssuer;

impl TokenServiceBuilder {
    /// Accepts the tokens of a trusted issuer, too, where the host's handlers are: behind
    /// `TokenService::validate_layer`. The routes of the service, and its layer that exchanges, go
    /// on accepting its own alone.
    pub fn trusted_issuer(mut self, issuer: TrustedIssuer) -> Self {
        self.validators = self.validators.trusted_issuer(issuer);
        self
    }
}
