use std::sync::Arc;
use std::time::Duration;

use crate::service::model::revocation::{Revocation, RevocationTarget};
use crate::service::store::conformance::{HOUR, RACERS, now, unique};
use crate::service::store::{Cursor, SessionStore};
use crate::token::claims::SubjectType;

fn revocation() -> Revocation {
    let subject = unique();
    let target =
        RevocationTarget::SubjectBefore { subject_type: SubjectType::User, subject, before: now() };
    Revocation { target, until: now() + HOUR }
}

/// All that came after the cursor, in however many parts, and where to go on.
pub(super) async fn read_to_the_end(
    store: &dyn SessionStore,
    after: &Cursor,
) -> (Vec<Revocation>, Cursor) {
    let (mut all, mut after) = (Vec::new(), after.clone());
    loop {
        let part = store.revocations(&after, Duration::ZERO).await.unwrap();
        all.extend(part.revocations);
        after = part.next;
        if part.is_complete {
            return (all, after);
        }
    }
}

pub(super) async fn the_feed_answers_all_that_came_after_the_cursor(store: &dyn SessionStore) {
    let (first, second) = (revocation(), revocation());
    store.revoke(first.clone()).await.unwrap();
    let (read, next) = read_to_the_end(store, &Cursor::START).await;
    assert!(read.contains(&first), "the start is before everything");
    store.revoke(second.clone()).await.unwrap();
    let (missed, next) = read_to_the_end(store, &next).await;
    assert!(missed.contains(&second), "who comes back gets what they missed");
    let end = store.revocations(&next, Duration::from_millis(1)).await.unwrap();
    assert!(!end.revocations.contains(&second) || end.next == next);
}

pub(super) async fn the_feed_wakes_a_reader_that_waits(store: &Arc<dyn SessionStore>) {
    let (_, mut cursor) = read_to_the_end(&**store, &Cursor::START).await;
    let wanted = revocation();
    let reader = Arc::clone(store);
    let published = wanted.clone();
    let reading = tokio::spawn(async move {
        loop {
            let read = reader.revocations(&cursor, HOUR).await.unwrap();
            if read.revocations.contains(&published) {
                return;
            }
            cursor = read.next;
        }
    });
    store.revoke(wanted).await.unwrap();
    let woken = tokio::time::timeout(Duration::from_secs(30), reading).await;
    woken.expect("a reader that waits has to be woken").expect("the reader panicked");
}

pub(super) async fn the_feed_gives_everything_to_each_reader(store: &dyn SessionStore) {
    let (_, from) = read_to_the_end(store, &Cursor::START).await;
    let written: Vec<_> = (0..10).map(|_| revocation()).collect();
    for revocation in &written {
        store.revoke(revocation.clone()).await.unwrap();
    }
    for _ in 0..3 {
        let (read, _) = read_to_the_end(store, &from).await;
        assert!(written.iter().all(|revocation| read.contains(revocation)));
    }
}

/// How much one read answers is the store's own business: whoever goes on until that was all has
/// everything that was published before.
pub(super) async fn a_feed_that_is_followed_while_others_publish_loses_nothing(
    store: &Arc<dyn SessionStore>,
) {
    let (_, mut after) = read_to_the_end(&**store, &Cursor::START).await;
    let publish = |_| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let published = [revocation(), revocation()];
            for revocation in &published {
                store.revoke(revocation.clone()).await.unwrap();
            }
            published
        })
    };
    let mut published = Vec::new();
    let mut heard = Vec::new();
    for publisher in (0..RACERS).map(publish).collect::<Vec<_>>() {
        published.extend(publisher.await.expect("a publisher panicked"));
        let (read, next) = read_to_the_end(&**store, &after).await;
        heard.extend(read);
        after = next;
        let missing = published.iter().filter(|revocation| !heard.contains(revocation)).count();
        assert_eq!(missing, 0, "what was published before a read has to be in it or before it");
    }
}
