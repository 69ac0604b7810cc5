//! Copies of entities in front of a shared store: what is answered from them, and when they go.

use std::sync::Arc;
use std::time::Duration;

use countersign::faults::TokenFault;
use countersign::store::{
    Cached, Cursor, EntityCache, EntityStore, FeedEvent, MemoryStore, RecentEntity, Revocation,
    RevocationTarget, SessionStore as _, StoreError, conformance,
};
use countersign::testing::{Calls, FaultyStore, StoreFault, StoreVerb};
use countersign::tokens::IssuedToken;
use countersign::{
    Actor, Algorithm, Entity, EntityId, Error, ErrorKind, Grant, Housekeeping, KeyRing,
    Organization, RequestContext, SealingKey, Secret, SubjectType, Timestamp, Validated,
};
use tokio::task::JoinHandle;

use crate::support::{Answer, Fixture, START, Server, TestClock};

/// No test waits for a copy to grow old.
const HOUR: Duration = Duration::from_secs(3_600);
const MANY: usize = 300;

type Engine = FaultyStore<MemoryStore>;

fn engine() -> Engine {
    FaultyStore::new(MemoryStore::new())
}

fn reads(engine: &Engine) -> usize {
    engine.calls(StoreVerb::GetEntity)
}

/// How many reads something costs.
async fn reads_of<T>(engine: &Engine, doing: impl Future<Output = T>) -> (T, usize) {
    let before = reads(engine);
    let done = doing.await;
    (done, reads(engine) - before)
}

fn now() -> Timestamp {
    Timestamp::from_secs(START)
}

fn second(number: u64) -> Timestamp {
    Timestamp::from_secs(START + number)
}

/// An engine that holds one entity, and copies in front of it.
async fn cached() -> (Engine, Arc<Cached<Engine>>, Entity) {
    let engine = engine();
    let entity = Entity::machine("aa-1").unwrap();
    EntityStore::insert(&engine, entity.clone()).await.unwrap();
    let cached = Cached::new(engine.clone()).time_to_live(HOUR);
    (engine, Arc::new(cached), entity)
}

/// A call of its own, as that of another request.
fn ask(
    cached: &Arc<Cached<Engine>>,
    id: &EntityId,
    now: Timestamp,
) -> JoinHandle<Result<Option<RecentEntity>, StoreError>> {
    let (cached, id) = (Arc::clone(cached), id.clone());
    tokio::spawn(async move { cached.get_recent(&id, now).await })
}

/// The version of what is answered, and whether it is a copy.
async fn recent(cached: &impl EntityCache, id: &EntityId) -> Option<(u64, bool)> {
    let recent = cached.get_recent(id, now()).await.unwrap();
    recent.map(|recent| (recent.entity.version(), recent.is_copy))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_in_front_of_a_store_keep_the_contract() {
    conformance::check_entity_store(Arc::new(Cached::new(MemoryStore::new()))).await;
}

#[tokio::test]
async fn what_was_written_through_a_cache_is_recent_in_it() {
    let store = Cached::new(MemoryStore::new());
    let entity = Entity::machine("aa-1").unwrap();
    let (id, version) = (entity.id().clone(), entity.version());
    let recent = async || {
        let now = now();
        let recent = store.get_recent(&id, now).await.unwrap();
        assert!(recent.as_ref().is_none_or(|recent| recent.read_at <= now));
        recent.map(|recent| recent.entity.version())
    };
    assert_eq!(recent().await, None);
    EntityStore::insert(&store, entity.clone()).await.unwrap();
    assert_eq!((recent().await, recent().await), (Some(version), Some(version)));
    EntityStore::replace(&store, entity.next_version(), version).await.unwrap();
    assert_eq!(recent().await, Some(version + 1), "what was there before is answered no more");
    store.invalidate(&id);
    assert_eq!(recent().await, Some(version + 1));
    assert!(EntityStore::remove(&store, &id).await.unwrap());
    assert_eq!(recent().await, None, "what was removed is answered no more");
}

/// Who has sent one request before, sends two at once: if one of them had to wait for two reads, one
/// after the other, an id that is registered could be told from one that is not.
#[tokio::test]
async fn whom_nobody_was_found_for_is_asked_for_by_each_and_waited_for_by_none() {
    let (engine, cached, entity) = cached().await;
    let unknown = EntityId::machine("nobody").unwrap();
    for (id, reads_before) in [(&unknown, 1), (entity.id(), 2)] {
        recent(&*cached, id).await;
        assert_eq!(reads(&engine), reads_before);
    }
    let held = engine.hold_replies(Calls::all());
    // Of the unknown, each is a read. The other one is answered from its copy, and whoever finds
    // that wanting reads once.
    let asking = [ask(&cached, &unknown, now()), ask(&cached, &unknown, now())];
    held.wait_for(2).await;
    held.release();
    for asked in asking {
        assert!(asked.await.unwrap().unwrap().is_none());
    }
    assert_eq!(reads(&engine), 4);
    assert_eq!(recent(&*cached, entity.id()).await, Some((1, true)));
}

#[tokio::test]
async fn a_copy_says_that_it_is_one_and_when_it_was_read() {
    let (engine, cached, entity) = cached().await;
    let read = cached.get_recent(entity.id(), second(1)).await.unwrap().unwrap();
    assert_eq!((read.is_copy, read.read_at), (false, second(1)));
    let copy = cached.get_recent(entity.id(), second(4)).await.unwrap().unwrap();
    assert_eq!((copy.is_copy, copy.read_at), (true, second(1)));
    assert_eq!(reads(&engine), 1);
}

#[tokio::test]
async fn many_who_ask_at_the_same_time_share_one_read() {
    let (engine, cached, entity) = cached().await;
    let held = engine.hold_replies(Calls::all());
    let asking: Vec<_> = (0..MANY).map(|_| ask(&cached, entity.id(), now())).collect();
    held.wait_for(1).await;
    held.release();
    let mut own = 0;
    for asking in asking {
        let recent = asking.await.unwrap().unwrap().expect("it is registered");
        own += usize::from(!recent.is_copy);
    }
    assert_eq!((own, reads(&engine)), (1, 1), "one has read it, and the others are told so");
}

#[tokio::test]
async fn those_who_wait_for_a_read_that_fails_are_told_the_same_failure() {
    let (engine, cached, entity) = cached().await;
    let held = engine.hold_replies(Calls::all());
    engine.fail(Calls::all(), StoreFault::lost_reply("gone for a while"));
    let (first, second, third, ()) = tokio::join!(
        cached.get_recent(entity.id(), now()),
        cached.get_recent(entity.id(), now()),
        cached.get_recent(entity.id(), now()),
        async {
            held.wait_for(1).await;
            held.release();
        },
    );
    for failed in [first, second, third] {
        let error = failed.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        assert!(format!("{error:?}").contains("gone for a while"));
    }
    assert_eq!(reads(&engine), 1);
    engine.clear_faults();
    assert_eq!(recent(&cached, entity.id()).await, Some((1, false)), "a failure is not kept");
}

#[tokio::test]
async fn however_many_give_up_while_they_read_the_next_one_is_answered() {
    let (engine, cached, entity) = cached().await;
    let held = engine.hold_replies(Calls::all());
    let asking: Vec<_> = (0..MANY).map(|_| ask(&cached, entity.id(), now())).collect();
    held.wait_for(1).await;
    let patient = ask(&cached, entity.id(), now());
    for asking in asking {
        asking.abort();
        assert!(asking.await.unwrap_err().is_cancelled());
        tokio::task::yield_now().await;
    }
    held.release();
    assert!(patient.await.unwrap().unwrap().is_some());
}

#[tokio::test]
async fn what_is_written_through_it_is_seen_at_once() {
    let (_, cached, entity) = cached().await;
    let id = entity.id();
    assert_eq!(recent(&cached, id).await, Some((1, false)));
    assert_eq!(recent(&cached, id).await, Some((1, true)));
    cached.replace(entity.clone().next_version(), 1).await.unwrap();
    assert_eq!(recent(&cached, id).await, Some((2, false)));
    assert!(cached.remove(id).await.unwrap());
    assert_eq!(recent(&cached, id).await, None);
    cached.insert(entity.clone()).await.unwrap();
    assert_eq!(recent(&cached, id).await, Some((1, false)));
}

#[tokio::test]
async fn a_write_that_comes_too_late_or_is_given_up_ends_the_copy_too() {
    let (engine, cached, entity) = cached().await;
    let id = entity.id();
    let (second, third) =
        (entity.clone().next_version(), entity.clone().next_version().next_version());
    assert_eq!(recent(&cached, id).await, Some((1, false)));
    // By another node.
    EntityStore::replace(&engine, second.clone(), 1).await.unwrap();
    assert_eq!(recent(&cached, id).await, Some((1, true)), "nobody has told this one");
    let late = cached.replace(second, 1).await.unwrap_err();
    assert!(matches!(late, StoreError::Conflict), "{late:?}");
    assert_eq!(recent(&cached, id).await, Some((2, false)));

    let held = engine.hold_replies(Calls::all());
    let writer = Arc::clone(&cached);
    let writing = tokio::spawn(async move { writer.replace(third, 2).await });
    held.wait_for(1).await;
    writing.abort();
    assert!(writing.await.unwrap_err().is_cancelled());
    held.release();
    assert_eq!(recent(&cached, id).await, Some((3, false)));
}

#[tokio::test]
async fn a_read_that_began_before_a_change_is_not_kept_after_it() {
    let (engine, cached, entity) = cached().await;
    let id = entity.id();
    let held = engine.hold_replies(Calls::all());
    let reading = ask(&cached, id, now());
    held.wait_for(1).await;
    let (writer, changed) = (Arc::clone(&cached), entity.clone().next_version());
    let writing = tokio::spawn(async move { writer.replace(changed, 1).await });
    held.wait_for(2).await;
    held.release();
    writing.await.unwrap().unwrap();
    assert_eq!(reading.await.unwrap().unwrap().unwrap().entity.version(), 1);
    assert_eq!(recent(&cached, id).await, Some((2, false)));
}

#[tokio::test]
async fn who_asks_after_a_change_does_not_wait_for_a_read_from_before_it() {
    let (engine, cached, entity) = cached().await;
    let id = entity.id();
    let held = engine.hold_replies(Calls::all());
    let before = ask(&cached, id, now());
    held.wait_for(1).await;
    // By another node, and heard from the feed.
    EntityStore::replace(&engine.inner(), entity.clone().next_version(), 1).await.unwrap();
    cached.invalidate(id);
    let after = ask(&cached, id, now());
    held.wait_for(2).await;
    held.release();
    assert_eq!(before.await.unwrap().unwrap().unwrap().entity.version(), 1);
    assert_eq!(after.await.unwrap().unwrap().unwrap().entity.version(), 2);
    assert_eq!(recent(&cached, id).await, Some((2, true)));
}

#[tokio::test]
async fn who_is_not_found_is_not_kept_and_is_found_once_registered() {
    let engine = engine();
    let (here, there) = (Cached::new(engine.clone()), Cached::new(engine.clone()));
    let entity = Entity::machine("aa-1").unwrap();
    for _ in 0..3 {
        let (found, reads) = reads_of(&engine, recent(&here, entity.id())).await;
        assert_eq!((found, reads), (None, 1));
    }
    there.insert(entity.clone()).await.unwrap();
    assert_eq!(recent(&here, entity.id()).await, Some((1, false)));
}

#[tokio::test]
async fn who_asks_after_a_registration_finds_it_though_the_read_under_way_has_not() {
    let engine = engine();
    let cached = Arc::new(Cached::new(engine.clone()));
    let entity = Entity::machine("aa-1").unwrap();
    let held = engine.hold_replies(Calls::all());
    let before = ask(&cached, entity.id(), now());
    held.wait_for(1).await;
    // By another node: nothing of it is heard here.
    EntityStore::insert(&engine.inner(), entity.clone()).await.unwrap();
    let after = ask(&cached, entity.id(), now());
    tokio::task::yield_now().await;
    held.release();
    assert!(before.await.unwrap().unwrap().is_none());
    let found = after.await.unwrap().unwrap().expect("it was registered before");
    assert!(!found.is_copy);
}

#[tokio::test]
async fn a_copy_that_is_too_old_is_read_anew() {
    let (engine, _, entity) = cached().await;
    let cached = Cached::new(engine).time_to_live(Duration::ZERO);
    assert_eq!(recent(&cached, entity.id()).await, Some((1, false)));
    assert_eq!(recent(&cached, entity.id()).await, Some((1, false)));
    let forever = Cached::new(MemoryStore::new()).time_to_live(Duration::MAX);
    assert_eq!(recent(&forever, entity.id()).await, None);
}

#[tokio::test]
async fn no_more_are_kept_than_there_is_room_for() {
    let engine = engine();
    let cached = Cached::new(engine.clone()).time_to_live(HOUR).capacity(100);
    let ids: Vec<_> = (0..5_000).map(|n| EntityId::machine(format!("e-{n}")).unwrap()).collect();
    for id in &ids {
        cached.insert(Entity::machine(id.name()).unwrap()).await.unwrap();
    }
    let read_all = async || {
        for id in &ids {
            recent(&cached, id).await.unwrap();
        }
    };
    read_all().await;
    let ((), reads) = reads_of(&engine, read_all()).await;
    assert!(reads >= 4_000, "{reads} of 5,000 were read anew, with room for 100");
}

#[tokio::test]
async fn debug_output_says_nothing_of_those_who_are_kept() {
    let (_, cached, entity) = cached().await;
    let id = entity.id();
    recent(&cached, id).await.unwrap();
    let text = format!("{cached:?}");
    assert!(text.contains("Cached") && !text.contains(id.name()), "{text}");
}

/// Two services over one engine, each with copies of its own. They have keys and a clock in common.
struct Nodes {
    engine: Engine,
    clock: TestClock,
    here: Node,
    there: Node,
}

struct Node {
    fixture: Fixture,
    copies: Arc<Cached<Engine>>,
    housekeeping: Option<Housekeeping>,
}

impl Nodes {
    fn new() -> Self {
        let (engine, clock) = (engine(), TestClock::new());
        let keys = KeyRing::generate(Algorithm::EdDSA).unwrap();
        let node = || {
            let copies = Arc::new(Cached::new(engine.clone()).time_to_live(HOUR));
            let fixture = Fixture::with_keys(keys.clone(), |builder| {
                let builder = builder.clock(clock.clone());
                let builder = builder.sealing_key(SealingKey::from_bytes([7; 32]));
                let copies = Arc::clone(&copies);
                builder.cache_entities(move |_| copies).session_store(engine.inner())
            });
            Node { fixture, copies, housekeeping: None }
        };
        let (here, there) = (node(), node());
        Self { engine, clock, here, there }
    }

    /// From now on the other node hears what is revoked, and it has heard all up to now.
    async fn listen_there(&mut self) {
        let tokens = &self.there.fixture.tokens;
        self.there.housekeeping = Some(tokens.start().await.unwrap());
        let last = tokens.issue(Grant::user("whoever")).await.unwrap();
        let target = RevocationTarget::Token(last.token_id.clone());
        self.engine
            .inner()
            .publish(Revocation { target, until: Timestamp::MAX }.into())
            .await
            .unwrap();
        until(async || self.there.validate(&last).is_err()).await;
    }
}

impl Node {
    async fn log_in(&self, id: &str, secret: &str) -> Result<IssuedToken, Error> {
        let secret = Secret::dangerous_from_text(secret).unwrap();
        self.fixture
            .tokens
            .issue_machine_token(id, &secret, &RequestContext::without_address())
            .await
    }

    async fn import(&self, id: &str, secret: &str) {
        let (id, secret) =
            (EntityId::machine(id).unwrap(), Secret::dangerous_from_text(secret).unwrap());
        self.fixture.tokens.import_secret(&id, &secret, None).await.unwrap();
    }

    fn validate(&self, token: &IssuedToken) -> Result<Arc<Validated>, TokenFault> {
        self.fixture.tokens.validator().validate(token.access_token.expose())
    }
}

/// Waits until a condition holds, one turn of the executor after the other.
async fn until(holds: impl AsyncFn() -> bool) {
    while !holds().await {
        tokio::task::yield_now().await;
    }
}

#[track_caller]
fn assert_rejected(issued: Result<IssuedToken, Error>) {
    assert_eq!(issued.unwrap_err().kind(), ErrorKind::InvalidCredentials);
}

#[tokio::test]
async fn a_machine_that_logs_in_again_is_no_read_of_the_store() {
    let nodes = Nodes::new();
    nodes.here.fixture.machine("aa-1", "first secret").await;
    let (issued, reads) = reads_of(&nodes.engine, nodes.there.log_in("aa-1", "first secret")).await;
    assert_eq!((issued.unwrap().issued_at, reads), (now(), 1));
    nodes.clock.advance(Duration::from_secs(3));
    let (issued, reads) = reads_of(&nodes.engine, nodes.there.log_in("aa-1", "first secret")).await;
    let token = issued.unwrap();
    assert_eq!((token.issued_at, reads), (now(), 0), "it is as old as what it came of");
    nodes.there.validate(&token).unwrap();
}

#[tokio::test]
async fn what_is_changed_on_one_node_is_read_anew_by_another_that_hears_of_it() {
    let mut nodes = Nodes::new();
    nodes.here.fixture.machine("aa-1", "first secret").await;
    nodes.listen_there().await;
    nodes.there.log_in("aa-1", "first secret").await.unwrap();
    let id = EntityId::machine("aa-1").unwrap();
    let tokens = &nodes.here.fixture.tokens;
    let is_seen = async || {
        let written = tokens.find_entity(&id).await.unwrap().unwrap().version();
        until(async || recent(&nodes.there.copies, &id).await.unwrap().0 == written).await;
    };
    tokens
        .reset_secret(
            Actor::Host,
            &EntityId::machine("aa-1").unwrap(),
            None,
            &RequestContext::without_address(),
        )
        .await
        .unwrap();
    is_seen().await;
    assert_rejected(nodes.there.log_in("aa-1", "first secret").await);
    nodes.here.import("aa-1", "third secret").await;
    is_seen().await;
    tokens.disable_entity(&id).await.unwrap();
    is_seen().await;
    tokens.enable_entity(&id).await.unwrap();
    is_seen().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_changed_by_a_caller_who_hung_up_is_heard_of_elsewhere() {
    let nodes = Nodes::new();
    nodes.here.fixture.machine("aa-1", "a secret").await;
    let feed = nodes.engine.inner();
    let cursor = feed.read_feed(&Cursor::START, Duration::ZERO).await.unwrap().next;
    let held = nodes.engine.hold_replies(StoreVerb::ReplaceEntity);
    let tokens = nodes.here.fixture.tokens.clone();
    let importing = tokio::spawn(async move {
        let secret = Secret::dangerous_from_text("another secret").unwrap();
        tokens.import_secret(&EntityId::machine("aa-1").unwrap(), &secret, None).await
    });
    held.wait_for(1).await;
    importing.abort();
    assert!(importing.await.unwrap_err().is_cancelled());
    held.release();
    let heard = feed.read_feed(&cursor, HOUR).await.unwrap().events;
    let changed = |event: &FeedEvent| matches!(event, FeedEvent::EntityChanged { id, .. } if id.name() == "aa-1");
    assert!(heard.iter().any(changed), "{heard:?}");
}

#[tokio::test]
async fn what_is_changed_on_a_node_is_seen_there_at_once() {
    let nodes = Nodes::new();
    let here = &nodes.here;
    here.fixture.machine("aa-1", "first secret").await;
    here.log_in("aa-1", "first secret").await.unwrap();
    here.import("aa-1", "second secret").await;
    assert_rejected(here.log_in("aa-1", "first secret").await);
    here.log_in("aa-1", "second secret").await.unwrap();
    let id = EntityId::machine("aa-1").unwrap();
    here.fixture.tokens.disable_entity(&id).await.unwrap();
    assert_rejected(here.log_in("aa-1", "second secret").await);
}

#[tokio::test]
async fn a_new_secret_is_good_at_once_where_nothing_was_heard_of_it() {
    let nodes = Nodes::new();
    nodes.here.fixture.machine("aa-1", "first secret").await;
    nodes.there.log_in("aa-1", "first secret").await.unwrap();
    nodes.here.import("aa-1", "second secret").await;
    nodes.there.log_in("aa-1", "first secret").await.expect("the price of a copy");
    let (issued, reads) =
        reads_of(&nodes.engine, nodes.there.log_in("aa-1", "second secret")).await;
    assert_eq!((issued.is_ok(), reads), (true, 1));
}

#[tokio::test]
async fn who_is_let_in_again_logs_in_at_once_where_nothing_was_heard_of_it() {
    let nodes = Nodes::new();
    nodes.here.fixture.machine("aa-1", "a secret").await;
    let id = EntityId::machine("aa-1").unwrap();
    nodes.here.fixture.tokens.disable_entity(&id).await.unwrap();
    assert_eq!(recent(&nodes.there.copies, &id).await.map(|(_, is_copy)| is_copy), Some(false));
    nodes.here.fixture.tokens.enable_entity(&id).await.unwrap();
    nodes.there.log_in("aa-1", "a secret").await.unwrap();
}

#[tokio::test]
async fn a_token_that_came_of_an_old_copy_is_rejected_once_it_is_heard_who_was_shut_out() {
    let mut nodes = Nodes::new();
    nodes.here.fixture.machine("aa-1", "a secret").await;
    nodes.there.log_in("aa-1", "a secret").await.unwrap();
    nodes.clock.advance(Duration::from_secs(2));
    let id = EntityId::machine("aa-1").unwrap();
    nodes.here.fixture.tokens.disable_entity(&id).await.unwrap();
    nodes.clock.advance(Duration::from_secs(2));
    let token = nodes.there.log_in("aa-1", "a secret").await.expect("the price of a copy");
    assert_eq!(nodes.here.validate(&token).unwrap_err(), TokenFault::Revoked);
    nodes.there.validate(&token).expect("it has not heard of it");
    nodes.listen_there().await;
    assert_eq!(nodes.there.validate(&token).unwrap_err(), TokenFault::Revoked);
    assert_rejected(nodes.there.log_in("aa-1", "a secret").await);
}

#[tokio::test]
async fn who_was_logged_out_everywhere_gets_a_token_that_is_good() {
    let mut nodes = Nodes::new();
    nodes.here.fixture.machine("aa-1", "a secret").await;
    nodes.listen_there().await;
    let old = nodes.there.log_in("aa-1", "a secret").await.unwrap();
    nodes.clock.advance(Duration::from_secs(2));
    let tokens = &nodes.here.fixture.tokens;
    tokens
        .revoke_subject(
            &tokens.principal(SubjectType::Machine, "aa-1", Organization::All),
            tokens.now(),
        )
        .await
        .unwrap();
    until(async || nodes.there.validate(&old).is_err()).await;
    let new = nodes.there.log_in("aa-1", "a secret").await.unwrap();
    nodes.there.validate(&new).unwrap();
    nodes.here.validate(&new).unwrap();
}

#[tokio::test]
async fn a_copy_from_before_a_log_out_by_a_clock_that_is_ahead_yields_no_dead_tokens_after_it() {
    let nodes = Nodes::new();
    nodes.here.fixture.machine("aa-1", "a secret").await;
    let tokens = &nodes.there.fixture.tokens;
    let ahead = tokens.now() + Duration::from_secs(1);
    tokens
        .revoke_subject(&tokens.principal(SubjectType::Machine, "aa-1", Organization::All), ahead)
        .await
        .unwrap();
    nodes.there.log_in("aa-1", "a secret").await.unwrap();
    nodes.clock.advance(Duration::from_secs(2));
    let token = nodes.there.log_in("aa-1", "a secret").await.unwrap();
    nodes.there.validate(&token).unwrap();
}

#[tokio::test]
async fn a_rejection_is_one_read_of_the_store_whoever_it_is() {
    let nodes = Nodes::new();
    nodes.here.fixture.machine("aa-1", "a secret").await;
    nodes.there.log_in("aa-1", "a secret").await.unwrap();
    let (node, engine) = (&nodes.there, &nodes.engine);
    let (issued, of_copied) = reads_of(engine, node.log_in("aa-1", "a wrong one")).await;
    assert_rejected(issued);
    let (issued, of_unknown) = reads_of(engine, node.log_in("aa-2", "a wrong one")).await;
    assert_rejected(issued);
    nodes.here.fixture.machine("aa-3", "a secret").await;
    let (issued, of_known) = reads_of(engine, node.log_in("aa-3", "a wrong one")).await;
    assert_rejected(issued);
    assert_eq!((of_copied, of_unknown, of_known), (1, 1, 1));
}

#[tokio::test]
async fn a_store_that_is_out_of_reach_fails_no_login_that_a_copy_can_answer() {
    let nodes = Nodes::new();
    nodes.here.fixture.machine("aa-1", "a secret").await;
    nodes.here.fixture.machine("aa-2", "a secret").await;
    nodes.there.log_in("aa-1", "a secret").await.unwrap();
    let server = nodes.there.fixture.serve().await;
    nodes.engine.fail(Calls::all(), StoreFault::unavailable("gone for a while"));
    log_in_over_http(&server, "aa-1", "a secret").await.expect(200);
    log_in_over_http(&server, "aa-2", "a secret").await.expect(503);
    log_in_over_http(&server, "aa-3", "a secret").await.expect(503);
    log_in_over_http(&server, "aa-1", "a wrong one").await.expect(503);
}

async fn log_in_over_http(server: &Server, id: &str, secret: &str) -> Answer {
    let body = format!("id={id}&secret={}", secret.replace(' ', "+"));
    let form = Some("application/x-www-form-urlencoded");
    server.post_text("/entity/token/generate", None, form, body).await
}
