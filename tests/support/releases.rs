//! Two releases over one store: this one, and the next, which writes a form that this one does not know.

use std::time::Duration;

use countersign::entities::{EntityFilter, PasswordHash};
use countersign::faults::TokenFault;
use countersign::policy::PasswordCost;
use countersign::store::{
    EntityStore, FeedEvent, KeyStore, MemoryStore, PageRequest, Revocation, RevocationTarget,
    SessionFilter, SessionStore, record,
};
use countersign::tokens::IssuedToken;
use countersign::{
    AuthenticationToken, CustomerId, Entity, EntityId, ErrorKind, Grant, OrganizationId, Password,
    RequestContext, SubjectType,
};
use serde_json::{Value, json};

use crate::support::Fixture;
use crate::support::durable::fixture_over;
use crate::support::log::Log;

/// What the next release does to a store, by the means of its engine.
#[async_trait::async_trait]
pub trait NextRelease {
    /// Appends a record to the feed.
    async fn publish(&self, until: u64, record: &str);

    /// Writes the record of `cus_1`'s session or of a user as it would.
    async fn rewrite(&self, kind: Kept<'_>, change: Change);
}

pub type Change = fn(&str) -> String;

#[derive(Clone, Copy)]
pub enum Kept<'a> {
    Session(&'a AuthenticationToken),
    User(&'a str),
}

/// A record in the next form.
pub fn next_form(record: &str) -> String {
    let mut record: Value = serde_json::from_str(record).unwrap();
    record["form"] = json!(2);
    record["device"] = json!({"canary": [1, 2]});
    record.to_string()
}

/// A record in this form, with members that this release does not know.
pub fn with_new_members(record: &str) -> String {
    let mut record: Value = serde_json::from_str(record).unwrap();
    record["device"] = json!({"canary": [1, 2]});
    record.to_string()
}

fn check(fixture: &Fixture, token: &IssuedToken) -> Result<(), TokenFault> {
    fixture.tokens.validator().validate(token.access_token.expose()).map(drop)
}

async fn issue(fixture: &Fixture) -> IssuedToken {
    fixture.tokens.issue(Grant::customer("cus_2")).await.unwrap()
}

/// A node of this release hears, restarts and is rolled back to beside nodes of the next one.
pub async fn a_node_goes_on_beside_the_next_release<S>(
    node: impl AsyncFn() -> S,
    next: &impl NextRelease,
) where
    S: EntityStore + SessionStore + KeyStore + Clone,
{
    let fixture = fixture_over(node().await).await;
    let tokens = [issue(&fixture).await, issue(&fixture).await, issue(&fixture).await];
    let [by_fallback, by_members, good] = &tokens;
    let until = (fixture.tokens.now() + Duration::from_secs(86_400)).as_micros();
    let revoking = |token: &IssuedToken| {
        let target = RevocationTarget::Token(token.token_id.clone());
        let until = countersign::Timestamp::from_micros(until);
        record::write_event(&FeedEvent::from(Revocation { target, until })).unwrap()
    };
    let fallback = json!({"revoke": {"token": by_fallback.token_id.as_str()}});
    let written = [
        // Two that nothing can be made of, and three that say what to make of them.
        "canary".to_owned(),
        json!({"form": 2, "target": {"canary": 1}, "until": until}).to_string(),
        json!({"form": 2, "canary": 1, "until": until, "otherwise": "skip"}).to_string(),
        json!({"form": 2, "canary": 1, "until": until, "otherwise": fallback}).to_string(),
        with_new_members(&revoking(by_members)),
    ];
    for record in &written {
        next.publish(until, record).await;
    }
    let log = Log::default();
    {
        let _listening = log.listen();
        for _ in 0..3 {
            fixture.tokens.catch_up().await.unwrap();
        }
    }
    let errors = log.errors();
    assert_eq!(errors.len(), 2, "each is told once: {errors:?}");
    assert!(errors.iter().all(|line| line.contains("position") && !line.contains("canary")));
    let judge = |fixture: &Fixture| {
        assert_eq!(check(fixture, by_fallback), Err(TokenFault::Revoked));
        assert_eq!(check(fixture, by_members), Err(TokenFault::Revoked));
        assert_eq!(check(fixture, good), Ok(()));
    };
    judge(&fixture);

    // Its next start reads all of it, and follows what comes after that.
    let housekeeping = fixture.tokens.start().await.unwrap();
    judge(&fixture);
    let other = fixture_over(node().await).await;
    let late = issue(&fixture).await;
    other.tokens.revoke_token(&late.token_id).await.unwrap();
    let heard = async {
        while check(&fixture, &late).is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), heard).await.expect("it is heard");
    housekeeping.shutdown().await;
}

/// One record of a later form is an error for who asks for that one.
pub async fn a_record_of_a_later_form_is_an_error_for_its_own_use<S>(
    node: impl AsyncFn() -> S,
    next: &impl NextRelease,
) where
    S: EntityStore + SessionStore + KeyStore + Clone,
{
    let fixture = fixture_over(node().await).await;
    let tokens = &fixture.tokens;
    let context = RequestContext::without_address();
    for name in ["ann", "bob", "cat", "dan"] {
        fixture.user(name, json!([])).await;
    }
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let token = fixture.session(|new| new).await;
        sessions.push(AuthenticationToken::from_text(token).unwrap());
    }
    // New members change nothing.
    next.rewrite(Kept::Session(&sessions[0]), with_new_members).await;
    next.rewrite(Kept::User("ann"), with_new_members).await;
    assert!(tokens.find_session(&sessions[0], &context).await.is_ok());
    fixture.user_token("ann").await;

    next.rewrite(Kept::Session(&sessions[1]), next_form).await;
    next.rewrite(Kept::User("bob"), next_form).await;
    let unreadable = tokens.find_session(&sessions[1], &context).await.unwrap_err();
    assert_eq!(unreadable.kind(), ErrorKind::Internal);
    let unreadable = tokens.disable_entity(&EntityId::user("bob").unwrap()).await.unwrap_err();
    assert_eq!(unreadable.kind(), ErrorKind::Internal);

    tokens.start().await.unwrap().shutdown().await;
    tokens.catch_up().await.unwrap();
    assert!(tokens.find_session(&sessions[2], &context).await.is_ok());
    fixture.user_token("cat").await;
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = tokens.list_entities(&EntityFilter::all(), after.as_ref(), 1).await.unwrap();
        names.extend(page.entities.iter().map(|entity| entity.id().name().to_owned()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(names, ["ann", "cat", "dan"], "the others are listed, page by page");
    let page = PageRequest::first(10);
    let store = node().await;
    let listed = SessionStore::list(&store, &SessionFilter::all(), &page, tokens.now()).await;
    assert_eq!(listed.unwrap().sessions.len(), 2);
    let customer = tokens.principal(SubjectType::Customer, "cus_1", countersign::Organization::All);
    let ended = tokens.revoke_subject(&customer, tokens.now()).await.unwrap();
    assert_eq!(ended.sessions, 2);
}

/// Names that were of one in all organizations are of one in their own after a migration.
pub async fn a_migration_moves_names_into_organizations(
    store: &impl EntityStore,
    put_back: impl AsyncFnOnce(),
    migrate: impl AsyncFn(),
) {
    let organization = OrganizationId::new("org_1").unwrap();
    let hash =
        || PasswordHash::create(&Password::new("x").unwrap(), PasswordCost::default()).unwrap();
    let customer = CustomerId::new("cus_1").unwrap();
    let jane = || Entity::user("jane", hash()).unwrap();
    let bound = [
        jane(),
        Entity::customer("jane", hash(), customer, false).unwrap(),
        Entity::machine("aa-1").unwrap(),
    ];
    let bound = bound.map(|entity| entity.organization(organization.clone()));
    let fixture = Fixture::with(|builder| builder.entity_store(MemoryStore::new()));
    let mut written = Vec::new();
    for entity in bound.into_iter().chain([Entity::user("joan", hash()).unwrap()]) {
        // As a service registers it.
        let id = entity.id().clone();
        fixture.tokens.register(entity).await.unwrap();
        written.push(fixture.tokens.find_entity(&id).await.unwrap().unwrap());
    }
    for entity in &written {
        store.insert(entity.clone()).await.unwrap();
    }
    put_back().await;
    assert!(store.get(written[0].id()).await.unwrap().is_none());
    assert!(!store.is_current().await.unwrap());
    migrate().await;
    assert!(store.is_current().await.unwrap());
    for entity in &written {
        let found = store.get(entity.id()).await.unwrap().expect("nobody is lost");
        assert_eq!((found.id(), found.version()), (entity.id(), entity.version()));
        assert_eq!(found.distinct_name(), entity.distinct_name());
        assert!(store.insert(entity.clone()).await.is_err(), "and keeps the name");
    }
    let list = async |organization| {
        let listed = store.list(SubjectType::User, organization, None, 10).await.unwrap();
        listed.iter().map(|entity| entity.id().clone()).collect::<Vec<_>>()
    };
    assert_eq!(list(None).await, [written[0].id().clone(), written[3].id().clone()]);
    assert_eq!(list(Some(&organization)).await, [written[0].id().clone()]);
    // The name is free where it is nobody's, with all that look like it.
    let tokens = Fixture::new().tokens;
    tokens.register(jane()).await.unwrap();
    let namesake = tokens.find_entity(jane().id()).await.unwrap().unwrap();
    store.insert(namesake.clone()).await.unwrap();
    for entity in written.iter().chain([&namesake]) {
        assert!(store.remove(entity.id()).await.unwrap());
    }
}
