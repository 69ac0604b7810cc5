use crate::service::model::redacted::secret_text;

secret_text! {
    /// A signed access token (RFC 7515 §7.1, compact form), ready to be sent.
    AccessToken
}

impl AccessToken {
    pub(in crate::service) fn new(compact: String) -> Self {
        Self(compact.into())
    }
}
