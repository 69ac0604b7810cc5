//! What happened in a run: each request with its answer, and each fault.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

/// Since the run began, by the clock of the harness.
pub type Moment = Duration;

#[derive(Debug, Default)]
pub struct Run {
    pub requests: Vec<Request>,
    pub faults: Vec<Happened>,
    /// What was not served long after the last fault.
    pub not_served: Vec<String>,
    /// How many operations each node's audit log says were done, by node and name.
    pub audited: BTreeMap<(usize, String), usize>,
}

#[derive(Clone, Debug)]
pub struct Request {
    pub id: usize,
    pub client: usize,
    pub node: usize,
    pub call: Call,
    pub start: Moment,
    pub end: Moment,
    pub answer: Answer,
}

/// Sessions, tokens and secrets go by numbers: a history holds nothing that opens anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Start {
        session: usize,
        customer: usize,
    },
    Verify {
        session: usize,
    },
    Exchange {
        session: usize,
        uses_up: bool,
    },
    /// Through `ExchangeLayer`, with the authentication token as a cookie.
    Page {
        session: usize,
    },
    LogOut {
        session: usize,
    },
    LogOutByToken {
        jwt: usize,
    },
    Use {
        jwt: usize,
    },
    RevokeCustomer {
        customer: usize,
    },
    LogIn {
        machine: usize,
        secret: usize,
    },
    ResetSecret {
        machine: usize,
    },
    RevokeMachine {
        machine: usize,
    },
    Disable {
        machine: usize,
    },
    Enable {
        machine: usize,
    },
    RotateKeys,
    RetireKey {
        kid: String,
    },
    ReadKeys,
}

#[derive(Clone, Debug)]
pub enum Answer {
    Yes(Given),
    No(u16),
    /// Nobody waited, or knows: it may have been done, and may still be.
    Unknown(String),
}

#[derive(Clone, Debug, Default)]
pub struct Given {
    pub jwt: Option<usize>,
    /// The key that has signed it.
    pub kid: Option<String>,
    pub secret: Option<usize>,
    /// All that is published.
    pub kids: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Happened {
    pub start: Moment,
    pub end: Moment,
    pub effect: Effect,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Its memory is lost.
    NodeKilled { node: usize },
    /// Its clock was that far ahead, or behind.
    ClockOff { node: usize, seconds: i64 },
    /// It did not reach the primary, or not for sure.
    NodeApart { node: usize },
    /// Nobody reached the primary, or not for sure.
    EngineApart,
    /// What was written between the start and the end of this may be lost.
    WritesLost,
}

impl Request {
    pub fn given(&self) -> Option<&Given> {
        match &self.answer {
            Answer::Yes(given) => Some(given),
            _ => None,
        }
    }

    pub fn is_yes(&self) -> bool {
        self.given().is_some()
    }

    /// It was or may have been done.
    pub fn may_be_done(&self) -> bool {
        !matches!(self.answer, Answer::No(_))
    }

    pub fn is_no(&self) -> bool {
        !self.is_yes() && !matches!(self.answer, Answer::Unknown(_))
    }

    pub fn to_json(&self) -> Value {
        let answer = match &self.answer {
            Answer::Yes(given) => json!({
                "yes": {"jwt": given.jwt, "kid": given.kid, "secret": given.secret, "kids": given.kids}
            }),
            Answer::No(status) => json!({"no": status}),
            Answer::Unknown(why) => json!({"unknown": why}),
        };
        json!({
            "id": self.id,
            "client": self.client,
            "node": self.node,
            "call": format!("{:?}", self.call),
            "start": self.start.as_micros() as u64,
            "end": self.end.as_micros() as u64,
            "answer": answer,
        })
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, node, call, start, end, .. } = self;
        let (start, end) = (start.as_secs_f64(), end.as_secs_f64());
        write!(f, "request {id}: {call:?} at node {node}, {start:.3} s to {end:.3} s: ")?;
        match &self.answer {
            Answer::Yes(Given { jwt: Some(jwt), .. }) => write!(f, "done, token {jwt}"),
            Answer::Yes(Given { secret: Some(secret), .. }) => write!(f, "done, secret {secret}"),
            Answer::Yes(_) => write!(f, "done"),
            Answer::No(status) => write!(f, "{status}"),
            Answer::Unknown(why) => write!(f, "unknown ({why})"),
        }
    }
}

impl Happened {
    pub fn to_json(&self) -> Value {
        json!({
            "fault": self.text,
            "effect": format!("{:?}", self.effect),
            "start": self.start.as_micros() as u64,
            "end": self.end.as_micros() as u64,
        })
    }
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, end) = (self.start.as_secs_f64(), self.end.as_secs_f64());
        write!(f, "{start:.3} s to {end:.3} s: {}: {:?}", self.text, self.effect)
    }
}
