//! Without the feature `remote-jwks`, nothing is fetched.

/// There is none.
#[derive(Clone, Debug)]
pub(crate) enum KeyFlight {}

impl KeyFlight {
    pub(crate) async fn landed(self) {
        match self {}
    }
}
