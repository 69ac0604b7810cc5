//! The store in a file: the suite that every store passes, and what is its own.

use std::sync::Arc;
use std::time::Duration;

use countersign::clock::{Clock as _, SystemClock};
use countersign::store::{
    Cursor, FeedEvent, SessionStore, SqliteStore, Store as _, TableNames, conformance,
};
use countersign::testing::{FaultyStore, StoreFault, StoreVerb};
use countersign::{
    Algorithm, AuthenticationToken, ErrorKind, ExchangeRequest, Grant, KeyRing, ManagedKeys,
    Password, RequestContext, SealingKey, Secret, TokenService,
};
use proptest::prelude::*;
use proptest_state_machine::prop_state_machine;
use serde_json::json;

use crate::support::durable::{
    File, MANY, MINUTE, ONE_PART, a_long_feed_is_read_in_parts, an_empty_part_is_not_waited_for,
    each_session_is_taken_once, fixture_over, fixture_with, no_secret_is_in, records, revocation,
    revocation_until, session, until, what_the_first_release_wrote_is_in,
};
use crate::support::managed_keys::{a_retired_key_stays_retired, no_private_key_is_in};
use crate::support::models::driver::{Over, Store, policy};
use crate::support::models::secrets::Machine;
use crate::support::models::sessions::Customers;
use crate::support::{AUDIENCE, Fixture, ISSUER, PASSWORD};

/// Publishes many in one transaction.
async fn fill_file(file: &File, count: usize) -> Vec<FeedEvent> {
    let published: Vec<_> = (0..count).map(|_| revocation()).collect();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file.path());
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let insertion = "INSERT INTO countersign_revocations (until, record) \
                     SELECT $1, value FROM json_each($2)";
    sqlx::query(insertion)
        .bind(until(&published[0]))
        .bind(serde_json::to_string(&records(&published)).unwrap())
        .execute(&pool)
        .await
        .unwrap();
    published
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_keeps_the_contract_of_entities() {
    conformance::check_entity_store(Arc::new(File::new().node().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_keeps_the_contract_of_sessions() {
    let file = File::new();
    conformance::check_session_store(Arc::new(file.node().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_one_file_each_session_is_taken_once_by_one_of_several_nodes() {
    let file = File::new();
    let nodes = [file.node().await, file.node().await, file.node().await];
    each_session_is_taken_once(nodes.map(|node| Arc::new(node) as _).into()).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let file = File::new();
    file.node().await;
    for entry in std::fs::read_dir(&file.0).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
}

#[tokio::test]
async fn a_backlog_is_purged_in_parts_and_what_is_live_stays() {
    let file = File::new();
    let store = file.node().await;
    let now = SystemClock.now();
    for _ in 0..1_500 {
        let mut ended = session(now - MINUTE * 3);
        ended = ended.next_version(now);
        SessionStore::insert(&store, ended, now).await.unwrap();
    }
    let live = session(now);
    SessionStore::insert(&store, live.clone(), now).await.unwrap();
    let parts = [
        store.purge_expired(now).await.unwrap(),
        store.purge_expired(now).await.unwrap(),
        store.purge_expired(now).await.unwrap(),
    ];
    assert_eq!(parts, [1_000, 500, 0]);
    assert!(SessionStore::get(&store, &live.key()).await.unwrap().is_some());
}

#[tokio::test]
async fn what_was_answered_is_there_after_the_process_is_gone() {
    let file = File::new();
    let token = {
        let first = fixture_over(file.node().await).await;
        first.user("ops", json!([])).await;
        first.machine("aa-1", "the-secret-of-a-machine").await;
        first.session(|new| new).await
    };
    let second = fixture_over(file.node().await).await;
    let context = RequestContext::without_address();
    let password = Password::new(PASSWORD).unwrap();
    second.tokens.issue_user_token("ops", password, &context).await.unwrap();
    let secret = Secret::presented("the-secret-of-a-machine");
    second.tokens.issue_machine_token("aa-1", &secret, &context).await.unwrap();
    let token = AuthenticationToken::from_text(&token).unwrap();
    second.tokens.exchange(&token, ExchangeRequest::default(), &context).await.unwrap();
}

#[tokio::test]
async fn a_store_that_lasts_needs_a_sealing_key_that_does() {
    let store = File::new().node().await;
    let built = TokenService::builder()
        .issuer("https://auth.example.com")
        .audience("https://api.example.com")
        .keys(countersign::KeyRing::generate(countersign::Algorithm::EdDSA).unwrap())
        .session_store(store)
        .build();
    assert_eq!(built.unwrap_err().kind(), ErrorKind::Configuration);
}

#[tokio::test]
async fn no_secret_is_in_the_file_in_the_clear() {
    let file = File::new();
    no_secret_is_in(&fixture_over(file.node().await).await, async || file.bytes()).await;
}

/// What the first release wrote. It is never changed: a later release has to read it.
const FIRST_FORM: &str = include_str!("first_form.sql");

#[tokio::test]
async fn what_the_first_release_wrote_is_read() {
    let file = File::new();
    sqlx::raw_sql(FIRST_FORM).execute(&sqlite(&file).await).await.unwrap();
    what_the_first_release_wrote_is_in(&fixture_over(file.node().await).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_at_once_make_the_tables_of_a_file_once() {
    for _ in 0..20 {
        let file = File::new();
        let opening = (0..8).map(|_| {
            let path = file.path();
            tokio::spawn(async move { SqliteStore::open(path).await?.migrate().await })
        });
        for start in opening.collect::<Vec<_>>() {
            start.await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn tables_of_a_later_release_are_left_alone() {
    let file = File::new();
    file.node().await;
    let later = "INSERT INTO countersign_migrations VALUES (2000)";
    sqlx::query(later).execute(&sqlite(&file).await).await.unwrap();
    let store = SqliteStore::open(file.path()).await.unwrap();
    assert_eq!(store.migrate().await.unwrap_err().kind(), ErrorKind::Configuration);
}

#[tokio::test]
async fn a_file_that_was_not_migrated_is_an_error_at_the_start_that_names_the_remedy() {
    let file = File::new();
    let unmigrated = SqliteStore::open(file.path()).await.unwrap();
    assert!(!unmigrated.is_current().await.unwrap());
    let fixture = Fixture::with(|builder| {
        builder.store(unmigrated.clone()).sealing_key(SealingKey::from_bytes([1; 32]))
    });
    let error = fixture.tokens.start().await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("`migrate`"), "{error}");
    unmigrated.migrate().await.unwrap();
    assert!(unmigrated.is_current().await.unwrap());
    fixture.tokens.start().await.unwrap().shutdown().await;
}

#[tokio::test]
async fn what_is_current_is_not_written_to_by_a_migration() {
    let file = File::new();
    file.node().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file.path());
    let writer = sqlx::SqlitePool::connect_with(options).await.unwrap();
    // A second writer waits, and is then rejected.
    let _writing = writer.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let node = SqliteStore::open(file.path()).await.unwrap();
    node.migrate().await.unwrap();
}

pub async fn sqlite(file: &File) -> sqlx::SqlitePool {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file.path());
    sqlx::SqlitePool::connect_with(options.create_if_missing(true)).await.unwrap()
}

#[tokio::test]
async fn names_that_are_no_names_are_rejected_and_a_file_has_no_schema() {
    let file = File::new();
    for names in
        [TableNames::default().prefix("x; DROP TABLE users"), TableNames::default().schema("auth")]
    {
        let error = SqliteStore::open_with(file.path(), &names).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
    }
}

#[tokio::test]
async fn a_cursor_of_a_file_before_a_restore_reads_all_again() {
    let file = File::new();
    let store = file.node().await;
    let published = revocation();
    store.publish(published.clone()).await.unwrap();
    for mark in ["1000/00", "1/00"] {
        let read = store.read_feed(&Cursor::new(mark), Duration::ZERO).await.unwrap();
        assert_eq!(read.events, std::slice::from_ref(&published));
        assert!(read.history_changed && read.is_complete);
        let end = store.read_feed(&read.next, Duration::ZERO).await.unwrap();
        assert!(end.events.is_empty() && !end.history_changed);
    }
    for mark in ["1", "x/00", "nonsense"] {
        store.read_feed(&Cursor::new(mark), Duration::ZERO).await.unwrap_err();
    }
}

/// What a file holds, and puts back as `sqlite3 tokens.sqlite '.restore backup.sqlite'` does under the processes
/// that run.
struct Backup {
    pool: sqlx::SqlitePool,
    path: std::path::PathBuf,
}

impl Backup {
    async fn of(file: &File) -> Self {
        let backup = Self { pool: sqlite(file).await, path: file.0.join("backup.sqlite") };
        let copy = format!("VACUUM INTO '{}'", backup.path.display());
        sqlx::query(sqlx::AssertSqlSafe(copy)).execute(&backup.pool).await.unwrap();
        backup
    }

    async fn restore(&self) {
        let mut connection = self.pool.acquire().await.unwrap();
        let attach = format!("ATTACH '{}' AS backup", self.path.display());
        sqlx::query(sqlx::AssertSqlSafe(attach)).execute(&mut *connection).await.unwrap();
        let restore = ["revocations", "sessions"].map(|table| {
            format!(
                "DELETE FROM main.countersign_{table}; \
                 INSERT INTO main.countersign_{table} SELECT * FROM backup.countersign_{table};"
            )
        });
        let restore = format!(
            "BEGIN IMMEDIATE; {} \
             UPDATE main.sqlite_sequence SET seq = 1 WHERE name = 'countersign_revocations'; COMMIT",
            restore.join("")
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(restore)).execute(&mut *connection).await.unwrap();
    }
}

#[tokio::test]
async fn in_a_file_that_was_put_back_under_a_running_process_nothing_is_skipped() {
    let file = File::new();
    let (reader, writer) = (file.node().await, file.node().await);
    writer.publish(revocation()).await.unwrap();
    let backup = Backup::of(&file).await;
    for _ in 0..2 {
        writer.publish(revocation()).await.unwrap();
    }
    let read = reader.read_feed(&Cursor::START, Duration::ZERO).await.unwrap();
    assert_eq!(read.events.len(), 3);
    backup.restore().await;
    let published: Vec<_> = (0..3).map(|_| revocation()).collect();
    for event in &published {
        writer.publish(event.clone()).await.unwrap();
    }
    let again = reader.read_feed(&read.next, Duration::ZERO).await.unwrap();
    assert!(published.iter().all(|event| again.events.contains(event)));
    assert!(again.history_changed);
}

#[tokio::test]
async fn what_a_restore_has_undone_is_done_again_also_where_a_panic_came_before_it_was_noticed() {
    let file = File::new();
    let store = FaultyStore::new(file.node().await);
    let ring = KeyRing::generate(Algorithm::EdDSA).unwrap();
    let node = Fixture::with_keys(ring.clone(), |builder| {
        builder.store(store.clone()).sealing_key(SealingKey::from_bytes([7; 32]))
    });
    let _housekeeping = node.tokens.start().await.unwrap();
    let issued = node.tokens.issue(Grant::user("ops")).await.unwrap();
    let session = AuthenticationToken::from_text(node.session(|new| new).await).unwrap();
    let first = node.tokens.issue(Grant::user("ops")).await.unwrap();
    node.tokens.revoke_token(&first.token_id).await.unwrap();
    let backup = Backup::of(&file).await;
    let context = RequestContext::without_address();
    node.tokens.log_out_customer(&session, &context).await.unwrap();
    node.tokens.revoke_token(&issued.token_id).await.unwrap();
    node.tokens.catch_up().await.unwrap();
    // The reader that waits is woken, and its next call is a panic.
    store.fail(StoreVerb::ReadFeed, StoreFault::panic("a fault of the store"));
    let calls = store.calls(StoreVerb::ReadFeed);
    node.tokens.revoke_token(&first.token_id).await.unwrap();
    store.wait_for_calls(StoreVerb::ReadFeed, calls + 1).await;
    backup.restore().await;
    let other = Fixture::with_keys(ring, |builder| {
        builder.store(store.inner()).sealing_key(SealingKey::from_bytes([7; 32]))
    });
    let is_back = async || {
        other.tokens.catch_up().await.unwrap();
        let is_accepted = other.tokens.validator().validate(issued.access_token.expose()).is_ok();
        is_accepted || other.tokens.find_session(&session, &context).await.is_ok()
    };
    assert!(is_back().await);
    store.clear_faults();
    let ending = async {
        while is_back().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(MINUTE, ending).await.expect("both are ended again");
}

#[tokio::test]
async fn a_purge_changes_no_history() {
    let file = File::new();
    let store = file.node().await;
    let now = SystemClock.now();
    store.publish(revocation_until(now - MINUTE)).await.unwrap();
    store.publish(revocation_until(now - MINUTE)).await.unwrap();
    let end = store.read_feed(&Cursor::START, Duration::ZERO).await.unwrap().next;
    assert_eq!(store.purge_expired(now).await.unwrap(), 1, "readers know the file by the last");
    assert_eq!(store.purge_expired(now).await.unwrap(), 0);
    let published = revocation();
    store.publish(published.clone()).await.unwrap();
    let read = store.read_feed(&end, Duration::ZERO).await.unwrap();
    assert_eq!((read.events, read.history_changed), (vec![published], false));
}

#[tokio::test]
async fn of_a_file_a_long_feed_is_read_in_parts_and_nothing_is_lost_or_left() {
    let file = File::new();
    let store = file.node().await;
    a_long_feed_is_read_in_parts(&store, async || fill_file(&file, MANY).await).await;
}

#[tokio::test]
async fn a_part_of_a_long_feed_that_is_empty_is_not_waited_for() {
    let file = File::new();
    let node = file.node().await;
    fill_file(&file, ONE_PART).await;
    an_empty_part_is_not_waited_for(&node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_whose_feed_is_long_keeps_the_contract() {
    let file = File::new();
    let node = file.node().await;
    fill_file(&file, MANY).await;
    conformance::check_session_store(Arc::new(node)).await;
}

#[tokio::test]
async fn keys_in_a_store_that_lasts_need_a_sealing_key_that_does() {
    let keys = ManagedKeys::new(Algorithm::EdDSA).store(File::new().node().await);
    let built = TokenService::builder().issuer(ISSUER).audience(AUDIENCE).keys(keys).build();
    assert_eq!(built.unwrap_err().kind(), ErrorKind::Configuration);
}

#[tokio::test]
async fn no_private_key_is_in_a_file_in_the_clear() {
    let file = File::new();
    no_private_key_is_in(file.node().await, async || file.bytes()).await;
}

#[tokio::test]
async fn a_retired_key_stays_retired_where_its_older_record_is_put_back_into_a_file() {
    let file = File::new();
    let nodes = [file.node().await, file.node().await];
    let url = format!("sqlite://{}", file.path().display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let run = async |statement: &'static str| {
        sqlx::raw_sql(statement).execute(&pool).await.unwrap();
    };
    let save = async || run("CREATE TABLE saved AS SELECT * FROM countersign_signing_keys").await;
    let restore = async || {
        run("DELETE FROM countersign_signing_keys;
             INSERT INTO countersign_signing_keys SELECT * FROM saved;")
        .await;
    };
    a_retired_key_stays_retired(nodes, save, restore).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_keeps_the_contract_of_keys() {
    let file = File::new();
    conformance::check_key_store(Arc::new(file.node().await)).await;
}

pub struct OverSqlite;

impl Store for OverSqlite {
    type Place = File;

    async fn fixture() -> (Fixture, File) {
        let file = File::new();
        (fixture_with(file.node().await, policy()).await, file)
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn in_a_file_secrets_live_as_the_model_of_them_does(
        sequential 1..40 => Over<Machine, OverSqlite>
    );

    #[test]
    fn in_a_file_sessions_live_as_the_model_of_them_does(
        sequential 1..40 => Over<Customers, OverSqlite>
    );
}
