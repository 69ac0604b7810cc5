//! Whether a run kept what is promised. It asks no node: it knows each answer that was given.

pub mod bounds;
pub mod history;

mod ends;
mod exceptions;
mod facts;
mod keys;
mod lost;
mod once;
mod revoked;
mod secrets;
mod writes;

use std::fmt;

use self::facts::Facts;
use self::history::{Request, Run};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    ExchangedOnce,
    RevokedTokensAreRejected,
    EndedSessionsStayEnded,
    RetiredKeysStayRetired,
    ReplacedSecretsAreRejected,
    DisabledMachinesAreRejected,
    WhatNobodyEndedLives,
    EverythingIsServedAgain,
    AuditTellsWhatWasDone,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ExchangedOnce => "an authentication token is exchanged once",
            Self::RevokedTokensAreRejected => "a revoked token is rejected everywhere in time",
            Self::EndedSessionsStayEnded => "a session that was ended stays so",
            Self::RetiredKeysStayRetired => {
                "a retired key neither signs, verifies nor is published"
            }
            Self::ReplacedSecretsAreRejected => "a secret that was replaced is rejected",
            Self::DisabledMachinesAreRejected => "a disabled machine client gets no token",
            Self::WhatNobodyEndedLives => "sessions, tokens and secrets that nobody ended live",
            Self::EverythingIsServedAgain => "everything is served again after the faults",
            Self::AuditTellsWhatWasDone => "the audit log has each operation that was answered",
        })
    }
}

#[derive(Debug)]
pub struct Violation {
    pub rule: Rule,
    pub why: String,
    /// The requests that show it, by their ids.
    pub requests: Vec<usize>,
}

impl Violation {
    fn new(rule: Rule, why: impl Into<String>, requests: &[&Request]) -> Self {
        let requests = requests.iter().map(|request| request.id).collect();
        Self { rule, why: why.into(), requests }
    }
}

/// All that a run violates, rule by rule.
pub fn check(run: &Run) -> Vec<Violation> {
    let facts = Facts::of(run);
    let rules = [
        once::check,
        revoked::check_tokens,
        revoked::check_sessions,
        keys::check,
        secrets::check_replaced,
        secrets::check_disabled,
        lost::check,
        writes::check,
    ];
    let mut violations: Vec<_> = rules.iter().flat_map(|rule| rule(&facts)).collect();
    violations.sort_by_key(|violation| violation.rule);
    violations
}
