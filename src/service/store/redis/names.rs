//! Names that one entity of a sort may have.
//!
//! A name and the record of its holder are under two keys, which in a cluster no script changes together. So
//! a registration has three steps: the name is claimed, the record is written, the claim is confirmed. Whoever
//! dies in between leaves a claim, and the record says whether its holder is registered:
//!
//! - A name whose holder has a record is taken, whatever the claim says.
//! - One that was confirmed, and whose holder has no record, was left by a removal: it is free.
//! - One that was not confirmed may still be. It is waited for, then taken over.
//! - Whoever is slower than that finds their claim taken over when it is to be confirmed, and removes the
//!   record again. A claim that was confirmed meanwhile is another one, and is not taken over unseen.

use std::time::Duration;

use redis::Cmd;

use crate::service::model::entity::Entity;
use crate::service::store::StoreError;
use crate::service::store::redis::records::{VersionedRecord, new_writer_id};
use crate::service::store::redis::{Inner, RedisStore};
use crate::token::claims::SubjectType;

/// How long a claim is waited for that nobody confirms, and how often it is looked at: longer than the two
/// calls take that a live one is away from that, and well within a service's deadline.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Whose a name is: the key of the record, the claim, and how far that has come.
type Claim = (String, String, String);

impl RedisStore {
    /// Inserts an entity that no other one of its sort may share a name with.
    pub(super) async fn insert_distinct(
        &self,
        entity: &Entity,
        name: &str,
    ) -> Result<(), StoreError> {
        let Inner { keys, client, records, confirm_name, .. } = &*self.inner;
        let name = keys.name(entity.id().subject_type(), name);
        let id = new_writer_id();
        let record = VersionedRecord { id: id.as_str().into(), ..self.entity_record(entity)? };
        self.claim(&name, &id, &record.key).await?;
        // Where it is there by now, whoever has written it has the same id, and the same name.
        self.insert_indexed(entity, &record).await?;
        let arguments = [id.clone(), record.key.clone()];
        if client.run_and_wait(confirm_name, &[&name], &arguments).await?.value {
            return Ok(());
        }
        records.take(&record.key, None, Some(&id)).await?;
        Err(StoreError::Conflict)
    }

    /// Claims a name for the entity of that key.
    async fn claim(&self, name: &str, id: &str, key: &str) -> Result<(), StoreError> {
        let Inner { client, claim_name, .. } = &*self.inner;
        let mut outdated = (String::new(), String::new());
        let mut waited = Duration::ZERO;
        loop {
            // A name that is registered already is not claimed again.
            if self.is_registered(key).await? {
                return Err(StoreError::Conflict);
            }
            let (former, state) = outdated.clone();
            let arguments = [id.to_owned(), key.to_owned(), former, state];
            let answer = client.run_and_wait(claim_name, &[name], &arguments).await?;
            let (holder, claim, state): Claim = answer.value;
            if holder.is_empty() {
                return Ok(());
            }
            let is_another = holder != key;
            if is_another && self.is_registered(&holder).await? {
                return Err(StoreError::Conflict);
            }
            let may_be_confirmed = is_another && state == "claimed";
            if may_be_confirmed && waited < PATIENCE {
                tokio::time::sleep(PAUSE).await;
                waited += PAUSE;
            } else {
                outdated = (claim, state);
            }
        }
    }

    pub(super) async fn is_registered(&self, key: &str) -> Result<bool, StoreError> {
        self.inner.client.read(&Cmd::hexists(key, "version")).await
    }

    /// Frees the name of an entity that was removed, whose record had that claim. One that cannot be
    /// reached is left for whoever wants it next.
    pub(super) async fn release(&self, subject_type: SubjectType, name: &str, claim: String) {
        let name = self.inner.keys.name(subject_type, name);
        let Inner { client, release_name, .. } = &*self.inner;
        if let Err(error) = client.run_and_wait::<bool>(release_name, &[&name], &[claim]).await {
            tracing::debug!(%error, "the name of a removed entity is left for the next to claim it");
        }
    }
}
