//! What a statement came to.

use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;
use sqlx::{Database, Either, FromRow};

use crate::service::store::StoreError;

/// What the driver returns of a statement: its rows, and its result after them.
type Returned<'a, D> =
    BoxStream<'a, Result<Either<<D as Database>::QueryResult, <D as Database>::Row>, sqlx::Error>>;

/// The result of a statement, with the rows that it returned.
pub(in crate::service::store) struct Outcome<D: Database> {
    pub(in crate::service::store) result: D::QueryResult,
    rows: Vec<D::Row>,
}

impl<D: Database> Outcome<D> {
    /// Reads all that a statement returns.
    pub(in crate::service::store) async fn of(
        mut returned: Returned<'_, D>,
    ) -> Result<Self, sqlx::Error> {
        let mut outcome = Self { result: D::QueryResult::default(), rows: Vec::new() };
        while let Some(next) = returned.try_next().await? {
            match next {
                Either::Left(result) => outcome.result.extend([result]),
                Either::Right(row) => outcome.rows.push(row),
            }
        }
        Ok(outcome)
    }

    /// Returns all rows.
    pub(in crate::service::store) fn all<T>(&self) -> Result<Vec<T>, StoreError>
    where
        T: for<'r> FromRow<'r, D::Row>,
    {
        self.rows.iter().map(T::from_row).collect::<Result<_, _>>().map_err(StoreError::unavailable)
    }

    /// Returns the first column of the first row.
    pub(in crate::service::store) fn first<T>(&self) -> Result<Option<T>, StoreError>
    where
        (T,): for<'r> FromRow<'r, D::Row>,
    {
        let first = self.rows.first().map(<(T,)>::from_row).transpose();
        Ok(first.map_err(StoreError::unavailable)?.map(|(value,)| value))
    }
}
