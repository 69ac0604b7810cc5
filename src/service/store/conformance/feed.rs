use std::sync::Arc;
use std::time::Duration;

use crate::service::model::revocation::{Revocation, RevocationTarget};
use crate::service::model::subject::Subject;
use crate::service::store::conformance::{HOUR, RACERS, now, unique};
use crate::service::store::{Cursor, FeedEvent, SessionStore};
use crate::token::claims::SubjectType;

pub(super) fn event() -> FeedEvent {
    let subject = Subject::new(SubjectType::User, unique());
    let target = RevocationTarget::SubjectBefore {
        subject,
        before: now(),
        issued_before: now() + HOUR,
        blocked_until: Some(now() + HOUR),
        made_by: Some(u64::MAX),
    };
    Revocation { target, until: now() + HOUR }.into()
}

/// All that came after the cursor, in however many parts, and where to go on.
pub(super) async fn read_to_the_end(
    store: &dyn SessionStore,
    after: &Cursor,
) -> (Vec<FeedEvent>, Cursor) {
    let (mut all, mut after) = (Vec::new(), after.clone());
    loop {
        let part = store.read_feed(&after, Duration::ZERO).await.unwrap();
        assert!(!part.history_changed, "nothing was lost");
        all.extend(part.events);
        after = part.next;
        if part.is_complete {
            return (all, after);
        }
    }
}

pub(super) async fn the_feed_answers_all_that_came_after_the_cursor(store: &dyn SessionStore) {
    let (first, second) = (event(), event());
    store.publish(first.clone()).await.unwrap();
    let (read, next) = read_to_the_end(store, &Cursor::START).await;
    assert!(read.contains(&first), "the start is before everything");
    store.publish(second.clone()).await.unwrap();
    let (missed, next) = read_to_the_end(store, &next).await;
    assert!(missed.contains(&second), "who comes back gets what they missed");
    let end = store.read_feed(&next, Duration::from_millis(1)).await.unwrap();
    assert!(!end.events.contains(&second) || end.next == next);
}

pub(super) async fn the_feed_wakes_a_reader_that_waits(store: &Arc<dyn SessionStore>) {
    let (_, mut cursor) = read_to_the_end(&**store, &Cursor::START).await;
    let wanted = event();
    let reader = Arc::clone(store);
    let published = wanted.clone();
    let reading = tokio::spawn(async move {
        loop {
            let read = reader.read_feed(&cursor, HOUR).await.unwrap();
            if read.events.contains(&published) {
                return;
            }
            cursor = read.next;
        }
    });
    store.publish(wanted).await.unwrap();
    let woken = tokio::time::timeout(Duration::from_secs(30), reading).await;
    woken.expect("a reader that waits has to be woken").expect("the reader panicked");
}

pub(super) async fn the_feed_gives_everything_to_each_reader(store: &dyn SessionStore) {
    let (_, from) = read_to_the_end(store, &Cursor::START).await;
    let written: Vec<_> = (0..10).map(|_| event()).collect();
    for event in &written {
        store.publish(event.clone()).await.unwrap();
    }
    for _ in 0..3 {
        let (read, _) = read_to_the_end(store, &from).await;
        assert!(written.iter().all(|event| read.contains(event)));
    }
}

/// How much one read returns is the store's own business: whoever goes on until that was all has
/// everything that was published before.
pub(super) async fn a_feed_that_is_followed_while_others_publish_loses_nothing(
    store: &Arc<dyn SessionStore>,
) {
    let (_, mut after) = read_to_the_end(&**store, &Cursor::START).await;
    let publish = |_| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let published = [event(), event()];
            for event in &published {
                store.publish(event.clone()).await.unwrap();
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
        let missing = published.iter().filter(|event| !heard.contains(event)).count();
        assert_eq!(missing, 0, "what was published before a read has to be in it or before it");
    }
}
