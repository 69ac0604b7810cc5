//! Which faults happen when: drawn from the seed before a run begins.

use std::fmt;
use std::time::Duration;

use crate::checker::bounds::NODES;
use crate::random::Random;

/// Before the first one.
const QUIET_START: Duration = Duration::from_secs(6);
/// After the last one begins: the longest takes about as long.
const QUIET_END: Duration = Duration::from_secs(14);
/// The steps of a clock, either way: seconds, minutes, hours, days.
const CLOCK_STEPS: [i64; 7] = [2, 20, 300, 2_400, 7_200, 86_400, 259_200];

#[derive(Clone, Debug)]
pub enum Fault {
    KillNode {
        node: usize,
        down: Duration,
    },
    StepClock {
        node: usize,
        seconds: i64,
        lasts: Duration,
    },
    CutOff {
        node: usize,
        lasts: Duration,
    },
    Silence {
        node: usize,
        lasts: Duration,
    },
    /// The node is led to the standby, on which nothing has arrived for a while.
    LeadToStandby {
        node: usize,
        lag: Duration,
        lasts: Duration,
        /// What was connected to the standby stays so.
        stays_connected: bool,
    },
    KillEngine {
        down: Duration,
    },
    /// The primary is lost, and the standby with the last that it has written.
    Promote {
        lost: Duration,
    },
    /// All that was written since a snapshot is lost.
    Restore {
        lost: Duration,
    },
    LongTransaction {
        lasts: Duration,
    },
    LockSessions {
        lasts: Duration,
    },
    /// Most clients hang up before they have an answer.
    HangUps {
        lasts: Duration,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillNode { node, down } => write!(f, "kill node {node}, down for {down:?}"),
            Self::StepClock { node, seconds, lasts } => {
                write!(f, "step the clock of node {node} by {seconds:+} s for {lasts:?}")
            }
            Self::CutOff { node, lasts } => write!(f, "cut node {node} off for {lasts:?}"),
            Self::Silence { node, lasts } => {
                write!(f, "silence the engine for node {node} for {lasts:?}")
            }
            Self::LeadToStandby { node, lag, lasts, stays_connected } => {
                let stays = if *stays_connected { ", its connections stay there" } else { "" };
                write!(f, "lead node {node} to a standby {lag:?} behind for {lasts:?}{stays}")
            }
            Self::KillEngine { down } => write!(f, "kill the engine, down for {down:?}"),
            Self::Promote { lost } => write!(f, "promote a standby that lacks the last {lost:?}"),
            Self::Restore { lost } => write!(f, "restore a snapshot from {lost:?} ago"),
            Self::LongTransaction { lasts } => write!(f, "hold a transaction open for {lasts:?}"),
            Self::LockSessions { lasts } => write!(f, "lock the sessions for {lasts:?}"),
            Self::HangUps { lasts } => write!(f, "clients hang up for {lasts:?}"),
        }
    }
}

/// The faults of a run, each with its offset from the start. All kinds come in turn, in an order of the
/// seed's.
pub fn schedule(seed: u64, seconds: u64) -> Vec<(Duration, Fault)> {
    let mut random = Random::new(seed, 0);
    let end = Duration::from_secs(seconds).saturating_sub(QUIET_END);
    let (mut at, mut faults) = (QUIET_START, Vec::new());
    while at < end {
        let mut round = round(&mut random);
        random.shuffle(&mut round);
        for fault in round {
            if at < end {
                faults.push((at, fault));
            }
            at += random.millis(1_500, 5_500);
        }
    }
    faults
}

fn round(random: &mut Random) -> Vec<Fault> {
    let mut node = || random.below(NODES);
    let nodes = [node(), node(), node(), node(), node(), node(), node()];
    let mut seconds = || {
        let step = CLOCK_STEPS[random.below(CLOCK_STEPS.len())];
        if random.percent(50) { step } else { -step }
    };
    let steps = [seconds(), seconds()];
    let mut millis = |from, to| random.millis(from, to);
    let mut round = vec![
        Fault::KillNode { node: nodes[0], down: millis(0, 2_000) },
        Fault::KillNode { node: nodes[1], down: millis(0, 7_000) },
        Fault::StepClock { node: nodes[2], seconds: steps[0], lasts: millis(2_000, 9_000) },
        Fault::StepClock { node: nodes[3], seconds: steps[1], lasts: millis(2_000, 9_000) },
        Fault::CutOff { node: nodes[4], lasts: millis(1_000, 9_000) },
        Fault::Silence { node: nodes[5], lasts: millis(1_000, 9_000) },
        Fault::KillEngine { down: millis(0, 3_000) },
        Fault::Promote { lost: millis(1_000, 4_000) },
        Fault::Restore { lost: millis(1_000, 4_000) },
        Fault::LongTransaction { lasts: millis(2_000, 6_000) },
        Fault::LockSessions { lasts: millis(1_000, 4_000) },
        Fault::HangUps { lasts: millis(2_000, 5_000) },
    ];
    let lag = millis(1_000, 3_000);
    round.push(Fault::LeadToStandby {
        node: nodes[6],
        lag,
        lasts: Duration::from_secs(2),
        stays_connected: random.percent(50),
    });
    round
}
