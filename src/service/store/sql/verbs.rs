//! The verbs that are the same on both engines. They are written once, as a macro: the bounds that
//! a generic type would need are longer than the code. Those of sessions are in `session_verbs`.

/// Implements the traits for a store that has `statements`, `reader()`, `writer()`, `is_lost`,
/// `clean_up_after`, `publish` and `read_feed`.
macro_rules! implement_stores {
    ($store:ty, $database:ty) => {
        /// A query with parameters.
        type Query<'q> =
            sqlx::query::Query<'q, $database, <$database as sqlx::Database>::Arguments>;

        fn entity_row<'q>(statement: &SqlStr, entity: &'q Entity, record: &'q str) -> Query<'q> {
            sqlx::query(statement.clone())
                .bind(entity.id().subject_type().as_str())
                .bind(entity.id().name())
                .bind(entity.version().cast_signed())
                .bind(record)
                .bind(entity.organization_id().map(|id| id.as_str()))
        }

        #[async_trait]
        impl Store for $store {
            fn is_durable(&self) -> bool {
                true
            }

            async fn is_current(&self) -> Result<bool, StoreError> {
                let found = self.find_version().await?;
                Ok(found.is_some_and(|found| is_current_schema(found, LATEST_VERSION)))
            }

            async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
                let reading = self.retry(|| {
                    sqlx::query_scalar::<_, i64>(self.inner.statements.get_time.clone())
                        .fetch_one(self.reader())
                });
                let micros = u64::try_from(reading.await?.value).unwrap_or(0);
                Ok(Some(Timestamp::from_micros(micros)))
            }

            async fn read_sealing_check(&self) -> Result<Option<String>, StoreError> {
                let reading = self.retry(|| {
                    sqlx::query_scalar(self.inner.statements.get_sealing_check.clone())
                        .fetch_optional(self.reader())
                });
                Ok(reading.await?.value)
            }

            async fn write_sealing_check(&self, check: &str) -> Result<(), StoreError> {
                let writing = self.retry(|| {
                    sqlx::query(self.inner.statements.put_sealing_check.clone())
                        .bind(check)
                        .execute(self.writer())
                });
                writing.await.map(drop)
            }
        }

        #[async_trait]
        impl EntityStore for $store {
            async fn insert(&self, entity: Entity) -> Result<(), StoreError> {
                let record = record::write_entity(&entity)?;
                let insertion = self.retry(|| {
                    entity_row(&self.inner.statements.insert_entity, &entity, &record)
                        .bind(entity.distinct_name())
                        .execute(self.writer())
                });
                let Retried { value, is_repeated } = insertion.await?;
                if value.rows_affected() > 0 {
                    return Ok(());
                }
                self.unless_ours(is_repeated, self.entity_record(entity.id()), &record).await
            }

            async fn get(&self, id: &EntityId) -> Result<Option<Entity>, StoreError> {
                let record = self.entity_record(id).await?;
                record.as_deref().map(record::read_entity).transpose()
            }

            async fn replace(
                &self,
                entity: Entity,
                expected_version: u64,
            ) -> Result<(), StoreError> {
                let record = record::write_entity(&entity)?;
                let replacement = self.retry(|| {
                    entity_row(&self.inner.statements.replace_entity, &entity, &record)
                        .bind(expected_version.cast_signed())
                        .execute(self.writer())
                });
                let Retried { value, is_repeated } = replacement.await?;
                if value.rows_affected() > 0 {
                    return Ok(());
                }
                self.unless_ours(is_repeated, self.entity_record(entity.id()), &record).await
            }

            async fn list(
                &self,
                subject_type: SubjectType,
                organization: Option<&OrganizationId>,
                after: Option<&str>,
                limit: usize,
            ) -> Result<Vec<Entity>, StoreError> {
                let statements = &self.inner.statements;
                let statement = match organization {
                    None => &statements.list_entities,
                    Some(_) => &statements.list_entities_of_organization,
                };
                // No name is empty.
                let (mut after, mut listed) = (after.unwrap_or_default().to_owned(), Vec::new());
                loop {
                    let wanted = limit - listed.len();
                    let listing = self.retry(|| {
                        let query = sqlx::query_as::<_, (String, String)>(statement.clone())
                            .bind(subject_type.as_str())
                            .bind(&after)
                            .bind(rows(wanted));
                        let organization = organization.into_iter();
                        organization
                            .fold(query, |query, organization| query.bind(organization.as_str()))
                            .fetch_all(self.reader())
                    });
                    let found = listing.await?.value;
                    listed.extend(found.iter().filter_map(|(_, record)| {
                        record::readable("entity", record, record::read_entity)
                    }));
                    let is_last = found.len() < wanted;
                    match found.into_iter().next_back() {
                        // Some of them cannot be read: the page is filled up with those behind them.
                        Some((last, _)) if !is_last && listed.len() < limit => after = last,
                        _ => return Ok(listed),
                    }
                }
            }

            async fn remove(&self, id: &EntityId) -> Result<bool, StoreError> {
                let removal = self.retry(|| {
                    sqlx::query(self.inner.statements.remove_entity.clone())
                        .bind(id.subject_type().as_str())
                        .bind(id.name())
                        .execute(self.writer())
                });
                let Retried { value, is_repeated } = removal.await?;
                match value.rows_affected() {
                    0 if is_repeated => Err(answer_lost()),
                    removed => Ok(removed > 0),
                }
            }
        }

        implement_session_store!($store);

        #[async_trait]
        impl KeyStore for $store {
            async fn get(&self) -> Result<Option<KeySchedule>, StoreError> {
                let record = self.keys_record().await?;
                record.as_deref().map(record::read_keys).transpose()
            }

            async fn insert(&self, keys: KeySchedule) -> Result<(), StoreError> {
                let record = record::write_keys(&keys)?;
                let insertion = self.retry(|| {
                    sqlx::query(self.inner.statements.insert_keys.clone())
                        .bind(keys.version().cast_signed())
                        .bind(&record)
                        .execute(self.writer())
                });
                let Retried { value, is_repeated } = insertion.await?;
                if value.rows_affected() > 0 {
                    return Ok(());
                }
                self.unless_ours(is_repeated, self.keys_record(), &record).await
            }

            async fn replace(
                &self,
                keys: KeySchedule,
                expected_version: u64,
            ) -> Result<(), StoreError> {
                let record = record::write_keys(&keys)?;
                let replacement = self.retry(|| {
                    sqlx::query(self.inner.statements.replace_keys.clone())
                        .bind(keys.version().cast_signed())
                        .bind(&record)
                        .bind(expected_version.cast_signed())
                        .execute(self.writer())
                });
                let Retried { value, is_repeated } = replacement.await?;
                if value.rows_affected() > 0 {
                    return Ok(());
                }
                self.unless_ours(is_repeated, self.keys_record(), &record).await
            }
        }

        impl $store {
            /// Returns the version of the tables; none where there are none.
            async fn find_version(&self) -> Result<Option<i64>, StoreError> {
                let statements = &self.inner.statements;
                let looking = self.retry(|| {
                    sqlx::query_scalar(statements.has_migrations.clone()).fetch_one(self.reader())
                });
                let has_migrations: bool = looking.await?.value;
                if !has_migrations {
                    return Ok(None);
                }
                let reading = self.retry(|| {
                    sqlx::query_scalar(statements.get_version.clone()).fetch_one(self.reader())
                });
                Ok(Some(reading.await?.value))
            }

            async fn retry<T, F>(
                &self,
                mut call: impl FnMut() -> F,
            ) -> Result<Retried<T>, StoreError>
            where
                F: Future<Output = Result<T, sqlx::Error>>,
            {
                let calling = || {
                    let calling = call();
                    async move { calling.await.inspect_err(|error| self.clean_up_after(error)) }
                };
                retry(Self::is_lost, calling).await
            }

            async fn entity_record(&self, id: &EntityId) -> Result<Option<String>, StoreError> {
                let reading = self.retry(|| {
                    sqlx::query_scalar(self.inner.statements.get_entity.clone())
                        .bind(id.subject_type().as_str())
                        .bind(id.name())
                        .fetch_optional(self.reader())
                });
                Ok(reading.await?.value)
            }

            async fn session_record(&self, key: &SessionKey) -> Result<Option<String>, StoreError> {
                let reading = self.retry(|| {
                    sqlx::query_scalar(self.inner.statements.get_session.clone())
                        .bind(&key.as_bytes()[..])
                        .fetch_optional(self.reader())
                });
                Ok(reading.await?.value)
            }

            async fn keys_record(&self) -> Result<Option<String>, StoreError> {
                let reading = self.retry(|| {
                    sqlx::query_scalar(self.inner.statements.get_keys.clone())
                        .fetch_optional(self.reader())
                });
                Ok(reading.await?.value)
            }

            /// A conflict, unless the write was made twice and what is there is what the first
            /// one wrote, whose answer was lost.
            async fn unless_ours(
                &self,
                is_repeated: bool,
                reading: impl Future<Output = Result<Option<String>, StoreError>>,
                written: &str,
            ) -> Result<(), StoreError> {
                if is_repeated && reading.await?.as_deref() == Some(written) {
                    return Ok(());
                }
                Err(StoreError::Conflict)
            }
        }

        /// Shows the names of the tables. What is in them is not known without asking.
        impl fmt::Debug for $store {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($store))
                    .field("tables", &self.inner.tables)
                    .finish_non_exhaustive()
            }
        }
    };
}
pub(in crate::service::store) use implement_stores;
