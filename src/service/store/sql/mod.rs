//! What the two SQL engines share: names, statements, how a call is made again, and the verbs.
//!
//! A record is JSON text ([`super::record`]); beside it stand the columns that are searched by.
//! Each verb is one statement, so that the engine makes it atomic and durable.

mod names;
mod outcome;
mod session_verbs;
mod statements;
mod verbs;

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::service::store::schema::is_incompatible;

pub use self::names::TableNames;
pub(super) use self::names::Tables;
pub(super) use self::outcome::Outcome;
pub(super) use self::session_verbs::implement_session_store;
pub(super) use self::statements::{Dialect, Statements, statement};
pub(super) use self::verbs::implement_stores;

/// How many of what has ended one call removes: a long transaction would keep others waiting.
pub(super) const PURGE_LIMIT: i64 = 1_000;
/// How much of the feed one read returns: what it can do well before its deadline, also where the
/// engine is busy.
pub(super) const FEED_LIMIT: usize = 5_000;

/// SQL has no unsigned integers; up to its end, time has none that does not fit.
pub(super) fn micros(timestamp: Timestamp) -> i64 {
    i64::try_from(timestamp.as_micros()).unwrap_or(i64::MAX)
}

/// A number of rows.
pub(super) fn rows(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn not_migrated(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unavailable, "the tables cannot be created").with_source(error)
}

/// Returns whether this release can work with tables of a version, which may be a later release's.
pub(super) fn is_current_schema(found: i64, latest: i64) -> bool {
    found >= latest && !is_incompatible(found.unsigned_abs(), latest.unsigned_abs())
}

/// Tables of a later release may mean something else by what this one would write.
pub(super) fn reject_later_schema(found: i64, known: i64) -> Result<(), Error> {
    if is_incompatible(found.unsigned_abs(), known.unsigned_abs()) {
        return Err(Error::configuration("the tables are of a later release"));
    }
    Ok(())
}
