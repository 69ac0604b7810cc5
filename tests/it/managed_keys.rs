//! Keys that the service makes itself, shares with other nodes, and changes by a schedule.

use std::sync::Arc;
use std::time::Duration;

use countersign::clock::Clock;
use countersign::faults::TokenFault;
use countersign::jose::{
    CryptoProvider, DefaultProvider, PrivateKey, Signer, VerificationKey, Verifier,
};
use countersign::policy::RotationSchedule;
use countersign::store::{KeyStore, MemoryStore, conformance};
use countersign::testing::{Calls, FaultyStore, StoreFault};
use countersign::{
    Algorithm, EntityId, Error, ErrorKind, Grant, ManagedKeys, Policy, SealingKey, Timestamp,
    TokenService,
};
use tokio::task::JoinSet;

use crate::support::managed_keys::{
    DAY, MINUTE, SEALING_KEY, SECOND, WrongBy, a_retired_key_stays_retired, app, fault, kids,
    kids_in, node, node_with, signing_kid, token_of, until,
};
use crate::support::{AUDIENCE, Fixture, ISSUER, Server, TestClock, kid_of};

#[tokio::test]
async fn until_the_keys_have_come_nothing_is_signed_checked_or_published() {
    let store = MemoryStore::new();
    let other = node(store.clone(), TestClock::new());
    other.catch_up().await.unwrap();
    let token = token_of(&other);

    let tokens = node(store, TestClock::new());
    let server = Server::start(app(&tokens)).await;
    let rejected = server.get("/me", Some(&token)).await.expect(503);
    assert!(matches!(rejected.header("retry-after"), "1" | "2" | "3"));
    server.get("/me", Some("no.token.atall")).await.expect(401);
    server.get("/.well-known/jwks.json", None).await.expect(503);
    let error = tokens.issue(Grant::user("jane")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(fault(&tokens, &token), TokenFault::KeysUnavailable);
    let validated = other.validator().validate(&token).unwrap();
    assert_eq!(tokens.validator().recheck(&validated), Err(TokenFault::KeysUnavailable));

    tokens.catch_up().await.unwrap();
    server.get("/me", Some(&token)).await.expect(200);
    assert_eq!(kids(&tokens), kids(&other));
    let set = server.get("/.well-known/jwks.json", None).await.expect(200);
    assert_eq!(kids_in(&set.json()), kids(&other));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_nodes_that_start_at_once_one_makes_the_key_and_all_have_it() {
    let store = MemoryStore::new();
    let mut starting = JoinSet::new();
    for _ in 0..16 {
        let node = node(store.clone(), TestClock::new());
        starting.spawn(async move {
            node.catch_up().await.unwrap();
            (token_of(&node), node)
        });
    }
    let nodes = starting.join_all().await;
    for (token, _) in &nodes {
        for (_, node) in &nodes {
            node.validator().validate(token).unwrap();
        }
    }
}

#[tokio::test]
async fn a_key_is_announced_signs_and_is_forgotten_when_its_tokens_have_ended() {
    let clock = TestClock::new();
    let tokens = node(MemoryStore::new(), clock.clone());
    tokens.catch_up().await.unwrap();
    let first = signing_kid(&tokens);

    clock.advance(76 * DAY - SECOND);
    tokens.catch_up().await.unwrap();
    assert_eq!(kids(&tokens), std::slice::from_ref(&first));
    clock.advance(SECOND);
    tokens.catch_up().await.unwrap();
    let [published, next] = <[String; 2]>::try_from(kids(&tokens)).unwrap();
    assert_eq!((published, signing_kid(&tokens)), (first.clone(), first.clone()));

    clock.advance(14 * DAY - SECOND);
    tokens.catch_up().await.unwrap();
    let last = token_of(&tokens);
    assert_eq!(kid_of(&last), first);
    clock.advance(SECOND);
    tokens.catch_up().await.unwrap();
    assert_eq!(signing_kid(&tokens), next);
    assert_eq!(kids(&tokens), [first.clone(), next.clone()]);

    // A token lives for a day, is accepted for a minute longer, and clocks differ by five.
    clock.advance(DAY - SECOND);
    tokens.catch_up().await.unwrap();
    tokens.validator().validate(&last).unwrap();
    clock.advance(SECOND + 6 * MINUTE - SECOND);
    tokens.catch_up().await.unwrap();
    assert_eq!(kids(&tokens), [first, next.clone()]);
    clock.advance(SECOND);
    tokens.catch_up().await.unwrap();
    assert_eq!(kids(&tokens), [next]);
    assert_eq!(fault(&tokens, &last), TokenFault::UnknownKey);
}

#[tokio::test]
async fn nodes_whose_clocks_differ_by_minutes_accept_each_others_tokens_over_a_rotation() {
    let (clock, store) = (TestClock::new(), MemoryStore::new());
    let wrong = [(0, 0), (0, 60), (60, 0), (0, 120), (120, 0)].map(|(ahead, behind)| {
        let [ahead, behind] = [ahead, behind].map(Duration::from_secs);
        node(store.clone(), WrongBy { clock: clock.clone(), ahead, behind })
    });
    let catch_up = async || {
        for node in &wrong {
            node.catch_up().await.unwrap();
        }
    };
    catch_up().await;
    clock.advance(76 * DAY);
    catch_up().await;
    clock.advance(14 * DAY - 5 * MINUTE);
    // Until five minutes after the old key's end, in steps that are short where something happens.
    let steps = [(20, 30), (23, 3_600), (138, 30)];
    let mut issued: Vec<(Timestamp, String)> = Vec::new();
    let mut kids = std::collections::BTreeSet::new();
    for (count, seconds) in steps {
        for _ in 0..count {
            clock.advance(Duration::from_secs(seconds));
            catch_up().await;
            for node in &wrong {
                let token = token_of(node);
                kids.insert(kid_of(&token));
                // A fault of the clock's, and none of the key's, would be beyond the leeway.
                issued.push((node.now() + DAY, token));
            }
            for (end, token) in &issued {
                for node in &wrong {
                    match node.validator().validate(token) {
                        Ok(_) => {}
                        Err(TokenFault::NotYetValid) => assert!(*end > node.now() + DAY),
                        Err(TokenFault::Expired | TokenFault::UnknownKey) => {
                            assert!(*end + MINUTE <= node.now(), "{end} {}", node.now());
                        }
                        Err(fault) => panic!("{fault:?} {end} {}", node.now()),
                    }
                }
            }
            issued.retain(|(end, _)| *end + 6 * MINUTE > clock.now());
        }
    }
    assert_eq!(kids.len(), 2, "a rotation was looked at");
}

#[tokio::test]
async fn a_key_opens_with_its_sealing_key_alone_and_a_node_without_leaves_it_alone() {
    let store = MemoryStore::new();
    let first = node(store.clone(), TestClock::new());
    first.catch_up().await.unwrap();
    let before = store.get().await.unwrap();
    let keys = || ManagedKeys::new(Algorithm::EdDSA).store(store.clone());
    let stranger = node_with(keys(), TestClock::new(), [[8; 32]], RotationSchedule::default());
    assert_eq!(stranger.catch_up().await.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(fault(&stranger, &token_of(&first)), TokenFault::KeysUnavailable);
    assert_eq!(store.get().await.unwrap(), before);
}

#[tokio::test]
async fn a_new_sealing_key_seals_the_keys_anew() {
    let store = MemoryStore::new();
    let first = node(store.clone(), TestClock::new());
    first.catch_up().await.unwrap();
    let token = token_of(&first);
    for sealing in [vec![[8; 32], SEALING_KEY], vec![[8; 32]]] {
        let keys = ManagedKeys::new(Algorithm::EdDSA).store(store.clone());
        let next = node_with(keys, TestClock::new(), sealing, RotationSchedule::default());
        next.catch_up().await.unwrap();
        next.validator().validate(&token).unwrap();
        assert_eq!(kids(&next), kids(&first));
    }
}

#[tokio::test]
async fn keys_of_every_algorithm_are_read_back_by_another_node() {
    for algorithm in [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256, Algorithm::HS256] {
        let store = MemoryStore::new();
        let [one, other] = [(); 2].map(|()| {
            let keys = ManagedKeys::new(algorithm).store(store.clone());
            node_with(keys, TestClock::new(), [SEALING_KEY], RotationSchedule::default())
        });
        one.catch_up().await.unwrap();
        other.catch_up().await.unwrap();
        other.validator().validate(&token_of(&one)).unwrap();
        one.validator().validate(&token_of(&other)).unwrap();
    }
}

#[tokio::test]
async fn a_rotation_that_is_asked_for_waits_until_all_can_have_the_key() {
    let (clock, store) = (TestClock::new(), MemoryStore::new());
    let [one, other] = [(); 2].map(|()| node(store.clone(), clock.clone()));
    one.catch_up().await.unwrap();
    other.catch_up().await.unwrap();
    let first = signing_kid(&one);
    let begins = one.rotate_keys().await.unwrap();
    // The published keys may be kept for five minutes, and clocks differ by five.
    assert_eq!(begins, clock.now() + 10 * MINUTE);
    assert_eq!(one.rotate_keys().await.unwrap(), begins, "asked for twice, it is one rotation");
    assert_eq!(signing_kid(&one), first);
    clock.advance(10 * MINUTE);
    one.catch_up().await.unwrap();
    other.catch_up().await.unwrap();
    assert_ne!(signing_kid(&one), first);
    assert_eq!(signing_kid(&other), signing_kid(&one));

    // One that has long been announced signs at once.
    clock.advance(77 * DAY);
    one.catch_up().await.unwrap();
    clock.advance(DAY);
    let second = signing_kid(&one);
    assert_eq!(one.rotate_keys().await.unwrap(), clock.now());
    assert_ne!(signing_kid(&one), second);
    other.validator().validate(&token_of(&one)).unwrap_err();
    other.catch_up().await.unwrap();
    other.validator().validate(&token_of(&one)).unwrap();
}

#[tokio::test]
async fn a_key_in_wrong_hands_ends_at_once() {
    let (clock, store) = (TestClock::new(), MemoryStore::new());
    let [one, other] = [(); 2].map(|()| node(store.clone(), clock.clone()));
    one.catch_up().await.unwrap();
    other.catch_up().await.unwrap();
    let (leaked, token) = (signing_kid(&one), token_of(&one));
    one.validator().validate(&token).unwrap();
    one.retire_key(&leaked).await.unwrap();
    assert_eq!(fault(&one, &token), TokenFault::UnknownKey, "also where it was known");
    assert!(!kids(&one).contains(&leaked));
    assert_ne!(signing_kid(&one), leaked);
    other.catch_up().await.unwrap();
    assert_eq!(fault(&other, &token), TokenFault::UnknownKey);
    other.validator().validate(&token_of(&one)).unwrap();

    // One that does not sign: the next, and one that did.
    let signing = signing_kid(&one);
    one.rotate_keys().await.unwrap();
    let [_, next] = <[String; 2]>::try_from(kids(&one)).unwrap();
    one.retire_key(&next).await.unwrap();
    assert_eq!(kids(&one), std::slice::from_ref(&signing));
    one.rotate_keys().await.unwrap();
    clock.advance(10 * MINUTE);
    one.catch_up().await.unwrap();
    one.retire_key(&signing).await.unwrap();
    assert_eq!(kids(&one), [signing_kid(&one)]);
    let unknown = one.retire_key("nobody's").await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_key_in_wrong_hands_has_ended_also_where_the_clock_is_behind() {
    let (clock, store) = (TestClock::new(), MemoryStore::new());
    let behind = WrongBy { clock: clock.clone(), ahead: Duration::ZERO, behind: 3 * MINUTE };
    let (one, late) = (node(store.clone(), clock.clone()), node(store, behind));
    one.catch_up().await.unwrap();
    one.rotate_keys().await.unwrap();
    clock.advance(10 * MINUTE);
    one.catch_up().await.unwrap();
    late.catch_up().await.unwrap();
    // Not the first of the keys, so that it is still in the record.
    let (leaked, token) = (signing_kid(&one), token_of(&one));
    assert_eq!(kids(&one).len(), 2);
    one.retire_key(&leaked).await.unwrap();
    late.catch_up().await.unwrap();
    assert_eq!(fault(&late, &token), TokenFault::UnknownKey);
    assert_ne!(signing_kid(&late), leaked);
    one.validator().validate(&token_of(&late)).unwrap();
}

#[tokio::test]
async fn where_the_shared_keys_cannot_be_read_a_key_that_is_unknown_is_no_fault_of_the_token() {
    let (clock, store) = (TestClock::new(), FaultyStore::new(MemoryStore::new()));
    let [one, other] = [(); 2].map(|()| node(store.clone(), clock.clone()));
    one.catch_up().await.unwrap();
    other.catch_up().await.unwrap();
    one.retire_key(&signing_kid(&one)).await.unwrap();
    let token = token_of(&one);
    assert_eq!(fault(&other, &token), TokenFault::UnknownKey);
    store.fail(Calls::all(), StoreFault::unavailable("it is down"));
    other.catch_up().await.unwrap_err();
    assert_eq!(fault(&other, &token), TokenFault::KeysUnavailable);
    store.clear_faults();
    other.catch_up().await.unwrap();
    other.validator().validate(&token).unwrap();
}

#[tokio::test]
async fn keys_that_the_store_has_lost_are_put_back_and_their_tokens_stay_good() {
    let (clock, store) = (TestClock::new(), FaultyStore::new(MemoryStore::new()));
    let tokens = node(store.clone(), clock.clone());
    tokens.catch_up().await.unwrap();
    let (token, known) = (token_of(&tokens), kids(&tokens));
    store.set_inner(MemoryStore::new());
    tokens.catch_up().await.unwrap();
    tokens.validator().validate(&token).unwrap();
    let other = node(store, clock);
    other.catch_up().await.unwrap();
    assert_eq!(kids(&other), known);
}

#[tokio::test]
async fn a_retired_key_stays_retired_where_a_store_is_put_back_to_what_it_was_before() {
    let store = FaultyStore::new(MemoryStore::new());
    let saved = std::sync::Mutex::new(None);
    let save = async || {
        let keys = KeyStore::get(&store).await.unwrap();
        *saved.lock().unwrap() = keys;
    };
    let restore = async || {
        let earlier = MemoryStore::new();
        let keys = saved.lock().unwrap().clone().unwrap();
        KeyStore::insert(&earlier, keys).await.unwrap();
        store.set_inner(earlier);
    };
    a_retired_key_stays_retired([store.clone(), store.clone()], save, restore).await;
}

#[tokio::test]
async fn a_node_that_could_not_open_the_newest_keys_puts_no_older_ones_back() {
    let (clock, store) = (TestClock::new(), FaultyStore::new(MemoryStore::new()));
    let behind = node(store.clone(), clock.clone());
    behind.catch_up().await.unwrap();
    let keys = ManagedKeys::new(Algorithm::EdDSA).store(store.clone());
    let sealing = [[8; 32], SEALING_KEY];
    let ahead = node_with(keys, clock, sealing, RotationSchedule::default());
    ahead.catch_up().await.unwrap();
    behind.catch_up().await.unwrap_err();

    store.set_inner(MemoryStore::new());
    assert_eq!(behind.catch_up().await.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(store.get().await.unwrap(), None);
    ahead.catch_up().await.unwrap();
    assert!(store.get().await.unwrap().is_some());
}

#[tokio::test]
async fn a_node_goes_by_the_keys_that_it_reads_also_where_it_cannot_write() {
    let (clock, store) = (TestClock::new(), MemoryStore::new());
    let writing = node(store.clone(), clock.clone());
    writing.catch_up().await.unwrap();
    let token = token_of(&writing);
    let read_only = FaultyStore::new(store);
    read_only.fail(Calls::writes(), StoreFault::unavailable("it takes no writes"));
    let keys = ManagedKeys::new(Algorithm::EdDSA).store(read_only);
    // With another key to seal with, there is always something to write.
    let sealing = [[8; 32], SEALING_KEY];
    let reading = node_with(keys, clock, sealing, RotationSchedule::default());
    assert_eq!(reading.catch_up().await.unwrap_err().kind(), ErrorKind::Unavailable);
    reading.validator().validate(&token).unwrap();

    writing.retire_key(&kid_of(&token)).await.unwrap();
    assert_eq!(reading.catch_up().await.unwrap_err().kind(), ErrorKind::Unavailable);
    reading.validator().validate(&token).unwrap_err();
    reading.validator().validate(&token_of(&writing)).unwrap();
}

#[tokio::test]
async fn to_retire_a_key_that_nobody_has_is_an_error_also_where_there_are_none() {
    let tokens = node(MemoryStore::new(), TestClock::new());
    let error = tokens.retire_key("nobody's").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_ring_of_the_hosts_is_the_hosts_to_change() {
    let tokens = crate::support::Fixture::new().tokens;
    let errors =
        [tokens.rotate_keys().await.unwrap_err(), tokens.retire_key("kid").await.unwrap_err()];
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::Configuration));
}

#[tokio::test]
async fn a_schedule_by_which_a_key_would_sign_too_early_is_rejected() {
    let schedule = RotationSchedule::default();
    let policies = [
        Policy::default()
            .tokens(|tokens| tokens.rotation_schedule(schedule.announcement_period(10 * MINUTE))),
        Policy::default().http(|http| http.jwks_max_age(14 * DAY)),
        Policy::default()
            .tokens(|tokens| tokens.rotation_schedule(schedule.rotation_period(13 * DAY))),
        Policy::default()
            .tokens(|tokens| tokens.rotation_schedule(schedule.refresh_interval(7 * DAY))),
        Policy::default()
            .tokens(|tokens| tokens.rotation_schedule(schedule.refresh_interval(Duration::ZERO))),
    ];
    let builder = || TokenService::builder().issuer(ISSUER).audience(AUDIENCE);
    for policy in policies {
        let keys = ManagedKeys::new(Algorithm::EdDSA);
        let error = builder().keys(keys).policy(policy).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_keys_time_comes_also_while_the_store_is_out_of_reach() {
    let (clock, store) = (TestClock::new(), FaultyStore::new(MemoryStore::new()));
    let tokens = node(store.clone(), clock.clone());
    tokens.catch_up().await.unwrap();
    clock.advance(80 * DAY);
    tokens.catch_up().await.unwrap();
    let [first, next] = <[String; 2]>::try_from(kids(&tokens)).unwrap();
    let _housekeeping = tokens.start().await.unwrap();
    store.fail(Calls::all(), StoreFault::unavailable("it is down"));
    clock.advance(14 * DAY);
    until(async || signing_kid(&tokens) == next).await;
    assert_eq!(kids(&tokens), [first, next.clone()]);
    clock.advance(2 * DAY);
    until(async || kids(&tokens) == [next.clone()]).await;

    // What is due is made up for once the store is back.
    clock.advance(80 * DAY);
    store.clear_faults();
    until(async || kids(&tokens).len() == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_store_keeps_the_contract_of_keys() {
    conformance::check_key_store(Arc::new(MemoryStore::new())).await;
}

#[tokio::test]
async fn one_store_is_the_store_of_everything_the_managed_keys_included() {
    let store = MemoryStore::new();
    let node = || {
        let keys = ManagedKeys::new(Algorithm::EdDSA);
        Fixture::with_keys(keys, |builder| {
            builder.store(store.clone()).sealing_key(SealingKey::from_bytes(SEALING_KEY))
        })
    };
    let (here, there) = (node(), node());
    here.tokens.catch_up().await.unwrap();
    there.tokens.catch_up().await.unwrap();
    here.machine("aa-1", "the secret of aa-1").await;
    let token = here.tokens.issue(Grant::user("jane")).await.unwrap();
    let check = || there.tokens.validator().validate(token.access_token.expose()).map(drop);
    assert_eq!(check(), Ok(()));
    assert!(there.tokens.find_entity(&EntityId::machine("aa-1").unwrap()).await.unwrap().is_some());
    here.tokens.revoke_token(&token.token_id).await.unwrap();
    there.tokens.catch_up().await.unwrap();
    assert_eq!(check(), Err(TokenFault::Revoked));
}

#[tokio::test]
async fn managed_keys_that_each_node_would_make_for_itself_over_a_shared_store_are_not_built() {
    let sessions = FaultyStore::new(MemoryStore::new()).durable(true);
    let builder = |keys: ManagedKeys| {
        let builder = TokenService::builder().issuer(ISSUER).audience(AUDIENCE).keys(keys);
        builder.session_store(sessions.clone()).sealing_key(SealingKey::from_bytes(SEALING_KEY))
    };
    let keys = ManagedKeys::new(Algorithm::EdDSA);
    let error = builder(keys.clone()).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("`ManagedKeys::store`"), "{error}");
    builder(keys.clone().store(sessions.clone())).build().unwrap();
    builder(keys).store(sessions.clone()).build().unwrap();
}

/// Notes on which threads it makes keys.
#[derive(Clone, Debug, Default)]
struct Watched(Arc<std::sync::Mutex<Vec<std::thread::ThreadId>>>);

impl CryptoProvider for Watched {
    fn generate(&self, algorithm: Algorithm) -> Result<PrivateKey, Error> {
        self.0.lock().unwrap().push(std::thread::current().id());
        DefaultProvider.generate(algorithm)
    }

    fn verification_key(&self, key: &PrivateKey) -> Result<VerificationKey, Error> {
        DefaultProvider.verification_key(key)
    }

    fn signer(&self, key: &PrivateKey) -> Result<Box<dyn Signer>, Error> {
        DefaultProvider.signer(key)
    }

    fn verifier(&self, key: &VerificationKey) -> Result<Box<dyn Verifier>, Error> {
        DefaultProvider.verifier(key)
    }
}

#[tokio::test]
async fn keys_are_made_on_no_thread_that_serves_requests() {
    let provider = Watched::default();
    let keys = ManagedKeys::with_provider(Algorithm::EdDSA, provider.clone());
    let tokens = node_with(keys, TestClock::new(), [SEALING_KEY], RotationSchedule::default());
    tokens.catch_up().await.unwrap();
    tokens.rotate_keys().await.unwrap();
    let signing = signing_kid(&tokens);
    let next = kids(&tokens).pop().unwrap();
    tokens.retire_key(&next).await.unwrap();
    tokens.retire_key(&signing).await.unwrap();
    let threads = provider.0.lock().unwrap();
    assert_eq!(threads.len(), 3, "the first, the next, and one in the place of what was retired");
    assert!(threads.iter().all(|thread| *thread != std::thread::current().id()));
}

#[tokio::test]
async fn a_key_is_put_back_that_a_restore_took_away_although_the_record_was_written_since() {
    let (clock, store) = (TestClock::new(), FaultyStore::new(MemoryStore::new()));
    let tokens = node(store.clone(), clock.clone());
    tokens.catch_up().await.unwrap();
    let before = store.get().await.unwrap().unwrap();
    tokens.rotate_keys().await.unwrap();
    let known = kids(&tokens);
    let restored = MemoryStore::new();
    KeyStore::insert(&restored, before).await.unwrap();
    store.set_inner(restored);
    // A node that has known nothing of it writes the version that the other one knows.
    let other = node(store.clone(), clock.clone());
    other.catch_up().await.unwrap();
    other.rotate_keys().await.unwrap();
    tokens.catch_up().await.unwrap();
    other.catch_up().await.unwrap();
    for node in [&tokens, &other] {
        let published = kids(node);
        assert!(known.iter().all(|kid| published.contains(kid)), "{known:?} in {published:?}");
        assert_eq!(published.len(), 3);
    }
}
