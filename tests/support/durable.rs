//! What holds of a store that lasts, and what its tests put into it.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign::claims::TokenId;
use countersign::clock::{Clock as _, SystemClock};
use countersign::entities::EntityFilter;
use countersign::sessions::Session;
use countersign::store::{
    Cursor, EntityStore, FeedEvent, FeedPage, KeyStore, Revocation, RevocationTarget, SessionStore,
    record,
};
use countersign::{
    AuthenticationToken, CustomerId, ExchangeRequest, Organization, Password, Policy,
    RequestContext, SealingKey, Secret, SessionId, SubjectType, Timestamp,
};
use serde_json::json;

use crate::support::{Fixture, PASSWORD, START, unique};

pub const MINUTE: Duration = Duration::from_secs(60);

/// A session of `cus_1` that lives for a minute.
pub fn session(now: Timestamp) -> Session {
    let key = AuthenticationToken::generate().unwrap().key();
    let id = SessionId::new(unique("sid-")).unwrap();
    Session::new(key, id, CustomerId::new("cus_1").unwrap(), now, now + MINUTE)
}

/// A revocation of a token that nobody has.
pub fn revocation() -> FeedEvent {
    revocation_until(SystemClock.now() + MINUTE)
}

/// The same, kept until an instant.
pub fn revocation_until(until: Timestamp) -> FeedEvent {
    let target = RevocationTarget::Token(TokenId::new(unique("jti-")).unwrap());
    Revocation { target, until }.into()
}

/// A service over a store that lasts.
pub async fn fixture_over(store: impl EntityStore + SessionStore + KeyStore + Clone) -> Fixture {
    fixture_with(store, Policy::default()).await
}

/// The same, with a policy.
pub async fn fixture_with(
    store: impl EntityStore + SessionStore + KeyStore + Clone,
    policy: Policy,
) -> Fixture {
    let fixture = Fixture::with(|builder| {
        let key = SealingKey::from_bytes([7; 32]);
        builder.store(store).sealing_key(key).policy(policy)
    });
    fixture.tokens.catch_up().await.unwrap();
    fixture
}

/// Takes every one of a number of sessions on several nodes at once.
pub async fn each_session_is_taken_once(nodes: Vec<Arc<dyn SessionStore>>) {
    let now = SystemClock.now();
    let mut takes = Vec::new();
    for _ in 0..20 {
        let session = session(now);
        nodes[0].insert(session.clone(), now).await.unwrap();
        let takers = nodes.iter().cycle().take(15).map(|node| {
            let (node, key, version) = (Arc::clone(node), session.key(), session.version());
            tokio::spawn(async move { node.take(&key, version).await.unwrap().is_some() })
        });
        takes.push(takers.collect::<Vec<_>>());
    }
    for takers in takes {
        let mut winners = 0;
        for taker in takers {
            winners += usize::from(taker.await.unwrap());
        }
        assert_eq!(winners, 1);
    }
}

/// Has a service keep one of each, and looks for it in all that its store holds.
pub async fn no_secret_is_in(fixture: &Fixture, dump: impl AsyncFn() -> Vec<u8>) {
    fixture.user("ops", json!([])).await;
    fixture.machine("aa-1", "canary-of-a-secret").await;
    let token = fixture.session(|new| new.otp_required(true)).await;
    let code = fixture.outbox.last_code();
    let bytes = dump().await;
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("aa-1"), "what is no secret is found");
    for canary in [PASSWORD, "canary-of-a-secret", &token] {
        assert!(!holds(canary), "{canary}");
    }
    assert!(!holds(&format!("\"{code}\"")), "{code}");
}

pub async fn what_the_first_release_wrote_is_in(fixture: &Fixture) {
    fixture.clock.set(Timestamp::from_secs(START));
    let context = RequestContext::without_address();
    let password = Password::new(PASSWORD).unwrap();
    fixture.tokens.issue_user_token("ops", password, &context).await.unwrap();
    let secret = Secret::presented("the-secret-of-the-first-release");
    fixture.tokens.issue_machine_token("aa-1", &secret, &context).await.unwrap();
    let token = AuthenticationToken::from_text("the-session-of-the-first-release").unwrap();
    let exchanged =
        fixture.tokens.exchange(&token, ExchangeRequest::default(), &context).await.unwrap();
    assert_eq!(exchanged.customer_id.as_str(), "cus_1");
    assert_eq!(exchanged.custom_claims["tier"], json!("gold"));
    fixture.tokens.log_out_customer(&token, &context).await.unwrap();
    // The other one is found by whose it is.
    let tokens = &fixture.tokens;
    let subject = tokens.principal(SubjectType::Customer, "cus_1", Organization::All);
    let soon = fixture.clock.now();
    let registered = tokens.list_entities(&EntityFilter::all(), None, 10).await.unwrap();
    let registered = registered.entities.iter().map(|entity| entity.id().to_string());
    assert_eq!(
        registered.collect::<Vec<_>>(),
        ["user:ops", "entity:aa-1", "customer:ann@example.com"]
    );
    let ended = fixture.tokens.revoke_subject(&subject, soon + Duration::from_secs(1)).await;
    assert_eq!(ended.unwrap().sessions, 1);
}

/// More than two parts of the feed of either engine.
pub const MANY: usize = 12_000;
/// As many as one part has.
pub const ONE_PART: usize = 5_000;

pub fn records(revocations: &[FeedEvent]) -> Vec<String> {
    revocations.iter().map(|revocation| record::write_event(revocation).unwrap()).collect()
}

pub fn until(revocation: &FeedEvent) -> i64 {
    i64::try_from(revocation.until().as_micros()).unwrap()
}

/// A target as something to look up.
pub fn name(event: &FeedEvent) -> String {
    match event {
        FeedEvent::Revoked(Revocation { target: RevocationTarget::Token(id), .. }) => {
            id.as_str().to_owned()
        }
        other => panic!("published was {other:?}"),
    }
}

/// What was read, by target, and how many of each read.
#[derive(Default)]
pub struct Reading {
    pub names: HashSet<String>,
    pub parts: Vec<usize>,
}

impl Reading {
    pub fn add(&mut self, part: &FeedPage) {
        self.parts.push(part.events.len());
        self.names.extend(part.events.iter().map(name));
    }

    pub async fn read_to_the_end(
        &mut self,
        store: &impl SessionStore,
        mut cursor: Cursor,
    ) -> Cursor {
        loop {
            let part = store.read_feed(&cursor, Duration::ZERO).await.unwrap();
            self.add(&part);
            cursor = part.next;
            if part.is_complete {
                return cursor;
            }
        }
    }

    #[track_caller]
    pub fn has_all(&self, published: &[FeedEvent]) {
        let missing = published.iter().filter(|revocation| !self.names.contains(&name(revocation)));
        assert_eq!(missing.count(), 0, "in parts of {:?}", self.parts);
    }
}

/// Reads a long feed from its start, and what is news since in a second reading.
pub async fn a_long_feed_is_read_in_parts(
    store: &impl SessionStore,
    fill: impl AsyncFn() -> Vec<FeedEvent>,
) {
    let mut cursor = Cursor::START;
    for _ in 0..2 {
        let published = fill().await;
        let mut reading = Reading::default();
        cursor = reading.read_to_the_end(store, cursor).await;
        assert!(reading.parts.len() > 2, "one read would take too long");
        assert!(reading.parts.iter().all(|part| *part <= ONE_PART), "{:?}", reading.parts);
        reading.has_all(&published);
        assert_eq!(reading.parts.iter().sum::<usize>(), MANY, "nothing is read twice");
        let end = store.read_feed(&cursor, Duration::ZERO).await.unwrap();
        assert!(end.events.is_empty() && end.is_complete, "nothing is left");
    }
}

/// Reads a feed of just one part: the part after it is empty, and comes at once.
pub async fn an_empty_part_is_not_waited_for(node: &impl SessionStore) {
    let first = node.read_feed(&Cursor::START, MINUTE).await.unwrap();
    assert_eq!(first.events.len(), ONE_PART);
    assert!(!first.is_complete);
    let mut next = node.read_feed(&first.next, Duration::ZERO).await.unwrap();
    while !next.is_complete {
        let reading = node.read_feed(&next.next, Duration::ZERO);
        next = tokio::time::timeout(MINUTE, reading).await.expect("it is there").unwrap();
    }
    assert!(next.events.is_empty());
}

/// A file of a test's own, removed with it.
pub struct File(pub PathBuf);

impl File {
    pub fn new() -> Self {
        let folder = std::env::temp_dir().join(unique("countersign-"));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    pub fn path(&self) -> PathBuf {
        self.0.join("tokens.sqlite")
    }

    #[cfg(feature = "sqlite")]
    pub async fn node(&self) -> countersign::store::SqliteStore {
        let store = countersign::store::SqliteStore::open(self.path()).await.unwrap();
        store.migrate().await.unwrap();
        store
    }

    /// All that is on the disk.
    pub fn bytes(&self) -> Vec<u8> {
        let files = std::fs::read_dir(&self.0).unwrap();
        files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
