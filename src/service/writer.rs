//! The only way in which the service writes.
//!
//! Use cases that write are methods of a [`Writer`], which exists only on a task of its own: if a caller
//! disconnects, nothing is left half-done, and the audit event is written. A shutdown waits for it; each of its
//! calls has the deadline of the stores, of hashing or of the sender of one-time passwords.

use std::ops::Deref;
use std::sync::Arc;

use crate::error::Error;
use crate::service::audit::{AuditDetails, OwnedAttempt};
use crate::service::detached::{Detached, catch_panic, run_to_completion};
use crate::service::stores::WritingStores;
use crate::service::token_service::TokenService;

/// The service, for work that runs to its end.
pub(in crate::service) struct Writer {
    tokens: TokenService,
    pub(in crate::service) stores: WritingStores,
    /// The details for the audit event.
    pub(in crate::service) details: Arc<AuditDetails>,
}

impl Writer {
    fn new(tokens: TokenService, detached: Detached) -> Self {
        let stores = WritingStores::new(tokens.inner.stores.clone(), detached);
        Self { tokens, stores, details: Arc::default() }
    }
}

impl Deref for Writer {
    type Target = TokenService;

    fn deref(&self) -> &TokenService {
        &self.tokens
    }
}

/// The futures of this work are large, and moved with each call that they pass through: so they are boxed.
impl TokenService {
    /// Runs work that writes to its end, even if the caller disconnects, and writes the audit event of its outcome.
    pub(in crate::service) async fn write<T, W>(
        &self,
        attempt: OwnedAttempt,
        work: impl FnOnce(Writer) -> W + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Error>> + Send,
    {
        let tokens = self.clone();
        self.write_unaudited(move |writer| async move {
            let details = Arc::clone(&writer.details);
            let outcome = catch_panic(Box::pin(work(writer))).await;
            tokens.audit(attempt.borrowed(), &details, &outcome);
            outcome
        })
        .await
    }

    /// Runs such work that has no audit event, or is part of work that has one.
    pub(in crate::service) async fn write_unaudited<T, W>(
        &self,
        work: impl FnOnce(Writer) -> W + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Error>> + Send,
    {
        let (tokens, under_way) = (self.clone(), self.inner.writes.subscribe());
        run_to_completion(move |detached| {
            let work = Box::pin(work(Writer::new(tokens, detached)));
            catch_panic(async move {
                let _under_way = under_way;
                work.await
            })
        })
        .await
    }
}
