//! The settings of a store in Postgres that are not in its URL.

use std::fmt;

use crate::service::store::sql::TableNames;

/// The number of connections of a store's own pool.
const CONNECTIONS: u32 = 16;

/// Settings of a [`PostgresStore`](super::PostgresStore).
///
/// ```
/// use countersign::store::{PostgresOptions, TableNames};
///
/// let options = PostgresOptions::default()
///     .tables(TableNames::default().schema("auth"))
///     .max_connections(5);
/// ```
#[derive(Clone)]
#[must_use]
pub struct PostgresOptions {
    pub(super) tables: TableNames,
    pub(super) max_connections: u32,
    pub(super) direct_url: Option<String>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { tables: TableNames::default(), max_connections: CONNECTIONS, direct_url: None }
    }
}

impl PostgresOptions {
    /// Sets the names of the tables.
    pub fn tables(mut self, names: TableNames) -> Self {
        self.tables = names;
        self
    }

    /// Sets how many connections requests may use at a time. Default: 16.
    ///
    /// A node has up to three more: two for the feed of revocations, and one that listens for notifications. So
    /// the server, or the role's `CONNECTION LIMIT`, has to allow the number of nodes × (`max_connections` + 3).
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections;
        self
    }

    /// Declares that the store's URL leads to a pooler in transaction mode, such as PgBouncer with `pool_mode =
    /// transaction`, and sets the URL of the server itself, which is used for migrations, the feed of revocations and
    /// notifications. Default: no pooler; one in session mode needs no declaration.
    ///
    /// Each statement is then a transaction of four round trips, without prepared statements and settings of a
    /// session.
    pub fn transaction_pooler(mut self, direct_url: impl Into<String>) -> Self {
        self.direct_url = Some(direct_url.into());
        self
    }
}

/// Does not show the URL: it may hold a password.
impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("tables", &self.tables)
            .field("max_connections", &self.max_connections)
            .field("has_transaction_pooler", &self.direct_url.is_some())
            .finish()
    }
}
