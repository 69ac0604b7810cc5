//! Feeds of revocations that are longer than one read: they are read in parts, and nothing of them is
//! lost, whatever is published or commits meanwhile. Redis has its own in `redis_store`.

use std::sync::Arc;
use std::time::Duration;

use countersign::store::{Cursor, FeedEvent, PgPool, SessionStore, conformance};
use countersign::tokens::IssuedToken;
use countersign::{Algorithm, Grant, KeyRing, SealingKey};
use sqlx::AssertSqlSafe;

use crate::servers::Postgres;
use crate::support::Fixture;
use crate::support::durable::{
    MANY, MINUTE, ONE_PART, Reading, a_long_feed_is_read_in_parts, an_empty_part_is_not_waited_for,
    records, revocation, until,
};

async fn insert(
    database: &Postgres,
    connection: impl sqlx::Executor<'_, Database = sqlx::Postgres>,
    published: &[FeedEvent],
) {
    let insertion = format!(
        "INSERT INTO {}.countersign_revocations (until, record) SELECT $1, unnest($2::text[])",
        database.schema
    );
    sqlx::query(AssertSqlSafe(insertion))
        .bind(until(&published[0]))
        .bind(records(published))
        .execute(connection)
        .await
        .unwrap();
}

/// Publishes many in three transactions.
async fn fill_database(database: &Postgres, pool: &PgPool, count: usize) -> Vec<FeedEvent> {
    let published: Vec<_> = (0..count).map(|_| revocation()).collect();
    for part in published.chunks(count.div_ceil(3)) {
        insert(database, pool, part).await;
    }
    published
}

#[tokio::test]
async fn of_a_database_a_long_feed_is_read_in_parts_and_nothing_is_lost_or_left() {
    let (database, pool) = (Postgres::new().await, Postgres::pool().await);
    let store = database.node().await;
    a_long_feed_is_read_in_parts(&store, async || fill_database(&database, &pool, MANY).await)
        .await;
}

#[tokio::test]
async fn a_part_that_is_empty_is_not_waited_for() {
    let (database, pool) = (Postgres::new().await, Postgres::pool().await);
    let node = database.node().await;
    fill_database(&database, &pool, ONE_PART).await;
    an_empty_part_is_not_waited_for(&node).await;
    // Of the database, the part that ends a pass is followed by what came since: also who would
    // wait has it at once.
    let first = node.read_feed(&Cursor::START, MINUTE).await.unwrap();
    let second = tokio::time::timeout(MINUTE / 2, node.read_feed(&first.next, MINUTE));
    let second = second.await.expect("what is there is not waited for").unwrap();
    assert!(second.events.is_empty() && !second.is_complete);
}

#[tokio::test]
async fn what_commits_late_while_a_feed_is_read_in_parts_is_not_lost() {
    let (database, pool) = (Postgres::new().await, Postgres::pool().await);
    let (reader, writer) = (database.node().await, database.node().await);
    let mut cursor = Cursor::START;
    for _ in 0..2 {
        // Its number is the lowest of all: the reader is past it when it commits.
        let (early, amid, late) = (revocation(), revocation(), revocation());
        let mut first_transaction = pool.begin().await.unwrap();
        insert(&database, &mut *first_transaction, std::slice::from_ref(&early)).await;
        let published = fill_database(&database, &pool, MANY).await;
        // And this one's is the highest, when the reader begins.
        let mut last_transaction = pool.begin().await.unwrap();
        insert(&database, &mut *last_transaction, std::slice::from_ref(&late)).await;

        let mut reading = Reading::default();
        let first = reader.read_feed(&cursor, Duration::ZERO).await.unwrap();
        assert!(!first.is_complete);
        reading.add(&first);
        first_transaction.commit().await.unwrap();
        writer.publish(amid.clone()).await.unwrap();
        let second = reader.read_feed(&first.next, Duration::ZERO).await.unwrap();
        assert!(!second.is_complete);
        reading.add(&second);
        last_transaction.commit().await.unwrap();
        cursor = reading.read_to_the_end(&reader, second.next).await;
        reading.has_all(&published);
        reading.has_all(&[early, amid, late]);
    }
}

#[tokio::test]
async fn what_a_dump_of_a_cluster_that_was_further_on_brought_is_read_in_parts_as_well() {
    let (database, pool) = (Postgres::new().await, Postgres::pool().await);
    let mut published = fill_database(&database, &pool, MANY).await;
    let restored =
        format!("UPDATE {}.countersign_revocations SET xid = '900000000000'", database.schema);
    sqlx::query(AssertSqlSafe(restored)).execute(&pool).await.unwrap();
    let store = database.node().await;
    published.push(revocation());
    store.publish(published[MANY].clone()).await.unwrap();
    let mut reading = Reading::default();
    let cursor = reading.read_to_the_end(&store, Cursor::START).await;
    reading.has_all(&published);
    assert!(reading.parts.iter().all(|part| *part <= ONE_PART), "{:?}", reading.parts);
    let end = store.read_feed(&cursor, Duration::ZERO).await.unwrap();
    assert!(end.events.is_empty() && end.is_complete);
}

/// How often the index of the feed was searched, how many entries of it were read, and how many rows
/// without it.
async fn work(database: &Postgres, pool: &PgPool) -> (i64, i64, i64) {
    let counted = "SELECT idx_scan, idx_tup_read, coalesce(seq_tup_read, 0) \
                   FROM pg_stat_user_indexes JOIN pg_stat_user_tables USING (relid) \
                   WHERE pg_stat_user_indexes.schemaname = $1 \
                   AND indexrelname = 'countersign_revocations_in_order'";
    // `idx_scan` is a column of both.
    let counted = counted.replace("idx_scan", "pg_stat_user_indexes.idx_scan");
    sqlx::query_as(AssertSqlSafe(counted)).bind(&database.schema).fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn a_transaction_that_stays_open_makes_no_read_long() {
    let (database, pool) = (Postgres::new().await, Postgres::pool().await);
    let store = database.node().await;
    let early = revocation();
    let mut open = pool.begin().await.unwrap();
    insert(&database, &mut *open, std::slice::from_ref(&early)).await;
    fill_database(&database, &pool, MANY * 4).await;
    let analyze = format!("ANALYZE {}.countersign_revocations", database.schema);
    sqlx::query(AssertSqlSafe(analyze)).execute(&pool).await.unwrap();
    let mut reading = Reading::default();
    let mut cursor = reading.read_to_the_end(&store, Cursor::START).await;
    assert!(!reading.names.contains(&crate::support::durable::name(&early)));

    // What was done is told within a second or so.
    let (mut before, mut reads) = (work(&database, &pool).await, 0);
    let reading_on = async {
        loop {
            cursor = store.read_feed(&cursor, Duration::ZERO).await.unwrap().next;
            reads += 1;
            let after = work(&database, &pool).await;
            if reads < 20 {
                // Some of it is of the reads that came before.
                before = after;
            } else if after.0 >= before.0 + 20 {
                return (after.0 - before.0, after.1 - before.1, after.2 - before.2);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (searches, entries, rows) = tokio::time::timeout(MINUTE, reading_on).await.unwrap();
    assert_eq!(rows, 0, "the table is not searched");
    assert!(entries <= searches, "{entries} entries in {searches} searches");
    open.commit().await.unwrap();
    let end = store.read_feed(&cursor, Duration::ZERO).await.unwrap();
    assert_eq!(end.events, [early]);
}

#[tokio::test]
async fn a_position_of_another_cluster_within_a_long_feed_reads_all_again() {
    let database = Postgres::new().await;
    let store = database.node().await;
    let published = revocation();
    store.publish(published.clone()).await.unwrap();
    let end = store.read_feed(&Cursor::START, Duration::ZERO).await.unwrap().next;
    let (history, _) = end.mark().unwrap().split_once('/').unwrap();
    let ahead = "900000000000:900000000000:";
    for mark in [
        format!("{history}/{ahead}"),
        format!("{history}/{ahead}/{ahead}/900000000000/7"),
        format!("{history}//{ahead}/900000000000/7"),
        "another/1:1:".to_owned(),
    ] {
        let read = store.read_feed(&Cursor::new(&mark), Duration::ZERO).await.unwrap();
        assert_eq!(read.events, std::slice::from_ref(&published));
        assert!(read.history_changed && read.is_complete);
    }
    for mark in ["x/1:1:/1:1:", "x/1:1:/1:1:/7", "x/1:1:/1:1:/x/7", "nonsense"] {
        store.read_feed(&Cursor::new(mark), Duration::ZERO).await.unwrap_err();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_whose_feed_is_long_keeps_the_contract() {
    let (database, pool) = (Postgres::new().await, Postgres::pool().await);
    fill_database(&database, &pool, MANY).await;
    conformance::check_session_store(Arc::new(database.node().await)).await;
}

#[tokio::test]
async fn a_node_that_starts_catches_up_with_all_parts_of_a_long_feed() {
    let (database, pool) = (Postgres::new().await, Postgres::pool().await);
    fill_database(&database, &pool, MANY).await;
    let ring = KeyRing::generate(Algorithm::EdDSA).unwrap();
    let node = async || {
        let (store, ring) = (database.node().await, ring.clone());
        let key = SealingKey::from_bytes([7; 32]);
        Fixture::with_keys(ring, |builder| builder.session_store(store).sealing_key(key)).tokens
    };
    let (old, new) = (node().await, node().await);
    old.catch_up().await.unwrap();
    let (ended, good) = (old.issue(Grant::user("ops")).await, old.issue(Grant::user("ops")).await);
    let (ended, good) = (ended.unwrap(), good.unwrap());
    old.revoke_token(&ended.token_id).await.unwrap();

    let is_accepted =
        |token: &IssuedToken| new.validator().validate(token.access_token.expose()).is_ok();
    assert!(!is_accepted(&good), "it has heard nothing");
    new.catch_up().await.unwrap();
    assert!(is_accepted(&good) && !is_accepted(&ended));
}
