//! Revocations of a subject on two nodes, heard in whatever order and however often.

use std::time::Duration;

use countersign::store::{Cursor, FeedEvent, MemoryStore, SessionStore as _};
use countersign::tokens::IssuedToken;
use countersign::{Algorithm, Grant, KeyRing, Organization, SubjectType, TokenService};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::runtime::Runtime;

use crate::support::{AUDIENCE, ISSUER, TestClock, clock_at_start};

#[derive(Clone, Copy, Debug)]
enum Step {
    Issue {
        node: usize,
    },
    Revoke {
        node: usize,
    },
    /// Has a node hear one of the revocations, which it may know.
    Hear {
        node: usize,
        which: usize,
    },
}

fn step() -> impl Strategy<Value = (Step, u64)> {
    let step = prop_oneof![
        (0..2_usize).prop_map(|node| Step::Issue { node }),
        (0..2_usize).prop_map(|node| Step::Revoke { node }),
        (0..2_usize, 0..8_usize).prop_map(|(node, which)| Step::Hear { node, which }),
    ];
    // Most of them within a second or two, and none at the same instant.
    (step, prop_oneof![1..1_000_u64, 1..400_000_u64])
}

/// A service with a store of its own, into which revocations are put by hand.
struct Node {
    tokens: TokenService,
    store: MemoryStore,
    clock: TestClock,
    known: Vec<usize>,
}

struct Token {
    issued: IssuedToken,
    known: Vec<usize>,
    requests_before: usize,
}

struct Run {
    nodes: [Node; 2],
    /// Those that were asked for, and those that the nodes have made of them.
    revocations: Vec<FeedEvent>,
    requests: usize,
    tokens: Vec<Token>,
}

impl Run {
    fn start(ahead: Duration) -> Self {
        let keys = KeyRing::generate(Algorithm::EdDSA).unwrap();
        let nodes = [Duration::ZERO, ahead].map(|ahead| {
            let (store, clock) = (MemoryStore::new(), clock_at_start());
            clock.advance(ahead);
            let tokens = TokenService::builder()
                .issuer(ISSUER)
                .audience(AUDIENCE)
                .keys(keys.clone())
                .clock(clock.clone())
                .store(store.clone())
                .sealing_key(countersign::SealingKey::from_bytes([7; 32]));
            Node { tokens: tokens.build().unwrap(), store, clock, known: Vec::new() }
        });
        Self { nodes, revocations: Vec::new(), requests: 0, tokens: Vec::new() }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Issue { node } => {
                let node = &self.nodes[node];
                let issued = node.tokens.issue(Grant::customer("cus_1")).await.unwrap();
                assert!(issued.issued_at <= node.tokens.now(), "none is issued ahead of its time");
                let (known, requests_before) = (node.known.clone(), self.requests);
                self.tokens.push(Token { issued, known, requests_before });
            }
            Step::Revoke { node } => {
                let tokens = &self.nodes[node].tokens;
                let customer = tokens.principal(SubjectType::Customer, "cus_1", Organization::All);
                tokens.revoke_subject(&customer, tokens.now()).await.unwrap();
                self.requests += 1;
                self.collect(node).await;
            }
            Step::Hear { node, which } if !self.revocations.is_empty() => {
                self.hear(node, which % self.revocations.len()).await;
            }
            Step::Hear { .. } => {}
        }
    }

    /// Takes what a node has published since, for the other one to hear.
    async fn collect(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        let feed = node.store.read_feed(&Cursor::START, Duration::ZERO).await.unwrap();
        for event in feed.events {
            if !self.revocations.contains(&event) {
                node.known.push(self.revocations.len());
                self.revocations.push(event);
            }
        }
    }

    async fn hear(&mut self, node: usize, which: usize) {
        let hearing = &mut self.nodes[node];
        hearing.store.publish(self.revocations[which].clone()).await.unwrap();
        hearing.tokens.catch_up().await.unwrap();
        if !hearing.known.contains(&which) {
            hearing.known.push(which);
        }
        self.collect(node).await;
    }

    async fn hear_all(&mut self) {
        let mut heard = 0;
        while heard < self.revocations.len() {
            assert!(heard < self.requests * 3, "the nodes repeat each other's for ever");
            for node in 0..2 {
                self.hear(node, heard).await;
            }
            heard += 1;
        }
    }

    fn advance(&self, micros: u64) {
        for node in &self.nodes {
            node.clock.advance(Duration::from_micros(micros));
        }
    }

    fn check(&self, steps: &[(Step, u64)]) {
        let all = self.revocations.len();
        for (number, token) in self.tokens.iter().enumerate() {
            let verdicts = self.nodes.each_ref().map(|node| {
                node.tokens.validator().validate(token.issued.access_token.expose()).is_ok()
            });
            assert_eq!(verdicts[0], verdicts[1], "token {number} of {steps:?}");
            if token.requests_before < self.requests {
                assert!(!verdicts[0], "token {number} was revoked: {steps:?}");
            } else if token.known.len() == all {
                assert!(verdicts[0], "token {number} was issued after all: {steps:?}");
            }
        }
    }
}

fn run(ahead: Duration, steps: &[(Step, u64)], last: &[(usize, usize)], at_once: bool) {
    Runtime::new().unwrap().block_on(async {
        let mut run = Run::start(ahead);
        for (step, pause) in steps {
            run.take(*step).await;
            if let (true, Step::Revoke { node }) = (at_once, step) {
                run.hear(1 - node, run.revocations.len() - 1).await;
            }
            run.advance(*pause);
        }
        for (node, which) in last {
            run.take(Step::Hear { node: *node, which: *which }).await;
        }
        run.hear_all().await;
        run.check(steps);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn in_whatever_order_revocations_are_heard_there_is_one_verdict(
        steps in vec(step(), 1..24), last in vec((0..2_usize, 0..16_usize), 0..16),
    ) {
        run(Duration::ZERO, &steps, &last, false);
    }

    #[test]
    fn where_the_clock_of_a_node_is_ahead_each_revokes_what_the_other_has_issued(
        ahead in 0..60_000_u64, steps in vec(step(), 1..24), at_once: bool,
    ) {
        run(Duration::from_millis(ahead), &steps, &[], at_once);
    }
}
