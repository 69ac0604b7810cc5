//! How long tokens live, over restarts with other lifetimes and nodes that differ in them.

use std::collections::VecDeque;
use std::time::Duration;

use countersign::faults::TokenFault;
use countersign::store::{EntityStore, KeyStore, MemoryStore, SessionStore};
use countersign::testing::FaultyStore;
use countersign::tokens::IssuedToken;
use countersign::{
    Actor, Algorithm, AuthenticationToken, CustomerId, ErrorKind, ExchangeRequest, Grant, KeyRing,
    NewSession, Policy, RequestContext, SealingKey, SubjectType, TokenService, Validator,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::problems::assert_problem;
use crate::support::sessions::SESSIONS;
use crate::support::{AUDIENCE, Fixture, ISSUER, Server, TestClock, clock_at_start, issue_now};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Tokens live for so long at most.
fn lifetimes(longest: Duration) -> Policy {
    Policy::default().tokens(|tokens| {
        tokens
            .user_lifetime(longest)
            .machine_lifetime(longest)
            .exchanged_lifetime(longest)
            .max_exchanged_lifetime(longest)
            .phantom_lifetime(longest.min(5 * MINUTE))
    })
}

/// The nodes of one service, which are started, and started again with other policies.
struct Nodes<S> {
    clock: TestClock,
    keys: KeyRing,
    store: FaultyStore<S>,
}

impl<S: EntityStore + SessionStore + KeyStore> Nodes<S> {
    fn over(store: S) -> Self {
        let keys = KeyRing::generate(Algorithm::EdDSA).unwrap();
        let clock = clock_at_start();
        Self { clock: clock.clone(), keys, store: FaultyStore::new(store).clock(clock) }
    }

    async fn start(&self, policy: Policy) -> TokenService {
        let node = Fixture::with_keys(self.keys.clone(), |builder| {
            builder
                .clock(self.clock.clone())
                .store(self.store.clone())
                .sealing_key(SealingKey::from_bytes([7; 32]))
                .policy(policy)
        });
        hear(&node.tokens).await;
        node.tokens
    }

    /// Lets a day go by in which a node tidies up every half an hour, and is asked.
    async fn for_a_day(&self, node: &TokenService, mut check: impl AsyncFnMut()) {
        for _ in 0..50 {
            hear(node).await;
            check().await;
            self.clock.advance(30 * MINUTE);
        }
    }
}

/// What housekeeping does: forgets what no longer matters, and hears what others have revoked.
async fn hear(node: &TokenService) {
    node.purge_expired().await.unwrap();
    node.catch_up().await.unwrap();
}

/// Whether they are registered is not asked of a store.
fn issue(node: &TokenService) -> IssuedToken {
    issue_now(node, Grant::customer("ops")).unwrap()
}

fn check(node: &TokenService, token: &IssuedToken) -> Result<(), TokenFault> {
    node.validator().validate(token.access_token.expose()).map(drop)
}

async fn a_restart_with_shorter_lifetimes_revives_nothing(
    nodes: Nodes<impl EntityStore + SessionStore + KeyStore>,
) {
    let before = nodes.start(lifetimes(DAY)).await;
    let [revoked, logged_out] = [(); 2].map(|()| issue(&before));
    let customers = before.issue(Grant::customer("cus_1")).await.unwrap();
    before.revoke_token(&revoked.token_id).await.unwrap();
    drop(before);
    let mut node = nodes.start(lifetimes(HOUR)).await;
    node.revoke_token(&logged_out.token_id).await.unwrap();
    node.revoke_subject(
        &node.principal(SubjectType::Customer, "cus_1", countersign::Organization::All),
        node.now() + MINUTE,
    )
    .await
    .unwrap();
    for _ in 0..25 {
        for token in [&revoked, &logged_out, &customers] {
            assert!(check(&node, token).is_err(), "at {}", node.now());
        }
        let fresh = issue(&node);
        assert_eq!(check(&node, &fresh), Ok(()));
        nodes.clock.advance(HOUR);
        node = nodes.start(lifetimes(HOUR)).await;
    }
}

#[tokio::test]
async fn over_memory_a_restart_with_shorter_lifetimes_revives_no_revoked_token() {
    a_restart_with_shorter_lifetimes_revives_nothing(Nodes::over(MemoryStore::new())).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_sqlite_a_restart_with_shorter_lifetimes_revives_no_revoked_token() {
    let file = crate::support::durable::File::new();
    a_restart_with_shorter_lifetimes_revives_nothing(Nodes::over(file.node().await)).await;
}

#[tokio::test]
async fn a_token_that_lives_too_long_is_a_401_as_all_that_are_not_valid() {
    let nodes = Nodes::over(MemoryStore::new());
    let token = issue(&nodes.start(lifetimes(DAY)).await);
    let node = nodes.start(lifetimes(HOUR)).await;
    let server = Server::start(node.router()).await;
    for _ in 0..3 {
        let answer = server.get(SESSIONS, Some(token.access_token.expose())).await;
        assert_problem(&answer, 401, "invalid-token");
        assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
    }
}

#[tokio::test]
async fn revocations_are_remembered_for_the_longest_life_whether_a_users_or_a_machines() {
    for policy in [
        lifetimes(HOUR).tokens(|tokens| tokens.user_lifetime(DAY)),
        lifetimes(HOUR).tokens(|tokens| tokens.machine_lifetime(DAY)),
    ] {
        let nodes = Nodes::over(MemoryStore::new());
        let node = nodes.start(policy.clone()).await;
        let mut tokens = Vec::new();
        for grant in [Grant::user("ops"), Grant::new(SubjectType::Machine, "aa-1")] {
            tokens.push(node.issue(grant).await.unwrap());
        }
        assert!(tokens.iter().any(|token| token.expires_in() == DAY), "{policy:?}");
        assert!(tokens.iter().any(|token| token.expires_in() == HOUR), "{policy:?}");
        for token in &tokens {
            assert_eq!(check(&node, token), Ok(()));
            node.revoke_token(&token.token_id).await.unwrap();
        }
        nodes
            .for_a_day(&node, async || {
                for token in &tokens {
                    assert!(check(&node, token).is_err(), "at {}", node.now());
                }
            })
            .await;
    }
}

#[tokio::test]
async fn a_lifetime_of_no_whole_second_is_no_policy() {
    let short = Duration::from_millis(999);
    for policy in [
        lifetimes(HOUR).tokens(|tokens| tokens.user_lifetime(short)),
        lifetimes(HOUR).tokens(|tokens| tokens.machine_lifetime(short)),
    ] {
        let built = TokenService::builder()
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .keys(KeyRing::generate(Algorithm::EdDSA).unwrap())
            .policy(policy)
            .build();
        assert_eq!(built.unwrap_err().kind(), ErrorKind::Configuration);
    }
}

#[tokio::test]
async fn a_token_that_another_validator_accepted_is_judged_by_its_life_again() {
    let nodes = Nodes::over(MemoryStore::new());
    let before = nodes.start(lifetimes(DAY)).await;
    let token = issue(&before);
    let validated = before.validator().validate(token.access_token.expose()).unwrap();
    let node = nodes.start(lifetimes(HOUR)).await;
    assert_eq!(node.validator().recheck(&validated), Err(TokenFault::LifetimeTooLong));
    assert_eq!(before.validator().recheck(&validated), Ok(()));
}

#[tokio::test]
async fn a_validator_without_a_service_allows_any_life_unless_it_is_told() {
    let nodes = Nodes::over(MemoryStore::new());
    let token = issue(&nodes.start(lifetimes(DAY)).await);
    let builder = || {
        Validator::builder()
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .keys(nodes.keys.clone())
            .clock(nodes.clock.clone())
    };
    let check = |validator: Validator| validator.validate(token.access_token.expose()).map(drop);
    assert_eq!(check(builder().build().unwrap()), Ok(()));
    for (longest, expected) in [
        (DAY, Ok(())),
        (DAY - Duration::from_secs(1), Err(TokenFault::LifetimeTooLong)),
        (Duration::MAX, Ok(())),
    ] {
        let validator = builder().max_token_lifetime(longest).build().unwrap();
        assert_eq!(check(validator), expected, "{longest:?}");
    }
}

/// What becomes of a token that a node with longer lifetimes issues and one with shorter ones
/// revokes: whether the first accepts it before its end.
async fn is_revived(shorter: Policy, longer: Policy) -> bool {
    let nodes = Nodes::over(MemoryStore::new());
    let updated = nodes.start(longer.clone()).await;
    let not_yet = nodes.start(shorter).await;
    let token = issue(&updated);
    assert_eq!(check(&updated, &token), Ok(()));
    not_yet.revoke_token(&token.token_id).await.unwrap();
    hear(&updated).await;
    assert_eq!(check(&updated, &token), Err(TokenFault::Revoked));
    let mut is_revived = false;
    nodes
        .for_a_day(&updated, async || {
            let restarted = nodes.start(longer.clone()).await;
            is_revived |= check(&updated, &token).is_ok() || check(&restarted, &token).is_ok();
        })
        .await;
    is_revived
}

#[tokio::test]
async fn lifetimes_are_raised_in_two_steps_and_in_one_a_revocation_is_forgotten_too_early() {
    let raised_first = lifetimes(HOUR).tokens(|tokens| tokens.max_lifetime(Some(DAY)));
    assert!(!is_revived(raised_first, lifetimes(DAY)).await);
    assert!(is_revived(lifetimes(HOUR), lifetimes(DAY)).await, "why there are two steps");
}

#[tokio::test]
async fn lifetimes_are_lowered_in_two_steps_without_rejecting_a_good_token_or_reviving_another() {
    let nodes = Nodes::over(MemoryStore::new());
    let [good, revoked] = {
        let node = nodes.start(lifetimes(DAY)).await;
        [(); 2].map(|()| issue(&node))
    };
    let lowered =
        nodes.start(lifetimes(HOUR).tokens(|tokens| tokens.max_lifetime(Some(DAY)))).await;
    lowered.revoke_token(&revoked.token_id).await.unwrap();
    for _ in 0..24 {
        hear(&lowered).await;
        assert_eq!(check(&lowered, &good), Ok(()));
        assert_eq!(check(&lowered, &revoked), Err(TokenFault::Revoked));
        nodes.clock.advance(HOUR);
    }
    nodes.clock.advance(2 * MINUTE);
    let last = nodes.start(lifetimes(HOUR)).await;
    assert!(check(&last, &good).is_err() && check(&last, &revoked).is_err());
    // And there they may be raised again.
    let raised = nodes.start(lifetimes(DAY)).await;
    assert_eq!(check(&raised, &revoked), Err(TokenFault::Expired));
}

#[tokio::test]
async fn the_longest_life_is_no_shorter_than_what_tokens_are_issued_with() {
    for (longest, is_built) in [(HOUR - Duration::from_secs(1), false), (HOUR, true)] {
        let built = TokenService::builder()
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .keys(KeyRing::generate(Algorithm::EdDSA).unwrap())
            .policy(lifetimes(HOUR).tokens(|tokens| tokens.max_lifetime(Some(longest))))
            .build();
        assert_eq!(built.is_ok(), is_built, "{longest:?}");
    }
    let node = Nodes::over(MemoryStore::new());
    let node = node.start(lifetimes(HOUR).tokens(|tokens| tokens.max_lifetime(Some(DAY)))).await;
    let longest = node.issue(Grant::customer("ops").lifetime(DAY)).await.unwrap();
    assert_eq!(check(&node, &longest), Ok(()));
    let beyond = node.issue(Grant::customer("ops").lifetime(DAY + MINUTE)).await.unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::InvalidFields);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(u64),
    /// A restart whose tokens live for so many minutes, and are accepted with so many more.
    Restart(u64, u64),
    Issue,
    Exchange,
    RevokeFirst,
    LogOutFirst,
    RevokeAll,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..200_u64).prop_map(Step::Wait),
        3 => (1..300_u64, 0..100_u64).prop_map(|(life, more)| Step::Restart(life, more)),
        3 => Just(Step::Issue),
        2 => Just(Step::Exchange),
        2 => Just(Step::RevokeFirst),
        2 => Just(Step::LogOutFirst),
        2 => Just(Step::RevokeAll),
    ]
}

/// A service that is started again and again, and what it has issued.
struct Run {
    nodes: Nodes<MemoryStore>,
    node: TokenService,
    /// In minutes.
    longest: u64,
    /// When the last token ends that was issued under a longer life than the present one, in minutes
    /// since the beginning.
    longer_until: u64,
    elapsed: u64,
    good: VecDeque<IssuedToken>,
    sessions: VecDeque<(AuthenticationToken, IssuedToken)>,
    revoked: Vec<IssuedToken>,
}

impl Run {
    async fn start() -> Self {
        let nodes = Nodes::over(MemoryStore::new());
        let node = nodes.start(lifetimes(100 * MINUTE)).await;
        Self {
            nodes,
            node,
            longest: 100,
            longer_until: 0,
            elapsed: 0,
            good: VecDeque::new(),
            sessions: VecDeque::new(),
            revoked: Vec::new(),
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Wait(minutes) => {
                self.elapsed += minutes;
                self.nodes.clock.advance(MINUTE * u32::try_from(minutes).unwrap());
                hear(&self.node).await;
            }
            Step::Restart(life, more) => {
                // Raised only where no token lives any more that a former, longer life allowed.
                let raises = life + more > self.longest;
                if raises && self.elapsed < self.longer_until {
                    return;
                }
                if life + more < self.longest {
                    // And what the leeway adds.
                    self.longer_until = self.longer_until.max(self.elapsed + self.longest + 2);
                }
                self.longest = life + more;
                let minutes = |minutes: u64| MINUTE * u32::try_from(minutes).unwrap();
                let policy =
                    lifetimes(minutes(life)).tokens(|t| t.max_lifetime(Some(minutes(life + more))));
                self.node = self.nodes.start(policy).await;
            }
            Step::Issue => self.good.push_back(issue(&self.node)),
            Step::Exchange => {
                let new = NewSession::of(CustomerId::new("cus_1").unwrap());
                let Ok(started) = self
                    .node
                    .start_session(Actor::Host, new, &RequestContext::without_address())
                    .await
                else {
                    return;
                };
                let request = ExchangeRequest::default().invalidate(false);
                let exchanged = self
                    .node
                    .exchange(&started.token, request, &RequestContext::without_address())
                    .await
                    .unwrap();
                self.sessions.push_back((started.token, exchanged.token));
            }
            Step::RevokeFirst => {
                let Some(token) = self.good.pop_front() else { return };
                self.node.revoke_token(&token.token_id).await.unwrap();
                self.revoked.push(token);
            }
            Step::LogOutFirst => {
                let Some((session, token)) = self.sessions.pop_front() else { return };
                let context = RequestContext::without_address();
                if self.node.log_out_customer(&session, &context).await.is_ok() {
                    self.revoked.push(token);
                }
            }
            Step::RevokeAll => {
                // Tokens carry whole seconds.
                self.nodes.clock.advance(Duration::from_secs(1));
                let now = self.node.now();
                self.node
                    .revoke_subject(
                        &self.node.principal(
                            SubjectType::Customer,
                            "ops",
                            countersign::Organization::All,
                        ),
                        now,
                    )
                    .await
                    .unwrap();
                self.revoked.extend(self.good.drain(..));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_sequence_of_policies_and_time_has_a_revoked_token_accepted(
        steps in vec(step(), 1..30),
    ) {
        runtime().block_on(async {
            let mut run = Run::start().await;
            for step in &steps {
                run.take(*step).await;
                for token in &run.revoked {
                    assert!(check(&run.node, token).is_err(), "{step:?} of {steps:?}");
                }
            }
        });
    }

    #[test]
    fn what_a_policy_has_issued_it_accepts_whatever_its_lifetimes(
        life in 1_000..10_000_u64, now in 0..1_000_u64,
    ) {
        runtime().block_on(async {
            let nodes = Nodes::over(MemoryStore::new());
            nodes.clock.advance(Duration::from_millis(now));
            let node = nodes.start(lifetimes(Duration::from_millis(life))).await;
            assert_eq!(check(&node, &issue(&node)), Ok(()));
            let session = NewSession::of(CustomerId::new("cus_1").unwrap());
            let session = node.start_session(Actor::Host, session, &RequestContext::without_address()).await.unwrap();
            let latest = node.now() + Duration::from_millis(life);
            for request in [
                ExchangeRequest::default().invalidate(false),
                ExchangeRequest::default().expires_at(latest),
            ] {
                let exchanged = node.exchange(&session.token, request, &RequestContext::without_address()).await.unwrap();
                assert_eq!(check(&node, &exchanged.token), Ok(()));
            }
        });
    }
}
