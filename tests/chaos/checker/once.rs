//! An authentication token is exchanged once.

use super::facts::Facts;
use super::history::{Call, Request};
use super::{Rule, Violation};

pub fn check(facts: &Facts<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for session in facts.sessions.values() {
        let mut used_up: Vec<&Request> = session
            .requests
            .iter()
            .copied()
            .filter(|request| matches!(request.call, Call::Exchange { uses_up: true, .. }))
            .filter(|request| request.is_yes())
            .collect();
        used_up.sort_by_key(|request| request.end);
        let Some(first) = used_up.first() else { continue };
        for pair in used_up.windows(2) {
            if !facts.may_be_lost(pair[0]) {
                let why = "exchanged again after it was used up";
                violations.push(Violation::new(Rule::ExchangedOnce, why, pair));
            }
        }
        if facts.may_be_lost(first) {
            continue;
        }
        for later in session.requests.iter().filter(|later| later.start > first.end) {
            let is_live = match later.call {
                Call::Verify { .. } | Call::Exchange { uses_up: false, .. } => later.is_yes(),
                _ => false,
            };
            if is_live {
                let why = "found after it was used up";
                violations.push(Violation::new(Rule::ExchangedOnce, why, &[first, later]));
            }
        }
    }
    violations
}
