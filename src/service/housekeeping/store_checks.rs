//! Whether the stores fit this release and the sealing keys, as it is found out at the start.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::Error;
use crate::service::model::sealing::Sealed;
use crate::service::store::Store;
use crate::service::token_service::TokenService;

/// What is sealed, and what it is sealed for.
const CHECKED_TEXT: &str = "countersign";
const CONTEXT: [&str; 1] = ["sealing check"];

impl TokenService {
    pub(super) async fn check_stores_are_current(&self) -> Result<(), Error> {
        for (content, store) in self.stores() {
            if !self.inner.stores.call("is_current", store.is_current()).await? {
                return Err(Error::configuration(format!(
                    "the store of {content} does not have the tables of this release: call its \
                     `migrate` before `start`"
                )));
            }
        }
        Ok(())
    }

    /// Finds a wrong sealing key before the first login does.
    pub(super) async fn check_sealing_keys(&self) -> Result<(), Error> {
        for (content, store) in self.stores().into_iter().filter(|(_, store)| store.is_durable()) {
            self.check_sealing_keys_of(content, store).await?;
        }
        Ok(())
    }

    async fn check_sealing_keys_of(&self, content: &str, store: &dyn Store) -> Result<(), Error> {
        let (stores, sealing) = (&self.inner.stores, &self.inner.sealing);
        let found = stores.call("read_sealing_check", store.read_sealing_check()).await?;
        if let Some(found) = found.filter(|found| !found.is_empty()) {
            let sealed = Sealed::from_bytes(URL_SAFE_NO_PAD.decode(found).unwrap_or_default());
            sealing.open(&sealed, &CONTEXT).map_err(|error| {
                Error::configuration(format!(
                    "the store of {content} holds what was sealed with a key that was not given: \
                     give it, too, by `sealing_key`, after the one that seals now"
                ))
                .with_source(error)
            })?;
            if sealing.is_current(&sealed) {
                return Ok(());
            }
        }
        let sealed = sealing.seal(CHECKED_TEXT, &CONTEXT)?;
        let check = URL_SAFE_NO_PAD.encode(sealed.as_bytes());
        let writing = store.write_sealing_check(&check);
        if let Err(error) = stores.call("write_sealing_check", writing).await {
            // It may be full, and serves reads.
            tracing::warn!(
                error = ?error,
                "sealing check of the store of {content}: cannot be written, a wrong sealing key is not \
                 noticed at the next start"
            );
        }
        Ok(())
    }

    /// All stores, by what is in them.
    fn stores(&self) -> Vec<(&'static str, &dyn Store)> {
        let stores = &self.inner.stores;
        let mut all: Vec<(_, &dyn Store)> =
            vec![("principals", &*stores.entities), ("sessions", &*stores.sessions)];
        if let Some(keys) = &self.inner.key_manager {
            all.push(("managed keys", keys.store()));
        }
        all
    }
}
