//! What revocations cost a node: memory, the time in which a start reads them, and what a check waits.
//!
//! ```text
//! cargo bench -p countersign-benches --bench revocations
//! scripts/servers run -- cargo bench -p countersign-benches --features engines --bench revocations
//! ```
//!
//! The first reads ten million out of a feed that is made up while it is read, so that no store takes
//! memory beside them; `REVOCATIONS` sets another number. The second reads a million from Postgres, too.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "a program that prints figures, and has nobody to tell its errors"
)]

#[cfg(feature = "engines")]
mod postgres;
#[cfg(not(feature = "engines"))]
mod postgres {
    pub(crate) async fn measure() {}
}

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use countersign::claims::TokenId;
use countersign::clock::{Clock, SystemClock};
use countersign::sessions::Session;
use countersign::store::{
    Cursor, FeedEvent, FeedPage, MemoryStore, PageRequest, Revocation, RevocationTarget,
    SessionFilter, SessionKey, SessionPage, SessionStore, Store, StoreError, Subject,
    SubjectSessions,
};
use countersign::{Algorithm, Grant, KeyRing, SealingKey, SessionId, Timestamp, TokenService};

const PART: u64 = 5_000;
const DAY: u64 = 86_400;

fn main() {
    let count = std::env::var("REVOCATIONS").ok().and_then(|text| text.parse().ok());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        in_memory(count.unwrap_or(10_000_000)).await;
        postgres::measure().await;
    });
}

fn revocation(number: u64, from: Timestamp) -> FeedEvent {
    // As many tokens as sessions, with ids as long as they are, and ends throughout the day.
    let until = from + Duration::from_secs(1 + number % DAY);
    let target = if number.is_multiple_of(2) {
        RevocationTarget::Token(TokenId::new(format!("jwt_{number:032x}")).unwrap())
    } else {
        RevocationTarget::Session(SessionId::new(format!("ses_{number:032x}")).unwrap())
    };
    Revocation { target, until }.into()
}

fn service(sessions: impl SessionStore, clock: impl Clock) -> TokenService {
    TokenService::builder()
        .issuer("https://auth.example.com")
        .audience("https://api.example.com")
        .keys(KeyRing::generate(Algorithm::EdDSA).unwrap())
        .clock(clock)
        .session_store(sessions)
        .sealing_key(SealingKey::from_bytes([7; 32]))
        .build()
        .unwrap()
}

/// Checks a known token all the while, each time as if something had been revoked since; returns the
/// longest time that a check took, and the median.
fn check_until(is_done: &AtomicBool, tokens: &TokenService, token: &str) -> (Duration, Duration) {
    let known = tokens.validator().validate(token).unwrap();
    let mut times = Vec::new();
    loop {
        let begun = Instant::now();
        tokens.validator().recheck(&known).unwrap();
        times.push(begun.elapsed());
        if is_done.load(Ordering::Relaxed) {
            break;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    times.sort();
    (*times.last().unwrap(), times[times.len() / 2])
}

/// Does something while tokens are checked.
async fn beside_checks<T>(
    tokens: &TokenService,
    token: &str,
    work: impl Future<Output = T>,
) -> (T, Duration, (Duration, Duration)) {
    let is_done = AtomicBool::new(false);
    let begun = Instant::now();
    let checking = {
        let (is_done, tokens, token) = (Arc::new(is_done), tokens.clone(), token.to_owned());
        let flag = Arc::clone(&is_done);
        let thread = std::thread::spawn(move || check_until(&flag, &tokens, &token));
        (is_done, thread)
    };
    let done = work.await;
    let took = begun.elapsed();
    checking.0.store(true, Ordering::Relaxed);
    (done, took, checking.1.join().unwrap())
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1_024
}

async fn in_memory(count: u64) {
    let clock = MovedClock::new();
    let store = MadeUpFeed { count, from: clock.now(), rest: MemoryStore::new() };
    let tokens = service(store, clock.clone());
    let issued = tokens.issue(Grant::customer("cus_1").lifetime(Duration::from_secs(DAY)));
    let token = issued.await.unwrap().access_token.expose().to_owned();
    let before = resident_bytes();
    let reading = tokens.catch_up();
    let (read, took, (longest, median)) = beside_checks(&tokens, &token, reading).await;
    read.unwrap();
    let held = resident_bytes() - before;
    println!("{count} revocations, in memory\n");
    println!("| | |\n|---|---|");
    println!("| memory | {:.1} bytes each, {} MB |", held as f64 / count as f64, held >> 20);
    println!(
        "| read by a start | {:.1} s, of which most makes the entries up |",
        took.as_secs_f64()
    );
    println!("| a check meanwhile | {median:?}, {longest:?} at the longest |");
    let idle = tokio::time::sleep(Duration::from_secs(2));
    let ((), _, (_, median)) = beside_checks(&tokens, &token, idle).await;
    println!("| a check with all of them | {median:?} |");
    clock.advance(Duration::from_secs(DAY / 2));
    let purging = tokens.purge_expired();
    let (purged, took, (longest, _)) = beside_checks(&tokens, &token, purging).await;
    purged.unwrap();
    println!("| forgetting half of them | {took:?}, a check waits {longest:?} at the longest |");
}

/// A clock that is moved by hand.
#[derive(Clone, Debug)]
struct MovedClock(Arc<AtomicU64>);

impl MovedClock {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(SystemClock.now().as_micros())))
    }

    fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// A store whose feed is made up while it is read.
#[derive(Clone, Debug)]
struct MadeUpFeed {
    count: u64,
    from: Timestamp,
    rest: MemoryStore,
}

#[async_trait]
impl Store for MadeUpFeed {
    fn is_durable(&self) -> bool {
        false
    }

    async fn is_current(&self) -> Result<bool, StoreError> {
        self.rest.is_current().await
    }

    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.rest.time().await
    }

    async fn read_sealing_check(&self) -> Result<Option<String>, StoreError> {
        self.rest.read_sealing_check().await
    }

    async fn write_sealing_check(&self, check: &str) -> Result<(), StoreError> {
        self.rest.write_sealing_check(check).await
    }
}

#[async_trait]
impl SessionStore for MadeUpFeed {
    async fn read_feed(&self, after: &Cursor, _wait: Duration) -> Result<FeedPage, StoreError> {
        let first: u64 = after.mark().map_or(0, |mark| mark.parse().unwrap());
        let end = (first + PART).min(self.count);
        let events = (first..end).map(|number| revocation(number, self.from)).collect();
        let is_complete = end == self.count;
        let next = Cursor::new(&end.to_string());
        Ok(FeedPage { events, next, is_complete, history_changed: false })
    }

    async fn publish(&self, event: FeedEvent) -> Result<(), StoreError> {
        self.rest.publish(event).await
    }

    async fn insert(&self, session: Session, now: Timestamp) -> Result<(), StoreError> {
        SessionStore::insert(&self.rest, session, now).await
    }

    async fn get(&self, key: &SessionKey) -> Result<Option<Session>, StoreError> {
        SessionStore::get(&self.rest, key).await
    }

    async fn replace(
        &self,
        session: Session,
        expected_version: u64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        SessionStore::replace(&self.rest, session, expected_version, now).await
    }

    async fn take(
        &self,
        key: &SessionKey,
        expected_version: u64,
    ) -> Result<Option<Session>, StoreError> {
        self.rest.take(key, expected_version).await
    }

    async fn remove(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        SessionStore::remove(&self.rest, id).await
    }

    async fn list(
        &self,
        filter: &SessionFilter,
        page: &PageRequest,
        now: Timestamp,
    ) -> Result<SessionPage, StoreError> {
        SessionStore::list(&self.rest, filter, page, now).await
    }

    async fn count(
        &self,
        subject: &Subject,
        now: Timestamp,
        up_to: usize,
    ) -> Result<usize, StoreError> {
        SessionStore::count(&self.rest, subject, now, up_to).await
    }

    async fn of_subject(
        &self,
        subject: &Subject,
        after: &Cursor,
        limit: usize,
    ) -> Result<SubjectSessions, StoreError> {
        self.rest.of_subject(subject, after, limit).await
    }

    async fn purge_expired(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.rest.purge_expired(now).await
    }
}
