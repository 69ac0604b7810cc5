//! The table is private, and named here: a change of it is made here, too.

use std::time::Instant;

use countersign::clock::{Clock as _, SystemClock};
use countersign::store::{PgPool, PostgresStore, TableNames, record};

use crate::{resident_bytes, revocation, service};

const COUNT: u64 = 1_000_000;

/// Has a start read a million from Postgres.
pub(crate) async fn measure() {
    let url = std::env::var("COUNTERSIGN_TEST_POSTGRES")
        .expect("the engine has to be named: run scripts/servers run -- cargo bench …");
    let pool = PgPool::connect(&url).await.unwrap();
    let schema = format!("bench_{}", std::process::id());
    let store = PostgresStore::new(pool.clone(), &TableNames::default().schema(&schema)).unwrap();
    store.migrate().await.unwrap();
    let from = SystemClock.now();
    for first in (0..COUNT).step_by(50_000) {
        let events: Vec<_> = (first..first + 50_000).map(|n| revocation(n, from)).collect();
        let until: Vec<_> =
            events.iter().map(|event| event.until().as_micros().cast_signed()).collect();
        let records: Vec<_> =
            events.iter().map(|event| record::write_event(event).unwrap()).collect();
        let insertion = format!(
            "INSERT INTO {schema}.countersign_revocations (until, record) \
             SELECT * FROM unnest($1::bigint[], $2::text[])"
        );
        sqlx::query(sqlx::AssertSqlSafe(insertion))
            .bind(until)
            .bind(records)
            .execute(&pool)
            .await
            .unwrap();
    }
    let tokens = service(store, SystemClock);
    let before = resident_bytes();
    let begun = Instant::now();
    tokens.catch_up().await.unwrap();
    let (took, held) = (begun.elapsed(), resident_bytes().saturating_sub(before));
    println!(
        "\n{COUNT} revocations, from Postgres: read by a start in {took:.1?}, {} MB",
        held >> 20
    );
    let dropping = format!("DROP SCHEMA {schema} CASCADE");
    sqlx::query(sqlx::AssertSqlSafe(dropping)).execute(&pool).await.unwrap();
}
