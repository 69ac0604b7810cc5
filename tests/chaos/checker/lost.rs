//! What nobody has ended lives, whatever fails, and is served once nothing fails any more.

use super::bounds::{LATE, RECOVERY};
use super::ends::last_effect;
use super::facts::{Facts, JwtFacts, Source};
use super::history::{Call, Effect, Moment, Request};
use super::{Rule, Violation};

pub fn check(facts: &Facts<'_>) -> Vec<Violation> {
    let mut violations = check_sessions(facts);
    violations.extend(check_tokens(facts));
    violations.extend(check_secrets(facts));
    violations.extend(
        facts
            .run
            .not_served
            .iter()
            .map(|what| Violation::new(Rule::EverythingIsServedAgain, what.clone(), &[])),
    );
    violations
}

fn check_sessions(facts: &Facts<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for session in facts.sessions.values() {
        let start = session.start;
        if !start.is_yes() || facts.may_be_lost(start) || facts.has_wrong_clock(start) {
            continue;
        }
        let missed = session.requests.iter().find(|request| {
            matches!(request.call, Call::Verify { .. } | Call::Exchange { .. } | Call::Page { .. })
                && request.is_no()
                && request.start > start.end
                && !facts.has_wrong_clock(request)
                && !facts.may_have_ended(session, request.end)
        });
        if let Some(missed) = missed {
            let why = "a session that nobody ended was not found";
            violations.push(Violation::new(Rule::WhatNobodyEndedLives, why, &[start, missed]));
        }
    }
    violations
}

fn check_tokens(facts: &Facts<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for jwt in facts.jwts.values() {
        if facts.has_wrong_clock(jwt.issued) || may_have_lost_key(facts, jwt) {
            continue;
        }
        let rejected = jwt.uses.iter().find(|used| {
            used.is_no()
                && !facts.has_wrong_clock(used)
                && !may_be_revoked(facts, jwt, used.end)
                && !may_lack_key(facts, jwt, used)
        });
        if let Some(rejected) = rejected {
            let why = "a token that nobody revoked was rejected";
            let requests = [jwt.issued, rejected];
            violations.push(Violation::new(Rule::WhatNobodyEndedLives, why, &requests));
        }
    }
    violations
}

fn may_be_revoked(facts: &Facts<'_>, jwt: &JwtFacts<'_>, until: Moment) -> bool {
    let is_logged_out = |request: &&Request| request.may_be_done() && request.start <= until;
    if jwt.log_outs.iter().any(is_logged_out) {
        return true;
    }
    match jwt.source {
        Source::Session(session) => facts.sessions.get(&session).is_none_or(|session| {
            let logged_out = session.requests.iter().any(|request| {
                matches!(request.call, Call::LogOut { .. } | Call::LogOutByToken { .. })
                    && request.may_be_done()
                    && request.start <= until
            });
            // What was issued from a session is as old as its start may be.
            let revocations = facts.revocations_of(session.customer);
            logged_out
                || facts.may_have_revoked(revocations, session.start, until)
                || facts.may_have_revoked(revocations, jwt.issued, until)
        }),
        Source::Machine(machine) => {
            let requests = facts.requests_of_machine(machine).iter().copied();
            let revocations: Vec<_> = requests
                .filter(|r| matches!(r.call, Call::RevokeMachine { .. } | Call::Disable { .. }))
                .collect();
            facts.may_have_revoked(&revocations, jwt.issued, until)
        }
    }
}

/// Whether a token's key may be gone with what an engine has lost.
fn may_have_lost_key(facts: &Facts<'_>, jwt: &JwtFacts<'_>) -> bool {
    let Some(seen) = facts.keys_seen.get(jwt.kid) else { return true };
    // Made some time before anybody saw it.
    let made = seen.saturating_sub(LATE);
    facts
        .faults(|effect| *effect == Effect::WritesLost)
        .any(|loss| loss.end >= made && loss.start <= *seen)
}

/// Whether a token's key was retired, or comes after one that was, of which a node may not have heard.
///
/// "Where it was the key that signs, other nodes reject what its successor signs for as long".
fn may_lack_key(facts: &Facts<'_>, jwt: &JwtFacts<'_>, used: &Request) -> bool {
    facts.key_calls.iter().any(|request| {
        let Call::RetireKey { kid } = &request.call else { return false };
        if !request.may_be_done() || request.start > used.end {
            return false;
        }
        kid == jwt.kid || facts.quiet_from(used.node, last_effect(request)) + RECOVERY >= used.start
    })
}

/// A machine client logs in with its last secret.
fn check_secrets(facts: &Facts<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for requests in facts.machines.values() {
        let changes: Vec<_> = requests
            .iter()
            .copied()
            .filter(|r| {
                matches!(r.call, Call::ResetSecret { .. } | Call::Disable { .. }) && r.may_be_done()
            })
            .collect();
        let rejected = requests.iter().find_map(|login| {
            let Call::LogIn { secret, .. } = login.call else { return None };
            if !login.is_no() || facts.has_wrong_clock(login) {
                return None;
            }
            let reset = changes
                .iter()
                .find(|r| r.given().is_some_and(|given| given.secret == Some(secret)))?;
            let is_safe = !facts.may_be_lost(reset)
                && !facts.has_wrong_clock(reset)
                && reset.end < login.start
                && !is_disabled(facts, requests, login)
                && changes.iter().all(|other| {
                    matches!(other.call, Call::Disable { .. })
                        || other.id == reset.id
                        || last_effect(other) < reset.start
                        || other.start > login.end
                });
            is_safe.then_some((*reset, *login))
        });
        if let Some((reset, login)) = rejected {
            let why = "the last secret of a machine client was rejected";
            violations.push(Violation::new(Rule::WhatNobodyEndedLives, why, &[reset, login]));
        }
    }
    violations
}

/// Whether a machine client may be disabled when a request is made.
fn is_disabled(facts: &Facts<'_>, requests: &[&Request], at: &Request) -> bool {
    let disablings = requests
        .iter()
        .filter(|r| matches!(r.call, Call::Disable { .. }) && r.may_be_done() && r.start <= at.end);
    let Some(last) = disablings.map(|r| last_effect(r)).max() else { return false };
    !requests.iter().any(|r| {
        matches!(r.call, Call::Enable { .. })
            && r.is_yes()
            && r.start > last
            && r.end < at.start
            && !facts.may_be_lost(r)
    })
}
