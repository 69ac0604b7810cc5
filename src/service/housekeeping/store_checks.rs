//! Whether the stores fit this release and the sealing keys, as it is found out at the start.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::Error;
use crate::service::model::sealing::{Sealed, SealingKeys};
use crate::service::store::Store;
use crate::service::token_service::TokenService;
use crate::service::writer::Writer;

/// What is sealed, and what it is sealed for.
const CHECKED_TEXT: &str = "countersign";
const CONTEXT: [&str; 1] = ["sealing check"];
/// In front of what the key has sealed that seals now.
const CURRENT: char = '*';
/// How many keys are remembered.
const MAX_KEYS: usize = 16;

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

    /// Finds a wrong sealing key before the first login does, and one that was not given to all nodes
    /// before it seals.
    pub(super) async fn check_sealing_keys(&self) -> Result<(), Error> {
        self.write_unaudited(|writer| async move {
            let mut warned = BTreeSet::new();
            let stores = writer.stores();
            for (content, store) in stores.into_iter().filter(|(_, store)| store.is_durable()) {
                writer.check_sealing_keys_of(content, store, &mut warned).await?;
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
    async fn check_sealing_keys_of(
        &self,
        content: &str,
        store: &dyn Store,
        warned: &mut BTreeSet<String>,
    ) -> Result<(), Error> {
        let found = self.stores.read_sealing_check(store).await?.unwrap_or_default();
        let check = SealingCheck::parse(&found).joined_by(&self.inner.sealing, content, warned)?;
        let text = check.to_text();
        if text == found {
            return Ok(());
        }
        if let Err(error) = self.stores.write_sealing_check(store, &text).await {
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

/// The sealing keys that the nodes of a store were given: what each of them has sealed, in the order in which
/// they are to seal, and which one seals now.
struct SealingCheck {
    sealed: Vec<Sealed>,
    current: usize,
}

impl SealingCheck {
    fn parse(text: &str) -> Self {
        let words: Vec<&str> = text.split_whitespace().collect();
        let current = words.iter().position(|word| word.starts_with(CURRENT)).unwrap_or(0);
        let sealed = words.into_iter().map(|word| {
            let bytes = URL_SAFE_NO_PAD.decode(word.trim_start_matches(CURRENT));
            Sealed::from_bytes(bytes.unwrap_or_default())
        });
        Self { sealed: sealed.collect(), current }
    }

    fn to_text(&self) -> String {
        let words = self.sealed.iter().enumerate().map(|(index, sealed)| {
            let text = URL_SAFE_NO_PAD.encode(sealed.as_bytes());
            if index == self.current { format!("{CURRENT}{text}") } else { text }
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// Adds the keys of a node that starts, and warns where the order of a rotation was not kept: once of
    /// each key.
    fn joined_by(
        mut self,
        keys: &SealingKeys,
        content: &str,
        warned: &mut BTreeSet<String>,
    ) -> Result<Self, Error> {
        let mut own = keys.seal_with_each(CHECKED_TEXT, &CONTEXT)?.into_iter();
        let Some(first) = own.next() else { return Ok(self) };
        let Some(current) = self.sealed.get(self.current) else {
            return Ok(Self { sealed: std::iter::once(first).chain(own).collect(), current: 0 });
        };
        keys.open(current, &CONTEXT).map_err(|error| {
            Error::configuration(format!(
                "the store of {content} holds what was sealed with the key {}, which was not given: \
                 give it, too, by `sealing_key`, after the one that seals now",
                current.key_name()
            ))
            .with_source(error)
        })?;
        match self.place_of(&first) {
            // The first of a node that is still to be restarted with the new one.
            Some(place) if place < self.current => {}
            Some(place) => self.current = place,
            None => {
                if warned.insert(first.key_name()) {
                    tracing::warn!(
                        sealing_key = first.key_name(),
                        "sealing keys: the first key is new to the store of {content}, nodes without it cannot open \
                     what it seals; add a new key as the second one on all nodes before it becomes the first"
                    );
                }
                self.current = self.sealed.len();
                self.sealed.push(first);
            }
        }
        for other in own {
            if self.place_of(&other).is_none() {
                self.sealed.push(other);
            }
        }
        for next in self.sealed.iter().skip(self.current + 1) {
            if !keys.knows(next) && warned.insert(next.key_name()) {
                tracing::warn!(
                    sealing_key = next.key_name(),
                    "sealing keys: this node lacks a key that other nodes have, it cannot open what that key seals; \
                     add it here before it becomes the first one anywhere"
                );
            }
        }
        let forgotten = self.sealed.len().saturating_sub(MAX_KEYS).min(self.current);
        self.sealed.drain(..forgotten);
        self.current -= forgotten;
        Ok(self)
    }

    fn place_of(&self, sealed: &Sealed) -> Option<usize> {
        self.sealed.iter().position(|known| known.key_name() == sealed.key_name())
    }
}
