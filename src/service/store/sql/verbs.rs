//! The verbs that are the same on both engines. They are written once, as a macro: the bounds that
//! a generic type would need are longer than the code. Those of sessions are in `session_verbs`.

/// Implements the traits for a store that has `statements`, `reader()` and `writer()` with a `run` each, `is_lost`,
/// `is_undone`, `clean_up_after`, `explain`, `append_to_feed`, `prepare_to_wait`, `read_page` and
/// `clean_up_after_purge`.
macro_rules! implement_stores {
    ($store:ty, $database:ty) => {
        /// A query with parameters.
        type Query =
            sqlx::query::Query<'static, $database, <$database as sqlx::Database>::Arguments>;

        fn entity_row(statement: &SqlStr, entity: &Entity, record: &str) -> Query {
            sqlx::query(statement.clone())
                .bind(entity.id().subject_type().as_str())
                .bind(entity.id().to_index_text())
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
                let found = match self.find_version().await {
                    Ok(found) => found,
                    Err(error) => return Err(self.explain(error).await),
                };
                Ok(found.is_some_and(|found| is_current_schema(found, LATEST_VERSION)))
            }

            async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
                let read =
                    self.read(|| sqlx::query(self.inner.statements.get_time.clone())).await?;
                let micros = read.first::<i64>()?.and_then(|micros| u64::try_from(micros).ok());
                Ok(Some(Timestamp::from_micros(micros.unwrap_or(0))))
            }

            async fn read_sealing_check(&self) -> Result<Option<String>, StoreError> {
                let statement = &self.inner.statements.get_sealing_check;
                self.read(|| sqlx::query(statement.clone())).await?.first()
            }

            async fn write_sealing_check(&self, check: &str) -> Result<(), StoreError> {
                let statement = &self.inner.statements.put_sealing_check;
                self.write(|| sqlx::query(statement.clone()).bind(check)).await.map(drop)
            }
        }

        #[async_trait]
        impl EntityStore for $store {
            async fn insert(&self, entity: Entity) -> Result<(), StoreError> {
                let record = record::write_entity(&entity)?;
                let insertion = self.write(|| {
                    entity_row(&self.inner.statements.insert_entity, &entity, &record)
                        .bind(entity.distinct_name())
                });
                let Retried { value, is_repeated } = insertion.await?;
                if value.result.rows_affected() > 0 {
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
                let replacement = self.write(|| {
                    entity_row(&self.inner.statements.replace_entity, &entity, &record)
                        .bind(expected_version.cast_signed())
                });
                let Retried { value, is_repeated } = replacement.await?;
                if value.result.rows_affected() > 0 {
                    return Ok(());
                }
                self.unless_ours(is_repeated, self.entity_record(entity.id()), &record).await
            }

            async fn list(
                &self,
                subject_type: SubjectType,
                organization: Option<&OrganizationId>,
                after: Option<&EntityId>,
                limit: usize,
            ) -> Result<Vec<Entity>, StoreError> {
                let statements = &self.inner.statements;
                let statement = match organization {
                    None => &statements.list_entities,
                    Some(_) => &statements.list_entities_of_organization,
                };
                // No id has an empty text.
                let after = after.map(EntityId::to_index_text).unwrap_or_default();
                let (mut after, mut listed) = (after.into_owned(), Vec::new());
                loop {
                    let wanted = limit - listed.len();
                    let listing = self.read(|| {
                        let query = sqlx::query(statement.clone())
                            .bind(subject_type.as_str())
                            .bind(&after)
                            .bind(rows(wanted));
                        let organization = organization.into_iter();
                        organization
                            .fold(query, |query, organization| query.bind(organization.as_str()))
                    });
                    let found: Vec<(String, String)> = listing.await?.all()?;
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
                let removal = self.write(|| {
                    sqlx::query(self.inner.statements.remove_entity.clone())
                        .bind(id.subject_type().as_str())
                        .bind(id.to_index_text())
                });
                let Retried { value, is_repeated } = removal.await?;
                match value.result.rows_affected() {
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
                let insertion = self.write(|| {
                    sqlx::query(self.inner.statements.insert_keys.clone())
                        .bind(keys.version().cast_signed())
                        .bind(&record)
                });
                let Retried { value, is_repeated } = insertion.await?;
                if value.result.rows_affected() > 0 {
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
                let replacement = self.write(|| {
                    sqlx::query(self.inner.statements.replace_keys.clone())
                        .bind(keys.version().cast_signed())
                        .bind(&record)
                        .bind(expected_version.cast_signed())
                });
                let Retried { value, is_repeated } = replacement.await?;
                if value.result.rows_affected() > 0 {
                    return Ok(());
                }
                self.unless_ours(is_repeated, self.keys_record(), &record).await
            }
        }

        impl $store {
            /// Returns the version of the tables; none where there are none.
            async fn find_version(&self) -> Result<Option<i64>, StoreError> {
                let statements = &self.inner.statements;
                let found = self.read(|| sqlx::query(statements.has_migrations.clone())).await?;
                if !found.first()?.unwrap_or(false) {
                    return Ok(None);
                }
                self.read(|| sqlx::query(statements.get_version.clone())).await?.first()
            }

            async fn read(
                &self,
                query: impl Fn() -> Query,
            ) -> Result<Outcome<$database>, StoreError> {
                Ok(self.retry(|| self.reader().run(query())).await?.value)
            }

            async fn write(
                &self,
                query: impl Fn() -> Query,
            ) -> Result<Retried<Outcome<$database>>, StoreError> {
                self.retry(|| self.writer().run(query())).await
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
                retry(Self::is_lost, Self::is_undone, calling).await
            }

            async fn entity_record(&self, id: &EntityId) -> Result<Option<String>, StoreError> {
                let reading = self.read(|| {
                    sqlx::query(self.inner.statements.get_entity.clone())
                        .bind(id.subject_type().as_str())
                        .bind(id.to_index_text())
                });
                reading.await?.first()
            }

            async fn session_record(&self, key: &SessionKey) -> Result<Option<String>, StoreError> {
                let statement = &self.inner.statements.get_session;
                let reading =
                    self.read(|| sqlx::query(statement.clone()).bind(&key.as_bytes()[..]));
                reading.await?.first()
            }

            async fn keys_record(&self) -> Result<Option<String>, StoreError> {
                self.read(|| sqlx::query(self.inner.statements.get_keys.clone())).await?.first()
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
