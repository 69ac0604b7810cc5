//! Whether the stores fit this release and the sealing keys, as it is found out at the start.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::Error;
use crate::service::model::sealing::Sealed;
use crate::service::store::Store;
use crate::service::token_service::TokenService;
use crate::service::writer::Writer;

/// What is sealed, and what it is sealed for.
const CHECKED_TEXT: &str = "countersign";
const CONTEXT: [&str; 1] = ["sealing check"];

impl TokenService {
    pub(super) async fn check_stores_are_current(&self) -> Result<(), Error> {
        for (content, store) in self.stores() {
            if !self.inner.stores.is_current(store).await? {
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
        self.write_unaudited(|writer| async move {
            let stores = writer.stores();
            for (content, store) in stores.into_iter().filter(|(_, store)| store.is_durable()) {
                writer.check_sealing_keys_of(content, store).await?;
            }
            Ok(())
        })
        .await
    }

    /// All stores, by what is in them.
    fn stores(&self) -> Vec<(&'static str, &dyn Store)> {
        let mut all = self.inner.stores.all().to_vec();
        if let Some(keys) = &self.inner.key_manager {
            all.push(("managed keys", keys.store()));
        }
        all
    }
}

impl Writer {
    async fn check_sealing_keys_of(&self, content: &str, store: &dyn Store) -> Result<(), Error> {
        let (stores, sealing) = (&self.stores, &self.inner.sealing);
        let found = stores.read_sealing_check(store).await?;
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
        if let Err(error) = stores.write_sealing_check(store, &check).await {
            // It may be full, and serves reads.
            tracing::warn!(
                error = ?error,
                "sealing check of the store of {content}: cannot be written, a wrong sealing key is not \
                 noticed at the next start"
            );
        }
        Ok(())
    }
}
