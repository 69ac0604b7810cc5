//! What the host does itself, and what a bearer does: the same calls, told apart by their actor.

use std::time::Duration;

use countersign::entities::IssuedSecret;
use countersign::policy::{SecretOperation, ThrottleLimit};
use countersign::store::PageRequest;
use countersign::{
    Acl, Actor, CustomerId, Entity, EntityId, Error, ErrorKind, Grant, NewSession, OrganizationId,
    Policy, RequestContext, SealingKey, TokenService,
};
use serde_json::json;

use crate::support::Fixture;
use crate::support::log::Log;

const PAGE: PageRequest = PageRequest::first(10);

fn context() -> RequestContext {
    RequestContext::without_address()
}

fn machine() -> EntityId {
    EntityId::machine("aa-1").unwrap()
}

fn customer() -> CustomerId {
    CustomerId::new("cus_1").unwrap()
}

fn organization(id: &str) -> OrganizationId {
    OrganizationId::new(id).unwrap()
}

async fn access(
    tokens: &TokenService,
    operation: SecretOperation,
    actor: Actor<'_>,
    id: &EntityId,
    context: &RequestContext,
) -> Result<IssuedSecret, Error> {
    match operation {
        SecretOperation::Read => tokens.read_secret(actor, id, None, context).await,
        _ => tokens.reset_secret(actor, id, None, context).await,
    }
}

#[tokio::test]
async fn the_host_manages_secrets_without_a_permission_or_a_managers_limits() {
    let once_an_hour = ThrottleLimit::new(1, Duration::from_secs(3_600));
    let policy =
        Policy::default().throttle(|throttle| throttle.secret_access(once_an_hour)).secrets(
            |secrets| secrets.max_token_age(Some(Duration::ZERO)).access_rule(|_, _, _| false),
        );
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let tokens = &fixture.tokens;
    tokens.register(Entity::machine("aa-1").unwrap()).await.unwrap();
    // The first one is made by reading it.
    let first = tokens.read_secret(Actor::Host, &machine(), Some(30), &context()).await.unwrap();
    for _ in 0..3 {
        let read = tokens.read_secret(Actor::Host, &machine(), None, &context()).await.unwrap();
        assert_eq!(read.secret.expose(), first.secret.expose());
        assert_eq!(read.expires_at, tokens.now() + Duration::from_secs(30 * 86_400));
    }
    let second = tokens.reset_secret(Actor::Host, &machine(), None, &context()).await.unwrap();
    assert_ne!(second.secret.expose(), first.secret.expose());
    tokens.issue_machine_token("aa-1", &second.secret, &context()).await.unwrap();
    // A manager is held to all of them.
    let manager = tokens.issue(Grant::user("ops").acl(Acl::everything())).await.unwrap();
    let manager = tokens.validator().validate(manager.access_token.expose()).unwrap();
    for kind in [ErrorKind::InvalidEntity, ErrorKind::Throttled] {
        let read = tokens.read_secret(&manager, &machine(), None, &context()).await;
        assert_eq!(read.unwrap_err().kind(), kind);
    }
    tokens.read_secret(Actor::Host, &machine(), None, &context()).await.unwrap();
}

#[tokio::test]
async fn what_the_host_asks_for_is_checked_but_for_the_permission() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    fixture.user("ops", json!([])).await;
    let aa = Entity::machine("aa-1").unwrap().organization(organization("org_1"));
    tokens.register(aa).await.unwrap();
    tokens.register(Entity::machine("aa-2").unwrap().disabled(true)).await.unwrap();
    let (nobodys, disabled) =
        (EntityId::machine("aa-3").unwrap(), EntityId::machine("aa-2").unwrap());
    let user = EntityId::user("ops").unwrap();
    let (here, elsewhere) = (
        context().organization(organization("org_1")),
        context().organization(organization("org_2")),
    );
    for operation in [SecretOperation::Read, SecretOperation::Reset] {
        for (id, context) in [
            (&nobodys, context()),
            (&disabled, context()),
            (&user, context()),
            (&machine(), elsewhere.clone()),
        ] {
            let refused = access(tokens, operation, Actor::Host, id, &context).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidEntity, "{id} {context:?}");
        }
        access(tokens, operation, Actor::Host, &machine(), &here).await.unwrap();
    }
    let no_days = tokens.reset_secret(Actor::Host, &machine(), Some(0), &here).await;
    assert_eq!(no_days.unwrap_err().kind(), ErrorKind::InvalidFields);
}

#[tokio::test]
async fn the_hosts_sessions_are_of_the_organization_of_the_context_and_listed_by_it() {
    let fixture = Fixture::with(|builder| {
        builder.policy(Policy::default().sessions(|sessions| sessions.max_per_customer(2)))
    });
    let tokens = &fixture.tokens;
    let here = context().organization(organization("org_1"));
    let start = async |new: NewSession, context: &RequestContext| {
        let started = tokens.start_session(Actor::Host, new, context).await;
        started.map(|started| started.session.proven().unwrap().organization_id().cloned())
    };
    let new = || NewSession::of(customer());
    let org_1 = Some(organization("org_1"));
    assert_eq!(start(new(), &here).await.unwrap(), org_1);
    assert_eq!(start(new().organization(organization("org_1")), &here).await.unwrap(), org_1);
    assert_eq!(start(new(), &context()).await.unwrap(), None);
    for named in [organization("org_2").into(), countersign::Organization::All] {
        let refused = start(new().organization(named), &here).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidFields);
        assert_eq!(refused.invalid_fields()[0].field, "organization");
    }
    // The limit of a customer is everybody's.
    assert_eq!(start(new(), &here).await.unwrap_err().kind(), ErrorKind::Throttled);

    let count = async |customer: Option<&CustomerId>, context: &RequestContext| {
        tokens.list_sessions(Actor::Host, customer, PAGE, context).await.unwrap().total
    };
    assert_eq!(count(None, &context()).await, 3);
    assert_eq!(count(Some(&customer()), &here).await, 2);
    assert_eq!(count(Some(&CustomerId::new("cus_2").unwrap()), &here).await, 0);
    assert_eq!(count(None, &context().organization(organization("org_2"))).await, 0);
}

#[tokio::test]
async fn what_the_host_does_names_no_actor_in_the_audit_log_and_what_a_bearer_does_names_them() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    tokens.register(Entity::machine("aa-1").unwrap()).await.unwrap();
    let bearer = tokens.issue(Grant::user("ops").acl(Acl::everything())).await.unwrap();
    let bearer = tokens.validator().validate(bearer.access_token.expose()).unwrap();
    for (actor, kind) in [(Actor::Host, None), (Actor::from(&bearer), Some("user"))] {
        let log = Log::default();
        let _listening = log.listen();
        tokens.read_secret(actor, &machine(), None, &context()).await.unwrap();
        tokens.reset_secret(actor, &machine(), None, &context()).await.unwrap();
        tokens.start_session(actor, NewSession::of(customer()), &context()).await.unwrap();
        tokens.list_sessions(actor, None, PAGE, &context()).await.unwrap();
        for operation in ["read_secret", "reset_secret", "start_session", "list_sessions"] {
            let event = log.only(operation);
            assert_eq!(event["outcome"], "accepted");
            assert_eq!(event.get("actor_kind").map(String::as_str), kind, "{operation}");
            assert_eq!(event.contains_key("jti"), kind.is_some(), "{operation}");
        }
    }
}

#[tokio::test]
async fn a_user_is_counted_once_whichever_way_their_tokens_name_them() {
    let store = countersign::store::MemoryStore::new();
    let keys = countersign::KeyRing::generate(countersign::Algorithm::EdDSA).unwrap();
    let node = |is_opaque: bool, limit: u32| {
        let limit = ThrottleLimit::new(limit, Duration::from_secs(3_600));
        let policy = Policy::default()
            .principals(|principals| principals.opaque_subjects(is_opaque))
            .throttle(|throttle| throttle.secret_access(limit));
        let builder = |builder: countersign::builder::TokenServiceBuilder| {
            builder
                .entity_store(store.clone())
                .sealing_key(SealingKey::from_bytes([1; 32]))
                .policy(policy)
        };
        Fixture::with_keys(keys.clone(), builder)
    };
    // The policy was changed while tokens of before live.
    let (before, after) = (node(false, 9), node(true, 3));
    let everything = json!([{"scope": {}, "permissions": ["*"]}]);
    for name in ["jane", "joe"] {
        before.user(name, everything.clone()).await;
    }
    before.tokens.register(Entity::machine("aa-1").unwrap()).await.unwrap();
    let token = async |fixture: &Fixture, name: &str| {
        let token = fixture.user_token(name).await;
        after.tokens.validator().validate(&token).unwrap()
    };
    let (by_name, by_id) = (token(&before, "jane").await, token(&after, "jane").await);
    assert_ne!(by_name.principal().id(), by_id.principal().id());
    let read = async |bearer: &std::sync::Arc<countersign::Validated>| {
        let read = after.tokens.read_secret(bearer, &machine(), None, &context()).await;
        read.map(drop).map_err(|error| error.kind())
    };
    for bearer in [&by_name, &by_id, &by_name] {
        assert_eq!(read(bearer).await, Ok(()));
    }
    for bearer in [&by_name, &by_id] {
        assert_eq!(read(bearer).await, Err(ErrorKind::Throttled));
    }
    // Others have counts of their own, who are registered and who are not.
    assert_eq!(read(&token(&before, "joe").await).await, Ok(()));
    let host_knows = Grant::user("somebody").acl(Acl::everything());
    let host_knows = after.tokens.issue(host_knows).await.unwrap();
    let host_knows = after.tokens.validator().validate(host_knows.access_token.expose()).unwrap();
    assert_eq!(read(&host_knows).await, Ok(()));
}
