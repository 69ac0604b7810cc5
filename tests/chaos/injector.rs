//! Does the faults of a schedule to the nodes and their engine, and notes when each was felt.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::MutexGuard;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::Problem;
use crate::checker::history::{Effect, Happened};
use crate::engine::Engine;
use crate::faults::Fault;
use crate::nodes::Node;

pub struct Injector {
    pub engine: Arc<dyn Engine>,
    pub nodes: Vec<Node>,
    pub began: Instant,
    /// Whether most clients hang up.
    pub hang_ups: AtomicBool,
    happened: Mutex<Vec<Happened>>,
    /// Faults of the engine come one after the other.
    turn: tokio::sync::Mutex<()>,
    /// Those whose turn comes later do not happen.
    last_turn: Duration,
}

impl Injector {
    pub fn new(engine: Arc<dyn Engine>, nodes: Vec<Node>, last_turn: Duration) -> Self {
        Self {
            engine,
            nodes,
            began: Instant::now(),
            hang_ups: AtomicBool::new(false),
            happened: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
            last_turn,
        }
    }

    /// Returns when the last one is over, or as soon as one cannot be done.
    pub async fn run(self: Arc<Self>, schedule: Vec<(Duration, Fault)>) -> Result<(), Problem> {
        let mut faults = JoinSet::new();
        for (offset, fault) in schedule {
            let mut turn = pin!(sleep_until(self.began + offset));
            loop {
                tokio::select! {
                    () = &mut turn => break,
                    Some(done) = faults.join_next() => done??,
                }
            }
            let injector = Arc::clone(&self);
            faults.spawn(async move {
                let what = fault.to_string();
                let done = injector.inject(fault).await;
                done.map_err(|problem| format!("{what}: {problem}"))
            });
        }
        while let Some(done) = faults.join_next().await {
            done??;
        }
        Ok(())
    }

    pub fn happened(&self) -> Vec<Happened> {
        self.happened.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, text: &str, effect: Effect, start: Instant) {
        let [start, end] = [start, Instant::now()].map(|at| at - self.began);
        let happened = Happened { start, end, effect, text: text.to_owned() };
        eprintln!("chaos: {happened}");
        self.happened.lock().unwrap_or_else(PoisonError::into_inner).push(happened);
    }

    async fn inject(&self, fault: Fault) -> Result<(), Problem> {
        let text = fault.to_string();
        match fault {
            Fault::KillNode { node, down } => self.kill_node(node, down, &text).await,
            Fault::StepClock { node, seconds, lasts } => {
                self.step_clock(node, seconds, lasts, &text).await
            }
            Fault::CutOff { node, lasts } => self.part(node, lasts, &text, Node::cut_off).await,
            Fault::Silence { node, lasts } => self.part(node, lasts, &text, Node::silence).await,
            Fault::LeadToStandby { node, lag, lasts, stays_connected } => {
                self.lead_to_standby(node, lag, lasts, stays_connected, &text).await
            }
            Fault::KillEngine { down } => self.kill_engine(down, &text).await,
            Fault::Promote { lost } => self.promote(lost, &text).await,
            Fault::Restore { lost } => self.restore(lost, &text).await,
            Fault::LongTransaction { lasts } => {
                let Some(_turn) = self.engine_turn(&text).await else { return Ok(()) };
                let start = Instant::now();
                self.engine.hold_transaction(lasts).await?;
                self.note(&text, Effect::EngineApart, start);
                Ok(())
            }
            Fault::LockSessions { lasts } => {
                let Some(_turn) = self.engine_turn(&text).await else { return Ok(()) };
                let start = Instant::now();
                self.engine.lock_sessions(lasts).await?;
                self.note(&text, Effect::EngineApart, start);
                Ok(())
            }
            Fault::HangUps { lasts } => {
                self.hang_ups.store(true, Ordering::Relaxed);
                sleep(lasts).await;
                self.hang_ups.store(false, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Waits for the turn of a fault of the engine.
    async fn engine_turn(&self, text: &str) -> Option<MutexGuard<'_, ()>> {
        let turn = self.turn.lock().await;
        if self.began.elapsed() <= self.last_turn {
            return Some(turn);
        }
        eprintln!("chaos: left out, for those before it took too long: {text}");
        None
    }

    async fn kill_node(&self, node: usize, down: Duration, text: &str) -> Result<(), Problem> {
        let node = &self.nodes[node];
        let _turn = node.turns.process.lock().await;
        let start = Instant::now();
        node.kill().await?;
        sleep(down).await;
        node.restart().await?;
        self.note(text, Effect::NodeKilled { node: node.index }, start);
        Ok(())
    }

    async fn step_clock(
        &self,
        node: usize,
        seconds: i64,
        lasts: Duration,
        text: &str,
    ) -> Result<(), Problem> {
        let node = &self.nodes[node];
        let _turn = node.turns.clock.lock().await;
        let start = Instant::now();
        node.step_clock(seconds)?;
        sleep(lasts).await;
        node.step_clock(0)?;
        self.note(text, Effect::ClockOff { node: node.index, seconds }, start);
        Ok(())
    }

    async fn part(
        &self,
        node: usize,
        lasts: Duration,
        text: &str,
        part: fn(&Node),
    ) -> Result<(), Problem> {
        let node = &self.nodes[node];
        let _turn = node.turns.line.lock().await;
        let start = Instant::now();
        part(node);
        sleep(lasts).await;
        node.lead_to(self.engine.primary());
        self.note(text, Effect::NodeApart { node: node.index }, start);
        Ok(())
    }

    async fn lead_to_standby(
        &self,
        node: usize,
        lag: Duration,
        lasts: Duration,
        stays_connected: bool,
        text: &str,
    ) -> Result<(), Problem> {
        let Some(_turn) = self.engine_turn(text).await else { return Ok(()) };
        let node = &self.nodes[node];
        let _line = node.turns.line.lock().await;
        self.engine.await_standby().await?;
        self.engine.stop_replication();
        sleep(lag).await;
        let start = Instant::now();
        node.lead_to(self.engine.standby());
        node.line.cut();
        sleep(lasts).await;
        node.lead_to(self.engine.primary());
        if !stays_connected {
            node.line.cut();
        }
        self.engine.resume_replication();
        self.note(text, Effect::NodeApart { node: node.index }, start);
        Ok(())
    }

    async fn kill_engine(&self, down: Duration, text: &str) -> Result<(), Problem> {
        let Some(_turn) = self.engine_turn(text).await else { return Ok(()) };
        let start = Instant::now();
        self.engine.kill_primary().await?;
        sleep(down).await;
        self.engine.start_primary().await?;
        self.note(text, Effect::EngineApart, start);
        Ok(())
    }

    async fn promote(&self, lost: Duration, text: &str) -> Result<(), Problem> {
        let Some(_turn) = self.engine_turn(text).await else { return Ok(()) };
        let start = Instant::now();
        self.engine.await_standby().await?;
        self.engine.stop_replication();
        sleep(lost).await;
        self.engine.kill_primary().await?;
        // Nothing is written any more.
        self.note(text, Effect::WritesLost, start);
        let apart = Instant::now();
        self.engine.promote().await?;
        self.turn_to_new_primary(text, apart).await
    }

    async fn restore(&self, lost: Duration, text: &str) -> Result<(), Problem> {
        let Some(_turn) = self.engine_turn(text).await else { return Ok(()) };
        let start = Instant::now();
        self.engine.take_snapshot().await?;
        sleep(lost).await;
        self.engine.kill_primary().await?;
        self.note(text, Effect::WritesLost, start);
        let apart = Instant::now();
        self.engine.restore_snapshot().await?;
        self.engine.migrate().await?;
        self.turn_to_new_primary(text, apart).await
    }

    /// Leads all nodes to it, those that are cut off once that ends, and gives it a standby.
    async fn turn_to_new_primary(&self, text: &str, apart: Instant) -> Result<(), Problem> {
        let primary = self.engine.primary();
        for node in &self.nodes {
            if let Ok(_turn) = node.turns.line.try_lock() {
                node.lead_to(primary);
            }
        }
        self.note(text, Effect::EngineApart, apart);
        self.engine.start_standby().await?;
        for node in &self.nodes {
            let _turn = node.turns.line.lock().await;
            node.lead_to(primary);
        }
        Ok(())
    }
}
