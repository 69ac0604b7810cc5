//! What was revoked or ended is not accepted any more.

use super::bounds::{PHANTOM_LIFETIME, SLACK};
use super::facts::{Facts, SessionFacts, Source};
use super::history::{Call, Moment, Request};
use super::{Rule, Violation};

pub fn check_tokens(facts: &Facts<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for jwt in facts.jwts.values() {
        let accepted: Vec<_> = jwt.uses.iter().filter(|used| used.is_yes()).collect();
        if accepted.is_empty() {
            continue;
        }
        for end in facts.sure_ends_of_jwt(jwt) {
            let late = accepted.iter().find_map(|used| {
                let known = match jwt.source {
                    Source::Session(session) => {
                        let session = facts.sessions.get(&session)?;
                        facts.ended_from(session, end, used.node)
                    }
                    Source::Machine(_) => facts.known_from(end, used.node),
                };
                known.filter(|known| used.start > *known).map(|_| used)
            });
            if let Some(late) = late {
                let why = "a revoked token was accepted";
                let requests = [jwt.issued, end, late];
                violations.push(Violation::new(Rule::RevokedTokensAreRejected, why, &requests));
            }
        }
    }
    violations
}

pub fn check_sessions(facts: &Facts<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for session in facts.sessions.values() {
        for end in facts.sure_ends_of_session(session) {
            let late = session.requests.iter().find(|later| {
                later.is_yes()
                    && found_from(facts, session, end, later)
                        .is_some_and(|ended| later.start > ended)
            });
            if let Some(late) = late {
                let why = "a session that was ended was found";
                let requests = [session.start, end, late];
                violations.push(Violation::new(Rule::EndedSessionsStayEnded, why, &requests));
            }
        }
    }
    violations
}

/// The instant from which a request that succeeds shows that the session was not ended; none, where it may.
fn found_from(
    facts: &Facts<'_>,
    session: &SessionFacts<'_>,
    end: &Request,
    later: &Request,
) -> Option<Moment> {
    let ended = match facts.may_be_lost(end) {
        true => facts.ended_from(session, end, later.node)?,
        false => end.end,
    };
    match later.call {
        // They read the store.
        Call::Verify { .. } | Call::Exchange { .. } => Some(ended),
        // "Another one that shares the store may let requests with that session pass until its own is due:
        // up to the policy's `tokens.phantom_lifetime`."
        Call::Page { .. } if later.node == end.node => Some(ended),
        Call::Page { .. } => Some(ended + PHANTOM_LIFETIME + SLACK),
        _ => None,
    }
}
