//! The checker of `scripts/chaos` names what a history violates, and nothing else.

use std::time::Duration;

use checker::history::{Answer, Call, Effect, Given, Happened, Request, Run};
use checker::{Rule, check};

#[path = "../chaos/checker/mod.rs"]
#[allow(dead_code, reason = "the run itself uses the rest")]
mod checker;

/// Long after all bounds.
const LATER: u64 = 100;

/// A history that is written by hand: each request takes a tenth of a second.
#[derive(Default)]
struct History(Run);

impl History {
    fn add(&mut self, at: u64, node: usize, call: Call, answer: Answer) -> &mut Self {
        let start = Duration::from_secs(at);
        let end = start + Duration::from_millis(100);
        let id = self.0.requests.len();
        self.0.requests.push(Request { id, client: 0, node, call, start, end, answer });
        self
    }

    fn yes(&mut self, at: u64, node: usize, call: Call) -> &mut Self {
        self.add(at, node, call, Answer::Yes(Given::default()))
    }

    fn no(&mut self, at: u64, node: usize, call: Call) -> &mut Self {
        self.add(at, node, call, Answer::No(404))
    }

    /// Session 1 of customer 1, with token 1 of the key `k`.
    fn with_session_and_token() -> Self {
        let mut history = Self::default();
        history.yes(1, 0, Call::Start { session: 1, customer: 1 });
        history.issue(2, 0, Call::Exchange { session: 1, uses_up: false }, 1, "k");
        history
    }

    /// Machine client 1, with secret 1 and token 1 of the key `k`.
    fn with_machine() -> Self {
        let mut history = Self::default();
        history.reset(1, 0, 1);
        history.issue(2, 0, Call::LogIn { machine: 1, secret: 1 }, 1, "k");
        history
    }

    fn issue(&mut self, at: u64, node: usize, call: Call, jwt: usize, kid: &str) -> &mut Self {
        let given = Given { jwt: Some(jwt), kid: Some(kid.to_owned()), ..Given::default() };
        self.add(at, node, call, Answer::Yes(given))
    }

    fn reset(&mut self, at: u64, node: usize, secret: usize) -> &mut Self {
        let given = Given { secret: Some(secret), ..Given::default() };
        self.add(at, node, Call::ResetSecret { machine: 1 }, Answer::Yes(given))
    }

    fn fault(&mut self, start: u64, end: u64, effect: Effect) -> &mut Self {
        let [start, end] = [start, end].map(Duration::from_secs);
        let text = format!("{effect:?}");
        self.0.faults.push(Happened { start, end, effect, text });
        self
    }

    /// As a node logs that has done all that it has answered.
    fn audit(&mut self) {
        let operations = |call: &Call| match call {
            Call::Start { .. } => Some("start_session"),
            Call::Exchange { .. } => Some("exchange"),
            Call::LogOut { .. } => Some("end_session"),
            Call::LogOutByToken { .. } => Some("log_out"),
            Call::RevokeCustomer { .. } | Call::RevokeMachine { .. } => Some("revoke_subject"),
            Call::LogIn { .. } => Some("issue_machine_token"),
            Call::ResetSecret { .. } => Some("reset_secret"),
            Call::Disable { .. } => Some("disable_entity"),
            Call::Enable { .. } => Some("enable_entity"),
            Call::RotateKeys => Some("rotate_keys"),
            Call::RetireKey { .. } => Some("retire_key"),
            Call::Verify { .. } | Call::Page { .. } | Call::Use { .. } | Call::ReadKeys => None,
        };
        for request in self.0.requests.iter().filter(|request| request.is_yes()) {
            if let Some(operation) = operations(&request.call) {
                let key = (request.node, operation.to_owned());
                *self.0.audited.entry(key).or_default() += 1;
            }
        }
    }

    fn violated(&mut self) -> Vec<Rule> {
        self.audit();
        let mut rules: Vec<_> = check(&self.0).iter().map(|violation| violation.rule).collect();
        rules.dedup();
        rules
    }

    #[track_caller]
    fn violates(&mut self, rule: Rule) {
        assert_eq!(self.violated(), [rule]);
    }

    #[track_caller]
    fn is_good(&mut self) {
        assert_eq!(self.violated(), []);
    }
}

const USE_UP: Call = Call::Exchange { session: 1, uses_up: true };
const VERIFY: Call = Call::Verify { session: 1 };
const LOG_OUT: Call = Call::LogOut { session: 1 };
const USE: Call = Call::Use { jwt: 1 };
const OLD_SECRET: Call = Call::LogIn { machine: 1, secret: 1 };

fn retire() -> Call {
    Call::RetireKey { kid: "k".to_owned() }
}

#[test]
fn a_second_exchange_of_one_token_is_named() {
    let mut history = History::with_session_and_token();
    history.issue(10, 0, USE_UP, 2, "k").issue(10, 1, USE_UP, 3, "k");
    history.violates(Rule::ExchangedOnce);
}

#[test]
fn a_session_that_is_found_after_it_was_used_up_is_named() {
    let mut history = History::with_session_and_token();
    history.issue(10, 0, USE_UP, 2, "k").yes(12, 1, VERIFY);
    history.violates(Rule::ExchangedOnce);
}

#[test]
fn a_second_exchange_is_good_only_where_the_first_may_have_been_lost() {
    let mut history = History::with_session_and_token();
    history.issue(10, 0, USE_UP, 2, "k").issue(30, 1, USE_UP, 3, "k");
    history.fault(9, 12, Effect::WritesLost);
    history.is_good();
    let mut history = History::with_session_and_token();
    history.issue(10, 0, USE_UP, 2, "k").issue(60, 1, USE_UP, 3, "k");
    history.fault(20, 22, Effect::WritesLost);
    history.violates(Rule::ExchangedOnce);
}

#[test]
fn a_revoked_token_that_is_accepted_is_named() {
    for end in [LOG_OUT, Call::LogOutByToken { jwt: 1 }, Call::RevokeCustomer { customer: 1 }] {
        for node in 0..3 {
            let mut history = History::with_session_and_token();
            history.yes(10, 0, end.clone()).yes(LATER, node, USE);
            history.violates(Rule::RevokedTokensAreRejected);
        }
    }
    let by_token = Call::LogOutByToken { jwt: 1 };
    for end in [Call::RevokeMachine { machine: 1 }, Call::Disable { machine: 1 }, by_token] {
        let mut history = History::with_machine();
        history.yes(10, 0, end.clone()).yes(LATER, 2, USE);
        history.violates(Rule::RevokedTokensAreRejected);
        let mut history = History::with_machine();
        history.yes(10, 0, end).no(LATER, 2, USE);
        history.is_good();
    }
}

#[test]
fn a_node_rejects_at_once_what_it_has_revoked_and_others_in_time() {
    let mut history = History::with_session_and_token();
    history.yes(10, 0, LOG_OUT).yes(11, 0, USE);
    history.violates(Rule::RevokedTokensAreRejected);
    let mut history = History::with_session_and_token();
    history.yes(10, 0, LOG_OUT).yes(12, 1, USE);
    history.is_good();
}

#[test]
fn a_revocation_whose_answer_nobody_had_is_held_against_nobody() {
    let mut history = History::with_session_and_token();
    let unknown = || Answer::Unknown("hung up".to_owned());
    history.add(10, 0, LOG_OUT, unknown()).yes(LATER, 0, USE).no(LATER, 0, VERIFY);
    history.is_good();
}

#[test]
fn a_lost_revocation_is_named_unless_who_answered_it_has_died() {
    let lost = || {
        let mut history = History::with_session_and_token();
        history.yes(10, 0, LOG_OUT).fault(9, 12, Effect::WritesLost).yes(LATER, 1, USE);
        history
    };
    lost().violates(Rule::RevokedTokensAreRejected);
    lost().fault(11, 14, Effect::NodeKilled { node: 1 }).violates(Rule::RevokedTokensAreRejected);
    lost().fault(11, 14, Effect::NodeKilled { node: 0 }).is_good();
}

#[test]
fn a_subject_that_was_revoked_by_another_clock_is_held_against_nobody() {
    let mut history = History::with_session_and_token();
    history.yes(10, 0, Call::RevokeCustomer { customer: 1 }).yes(LATER, 1, USE);
    history.fault(9, 12, Effect::ClockOff { node: 0, seconds: 20 });
    history.is_good();
    // A log-out holds whatever the clocks say.
    let mut history = History::with_session_and_token();
    history.yes(10, 0, LOG_OUT).yes(LATER, 1, USE);
    history.fault(9, 12, Effect::ClockOff { node: 0, seconds: 20 });
    history.violates(Rule::RevokedTokensAreRejected);
}

#[test]
fn a_clock_that_is_wrong_by_no_more_than_nodes_bear_excuses_nothing() {
    let apart = |seconds| Effect::ClockOff { node: 0, seconds };
    for seconds in [-2, 2] {
        let mut history = History::with_session_and_token();
        history.yes(10, 0, Call::RevokeCustomer { customer: 1 }).yes(LATER, 1, USE);
        history.fault(9, 12, apart(seconds)).violates(Rule::RevokedTokensAreRejected);
        let mut history = History::with_session_and_token();
        history.no(10, 0, USE).fault(9, 12, apart(seconds)).violates(Rule::WhatNobodyEndedLives);
    }
    // But two that are may be further from each other.
    let mut history = History::with_session_and_token();
    history.yes(10, 1, Call::RevokeCustomer { customer: 1 }).yes(LATER, 2, USE);
    history.fault(9, 12, Effect::ClockOff { node: 1, seconds: -2 }).fault(1, 3, apart(2));
    history.is_good();
    // And what a node issues whose clock was set back may be of before what it has heard.
    let mut history = History::default();
    history.yes(1, 0, Call::RevokeCustomer { customer: 1 });
    history.yes(3, 0, Call::Start { session: 1, customer: 1 }).no(LATER, 1, VERIFY);
    history.fault(1, 2, apart(2)).is_good();
}

#[test]
fn a_session_that_comes_back_is_named() {
    let found = [VERIFY, Call::Exchange { session: 1, uses_up: false }, Call::Page { session: 1 }];
    for found in found {
        for end in [LOG_OUT, Call::LogOutByToken { jwt: 1 }, Call::RevokeCustomer { customer: 1 }] {
            let mut history = History::with_session_and_token();
            history.yes(10, 0, end).yes(LATER, 1, found.clone());
            history.violates(Rule::EndedSessionsStayEnded);
        }
    }
}

#[test]
fn a_lost_log_out_is_named_whether_or_not_tokens_had_been_issued() {
    let mut history = History::with_session_and_token();
    history.yes(10, 0, LOG_OUT).yes(LATER, 1, VERIFY).fault(9, 12, Effect::WritesLost);
    history.violates(Rule::EndedSessionsStayEnded);
    let mut history = History::default();
    history.yes(1, 0, Call::Start { session: 1, customer: 1 });
    history.yes(10, 0, LOG_OUT).yes(LATER, 1, VERIFY).fault(9, 12, Effect::WritesLost);
    history.violates(Rule::EndedSessionsStayEnded);
    // Until its node has ended it again, it is back there, too.
    let mut history = History::default();
    history.yes(1, 0, Call::Start { session: 1, customer: 1 });
    history.yes(10, 0, LOG_OUT).yes(13, 0, VERIFY).fault(9, 12, Effect::WritesLost);
    history.is_good();
}

#[test]
fn a_log_out_is_held_to_reach_a_token_unless_its_exchange_was_lost() {
    let mut history = History::with_session_and_token();
    history.yes(30, 0, LOG_OUT).yes(LATER, 1, USE).fault(2, 4, Effect::WritesLost);
    history.is_good();
    let mut history = History::with_session_and_token();
    history.yes(30, 0, Call::LogOutByToken { jwt: 1 }).yes(LATER, 1, USE);
    history.fault(2, 4, Effect::WritesLost);
    history.violates(Rule::RevokedTokensAreRejected);
    let mut history = History::with_session_and_token();
    history.yes(30, 0, Call::RevokeCustomer { customer: 1 }).yes(LATER, 1, USE);
    history.fault(2, 4, Effect::WritesLost);
    history.violates(Rule::RevokedTokensAreRejected);
}

#[test]
fn a_retired_key_that_verifies_signs_or_is_published_is_named() {
    let mut history = History::with_session_and_token();
    history.yes(10, 0, retire()).yes(LATER, 1, USE);
    history.violates(Rule::RetiredKeysStayRetired);
    let mut history = History::with_session_and_token();
    history.yes(10, 0, retire());
    history.issue(LATER, 1, Call::Exchange { session: 1, uses_up: false }, 2, "k");
    history.violates(Rule::RetiredKeysStayRetired);
    let mut history = History::with_session_and_token();
    let published = Given { kids: vec!["k".to_owned()], ..Given::default() };
    history.yes(10, 0, retire()).add(LATER, 1, Call::ReadKeys, Answer::Yes(published));
    history.violates(Rule::RetiredKeysStayRetired);
}

#[test]
fn a_node_that_could_not_look_may_still_have_a_retired_key() {
    let mut history = History::with_session_and_token();
    history.yes(10, 0, retire()).yes(29, 1, USE).fault(9, 30, Effect::NodeApart { node: 1 });
    history.is_good();
}

#[test]
fn a_replaced_secret_that_is_accepted_is_named() {
    let mut history = History::with_machine();
    history.reset(10, 0, 2).issue(LATER, 1, OLD_SECRET, 2, "k");
    history.violates(Rule::ReplacedSecretsAreRejected);
    let mut history = History::with_machine();
    history.reset(10, 0, 2).issue(12, 1, OLD_SECRET, 2, "k");
    history.is_good();
}

#[test]
fn a_disabled_machine_client_that_gets_a_token_is_named() {
    let (disable, enable) = (Call::Disable { machine: 1 }, Call::Enable { machine: 1 });
    let mut history = History::with_machine();
    history.yes(10, 0, disable.clone()).issue(LATER, 1, OLD_SECRET, 2, "k");
    history.violates(Rule::DisabledMachinesAreRejected);
    let mut history = History::with_machine();
    history.yes(10, 0, disable).yes(20, 1, enable).issue(LATER, 1, OLD_SECRET, 2, "k");
    history.is_good();
}

#[test]
fn what_nobody_ended_and_is_gone_is_named() {
    let mut history = History::with_session_and_token();
    history.no(LATER, 1, VERIFY);
    history.violates(Rule::WhatNobodyEndedLives);
    let mut history = History::with_session_and_token();
    history.no(LATER, 1, USE);
    history.violates(Rule::WhatNobodyEndedLives);
    let mut history = History::with_machine();
    history.no(LATER, 1, OLD_SECRET);
    history.violates(Rule::WhatNobodyEndedLives);
}

#[test]
fn what_is_gone_is_good_where_it_may_have_been_lost_or_a_clock_was_wrong() {
    let mut history = History::with_session_and_token();
    history.no(LATER, 1, VERIFY).fault(0, 3, Effect::WritesLost);
    history.is_good();
    let mut history = History::with_session_and_token();
    history.no(LATER, 1, USE).fault(99, 101, Effect::ClockOff { node: 1, seconds: -20 });
    history.is_good();
}

#[test]
fn what_is_not_served_again_is_named() {
    let mut history = History::default();
    history.0.not_served.push("node 1".to_owned());
    history.violates(Rule::EverythingIsServedAgain);
}

#[test]
fn an_audit_log_that_lacks_an_operation_or_has_one_too_many_is_named() {
    for audited in [0, 2] {
        let mut history = History::default();
        history.yes(1, 0, Call::Start { session: 1, customer: 1 });
        history.0.audited.insert((0, "start_session".to_owned()), audited);
        let rules: Vec<_> = check(&history.0).iter().map(|violation| violation.rule).collect();
        assert_eq!(rules, [Rule::AuditTellsWhatWasDone]);
    }
}

#[test]
fn a_history_in_which_everything_was_kept_is_good() {
    let mut history = History::with_session_and_token();
    history.yes(5, 1, USE).yes(6, 2, VERIFY).yes(7, 2, Call::Page { session: 1 });
    history.issue(10, 0, USE_UP, 2, "k").no(10, 1, USE_UP).no(12, 2, VERIFY);
    history.yes(13, 1, USE).yes(20, 2, LOG_OUT).no(40, 1, USE).no(40, 0, LOG_OUT);
    history.is_good();
}

#[test]
fn each_exception_quotes_a_sentence_of_the_security_page() {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = words(&std::fs::read_to_string(root.join("../SECURITY.md")).unwrap());
    let mut quoted = 0;
    for name in ["exceptions.rs", "revoked.rs", "secrets.rs", "lost.rs"] {
        let source = std::fs::read_to_string(root.join("chaos/checker").join(name)).unwrap();
        let comments = source.lines().map(str::trim_start).filter(|line| line.starts_with("//"));
        let text: Vec<_> = comments.map(|line| line.trim_start_matches('/')).collect();
        let text = words(&text.join(" "));
        for quotation in text.split('"').skip(1).step_by(2) {
            assert!(page.contains(quotation), "{name} quotes what is not there: {quotation}");
            quoted += 1;
        }
    }
    assert!(quoted > 5, "{quoted}");
}
