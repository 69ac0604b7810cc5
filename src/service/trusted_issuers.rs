use crate::service::TokenServiceBuilder;
use crate::validate::trusted::TrustedIssuer;

impl TokenServiceBuilder {
    /// Accepts the tokens of a trusted issuer in the host's handlers, behind
    /// [`validate_layer_with_trusted_issuers`](crate::TokenService::validate_layer_with_trusted_issuers) and
    /// [`exchange_layer_with_trusted_issuers`](crate::TokenService::exchange_layer_with_trusted_issuers). The
    /// service's routes, `validate_layer` and `exchange_layer` accept only the service's own tokens.
    pub fn trusted_issuer(mut self, issuer: TrustedIssuer) -> Self {
        self.validators = self.validators.trusted_issuer(issuer);
        self
    }
}
