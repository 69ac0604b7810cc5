//! A SQLite file as operators run it: one that cannot be opened, and one whose write-ahead log has grown.

use std::error::Error as _;
use std::path::PathBuf;

use countersign::ErrorKind;
use countersign::clock::{Clock as _, SystemClock};
use countersign::store::{SessionStore as _, SqliteStore};

use crate::sqlite_store::sqlite;
use crate::support::durable::{File, revocation};

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_an_error_that_names_the_cause() {
    let file = File::new();
    let folder = file.path().parent().unwrap().join("folder");
    std::fs::create_dir_all(&folder).unwrap();
    let text = folder.join("text");
    std::fs::write(&text, "no database, but a text that is long enough for its header").unwrap();
    for (path, cause) in [
        (PathBuf::from("/nonexistent/folder/tokens.sqlite"), "No such file or directory"),
        (text.join("tokens.sqlite"), "Not a directory"),
        (folder.clone(), "Is a directory"),
        (text, "not a database"),
    ] {
        let error = SqliteStore::open(&path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let source = error.source().unwrap().to_string();
        assert!(source.contains(cause), "{}: {source}", path.display());
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Has a file's write-ahead log grow while somebody reads, and returns its path.
async fn with_a_long_log(file: &File) -> PathBuf {
    let pool = sqlite(file).await;
    let mut reader = pool.begin().await.unwrap();
    sqlx::query("SELECT count(*) FROM countersign_sessions").execute(&mut *reader).await.unwrap();
    let grow = "CREATE TABLE ballast (bytes BLOB); INSERT INTO ballast VALUES (zeroblob(20000000))";
    sqlx::raw_sql(grow).execute(&pool).await.unwrap();
    let log = PathBuf::from(format!("{}-wal", file.path().display()));
    assert!(log.metadata().unwrap().len() > 20_000_000);
    reader.rollback().await.unwrap();
    pool.close().await;
    log
}

#[tokio::test]
async fn a_purge_cuts_the_log_that_a_long_reader_has_let_grow() {
    let file = File::new();
    let store = file.node().await;
    let log = with_a_long_log(&file).await;
    store.purge_expired(SystemClock.now()).await.unwrap();
    assert_eq!(log.metadata().unwrap().len(), 0);
}

#[tokio::test]
async fn writes_cut_the_log_that_a_long_reader_has_let_grow() {
    let file = File::new();
    let store = file.node().await;
    let log = with_a_long_log(&file).await;
    for _ in 0..3 {
        store.publish(revocation()).await.unwrap();
    }
    assert!(log.metadata().unwrap().len() < 10_000_000, "{:?}", log.metadata());
}

#[tokio::test]
async fn a_purge_waits_for_no_reader_of_the_log() {
    let file = File::new();
    let store = file.node().await;
    let pool = sqlite(&file).await;
    let mut reader = pool.begin().await.unwrap();
    sqlx::query("SELECT count(*) FROM countersign_sessions").execute(&mut *reader).await.unwrap();
    store.publish(revocation()).await.unwrap();
    // It would be waited for for ever.
    store.purge_expired(SystemClock.now()).await.unwrap();
    store.publish(revocation()).await.unwrap();
    reader.rollback().await.unwrap();
}
