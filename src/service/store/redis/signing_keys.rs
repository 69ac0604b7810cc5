//! The signing keys that nodes share: one record.

use async_trait::async_trait;

use crate::service::model::key_schedule::KeySchedule;
use crate::service::store::redis::RedisStore;
use crate::service::store::redis::records::VersionedRecord;
use crate::service::store::{KeyStore, StoreError, record};

#[async_trait]
impl KeyStore for RedisStore {
    async fn get(&self) -> Result<Option<KeySchedule>, StoreError> {
        let record = self.inner.records.get(&self.inner.keys.signing_keys()).await?;
        record.as_deref().map(record::read_keys).transpose()
    }

    async fn insert(&self, keys: KeySchedule) -> Result<(), StoreError> {
        self.inner.records.insert(&self.keys_record(&keys)?).await
    }

    async fn replace(&self, keys: KeySchedule, expected_version: u64) -> Result<(), StoreError> {
        let record = self.keys_record(&keys)?;
        self.inner.records.replace(&record, expected_version).await.map(drop)
    }
}

impl RedisStore {
    fn keys_record(&self, keys: &KeySchedule) -> Result<VersionedRecord<'static>, StoreError> {
        Ok(VersionedRecord {
            key: self.inner.keys.signing_keys(),
            version: keys.version(),
            text: record::write_keys(keys)?,
            id: "".into(),
            session: None,
        })
    }
}
