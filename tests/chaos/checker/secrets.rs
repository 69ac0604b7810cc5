//! A secret that was replaced is rejected, and so is a machine client that was disabled.

use super::bounds::{COPIES_LIVE, SLACK};
use super::ends::last_effect;
use super::facts::Facts;
use super::history::{Call, Moment, Request};
use super::{Rule, Violation};

pub fn check_replaced(facts: &Facts<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for requests in facts.machines.values() {
        let resets: Vec<_> = requests
            .iter()
            .copied()
            .filter(|r| matches!(r.call, Call::ResetSecret { .. }))
            .collect();
        for reset in resets.iter().copied().filter(|reset| reset.is_yes()) {
            if facts.may_be_lost(reset) {
                continue;
            }
            let older = resets.iter().filter(|older| older.end < reset.start);
            let older: Vec<usize> =
                older.filter_map(|older| older.given()).filter_map(|given| given.secret).collect();
            let late = requests.iter().copied().find(|late| {
                let with_older =
                    matches!(late.call, Call::LogIn { secret, .. } if older.contains(&secret));
                with_older && late.is_yes() && late.start > copies_gone(reset, late.node)
            });
            if let Some(late) = late {
                let why = "a secret that was replaced was accepted";
                let requests = [reset, late];
                violations.push(Violation::new(Rule::ReplacedSecretsAreRejected, why, &requests));
            }
        }
    }
    violations
}

pub fn check_disabled(facts: &Facts<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for requests in facts.machines.values() {
        for disabling in requests.iter().copied().filter(|r| matches!(r.call, Call::Disable { .. }))
        {
            if !disabling.is_yes() || facts.may_be_lost(disabling) {
                continue;
            }
            let enabling = requests
                .iter()
                .filter(|r| matches!(r.call, Call::Enable { .. }) && r.may_be_done())
                .find(|r| last_effect(r) >= disabling.start)
                .map_or(Moment::MAX, |enabling| enabling.start);
            let late = requests.iter().copied().find(|late| {
                matches!(late.call, Call::LogIn { .. })
                    && late.is_yes()
                    && late.start > copies_gone(disabling, late.node)
                    && late.end < enabling
            });
            if let Some(late) = late {
                let why = "a disabled machine client got a token";
                let requests = [disabling, late];
                violations.push(Violation::new(Rule::DisabledMachinesAreRejected, why, &requests));
            }
        }
    }
    violations
}

/// When a node has no copy any more from before a change.
///
/// "Until a node hears of it, a secret that was replaced on another node is still good there, and so is that
/// of a machine client that was disabled: for as long as the feed takes, or up to the time-to-live, 5 seconds,
/// where it is not heard."
fn copies_gone(change: &Request, node: usize) -> Moment {
    if change.node == node { change.end } else { change.end + COPIES_LIVE + SLACK }
}
