//! The verbs of sessions and of the feed that are the same on both engines: a part of `implement_stores`.

/// Implements `SessionStore` for a store that has all that `implement_stores` makes.
macro_rules! implement_session_store {
    ($store:ty) => {
        fn session_row(statement: &SqlStr, session: &Session, record: &str) -> Query {
            sqlx::query(statement.clone())
                .bind(&session.key.as_bytes()[..])
                .bind(session.version.cast_signed())
                .bind(session.id.as_str())
                .bind(session.customer_id.as_str())
                .bind(session.organization_id.as_ref().map(|id| id.as_str()))
                .bind(micros(session.created_at))
                .bind(micros(session.expires_at))
                .bind(micros(session.kept_until()))
                .bind(record)
                .bind(session.subject().to_index_text())
                .bind(session.started_by().map(Subject::to_index_text))
        }

        #[async_trait]
        impl SessionStore for $store {
            async fn insert(&self, session: Session, _now: Timestamp) -> Result<(), StoreError> {
                let record = record::write_session(&session)?;
                let insertion = self.write(|| {
                    session_row(&self.inner.statements.insert_session, &session, &record)
                });
                let Retried { value, is_repeated } = insertion.await?;
                if value.result.rows_affected() > 0 {
                    return Ok(());
                }
                self.unless_ours(is_repeated, self.session_record(&session.key), &record).await
            }

            async fn get(&self, key: &SessionKey) -> Result<Option<Session>, StoreError> {
                let record = self.session_record(key).await?;
                record.as_deref().map(record::read_session).transpose()
            }

            async fn replace(
                &self,
                session: Session,
                expected_version: u64,
                _now: Timestamp,
            ) -> Result<(), StoreError> {
                let record = record::write_session(&session)?;
                let replacement = self.write(|| {
                    session_row(&self.inner.statements.replace_session, &session, &record)
                        .bind(expected_version.cast_signed())
                });
                let Retried { value, is_repeated } = replacement.await?;
                if value.result.rows_affected() > 0 {
                    return Ok(());
                }
                self.unless_ours(is_repeated, self.session_record(&session.key), &record).await
            }

            async fn take(
                &self,
                key: &SessionKey,
                expected_version: u64,
            ) -> Result<Option<Session>, StoreError> {
                let taking = self.write(|| {
                    sqlx::query(self.inner.statements.take_session.clone())
                        .bind(&key.as_bytes()[..])
                        .bind(expected_version.cast_signed())
                });
                let Retried { value, is_repeated } = taking.await?;
                if let Some(record) = value.first::<String>()? {
                    return record::read_session(&record).map(Some);
                }
                // That version is gone for good. What is there now, if anything, is a later one.
                if self.session_record(key).await?.is_some() {
                    return Err(StoreError::Conflict);
                }
                if is_repeated { Err(answer_lost()) } else { Ok(None) }
            }

            async fn remove(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
                let statement = &self.inner.statements.remove_session;
                let removal = self.write(|| sqlx::query(statement.clone()).bind(id.as_str()));
                let Retried { value, is_repeated } = removal.await?;
                match value.first::<String>()? {
                    None if is_repeated => Err(answer_lost()),
                    removed => removed.as_deref().map(record::read_session).transpose(),
                }
            }

            async fn list(
                &self,
                filter: &SessionFilter,
                page: &PageRequest,
                now: Timestamp,
            ) -> Result<SessionPage, StoreError> {
                let (statement, filters) = self.inner.statements.list(filter);
                let after = page.after.as_ref();
                let (created_at, id) =
                    after.map_or((i64::MIN, ""), |at| (micros(at.created_at), at.id.as_str()));
                let listing = self.read(|| {
                    let query = sqlx::query(statement.clone())
                        .bind(micros(now))
                        .bind(rows(page.limit))
                        .bind(rows(page.offset))
                        .bind(rows(page.count_up_to()))
                        .bind(created_at)
                        .bind(id);
                    filters.iter().fold(query, |query, filter| query.bind(*filter))
                });
                let listed: Vec<(i64, Option<String>)> = listing.await?.all()?;
                let total = listed.first().map_or(0, |(total, _)| *total);
                let records = listed.iter().filter_map(|(_, record)| record.as_deref());
                let sessions = records
                    .filter_map(|record| record::readable("session", record, record::read_session))
                    .collect();
                Ok(SessionPage { sessions, total: usize::try_from(total).unwrap_or(0) })
            }

            async fn count(
                &self,
                subject: &Subject,
                now: Timestamp,
                up_to: usize,
            ) -> Result<usize, StoreError> {
                let text = subject.to_index_text();
                let counting = self.read(|| {
                    sqlx::query(self.inner.statements.of_subject(subject).count.clone())
                        .bind(&text)
                        .bind(micros(now))
                        .bind(rows(up_to))
                });
                let counted = counting.await?.first::<i64>()?;
                Ok(counted.and_then(|counted| usize::try_from(counted).ok()).unwrap_or(0))
            }

            async fn of_subject(
                &self,
                subject: &Subject,
                after: &Cursor,
                limit: usize,
            ) -> Result<SubjectSessions, StoreError> {
                let text = subject.to_index_text();
                let (end, key) = SubjectPosition::of(after).map_or_else(
                    || (i64::MIN, Vec::new()),
                    |position| (micros(position.end), position.key.as_bytes().to_vec()),
                );
                let reading = self.read(|| {
                    sqlx::query(self.inner.statements.of_subject(subject).select.clone())
                        .bind(&text)
                        .bind(end)
                        .bind(&key)
                        .bind(rows(limit))
                });
                let found: Vec<(i64, Vec<u8>, String)> = reading.await?.all()?;
                let last = found.last().filter(|_| found.len() == limit);
                let next = last.map(|(end, key, _)| {
                    let key = <[u8; 32]>::try_from(&**key).map_err(StoreError::corrupt)?;
                    let end = Timestamp::from_micros(u64::try_from(*end).unwrap_or(0));
                    Ok(SubjectPosition { end, key: SessionKey::from_bytes(key) }.to_cursor())
                });
                let next = next.transpose()?;
                let read = |(_, _, record): &(i64, Vec<u8>, String)| {
                    record::readable("session", record, record::read_session)
                };
                Ok(SubjectSessions { sessions: found.iter().filter_map(read).collect(), next })
            }

            async fn publish(&self, event: FeedEvent) -> Result<(), StoreError> {
                let record = record::write_event(&event)?;
                self.append_to_feed(micros(event.until()), &record).await
            }

            async fn read_feed(
                &self,
                after: &Cursor,
                wait: Duration,
            ) -> Result<FeedPage, StoreError> {
                self.prepare_to_wait();
                let notifier = &self.inner.notifier;
                notifier.read_or_wait(after, wait, POLL, |after| self.read_page(after)).await
            }

            async fn purge_expired(&self, now: Timestamp) -> Result<u64, StoreError> {
                let mut purged = 0;
                let statements = &self.inner.statements;
                for statement in [&statements.purge_sessions, &statements.purge_revocations] {
                    let purging = self.write(|| {
                        sqlx::query(statement.clone()).bind(micros(now)).bind(PURGE_LIMIT)
                    });
                    purged += purging.await?.value.result.rows_affected();
                }
                self.clean_up_after_purge(purged).await;
                Ok(purged)
            }
        }
    };
}
pub(in crate::service::store) use implement_session_store;
