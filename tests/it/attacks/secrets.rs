//! Secrets of machines.

use std::time::Duration;

use countersign::policy::SecretOperation;
use countersign::store::{EntityStore, MemoryStore, Store, StoreError};
use countersign::{
    Acl, Entity, EntityId, Grant, OrganizationId, Policy, SealingKey, SubjectType, Timestamp,
};

use crate::attacks::service::{
    Cluster, DAY, HOME, Login, MINUTE, NAME, SECRET, limit, manage, manager_of, populated_service,
    secret_in, secret_request, serve, session_with_code,
};
use crate::support::sessions::present_code;
use crate::support::{Fixture, Server};

/// A store whose record of `own` has been replaced by that of `other`.
#[derive(Debug)]
struct Swapped {
    inner: MemoryStore,
    own: EntityId,
    other: EntityId,
}

#[async_trait::async_trait]
impl Store for Swapped {
    fn is_durable(&self) -> bool {
        false
    }
    async fn is_current(&self) -> Result<bool, StoreError> {
        self.inner.is_current().await
    }
    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.inner.time().await
    }
    async fn read_sealing_check(&self) -> Result<Option<String>, StoreError> {
        self.inner.read_sealing_check().await
    }
    async fn write_sealing_check(&self, check: &str) -> Result<(), StoreError> {
        self.inner.write_sealing_check(check).await
    }
}

#[async_trait::async_trait]
impl EntityStore for Swapped {
    async fn insert(&self, entity: Entity) -> Result<(), StoreError> {
        EntityStore::insert(&self.inner, entity).await
    }
    async fn get(&self, id: &EntityId) -> Result<Option<Entity>, StoreError> {
        let id = if *id == self.own { &self.other } else { id };
        EntityStore::get(&self.inner, id).await
    }
    async fn replace(&self, entity: Entity, expected_version: u64) -> Result<(), StoreError> {
        EntityStore::replace(&self.inner, entity, expected_version).await
    }
    async fn list(
        &self,
        subject_type: SubjectType,
        organization: Option<&OrganizationId>,
        after: Option<&EntityId>,
        limit: usize,
    ) -> Result<Vec<Entity>, StoreError> {
        EntityStore::list(&self.inner, subject_type, organization, after, limit).await
    }
    async fn remove(&self, id: &EntityId) -> Result<bool, StoreError> {
        EntityStore::remove(&self.inner, id).await
    }
}

#[tokio::test]
async fn a_secret_that_was_moved_to_another_entity_is_of_no_use_there() {
    let cluster = Cluster::new();
    let honest = cluster.plain_node();
    honest.machine("rich", SECRET).await;
    honest.machine("poor", "what the poor one has").await;
    let [own, other] = ["poor", "rich"].map(|id| EntityId::machine(id).unwrap());
    let moved = Swapped { inner: cluster.store.clone(), own, other };
    let node = Fixture::with_keys(cluster.keys.clone(), |builder| {
        let key = SealingKey::from_bytes([1; 32]);
        builder.entity_store(moved).sealing_key(key)
    });
    let server = serve(&node).await;
    for operation in ["read", "reset"] {
        let answer = manage(&server, &node, operation, "poor").await.expect(401);
        assert!(!answer.text().contains(SECRET));
        assert_eq!(answer.json()["errorMsg"], "Invalid entity id");
    }
    Login::Entity.attempt(&server, HOME, "poor", "what the poor one has").await.expect(401);
    // Whoever has the secret of one never gets a token of the other.
    let answer = Login::Entity.attempt(&server, HOME, "poor", SECRET).await;
    if answer.status().as_u16() == 200 {
        let token = answer.json()["accessToken"].as_str().unwrap().to_owned();
        assert_eq!(node.tokens.validator().validate(&token).unwrap().principal().id(), "rich");
    }
    let own = secret_in(manage(&server, &node, "read", "rich").await);
    assert_eq!(own, SECRET, "it has been left as it was");
}

#[tokio::test]
async fn a_sealing_key_is_rotated_while_secrets_and_codes_stay_good() {
    let cluster = Cluster::new();
    let node = |keys: &[u8]| {
        let policy = Policy::default().secrets(|secrets| secrets.overlap(DAY));
        cluster.node(keys, cluster.store.clone(), policy)
    };
    let (before, during, after) = (node(&[1]), node(&[2, 1]), node(&[2]));
    let [old, both, new] = [serve(&before).await, serve(&during).await, serve(&after).await];
    before.machine("aa-1", SECRET).await;
    before.machine("aa-2", "another secret of the tests").await;
    let login = async |server: &Server, id: &str, secret: &str| {
        Login::Entity.attempt(server, HOME, id, secret).await.status().as_u16()
    };

    // What the old key sealed, opens.
    assert_eq!(secret_in(manage(&both, &during, "read", "aa-1").await), SECRET);
    assert_eq!(login(&both, "aa-1", SECRET).await, 200);
    let (token, code) = session_with_code(&before).await;
    present_code(&both, &token, &code).await.expect(201);

    // A new secret is sealed with the new key, and the old one lives out its overlap.
    let next = secret_in(manage(&both, &during, "reset", "aa-1").await);
    assert_eq!(login(&both, "aa-1", SECRET).await, 200);
    for (server, fixture) in [(&both, &during), (&new, &after)] {
        assert_eq!(secret_in(manage(server, fixture, "read", "aa-1").await), next);
        assert_eq!(login(server, "aa-1", &next).await, 200);
    }
    cluster.clock.advance(DAY);
    assert_eq!(login(&both, "aa-1", SECRET).await, 401);

    // Without its key, a sealed text is closed, and nothing of it is told.
    for (server, fixture, id, secret) in
        [(&old, &before, "aa-1", &*next), (&new, &after, "aa-2", "another secret of the tests")]
    {
        let answer = manage(server, fixture, "read", id).await.expect(500);
        assert_eq!(answer.json()["errorMsg"], "The service failed");
        assert_eq!(login(server, id, secret).await, 500);
    }
    let (token, code) = session_with_code(&before).await;
    present_code(&new, &token, &code).await.expect(500);
    present_code(&both, &token, &code).await.expect(201);
}

#[tokio::test]
async fn a_users_token_that_is_too_old_for_the_policy_reads_and_resets_no_secret() {
    let policy = Policy::default().secrets(|secrets| secrets.max_token_age(Some(5 * MINUTE)));
    let (fixture, server) = populated_service(policy).await;
    let manager = manager_of(&fixture, NAME);
    let ask = async |operation: &str, entity: &str| {
        let path = format!("/entity/secret/{operation}");
        server.post(&path, Some(&manager), &secret_request(entity)).await
    };
    fixture.clock.advance(5 * MINUTE);
    for operation in ["read", "reset"] {
        ask(operation, NAME).await.expect(200);
    }
    fixture.clock.advance(Duration::from_secs(1));
    for operation in ["read", "reset"] {
        for entity in [NAME, "unknown"] {
            let answer = ask(operation, entity).await.expect(401);
            let message = "the access token is too old for secrets: log in again";
            assert_eq!(answer.json()["errorMsg"], message, "{entity}");
            let challenge = answer.header("www-authenticate");
            assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        }
    }
    manage(&server, &fixture, "read", NAME).await.expect(200);
}

#[tokio::test]
async fn one_user_reads_and_resets_no_more_secrets_than_the_policy_lets_them() {
    let (fixture, server) =
        populated_service(Policy::default().throttle(|throttle| throttle.secret_access(limit(4))))
            .await;
    let ask = async |entity: &str, operation: &str| {
        manage(&server, &fixture, operation, entity).await.status().as_u16()
    };
    // What fails counts as well, under whatever token.
    assert_eq!(ask(NAME, "read").await, 200);
    assert_eq!(ask("unknown", "read").await, 401);
    assert_eq!(ask(NAME, "reset").await, 200);
    assert_eq!(ask(NAME, "read").await, 200);
    for (entity, operation) in [(NAME, "read"), (NAME, "reset"), ("unknown", "read")] {
        let answer = manage(&server, &fixture, operation, entity).await.expect(429);
        assert_eq!(answer.json()["errorCode"], "Too Many Requests");
        assert_eq!(answer.header("retry-after"), "60");
    }
    let everything = Grant::user("another manager").acl(Acl::everything());
    let another = fixture.tokens.issue(everything).await.unwrap();
    let another = Some(another.access_token.expose());
    server.post("/entity/secret/read", another, &secret_request(NAME)).await.expect(200);
    fixture.clock.advance(MINUTE);
    assert_eq!(ask(NAME, "read").await, 200);
}

#[tokio::test]
async fn by_default_a_secret_is_read_as_often_as_asked_with_any_token_that_is_good() {
    let (fixture, server) = populated_service(Policy::default()).await;
    let manager = manager_of(&fixture, NAME);
    fixture.clock.advance(DAY - Duration::from_secs(1));
    for _ in 0..300 {
        let answer =
            server.post("/entity/secret/read", Some(&manager), &secret_request(NAME)).await;
        answer.expect(200);
    }
}

#[tokio::test]
async fn the_hosts_rule_refuses_reads_and_resets_that_a_list_grants_as_it_does_unknown_ones() {
    let policy = Policy::default().secrets(|secrets| {
        secrets.access_rule(|manager, client, operation| {
            assert_eq!((manager.principal().id(), client.name()), ("manager", NAME));
            operation == SecretOperation::Read
        })
    });
    let (fixture, server) = populated_service(policy).await;
    manage(&server, &fixture, "read", NAME).await.expect(200);
    let refused = manage(&server, &fixture, "reset", NAME).await.expect(401);
    let unknown = manage(&server, &fixture, "reset", "unknown").await.expect(401);
    assert_eq!(refused.json()["errorMsg"], "Invalid entity id");
    assert_eq!(refused.json()["errorMsg"], unknown.json()["errorMsg"]);
    let challenges = [&refused, &unknown].map(|answer| answer.header("www-authenticate"));
    assert_eq!(challenges[0], challenges[1]);
}

#[tokio::test]
async fn to_make_a_first_secret_by_reading_is_a_reset_to_the_hosts_rule() {
    let policy = Policy::default().secrets(|secrets| {
        secrets.access_rule(|_, _, operation| operation == SecretOperation::Read)
    });
    let (fixture, server) = populated_service(policy).await;
    fixture.tokens.register(Entity::machine("new").unwrap()).await.unwrap();
    manage(&server, &fixture, "read", "new").await.expect(401);
}
