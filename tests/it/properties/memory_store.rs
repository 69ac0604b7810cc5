//! The sessions in memory and their indexes, next to a map that is searched from end to end.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign::sessions::Session;
use countersign::store::{
    Cursor, MemoryStore, PageRequest, SessionFilter, SessionKey, SessionStore, StoreError, Subject,
    record,
};
use countersign::{CustomerId, OrganizationId, SessionId, SubjectType, Timestamp};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

/// Shorter than what a store keeps ended sessions for where nobody purges it.
const SECONDS: u8 = 50;

#[derive(Clone, Debug)]
enum Step {
    Insert { key: u8, customer: u8, organization: u8, starter: u8, ends: u8 },
    Replace { key: u8, is_current: bool, ends: u8, tokens: Option<u8>, uses_up: bool },
    Take { key: u8, is_current: bool },
    Remove { key: u8 },
    Purge,
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || 0..6_u8;
    let time = || 0..SECONDS;
    let step = prop_oneof![
        4 => (key(), 0..3_u8, 0..3_u8, 0..4_u8, time()).prop_map(
            |(key, customer, organization, starter, ends)| Step::Insert {
                key, customer, organization, starter, ends,
            }
        ),
        4 => (key(), prop::bool::weighted(0.8), time(), prop::option::of(time()), any::<bool>())
            .prop_map(|(key, is_current, ends, tokens, uses_up)| Step::Replace {
                key, is_current, ends, tokens, uses_up,
            }),
        1 => (key(), any::<bool>()).prop_map(|(key, is_current)| Step::Take { key, is_current }),
        1 => key().prop_map(|key| Step::Remove { key }),
        1 => select(vec![Step::Purge, Step::Wait]),
        2 => Just(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

fn at(second: u8) -> Timestamp {
    Timestamp::from_secs(1_800_000_000 + u64::from(second))
}

fn key_of(key: u8) -> SessionKey {
    SessionKey::from_bytes([key; 32])
}

fn organization(number: u8) -> Option<OrganizationId> {
    (number > 0).then(|| OrganizationId::new(format!("org_{number}")).unwrap())
}

/// Nobody, or one of those that may start sessions.
fn starter(number: u8) -> Option<Subject> {
    let sort = if number == 1 { SubjectType::Machine } else { SubjectType::User };
    (number > 0).then(|| Subject::new(sort, "ops").organization(organization(number / 2)))
}

fn customers() -> impl Iterator<Item = Subject> {
    let of = |customer: u8| {
        let of_organization = move |number: u8| {
            Subject::new(SubjectType::Customer, format!("cus_{customer}"))
                .organization(organization(number))
        };
        (0..3).map(of_organization)
    };
    (0..3).flat_map(of)
}

/// A session as a store writes it, with members that nobody else sets.
fn edited(session: &Session, members: Value) -> Session {
    let mut written: Value =
        serde_json::from_str(&record::write_session(session).unwrap()).unwrap();
    for (name, value) in members.as_object().unwrap() {
        written[name] = value.clone();
    }
    record::read_session(&written.to_string()).unwrap()
}

type Model = BTreeMap<SessionKey, Session>;

fn kind<T>(outcome: Result<T, StoreError>) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(StoreError::Conflict) => None,
        Err(error) => panic!("{error:?}"),
    }
}

async fn take_step(store: &MemoryStore, model: &mut Model, step: &Step, now: Timestamp, n: usize) {
    match *step {
        Step::Insert { key, customer, organization: number, starter: by, ends } => {
            let id = SessionId::new(format!("sid-{n}")).unwrap();
            let customer = CustomerId::new(format!("cus_{customer}")).unwrap();
            let started_by = starter(by).map(|by| {
                json!({
                    "subject_type": by.subject_type().as_str(),
                    "organization_id": by.organization_id().map(OrganizationId::as_str),
                    "subject": by.id(),
                    "token_issued_at": 0,
                })
            });
            let new = Session::new(key_of(key), id, customer, now, at(ends));
            let organization = organization(number);
            let organization = organization.as_ref().map(OrganizationId::as_str);
            let mut members = json!({"organization_id": organization});
            if let Some(started_by) = started_by {
                members["starter"] = started_by;
            }
            let new = edited(&new, members);
            let inserted = kind(SessionStore::insert(store, new.clone(), now).await);
            assert_eq!(inserted.is_some(), !model.contains_key(&new.key()));
            model.entry(new.key()).or_insert(new);
        }
        Step::Replace { key, is_current, ends, tokens, uses_up } => {
            let Some(kept) = model.get(&key_of(key)) else { return };
            let version = kept.version();
            let mut members = json!({"expires_at": at(ends).as_micros()});
            // What was used up stays so, and was by a token.
            let is_used_up = uses_up || kept.is_used_up();
            if let Some(tokens) = tokens.or(is_used_up.then_some(0)) {
                members["tokens_until"] = json!(at(tokens).as_micros());
            }
            if is_used_up {
                members["used_up_by"] = json!("jwt_1");
                members["expires_at"] = json!(0);
            }
            let next = edited(&kept.clone().next_version(now), members);
            let expected = if is_current { version } else { version + 1 };
            let replaced = kind(SessionStore::replace(store, next.clone(), expected, now).await);
            assert_eq!(replaced.is_some(), is_current);
            if is_current {
                model.insert(next.key(), next);
            }
        }
        Step::Take { key, is_current } => {
            let Some(kept) = model.get(&key_of(key)) else { return };
            let expected = if is_current { kept.version() } else { kept.version() + 1 };
            let taken = kind(store.take(&key_of(key), expected).await);
            assert_eq!(taken.is_some(), is_current);
            if is_current {
                model.remove(&key_of(key));
            }
        }
        Step::Remove { key } => {
            let Some(kept) = model.remove(&key_of(key)) else { return };
            let removed = SessionStore::remove(store, kept.id()).await.unwrap();
            assert_eq!(removed.unwrap().key(), kept.key());
        }
        Step::Purge => {
            store.purge_expired(now).await.unwrap();
            model.retain(|_, session| session.kept_until() > now);
        }
        Step::Wait => {}
    }
}

async fn compare(store: &MemoryStore, model: &Model, now: Timestamp) {
    let live = |session: &&Session| session.expires_at() > now;
    for key in (0..6).map(key_of) {
        let kept = SessionStore::get(store, &key).await.unwrap();
        assert_eq!(kept.map(|s| s.version()), model.get(&key).map(Session::version));
    }
    let customer = CustomerId::new("cus_1").unwrap();
    let organization = organization(1).unwrap();
    for filter in [
        SessionFilter::all(),
        SessionFilter::all().of_customer(customer.clone()),
        SessionFilter::all().of_organization(organization.clone()),
        SessionFilter::all().of_customer(customer).of_organization(organization),
    ] {
        let mut expected: Vec<_> =
            model.values().filter(live).filter(|session| filter.matches(session)).collect();
        expected.sort_by_key(|session| session.position());
        let page = store.list(&filter, &PageRequest::first(2).offset(1), now).await.unwrap();
        assert_eq!(page.total, expected.len());
        let all: Vec<_> = expected.iter().map(|session| session.position()).collect();
        let expected: Vec<_> = expected.iter().skip(1).take(2).map(|s| s.id()).collect();
        assert_eq!(page.sessions.iter().map(Session::id).collect::<Vec<_>>(), expected);
        if let Some(first) = all.first() {
            let behind = PageRequest::first(9).after(first.clone());
            let page = store.list(&filter, &behind, now).await.unwrap();
            let found: Vec<_> = page.sessions.iter().map(Session::position).collect();
            assert_eq!(found, all[1..]);
        }
    }
    for subject in customers().chain((1..4).filter_map(starter)) {
        let theirs = |session: &&Session| {
            session.subject() == subject || session.started_by() == Some(&subject)
        };
        let count = store.count(&subject, now, 3).await.unwrap();
        assert_eq!(count, model.values().filter(theirs).filter(live).count().min(3));
        let found = store.of_subject(&subject, &Cursor::START, 100).await.unwrap().sessions;
        let mut found: Vec<_> = found.iter().map(Session::key).collect();
        found.sort();
        let expected: Vec<_> = model.values().filter(theirs).map(Session::key).collect();
        assert_eq!(found, expected);
    }
}

proptest! {
    #[test]
    fn sessions_in_memory_are_found_by_their_indexes_as_by_looking_at_each(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (store, mut model, mut now) = (MemoryStore::new(), Model::new(), at(0));
            for (n, step) in steps.iter().enumerate() {
                if let Step::Wait = step {
                    now = (now + Duration::from_secs(3)).min(at(SECONDS));
                }
                take_step(&store, &mut model, step, now, n).await;
                compare(&store, &model, now).await;
            }
        });
    }
}
