use super::*;
use crate::service::model::subject::Subject;
use crate::token::claims::SubjectType;
use crate::token::identifier::{OrganizationId, TokenId};

const MILLI: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);

fn start() -> Timestamp {
    Timestamp::from_secs(1_767_225_600)
}

fn set() -> RevocationSet {
    RevocationSet::new(HOUR)
}

const OPS: SubjectRef<'static> =
    SubjectRef { subject_type: SubjectType::User, organization_id: None, id: "ops" };

fn revocation(subject: Subject, before: Timestamp, until: Timestamp) -> Revocation {
    let issued_before = before + SECOND;
    let target = RevocationTarget::SubjectBefore {
        subject,
        before,
        issued_before,
        blocked_until: None,
        made_by: None,
    };
    Revocation { target, until }
}

fn revoke(set: &RevocationSet, before: Timestamp) {
    set.insert(&revocation(OPS.to_subject(), before, Timestamp::MAX), Origin::Feed, before);
}

fn is_good(set: &RevocationSet, issued: IssueTime) -> bool {
    // As a token says it.
    let at = issued.at.floor_to_second();
    !set.contains_issued(OPS, IssueTime { at, ..issued })
}

#[test]
fn each_of_two_revocations_in_one_second_revokes_what_was_issued_before_it_in_either_order() {
    let instants = [300, 800].map(|millis| start() + MILLI * millis);
    let knowing = set();
    let issue = |at| knowing.issue_time(OPS, start() + MILLI * at);
    let first = issue(200);
    revoke(&knowing, instants[0]);
    let second = issue(500);
    assert!(!is_good(&knowing, first) && is_good(&knowing, second));
    revoke(&knowing, instants[1]);
    let third = issue(900);
    let swapped = set();
    for instant in instants.into_iter().rev().chain(instants) {
        revoke(&swapped, instant);
    }
    for set in [&knowing, &swapped] {
        assert!(!is_good(set, first) && !is_good(set, second) && is_good(set, third));
    }
}

#[test]
fn the_same_revocation_twice_or_an_older_one_revokes_nothing_more() {
    let set = set();
    revoke(&set, start() + MILLI * 300);
    let issued = set.issue_time(OPS, start() + MILLI * 500);
    revoke(&set, start() + MILLI * 300);
    revoke(&set, start() + MILLI * 100);
    assert!(is_good(&set, issued));
}

#[test]
fn however_many_revocations_there_are_what_is_issued_is_as_old_as_its_proof() {
    let set = set();
    for millis in 0..200 {
        revoke(&set, start() + MILLI * millis);
    }
    let issued = set.issue_time(OPS, start() + MILLI * 200);
    assert_eq!(issued.at, start() + MILLI * 200);
    assert!(is_good(&set, issued));
}

#[test]
fn who_proved_it_before_the_revocation_gets_a_token_that_is_revoked() {
    let set = set();
    revoke(&set, start() + MILLI * 300);
    let late = set.issue_time(OPS, start() + MILLI * 299);
    assert!(!is_good(&set, late));
}

#[test]
fn a_revocation_is_later_than_one_that_is_known_from_a_clock_that_is_ahead() {
    let set = set();
    set.insert(
        &revocation(OPS.to_subject(), start() + HOUR, Timestamp::MAX),
        Origin::Feed,
        start(),
    );
    let issued = set.issue_time(OPS, start() + MILLI);
    assert!(is_good(&set, issued));
    let now = start() + MILLI * 2;
    revoke(&set, set.next_instant(OPS, now, Duration::ZERO));
    assert!(!is_good(&set, issued));
}

/// Some nodes of a service, and their feed.
struct Nodes {
    nodes: Vec<Node>,
    feed: Vec<Revocation>,
    now: Timestamp,
}

struct Node {
    set: RevocationSet,
    /// How far its clock is ahead.
    ahead: Duration,
    heard: usize,
}

impl Nodes {
    const TOLERANCE: Duration = Duration::from_secs(300);

    fn new(ahead: [Duration; 3]) -> Self {
        let node = |ahead| Node { set: set(), ahead, heard: 0 };
        Self { nodes: ahead.map(node).into(), feed: Vec::new(), now: start() }
    }

    async fn pass(&mut self, time: Duration) {
        tokio::time::advance(time).await;
        self.now = self.now + time;
    }

    fn clock(&self, node: usize) -> Timestamp {
        self.now + self.nodes[node].ahead
    }

    fn issue(&self, node: usize) -> IssueTime {
        self.nodes[node].set.issue_time(OPS, self.clock(node))
    }

    fn revoke(&mut self, node: usize) {
        self.make(node, false);
    }

    fn make(&mut self, node: usize, is_repeat: bool) {
        let (now, set) = (self.clock(node), &self.nodes[node].set);
        let before = set.next_instant(OPS, now, Duration::ZERO);
        let issued_before = (now + Self::TOLERANCE).max(before);
        let target = RevocationTarget::SubjectBefore {
            subject: OPS.to_subject(),
            before,
            issued_before,
            blocked_until: None,
            made_by: (!is_repeat).then_some(set.maker()),
        };
        let made = Revocation { target, until: Timestamp::MAX };
        let others_after = now - Self::TOLERANCE;
        set.insert(&made, Origin::ThisNode { others_after }, now);
        self.feed.push(made);
    }

    /// Has a node hear the next in the feed, and do what follows from it.
    fn hear(&mut self, node: usize) {
        let Some(heard) = self.feed.get(self.nodes[node].heard).cloned() else { return };
        self.nodes[node].heard += 1;
        let now = self.clock(node);
        let set = &self.nodes[node].set;
        if set.insert(&heard, Origin::Feed, now) && set.is_latest_of_this_node(OPS) {
            self.make(node, true);
        }
    }

    async fn hear_all(&mut self) {
        for _ in 0..100 {
            if self.nodes.iter().all(|node| node.heard == self.feed.len()) {
                return;
            }
            self.pass(MILLI).await;
            (0..self.nodes.len()).for_each(|node| self.hear(node));
        }
        panic!("nodes make revocations of each other's for ever");
    }

    fn accept(&self, issued: IssueTime) -> Vec<bool> {
        self.nodes.iter().map(|node| is_good(&node.set, issued)).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_missed_revocations_revokes_what_was_issued_knowing_of_them() {
    // The first one is of a clock that is ahead, so that all others go on from there.
    for ahead in [Duration::ZERO, HOUR] {
        let mut nodes = Nodes::new([Duration::ZERO, Duration::ZERO, ahead]);
        nodes.revoke(2);
        for _ in 0..2 {
            nodes.hear(1);
            nodes.pass(SECOND).await;
            nodes.revoke(1);
        }
        let issued = nodes.issue(1);
        nodes.hear(0);
        nodes.pass(MILLI).await;
        nodes.revoke(0);
        nodes.hear_all().await;
        assert_eq!(nodes.accept(issued), [false; 3], "{ahead:?}");
        assert_eq!(nodes.accept(nodes.issue(1)), [true; 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_that_have_heard_of_a_clock_that_is_ahead_go_on_from_it_alike() {
    let mut nodes = Nodes::new([Duration::ZERO, Duration::ZERO, HOUR]);
    nodes.revoke(2);
    nodes.hear_all().await;
    nodes.pass(SECOND).await;
    nodes.revoke(1);
    nodes.revoke(1);
    let issued = nodes.issue(1);
    nodes.pass(MILLI).await;
    // Without a word of those two.
    nodes.revoke(0);
    assert!(!is_good(&nodes.nodes[0].set, issued));
}

#[tokio::test(start_paused = true)]
async fn what_all_nodes_have_heard_is_not_revoked_again() {
    let mut nodes = Nodes::new([Duration::ZERO, SECOND * 30, SECOND]);
    for node in [0, 1, 1, 2, 0, 0, 1] {
        nodes.revoke(node);
        nodes.hear_all().await;
    }
    assert_eq!(nodes.feed.len(), 7);
    // Nor where the feed is read again.
    nodes.nodes.iter_mut().for_each(|node| node.heard = 0);
    nodes.hear_all().await;
    assert_eq!(nodes.feed.len(), 7);
}

#[tokio::test(start_paused = true)]
async fn what_was_issued_before_a_revocation_is_revoked_whatever_its_node_had_heard() {
    for seed in 1..1_000_u64 {
        // Xorshift: the same run each time.
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let ahead = [0, random(60_000_000), random(60_000_000)].map(Duration::from_micros);
        let mut nodes = Nodes::new(ahead);
        let (mut issued, mut revoked) = (Vec::new(), 0);
        for _ in 0..40 {
            nodes.pass(Duration::from_micros(1 + random(5_000))).await;
            let node = usize::try_from(random(3)).unwrap();
            match random(5) {
                0 => {
                    nodes.revoke(node);
                    revoked = issued.len();
                }
                1 => issued.push(nodes.issue(node)),
                _ => nodes.hear(node),
            }
        }
        nodes.hear_all().await;
        for token in &issued[..revoked] {
            assert_eq!(nodes.accept(*token), [false; 3], "seed {seed}");
        }
    }
}

fn token(number: u64) -> RevocationTarget {
    RevocationTarget::Token(TokenId::new(format!("jti-{number}")).unwrap())
}

#[test]
fn what_was_given_more_time_is_forgotten_at_its_end_and_not_before() {
    let set = set();
    let subject = revocation(OPS.to_subject(), start(), start()).target;
    let everything =
        [token(1), RevocationTarget::Session(SessionId::new("sid-1").unwrap()), subject];
    let are_there = |now| {
        set.purge(now);
        set.live.read().ids.contains(set.digester.token(&TokenId::new("jti-1").unwrap()))
            && set.contains_session(&SessionId::new("sid-1").unwrap())
            && set.live.read().subjects.len() == 1
    };
    for target in everything {
        let revocation = |until| Revocation { target: target.clone(), until };
        set.insert(&revocation(start() + HOUR), Origin::Feed, start());
        set.insert(&revocation(start() + HOUR * 3), Origin::Feed, start());
        // Later to arrive, and no longer.
        set.insert(&revocation(start() + HOUR * 2), Origin::Feed, start());
    }
    assert!(are_there(start() + HOUR * 2));
    assert!(!are_there(start() + HOUR * 3));
    assert_eq!(set.len(), 0);
    assert!(set.live.read().subjects.is_empty());
}

#[test]
fn each_part_of_a_purge_is_small_and_all_of_it_is_done() {
    let set = set();
    let subject = |number: usize| Subject::new(SubjectType::User, number.to_string());
    for number in 0..PURGE_LIMIT * 3 {
        set.insert(&revocation(subject(number), start(), start()), Origin::Feed, start());
    }
    set.insert(&revocation(OPS.to_subject(), start(), start() + SECOND), Origin::Feed, start());
    assert_eq!(set.purge_subjects(start(), PURGE_LIMIT), PURGE_LIMIT);
    set.purge(start());
    assert_eq!(set.len(), 1);
}

#[test]
fn a_namesake_in_another_organization_is_somebody_else() {
    let set = set();
    let [acme, globex] = ["acme", "globex"].map(|id| Some(OrganizationId::new(id).unwrap()));
    let ops = |organization_id| SubjectRef { organization_id, ..OPS };
    let subject = ops(acme.as_ref()).to_subject();
    set.insert(&revocation(subject, start(), Timestamp::MAX), Origin::Feed, start());
    let early = IssueTime::at(start() - SECOND);
    let ended = |subject| set.contains_issued(subject, early);
    assert!(ended(ops(acme.as_ref())));
    assert!(!ended(ops(globex.as_ref())) && !ended(OPS));
    // Of whom an older record does not say where they belong, all are meant.
    let target = RevocationTarget::SubjectAnywhereBefore {
        subject_type: SubjectType::User,
        subject: "ops".to_owned(),
        before: start(),
    };
    set.insert(&Revocation { target, until: Timestamp::MAX }, Origin::Feed, start());
    assert!(ended(ops(globex.as_ref())) && ended(OPS));
}
