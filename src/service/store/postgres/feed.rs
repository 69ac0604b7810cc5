//! The revocation feed: read by snapshots, and in parts.
//!
//! A transaction's number is given out before its commit, and transactions overtake one another. So a
//! reader remembers no number but a snapshot, and reads what that could not see: what has its number from
//! later, and what was under way. Where this is more than one read can answer, the snapshot of the first
//! part stays that of all of them: a pass ends at what it could see, however much is published meanwhile,
//! and what commits late is of the next pass, on whichever side of the reader its number is.
//!
//! A server that has lost its last transactions, in a crash or as a standby that was behind, gives their
//! numbers out again. So a cursor names the history that its numbers belong to, and in another one all is
//! read again from the start. The name has the start of the server in it, since the table of a copy that was made
//! of a server after its shutdown is the same one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::SqlStr;

use crate::service::store::postgres::PostgresStore;
use crate::service::store::postgres::pool::is_denied;
use crate::service::store::sql::{FEED_LIMIT, Tables, rows, statement};
use crate::service::store::{Cursor, FeedPage, StoreError, record};

/// How long one read may take. Less than the service's deadline.
const READ_TIMEOUT: Duration = Duration::from_secs(4);

/// The name of the history and the snapshot of the read, in one row; a transaction, id and record in each
/// of the others.
type Row = (Option<String>, Option<String>, Option<String>, Option<i64>, Option<String>);

/// How far a reader has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SnapshotPosition {
    /// None at the start.
    history: Option<String>,
    /// The snapshot whose revocations were read; none at the start.
    seen: Option<Snapshot>,
    pass: Option<Pass>,
}

/// A pass that has not ended: its snapshot, and the last revocation that it has read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pass {
    bound: Snapshot,
    last: (u64, i64),
}

/// What a transaction could see.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Snapshot {
    text: String,
    /// The first number that was not given out yet.
    xmax: u64,
    /// The transactions that were under way.
    xip: Vec<String>,
}

impl Snapshot {
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once(':')?;
        let (xmax, xip) = rest.split_once(':')?;
        let xip = xip.split(',').filter(|xid| !xid.is_empty());
        Some(Self {
            text: text.to_owned(),
            xmax: xmax.parse().ok()?,
            xip: xip.map(str::to_owned).collect(),
        })
    }
}

impl SnapshotPosition {
    fn parse(cursor: &Cursor) -> Result<Self, StoreError> {
        let Some(mark) = cursor.mark() else { return Ok(Self::default()) };
        Self::parse_mark(mark).ok_or_else(|| StoreError::corrupt("not a cursor of the feed"))
    }

    fn parse_mark(mark: &str) -> Option<Self> {
        let mut parts = mark.split('/');
        let history = Some(parts.next()?.to_owned());
        let seen = match parts.next()? {
            "" => None,
            seen => Some(Snapshot::parse(seen)?),
        };
        let pass = match parts.next() {
            None => None,
            Some(bound) => {
                let last = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
                Some(Pass { bound: Snapshot::parse(bound)?, last })
            }
        };
        Some(Self { history, seen, pass })
    }

    fn to_cursor(&self) -> Cursor {
        let history = self.history.as_deref().unwrap_or_default();
        let seen = self.seen.as_ref().map_or("", |seen| &seen.text);
        let mark = match &self.pass {
            Some(Pass { bound, last: (xid, id) }) => {
                format!("{history}/{seen}/{}/{xid}/{id}", bound.text)
            }
            None => format!("{history}/{seen}"),
        };
        Cursor::new(&mark)
    }

    /// Returns whether its numbers mean what they meant. A history of the same name that has given out
    /// fewer numbers was put back.
    fn is_of(&self, history: &str, now: &Snapshot) -> bool {
        let snapshots = self.seen.iter().chain(self.pass.iter().map(|pass| &pass.bound));
        self.history.as_deref().is_none_or(|own| own == history)
            && snapshots.into_iter().all(|snapshot| snapshot.xmax <= now.xmax)
    }

    /// What of the transactions that were under way is read comes after this one.
    fn last(&self) -> (u64, i64) {
        self.pass.as_ref().map_or((0, 0), |pass| pass.last)
    }

    /// What of later transactions is read comes after this one.
    fn last_of_later(&self) -> (u64, i64) {
        let first = self.seen.as_ref().map_or(0, |seen| seen.xmax);
        self.last().max((first, 0))
    }

    /// Transactions that are read have lower numbers; none where the read itself is the limit. At the
    /// start, what is from a future that this cluster does not know is read, too: it came out of a dump of
    /// another one.
    fn limit(&self) -> Option<u64> {
        match (&self.seen, &self.pass) {
            (None, _) => Some(u64::MAX),
            (Some(_), Some(pass)) => Some(pass.bound.xmax),
            (Some(_), None) => None,
        }
    }
}

/// The statements that read a part of the feed.
pub(super) struct ReadStatements {
    read: SqlStr,
    /// For a role that may not ask which server it is.
    read_without_server: SqlStr,
    is_server_denied: AtomicBool,
    name_history: SqlStr,
}

impl ReadStatements {
    pub(super) fn new(tables: &Tables) -> Self {
        let server = "(SELECT system_identifier FROM pg_control_system())::text || '.'";
        let history = tables.table("feed_history");
        Self {
            read: read_statement(tables, server),
            read_without_server: read_statement(tables, "'.'"),
            is_server_denied: AtomicBool::new(false),
            name_history: statement(format!(
                "INSERT INTO {history} (id, name) VALUES (1, gen_random_uuid()) \
                 ON CONFLICT DO NOTHING"
            )),
        }
    }
}

/// The name of the history and the snapshot, and a part of what was published. Each of its two halves is
/// a range of the index, so that a transaction that stays open makes no read long. A standby does not have
/// the table of the history, so that this fails there.
fn read_statement(tables: &Tables, server: &str) -> SqlStr {
    let (history, revocations) = (tables.table("feed_history"), tables.table("revocations"));
    let now = "pg_current_snapshot()";
    let bound = format!("coalesce($7::text::pg_snapshot, {now})");
    let is_visible = format!("pg_visible_in_snapshot(xid, {bound})");
    let part = format!("SELECT xid, id, record FROM {revocations}");
    let started_at = "(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint::text";
    statement(format!(
        "SELECT (SELECT {server} || {started_at} || '.' || tableoid::text || '.' || name::text \
         FROM {history}), {now}::text, NULL::text, NULL::bigint, NULL::text \
         UNION ALL \
         SELECT NULL, NULL, xid::text, id, record FROM (\
         ({part} WHERE xid = ANY ($1::text[]::xid8[]) AND (xid, id) > ($2::text::xid8, $3) \
         AND {is_visible} ORDER BY xid, id LIMIT $9) \
         UNION ALL \
         ({part} WHERE (xid, id) > ($4::text::xid8, $5) \
         AND xid < coalesce($6::text::xid8, pg_snapshot_xmax({now})) \
         AND ({is_visible} OR $8 AND xid >= pg_snapshot_xmax({now})) \
         ORDER BY xid, id LIMIT $9) \
         ORDER BY xid, id LIMIT $9) AS published"
    ))
}

/// What one read has found.
struct Part {
    /// None where the history has no name yet.
    history: Option<String>,
    now: Snapshot,
    published: Vec<(u64, i64, String)>,
}

impl PostgresStore {
    pub(super) async fn read_page(&self, after: Cursor) -> Result<FeedPage, StoreError> {
        let position = SnapshotPosition::parse(&after)?;
        let mut part = self.read_part(&position).await?;
        if part.history.is_none() {
            self.name_history().await?;
            part = self.read_part(&position).await?;
        }
        let is_known =
            part.history.as_deref().is_some_and(|history| position.is_of(history, &part.now));
        if is_known {
            return part.into_page(position);
        }
        // Other connections may lead to the server that has been replaced.
        self.inner.age.outdate();
        self.release_idle();
        let start = SnapshotPosition::default();
        let page = self.read_part(&start).await?.into_page(start)?;
        Ok(FeedPage { history_changed: true, ..page })
    }

    async fn read_part(&self, position: &SnapshotPosition) -> Result<Part, StoreError> {
        let denied = &self.inner.read_feed.is_server_denied;
        let reading = self.retry(|| async {
            match self.fetch_part(position).await {
                Err(error) if is_denied(&error) && !denied.swap(true, Ordering::AcqRel) => {
                    self.fetch_part(position).await
                }
                read => read,
            }
        });
        Part::of(reading.await?.value)
    }

    async fn fetch_part(&self, position: &SnapshotPosition) -> Result<Vec<Row>, sqlx::Error> {
        let statements = &self.inner.read_feed;
        let statement = match statements.is_server_denied.load(Ordering::Acquire) {
            false => &statements.read,
            true => &statements.read_without_server,
        };
        let ((xid, id), (later_xid, later_id)) = (position.last(), position.last_of_later());
        let reading = sqlx::query_as::<_, Row>(statement.clone())
            .bind(position.seen.as_ref().map_or(&[][..], |seen| &seen.xip))
            .bind(xid.to_string())
            .bind(id)
            .bind(later_xid.to_string())
            .bind(later_id)
            .bind(position.limit().map(|limit| limit.to_string()))
            .bind(position.pass.as_ref().map(|pass| pass.bound.text.as_str()))
            .bind(position.seen.is_none())
            .bind(rows(FEED_LIMIT))
            .fetch_all(self.feed_pool());
        match tokio::time::timeout(READ_TIMEOUT, reading).await {
            Ok(read) => read,
            Err(elapsed) => Err(sqlx::Error::Io(elapsed.into())),
        }
    }

    async fn name_history(&self) -> Result<(), StoreError> {
        let naming = self.retry(|| {
            sqlx::query(self.inner.read_feed.name_history.clone()).execute(self.feed_pool())
        });
        naming.await.map(drop)
    }
}

impl Part {
    fn of(rows: Vec<Row>) -> Result<Self, StoreError> {
        let (mut head, mut published) = (None, Vec::with_capacity(rows.len()));
        for row in rows {
            match row {
                (history, Some(now), ..) => head = Some((history, now)),
                (_, _, Some(xid), Some(id), Some(record)) => {
                    published.push((xid.parse().map_err(StoreError::corrupt)?, id, record));
                }
                _ => {}
            }
        }
        let no_head = || StoreError::corrupt("the feed was read without a snapshot");
        let (history, now) = head.ok_or_else(no_head)?;
        let now = Snapshot::parse(&now).ok_or_else(no_head)?;
        Ok(Self { history, now, published })
    }

    /// The page that a reader gets, who was at a position in this history.
    fn into_page(self, position: SnapshotPosition) -> Result<FeedPage, StoreError> {
        let Self { history, now, published } = self;
        if history.is_none() {
            return Err(StoreError::unavailable("the feed's history has changed again"));
        }
        let read = |(xid, id, record): &(u64, i64, String)| {
            record::read_event(record, &format!("{xid}/{id}"))
        };
        let events: Vec<_> = published.iter().map(read).collect();
        let is_new_pass = position.pass.is_none();
        let bound = position.pass.map_or(now, |pass| pass.bound);
        let last = published.iter().map(|(xid, id, _)| (*xid, *id)).max();
        let next = match last {
            Some(last) if events.len() >= FEED_LIMIT => {
                SnapshotPosition { history, seen: position.seen, pass: Some(Pass { bound, last }) }
            }
            _ => SnapshotPosition { history, seen: Some(bound), pass: None },
        };
        // What was published since a pass began is not known at its end, unless it began just now.
        let is_complete = next.pass.is_none() && is_new_pass;
        Ok(FeedPage { events, next: next.to_cursor(), is_complete, history_changed: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_back_as_it_was_written() {
        let snapshot = |text| Snapshot::parse(text).unwrap();
        let pass = Some(Pass { bound: snapshot("10:20:10,15"), last: (12, 3) });
        let (history, seen) = (Some("7.1.x".to_owned()), Some(snapshot("1:1:")));
        for position in [
            SnapshotPosition { history: history.clone(), seen: seen.clone(), pass: None },
            SnapshotPosition { history: history.clone(), seen, pass: pass.clone() },
            SnapshotPosition { history, seen: None, pass },
        ] {
            assert_eq!(SnapshotPosition::parse(&position.to_cursor()).unwrap(), position);
        }
        assert_eq!(SnapshotPosition::parse(&Cursor::START).unwrap(), SnapshotPosition::default());
        for mark in ["", "x", "x/1", "x/1:1:/1:1:", "x/1:1:/1:1:/x/1", "x/1:1:/1:1:/1/"] {
            assert!(SnapshotPosition::parse(&Cursor::new(mark)).is_err(), "{mark}");
        }
    }

    #[test]
    fn a_history_of_the_same_name_that_has_given_out_fewer_numbers_is_another_one() {
        let snapshot = |text| Snapshot::parse(text).unwrap();
        let position = |mark| SnapshotPosition::parse(&Cursor::new(mark)).unwrap();
        let now = snapshot("15:20:15");
        assert!(position("a/10:20:10").is_of("a", &now));
        assert!(!position("a/10:20:10").is_of("b", &now));
        assert!(!position("a/10:21:10").is_of("a", &now));
        assert!(!position("a//10:21:10/1/1").is_of("a", &now));
        assert!(SnapshotPosition::default().is_of("a", &now));
    }
}
