//! A key that was retired neither signs nor verifies, and is not published.

use super::facts::Facts;
use super::history::{Call, Request};
use super::{Rule, Violation};

pub fn check(facts: &Facts<'_>) -> Vec<Violation> {
    let retirings = facts.key_calls.iter().filter(|request| request.is_yes());
    let retirings = retirings.filter_map(|request| match &request.call {
        Call::RetireKey { kid } => Some((*request, kid.as_str())),
        _ => None,
    });
    retirings.flat_map(|(retiring, kid)| check_one(facts, retiring, kid)).collect()
}

fn check_one(facts: &Facts<'_>, retiring: &Request, kid: &str) -> Vec<Violation> {
    let is_late = |request: &Request| {
        let known = facts.keys_known_from(retiring, request.node);
        request.is_yes() && known.is_some_and(|known| request.start > known)
    };
    let mut violations = Vec::new();
    let mut add = |why: &str, late: Option<&Request>| {
        if let Some(late) = late {
            let requests = [retiring, late];
            violations.push(Violation::new(Rule::RetiredKeysStayRetired, why, &requests));
        }
    };
    let of_key = || facts.jwts.values().filter(|jwt| jwt.kid == kid);
    let signed = of_key().map(|jwt| jwt.issued).find(|issued| is_late(issued));
    add("a retired key has signed", signed);
    let verified = of_key().flat_map(|jwt| jwt.uses.iter().copied()).find(|used| is_late(used));
    add("a token of a retired key was accepted", verified);
    let published = facts.key_calls.iter().copied().find(|request| {
        let has_it = request.given().is_some_and(|given| given.kids.iter().any(|one| one == kid));
        has_it && is_late(request)
    });
    add("a retired key was published", published);
    violations
}
