use super::*;
use crate::service::model::subject::Subject;
use crate::token::claims::SubjectType;
use crate::token::identifier::{OrganizationId, TokenId};

const MILLI: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);

fn start() -> Timestamp {
    Timestamp::from_secs(1_767_225_600)
}

fn set() -> RevocationSet {
    RevocationSet::new(HOUR)
}

const OPS: SubjectRef<'static> =
    SubjectRef { subject_type: SubjectType::User, organization_id: None, id: "ops" };

fn revocation(subject: Subject, before: Timestamp, until: Timestamp) -> Revocation {
    let issued_before = before + SECOND;
    let target =
        RevocationTarget::SubjectBefore { subject, before, issued_before, blocked_until: None };
    Revocation { target, until }
}

fn revoke(set: &RevocationSet, before: Timestamp) {
    set.insert(&revocation(OPS.to_subject(), before, Timestamp::MAX), before);
}

fn is_good(set: &RevocationSet, issued: IssueTime) -> bool {
    // As a token says it.
    let at = issued.at.floor_to_second();
    !set.contains_issued(OPS, IssueTime { at, ..issued })
}

#[test]
fn each_of_two_revocations_in_one_second_revokes_what_was_issued_before_it_in_either_order() {
    let instants = [300, 800].map(|millis| start() + MILLI * millis);
    let knowing = set();
    let issue = |at| knowing.issue_time(OPS, start() + MILLI * at);
    let first = issue(200);
    revoke(&knowing, instants[0]);
    let second = issue(500);
    assert!(!is_good(&knowing, first) && is_good(&knowing, second));
    revoke(&knowing, instants[1]);
    let third = issue(900);
    let swapped = set();
    for instant in instants.into_iter().rev().chain(instants) {
        revoke(&swapped, instant);
    }
    for set in [&knowing, &swapped] {
        assert!(!is_good(set, first) && !is_good(set, second) && is_good(set, third));
    }
}

#[test]
fn the_same_revocation_twice_or_an_older_one_revokes_nothing_more() {
    let set = set();
    revoke(&set, start() + MILLI * 300);
    let issued = set.issue_time(OPS, start() + MILLI * 500);
    revoke(&set, start() + MILLI * 300);
    revoke(&set, start() + MILLI * 100);
    assert!(is_good(&set, issued));
}

#[test]
fn however_many_revocations_there_are_what_is_issued_is_as_old_as_its_proof() {
    let set = set();
    for millis in 0..200 {
        revoke(&set, start() + MILLI * millis);
    }
    let issued = set.issue_time(OPS, start() + MILLI * 200);
    assert_eq!(issued.at, start() + MILLI * 200);
    assert!(is_good(&set, issued));
}

#[test]
fn who_proved_it_before_the_revocation_gets_a_token_that_is_revoked() {
    let set = set();
    revoke(&set, start() + MILLI * 300);
    let late = set.issue_time(OPS, start() + MILLI * 299);
    assert!(!is_good(&set, late));
}

#[test]
fn a_revocation_is_later_than_one_that_is_known_from_a_clock_that_is_ahead() {
    let set = set();
    set.insert(&revocation(OPS.to_subject(), start() + HOUR, Timestamp::MAX), start());
    let issued = set.issue_time(OPS, start() + MILLI);
    assert!(is_good(&set, issued));
    let now = start() + MILLI * 2;
    assert_eq!(set.next_instant(OPS, start() - HOUR, now), start() - HOUR, "of long ago");
    revoke(&set, set.next_instant(OPS, now, now));
    assert!(!is_good(&set, issued));
}

fn token(number: u64) -> RevocationTarget {
    RevocationTarget::Token(TokenId::new(format!("jti-{number}")).unwrap())
}

#[test]
fn what_was_given_more_time_is_forgotten_at_its_end_and_not_before() {
    let set = set();
    let subject = revocation(OPS.to_subject(), start(), start()).target;
    let everything =
        [token(1), RevocationTarget::Session(SessionId::new("sid-1").unwrap()), subject];
    let are_there = |now| {
        set.purge(now);
        set.live.read().ids.contains(set.digester.token(&TokenId::new("jti-1").unwrap()))
            && set.contains_session(&SessionId::new("sid-1").unwrap())
            && set.live.read().subjects.len() == 1
    };
    for target in everything {
        let revocation = |until| Revocation { target: target.clone(), until };
        set.insert(&revocation(start() + HOUR), start());
        set.insert(&revocation(start() + HOUR * 3), start());
        // Later to arrive, and no longer.
        set.insert(&revocation(start() + HOUR * 2), start());
    }
    assert!(are_there(start() + HOUR * 2));
    assert!(!are_there(start() + HOUR * 3));
    assert_eq!(set.len(), 0);
    assert!(set.live.read().subjects.is_empty());
}

#[test]
fn each_part_of_a_purge_is_small_and_all_of_it_is_done() {
    let set = set();
    let subject = |number: usize| Subject::new(SubjectType::User, number.to_string());
    for number in 0..PURGE_LIMIT * 3 {
        set.insert(&revocation(subject(number), start(), start()), start());
    }
    set.insert(&revocation(OPS.to_subject(), start(), start() + SECOND), start());
    assert_eq!(set.purge_subjects(start(), PURGE_LIMIT), PURGE_LIMIT);
    set.purge(start());
    assert_eq!(set.len(), 1);
}

#[test]
fn a_namesake_in_another_organization_is_somebody_else() {
    let set = set();
    let [acme, globex] = ["acme", "globex"].map(|id| Some(OrganizationId::new(id).unwrap()));
    let ops = |organization_id| SubjectRef { organization_id, ..OPS };
    let subject = ops(acme.as_ref()).to_subject();
    set.insert(&revocation(subject, start(), Timestamp::MAX), start());
    let early = IssueTime::at(start() - SECOND);
    let ended = |subject| set.contains_issued(subject, early);
    assert!(ended(ops(acme.as_ref())));
    assert!(!ended(ops(globex.as_ref())) && !ended(OPS));
    // Of whom an older record does not say where they belong, all are meant.
    let target = RevocationTarget::SubjectAnywhereBefore {
        subject_type: SubjectType::User,
        subject: "ops".to_owned(),
        before: start(),
    };
    set.insert(&Revocation { target, until: Timestamp::MAX }, start());
    assert!(ended(ops(globex.as_ref())) && ended(OPS));
}
