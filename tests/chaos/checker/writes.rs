//! The audit log of a node has each operation that the node has answered, and no other.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::history::{Answer, Call, Request};
use super::{Rule, Violation};

/// Operations that were answered, and those of which nobody knows.
#[derive(Default)]
struct Count {
    done: usize,
    unknown: usize,
}

pub fn check(facts: &Facts<'_>) -> Vec<Violation> {
    let mut counts: BTreeMap<(usize, &str), Count> = BTreeMap::new();
    for request in &facts.run.requests {
        let Some(operation) = operation(request) else { continue };
        let count = counts.entry((request.node, operation)).or_default();
        match request.answer {
            Answer::Yes(_) => count.done += 1,
            Answer::Unknown(_) => count.unknown += 1,
            Answer::No(_) => {}
        }
    }
    let mut violations = Vec::new();
    for ((node, operation), Count { done, unknown }) in counts {
        let audited = facts.run.audited.get(&(node, operation.to_owned())).copied();
        let audited = audited.unwrap_or_default();
        if audited < done || audited > done + unknown {
            let why = format!(
                "node {node} has answered {done} of `{operation}`, and {unknown} are unknown; its \
                 audit log has {audited}"
            );
            violations.push(Violation::new(Rule::AuditTellsWhatWasDone, why, &[]));
        }
    }
    violations
}

fn operation(request: &Request) -> Option<&'static str> {
    Some(match request.call {
        Call::Start { .. } => "start_session",
        Call::Exchange { .. } => "exchange",
        Call::LogOut { .. } => "end_session",
        Call::LogOutByToken { .. } => "log_out",
        Call::RevokeCustomer { .. } | Call::RevokeMachine { .. } => "revoke_subject",
        Call::LogIn { .. } => "issue_machine_token",
        Call::ResetSecret { .. } => "reset_secret",
        Call::Disable { .. } => "disable_entity",
        Call::Enable { .. } => "enable_entity",
        Call::RotateKeys => "rotate_keys",
        Call::RetireKey { .. } => "retire_key",
        Call::Verify { .. } | Call::Page { .. } | Call::Use { .. } | Call::ReadKeys => return None,
    })
}
