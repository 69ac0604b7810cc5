use std::time::Duration;

use crate::clock::Timestamp;
use crate::service::model::authentication_token::SessionKey;
use crate::service::model::issue_time::IssueTime;
use crate::service::model::session::{Session, Starter};
use crate::service::model::subject::Subject;
use crate::service::store::conformance::sessions::used_up;
use crate::service::store::conformance::{ALL, HOUR, PATIENCE, now, session, session_of, unique};
use crate::service::store::{Cursor, PageRequest, SessionFilter, SessionStore};
use crate::token::claims::SubjectType;
use crate::token::identifier::{CustomerId, OrganizationId};

pub(super) async fn lists_are_of_live_sessions_in_order_filtered_and_paged(
    store: &dyn SessionStore,
) {
    let customer = CustomerId::new(unique()).unwrap();
    let organization = OrganizationId::new(unique()).unwrap();
    let mut written = Vec::new();
    for age in [3_u32, 1, 4, 2] {
        let mut session = session_of(&customer, now() - Duration::from_secs(60) * age);
        if age == 1 {
            session.organization_id = Some(organization.clone());
        }
        store.insert(session.clone(), now()).await.unwrap();
        written.push(session);
    }
    let mut ended = session_of(&customer, now() - HOUR * 2);
    ended.expires_at = now();
    store.insert(ended, now() - HOUR).await.unwrap();
    store.insert(session(), now()).await.unwrap();
    written.sort_by_key(Session::created_at);
    let keys =
        |sessions: &[Session]| sessions.iter().map(Session::key).collect::<Vec<SessionKey>>();

    let theirs = SessionFilter::all().of_customer(customer);
    let all = store.list(&theirs, &ALL, now()).await.unwrap();
    assert_eq!(all.total, 4, "a list has what is live, and all of it");
    assert_eq!(keys(&all.sessions), keys(&written), "a list begins with the oldest");
    let middle = store.list(&theirs, &PageRequest::first(2).offset(1), now()).await.unwrap();
    assert_eq!(middle.total, 4, "the total is that of the list, not of the page");
    assert_eq!(keys(&middle.sessions), keys(&written[1..3]));
    let beyond = store.list(&theirs, &PageRequest::first(2).offset(9), now()).await.unwrap();
    assert!(beyond.sessions.is_empty() && beyond.total == 4);
    let both = store.list(&theirs.of_organization(organization), &ALL, now()).await.unwrap();
    assert_eq!(both.total, 1, "filters have to hold together");
}

pub(super) async fn a_list_is_walked_page_by_page_whatever_ends_meanwhile(
    store: &dyn SessionStore,
) {
    let customer = CustomerId::new(unique()).unwrap();
    let organization = OrganizationId::new(unique()).unwrap();
    // Three of one instant, which the ids tell apart, and one before and one after them.
    let mut written = Vec::new();
    for age in [1_u32, 2, 2, 2, 3] {
        let mut session = session_of(&customer, now() - Duration::from_secs(60) * age);
        session.organization_id = Some(organization.clone());
        store.insert(session.clone(), now()).await.unwrap();
        written.push(session);
    }
    written.sort_by_key(Session::position);
    let of_customer = SessionFilter::all().of_customer(customer);
    let of_organization = SessionFilter::all().of_organization(organization.clone());
    let of_both = of_customer.clone().of_organization(organization);
    for filter in [&of_customer, &of_organization, &of_both] {
        let (mut page, mut walked) = (PageRequest::first(2), Vec::new());
        loop {
            let listed = store.list(filter, &page, now()).await.unwrap();
            assert_eq!(listed.total, 5, "the total is that of the list, wherever a page begins");
            let Some(last) = listed.sessions.last() else { break };
            page = PageRequest::first(2).after(last.position());
            walked.extend(listed.sessions.iter().map(Session::position));
        }
        assert_eq!(walked, written.iter().map(Session::position).collect::<Vec<_>>());
    }
    let third = written[2].clone();
    assert!(store.take(&third.key, third.version).await.unwrap().is_some());
    let behind = PageRequest::first(9).after(third.position());
    let listed = store.list(&of_both, &behind, now()).await.unwrap();
    let positions: Vec<_> = listed.sessions.iter().map(Session::position).collect();
    assert_eq!(positions, [written[3].position(), written[4].position()]);
    let listed = store.list(&of_both, &behind.offset(1), now()).await.unwrap();
    let positions: Vec<_> = listed.sessions.iter().map(Session::position).collect();
    assert_eq!(positions, [written[4].position()]);
}

pub(super) async fn what_is_listed_has_not_expired_also_before_it_is_purged(
    store: &dyn SessionStore,
) {
    let customer = CustomerId::new(unique()).unwrap();
    let mut written = Vec::new();
    for age in 0..4_u32 {
        let mut session = session_of(&customer, now() - Duration::from_secs(60) * (age + 1));
        // Tokens of it outlive it.
        session.tokens_until = Some(now() + HOUR);
        if age % 2 == 0 {
            session.expires_at = now() - Duration::from_secs(1);
        }
        store.insert(session.clone(), session.created_at).await.unwrap();
        written.push(session);
    }
    let theirs = SessionFilter::all().of_customer(customer);
    let listed = store.list(&theirs, &PageRequest::first(1), now()).await.unwrap();
    assert_eq!((listed.total, listed.sessions.len()), (2, 1));
    assert_eq!(listed.sessions[0].id, written[3].id);
    assert!(store.get(&written[0].key).await.unwrap().is_some(), "tokens of it are to be revoked");
    // What stays of a session that was ended while its start may be repeated.
    let ended = used_up(&session_of(&CustomerId::new(unique()).unwrap(), now()), now() + HOUR);
    let theirs_alone = SessionFilter::all().of_customer(ended.customer_id.clone());
    store.insert(Session { created_at: Timestamp::MAX, ..ended }, now()).await.unwrap();
    let listed = store.list(&theirs_alone, &PageRequest::first(1), now()).await.unwrap();
    assert_eq!((listed.total, listed.sessions.len()), (0, 0));
}

pub(super) async fn a_customers_sessions_are_found_and_those_of_a_namesake_are_not(
    store: &dyn SessionStore,
) {
    let customer = CustomerId::new(unique()).unwrap();
    let mut namesake = session_of(&customer, now());
    namesake.organization_id = Some(organization());
    let others = [session(), namesake.clone()];
    for other in &others {
        store.insert(other.clone(), now()).await.unwrap();
    }
    let mut theirs = Vec::new();
    for _ in 0..5 {
        let session = session_of(&customer, now());
        store.insert(session.clone(), now()).await.unwrap();
        theirs.push(session.key());
    }
    let used = session_of(&customer, now());
    store.insert(used.clone(), now()).await.unwrap();
    store.replace(used_up(&used, now() + HOUR), used.version(), now()).await.unwrap();
    theirs.push(used.key());
    let subject = used.subject();
    until_count_is(store, &subject, 5).await;
    assert_eq!(store.count(&subject, now(), 3).await.unwrap(), 3, "and no further than asked for");
    assert_eq!(store.count(&namesake.subject(), now(), 100).await.unwrap(), 1);
    let removed = remove_all(store, &subject).await;
    let mut keys: Vec<_> = removed.iter().map(Session::key).collect();
    keys.sort();
    theirs.sort();
    assert_eq!(keys, theirs, "what was used up is found, too");
    assert_eq!(store.count(&subject, now(), 100).await.unwrap(), 0);
    for other in &others {
        assert!(store.get(&other.key()).await.unwrap().is_some());
    }
}

pub(super) async fn what_a_subject_has_started_is_found_by_it(store: &dyn SessionStore) {
    let name = unique();
    let user = Subject::new(SubjectType::User, &*name);
    let others = [
        Subject::new(SubjectType::Machine, &*name),
        Subject::new(SubjectType::User, &*name).organization(organization()),
    ];
    for subject in others.iter().chain([&user, &user, &user]) {
        store.insert(started_by(subject), now()).await.unwrap();
    }
    let used = started_by(&user);
    store.insert(used.clone(), now()).await.unwrap();
    store.replace(used_up(&used, now() + HOUR), used.version(), now()).await.unwrap();
    let ended = Session { expires_at: now() - HOUR / 60, ..started_by(&user) };
    store.insert(ended.clone(), now() - HOUR).await.unwrap();
    until_count_is(store, &user, 3).await;
    let kept = store.get(&used.key()).await.unwrap().expect("it is kept until its tokens are dead");
    assert_eq!(kept.started_by(), Some(&user));
    while store.purge_expired(now()).await.unwrap() > 0 {}
    let removed = remove_all(store, &user).await;
    assert_eq!(removed.len(), 4);
    for subject in &others {
        assert_eq!(store.count(subject, now(), 100).await.unwrap(), 1);
    }
}

pub(super) async fn the_sessions_of_a_subject_are_read_in_parts(store: &dyn SessionStore) {
    let customer = CustomerId::new(unique()).unwrap();
    let mut theirs = Vec::new();
    for number in 0..400_u32 {
        // Some end at the same instant.
        let expires_at = now() + HOUR + Duration::from_secs(60) * (number / 50);
        let session = Session { expires_at, ..session_of(&customer, now()) };
        store.insert(session.clone(), now()).await.unwrap();
        if number % 4 == 0 {
            let used = used_up(&session, now() + HOUR);
            store.replace(used, session.version(), now()).await.unwrap();
        }
        theirs.push(session.key());
    }
    let subject = Subject::new(SubjectType::Customer, customer.as_str());
    until_count_is(store, &subject, 100).await;
    let (mut after, mut found) = (Cursor::START, Vec::new());
    loop {
        let part = store.of_subject(&subject, &after, 20).await.unwrap();
        assert!(part.sessions.len() <= 100, "about as many as were asked for");
        found.extend(part.sessions.iter().map(Session::key));
        // What was read is removed, as the service does.
        for session in part.sessions.iter().filter(|session| session.version() == 1) {
            assert!(store.take(&session.key(), 1).await.unwrap().is_some());
        }
        let Some(next) = part.next else { break };
        after = next;
    }
    found.sort();
    found.dedup();
    theirs.sort();
    assert_eq!(found, theirs);
    assert_eq!(remove_all(store, &subject).await.len(), 100, "those that were used up are left");
}

fn organization() -> OrganizationId {
    OrganizationId::new(unique()).unwrap()
}

fn started_by(subject: &Subject) -> Session {
    let token_issued = IssueTime::at(now());
    let starter = Starter { subject: subject.clone(), token_issued, audiences: None };
    Session { starter: Some(starter), ..session() }
}

/// What is live is counted; what was used up may be for a moment.
async fn until_count_is(store: &dyn SessionStore, subject: &Subject, expected: usize) {
    let counting = async {
        while store.count(subject, now(), 100).await.unwrap() != expected {
            tokio::task::yield_now().await;
        }
    };
    let counted = tokio::time::timeout(PATIENCE, counting).await;
    counted.expect("what is live has to be counted, and nothing else");
}

/// All sessions of a subject, removed a few at a time, as the service does.
async fn remove_all(store: &dyn SessionStore, subject: &Subject) -> Vec<Session> {
    let mut removed = Vec::new();
    let mut after = Cursor::START;
    loop {
        let part = store.of_subject(subject, &after, 2).await.unwrap();
        for session in part.sessions {
            removed.extend(store.take(&session.key(), session.version()).await.unwrap());
        }
        let Some(next) = part.next else { return removed };
        after = next;
    }
}
