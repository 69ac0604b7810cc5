//! The revocation feed: read by snapshots, and in parts.
//!
//! A transaction's number is given out before its commit, and transactions overtake one another. So a
//! reader remembers no number but a snapshot, and reads what that could not see. Where this is more
//! than one read can answer, the snapshot of the first part stays that of all of them: a pass ends at
//! what it could see, however much is published meanwhile, and what commits late is of the next pass,
//! on whichever side of the reader its number is.

use crate::service::store::postgres::PostgresStore;
use crate::service::store::sql::{FEED_LIMIT, rows, statement};
use crate::service::store::{Cursor, FeedPage, StoreError, record};

/// A row of the feed; without a revocation, where there is none.
type Row = (String, bool, Option<String>, Option<i64>, Option<String>);

/// How far a reader has come: the snapshot whose revocations it has read, none at the start, and,
/// where a pass is under way, where that one is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct SnapshotPosition<'a> {
    seen: Option<&'a str>,
    pass: Option<Pass<'a>>,
}

/// A pass that has not ended: its snapshot, and the last revocation that it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pass<'a> {
    bound: &'a str,
    last: (u64, i64),
}

impl<'a> SnapshotPosition<'a> {
    fn parse(cursor: &'a Cursor) -> Result<Self, StoreError> {
        let Some(mark) = cursor.mark() else { return Ok(Self::default()) };
        let mut parts = mark.split('/');
        let seen = parts.next().filter(|seen| !seen.is_empty());
        let Some(bound) = parts.next() else { return Ok(Self { seen, pass: None }) };
        let no_cursor = || StoreError::corrupt("not a cursor of the feed");
        let (xid, id) = (parts.next().ok_or_else(no_cursor)?, parts.next().ok_or_else(no_cursor)?);
        let last =
            (xid.parse().map_err(StoreError::corrupt)?, id.parse().map_err(StoreError::corrupt)?);
        Ok(Self { seen, pass: Some(Pass { bound, last }) })
    }

    fn to_cursor(self) -> Cursor {
        let seen = self.seen.unwrap_or_default();
        match self.pass {
            Some(Pass { bound, last: (xid, id) }) => {
                Cursor::new(&format!("{seen}/{bound}/{xid}/{id}"))
            }
            None => Cursor::new(seen),
        }
    }

    /// What is read comes after this one. Of a pass that begins, it is the oldest transaction that
    /// the snapshot could not see the end of.
    fn last(self) -> Result<(u64, i64), StoreError> {
        let oldest = || self.seen.and_then(|seen| seen.split(':').next()).unwrap_or("0");
        match self.pass {
            Some(pass) => Ok(pass.last),
            None => Ok((oldest().parse().map_err(StoreError::corrupt)?, 0)),
        }
    }
}

/// One part of what was published.
///
/// At the start, what is from a future that this cluster does not know is read, too: it came out of a
/// dump of another one.
pub(super) fn read_statement(revocations: &str) -> sqlx::SqlStr {
    statement(format!(
        "WITH pass AS MATERIALIZED (SELECT pg_current_snapshot() AS now, \
         $1::text::pg_snapshot AS seen, \
         coalesce($2::text::pg_snapshot, pg_current_snapshot()) AS bound) \
         SELECT pass.now::text, pg_snapshot_xmax(pass.now) \
         < greatest(pg_snapshot_xmin(pass.seen), pg_snapshot_xmin(pass.bound)), \
         published.xid::text, published.id, published.record \
         FROM pass LEFT JOIN LATERAL (SELECT xid, id, record FROM {revocations} \
         WHERE (xid, id) > ($3::text::xid8, $4) \
         AND (pass.seen IS NULL OR NOT pg_visible_in_snapshot(xid, pass.seen)) \
         AND (pg_visible_in_snapshot(xid, pass.bound) \
         OR pass.seen IS NULL AND xid >= pg_snapshot_xmax(pass.now)) \
         ORDER BY xid, id LIMIT $5) AS published ON true"
    ))
}

impl PostgresStore {
    pub(super) async fn read_page(&self, after: Cursor) -> Result<FeedPage, StoreError> {
        let (is_other_cluster, news) = self.read_part(SnapshotPosition::parse(&after)?).await?;
        if is_other_cluster {
            Ok(self.read_part(SnapshotPosition::default()).await?.1)
        } else {
            Ok(news)
        }
    }

    /// The next part, and whether the position is from a future that this cluster does not know:
    /// then it is of another one, and its numbers mean nothing.
    async fn read_part(
        &self,
        position: SnapshotPosition<'_>,
    ) -> Result<(bool, FeedPage), StoreError> {
        let (xid, id) = position.last()?;
        let xid = xid.to_string();
        let reading = self.retry(|| {
            sqlx::query_as::<_, Row>(self.inner.read_feed.clone())
                .bind(position.seen)
                .bind(position.pass.map(|pass| pass.bound))
                .bind(&xid)
                .bind(id)
                .bind(rows(FEED_LIMIT))
                .fetch_all(self.reader())
        });
        let published = reading.await?.value;
        let Some((now, is_other_cluster, ..)) = published.first() else {
            return Err(StoreError::corrupt("the feed has no row, not even an empty one"));
        };
        let mut last = None;
        let mut events = Vec::with_capacity(published.len());
        for (_, _, xid, id, record) in &published {
            let (Some(xid), Some(id), Some(record)) = (xid, id, record) else { continue };
            last = last.max(Some((xid.parse().map_err(StoreError::corrupt)?, *id)));
            events.push(record::read_event(record, &format!("{xid}/{id}")));
        }
        let bound = position.pass.map_or(now.as_str(), |pass| pass.bound);
        let next = match last {
            Some(last) if events.len() >= FEED_LIMIT => {
                SnapshotPosition { seen: position.seen, pass: Some(Pass { bound, last }) }
            }
            _ => SnapshotPosition { seen: Some(bound), pass: None },
        };
        // What was published since a pass began is not known at its end, unless it began just now.
        let is_complete = next.pass.is_none() && position.pass.is_none();
        let next = next.to_cursor();
        Ok((*is_other_cluster, FeedPage { events, next, is_complete }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_back_as_it_was_written() {
        let pass = Some(Pass { bound: "10:20:10,15", last: (12, 3) });
        for position in [
            SnapshotPosition { seen: Some("1:1:"), pass: None },
            SnapshotPosition { seen: Some("1:1:"), pass },
            SnapshotPosition { seen: None, pass },
        ] {
            assert_eq!(SnapshotPosition::parse(&position.to_cursor()).unwrap(), position);
        }
        assert_eq!(SnapshotPosition::parse(&Cursor::START).unwrap(), SnapshotPosition::default());
        for mark in ["1:1:/1:1:", "1:1:/1:1:/x/1", "1:1:/1:1:/1/"] {
            assert!(SnapshotPosition::parse(&Cursor::new(mark)).is_err(), "{mark}");
        }
    }
}
