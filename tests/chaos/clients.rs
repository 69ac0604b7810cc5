//! What clients do, as the seed says: each has customers and a machine client of its own, and asks any node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;

use crate::calls::{Caller, Jwt, Secret, Session};
use crate::checker::bounds::NODES;
use crate::checker::history::Call;
use crate::random::Random;
use crate::recorder::Recorder;

/// How many of the last ones are asked for most of the time.
const RECENT: usize = 12;
/// How many a client keeps, of sessions and of tokens.
const KEPT: usize = 400;
/// Sessions of one customer, who is logged out with all of them.
const SESSIONS_A_CUSTOMER: usize = 8;
/// How often a client hangs up, in percent: as a rule, and while that is the fault.
const HANG_UPS: (u64, u64) = (6, 60);
/// How many exchange one token at once.
const RACERS: usize = 3;

/// One choice. All that a step may need is drawn, whatever it turns out to need, so that the same seed
/// chooses the same.
struct Step {
    kind: usize,
    nodes: [usize; RACERS],
    target: u64,
    is_recent: bool,
    luck: u64,
    patience: Duration,
    pause: Duration,
}

impl Step {
    fn draw(random: &mut Random) -> Self {
        Self {
            kind: random.below(100),
            nodes: [(); RACERS].map(|()| random.below(NODES)),
            target: random.next(),
            is_recent: random.percent(75),
            luck: random.next() % 100,
            patience: random.millis(0, 40),
            pause: random.millis(2, 40),
        }
    }

    fn choose<T: Clone>(&self, of: &[T]) -> Option<T> {
        let len = if self.is_recent { of.len().min(RECENT) } else { of.len() };
        let index = (self.target as usize).checked_rem(len)?;
        of.get(of.len() - 1 - index).cloned()
    }
}

pub struct Client {
    index: usize,
    recorder: Arc<Recorder>,
    random: Random,
    customer: usize,
    sessions_of_customer: usize,
    pub sessions: Vec<Session>,
    pub jwts: Vec<Jwt>,
    pub machine: usize,
    pub secrets: Vec<Secret>,
}

impl Client {
    pub fn new(index: usize, seed: u64, recorder: &Arc<Recorder>) -> Self {
        Self {
            index,
            recorder: Arc::clone(recorder),
            random: Random::new(seed, 1 + index as u64),
            customer: recorder.number(),
            sessions_of_customer: 0,
            sessions: Vec::new(),
            jwts: Vec::new(),
            machine: index,
            secrets: Vec::new(),
        }
    }

    pub async fn run(mut self, ended: Arc<AtomicBool>) -> Self {
        while !ended.load(Ordering::Relaxed) {
            let step = Step::draw(&mut self.random);
            self.take(&step).await;
            sleep(step.pause).await;
        }
        self
    }

    async fn take(&mut self, step: &Step) {
        let session = step.choose(&self.sessions);
        let jwt = step.choose(&self.jwts);
        let secret = step.choose(&self.secrets);
        let recorder = Arc::clone(&self.recorder);
        let caller = self.caller(&recorder, step, 0);
        match (step.kind, session, jwt, secret) {
            (0..=15, ..) => self.start(step).await,
            (16..=27, Some(session), ..) => drop(caller.verify(&session).await),
            (28..=40, Some(session), ..) => {
                let jwt = caller.exchange(&session, false).await;
                self.keep_jwts(jwt);
            }
            (41..=45, Some(session), ..) => self.use_up(step, &session).await,
            (46..=51, Some(session), ..) => drop(caller.page(&session).await),
            (52..=71, _, Some(jwt), _) => drop(caller.use_token(&jwt).await),
            (72..=76, Some(session), ..) => drop(caller.log_out(&session).await),
            (77..=78, _, Some(jwt), _) => drop(caller.log_out_by_token(&jwt).await),
            (79..=80, ..) => {
                caller.revoke_customer(self.customer).await;
                self.sessions_of_customer = SESSIONS_A_CUSTOMER;
            }
            (81..=88, _, _, Some(secret)) => {
                let jwt = caller.log_in(self.machine, &secret).await;
                self.keep_jwts(jwt);
            }
            (89..=91, ..) => {
                let secret = caller.reset_secret(self.machine).await;
                self.secrets.extend(secret);
            }
            (92..=93, ..) => {
                let call = Call::RevokeMachine { machine: self.machine };
                caller.manage(self.machine, call).await;
            }
            (94, _, _, Some(secret)) => self.disable_and_enable(step, &secret).await,
            (95..=98, _, _, secret) => {
                if let Some(secret) = self.secrets.last().cloned().or(secret) {
                    let jwt = caller.log_in(self.machine, &secret).await;
                    self.keep_jwts(jwt);
                }
            }
            // Few, for each is one more key that may be published.
            (99, ..) if step.luck < 40 => self.change_keys(step).await,
            _ => self.start(step).await,
        }
    }

    fn caller<'a>(&self, recorder: &'a Recorder, step: &Step, turn: usize) -> Caller<'a> {
        let (rarely, often) = HANG_UPS;
        let hang_ups = recorder.injector.hang_ups.load(Ordering::Relaxed);
        let share = if hang_ups { often } else { rarely };
        let hangs_up = (step.luck < share).then_some(step.patience);
        Caller { recorder, client: self.index, node: step.nodes[turn], hangs_up }
    }

    async fn start(&mut self, step: &Step) {
        if self.sessions_of_customer >= SESSIONS_A_CUSTOMER {
            (self.customer, self.sessions_of_customer) = (self.recorder.number(), 0);
        }
        self.sessions_of_customer += 1;
        let started = self.caller(&self.recorder, step, 0).start(self.customer).await;
        self.sessions.extend(started);
        forget(&mut self.sessions);
    }

    /// Several exchange one token at the same time, at nodes of their own.
    async fn use_up(&mut self, step: &Step, session: &Session) {
        let recorder = Arc::clone(&self.recorder);
        let racers = (0..RACERS).map(|turn| self.caller(&recorder, step, turn));
        let racers = racers.enumerate().map(|(turn, caller)| {
            // One of them hangs up where any does.
            let hangs_up = caller.hangs_up.filter(|_| turn == 0);
            async move { Caller { hangs_up, ..caller }.exchange(session, true).await }
        });
        let jwts = join_all(racers).await;
        self.keep_jwts(jwts.into_iter().flatten());
    }

    /// And what it is that it does not get meanwhile.
    async fn disable_and_enable(&mut self, step: &Step, secret: &Secret) {
        let (machine, recorder) = (self.machine, Arc::clone(&self.recorder));
        let at = |turn| self.caller(&recorder, step, turn);
        let (disabling, trying, enabling) = (at(0), at(1), at(2));
        disabling.manage(machine, Call::Disable { machine }).await;
        let patient = Caller { hangs_up: None, ..trying };
        let jwts = [patient.log_in(machine, secret).await, {
            sleep(step.pause).await;
            patient.log_in(machine, secret).await
        }];
        enabling.manage(machine, Call::Enable { machine }).await;
        self.keep_jwts(jwts.into_iter().flatten());
    }

    /// Retires the key that has signed a token of this client's, or has another one sign.
    async fn change_keys(&self, step: &Step) {
        let recorder = Arc::clone(&self.recorder);
        let caller = self.caller(&recorder, step, 0);
        let published = caller.read_keys().await.unwrap_or_default();
        match published.first() {
            Some(kid) if step.luck < 12 => drop(caller.retire_key(kid).await),
            _ => drop(caller.rotate_keys().await),
        }
    }

    fn keep_jwts(&mut self, jwts: impl IntoIterator<Item = Jwt>) {
        self.jwts.extend(jwts);
        forget(&mut self.jwts);
    }
}

fn forget<T>(known: &mut Vec<T>) {
    if known.len() > KEPT {
        known.drain(..known.len() - KEPT);
    }
}
