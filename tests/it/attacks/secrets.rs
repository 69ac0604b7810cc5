//! Secrets of machines.

use countersign::store::{EntityStore, MemoryStore, StoreError};
use countersign::{Entity, EntityId, Policy, SealingKey};

use crate::attacks::service::{
    Cluster, DAY, HOME, Login, SECRET, manage, secret_in, serve, session_with_code,
};
use crate::support::problems::assert_problem;
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
    async fn remove(&self, id: &EntityId) -> Result<bool, StoreError> {
        EntityStore::remove(&self.inner, id).await
    }
    fn is_durable(&self) -> bool {
        false
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
    let node = Fixture::with(|builder| {
        let key = SealingKey::from_bytes([1; 32]);
        builder.entities(moved).keys(cluster.keys.clone()).sealing_key(key)
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
        let policy = Policy::default().secret_overlap(DAY);
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
        assert_eq!(login(server, id, secret).await, 401);
    }
    let (token, code) = session_with_code(&before).await;
    let rejected = present_code(&new, &token, &code).await;
    assert_problem(&rejected, 401, "one-time-password-invalid");
    present_code(&both, &token, &code).await.expect(201);
}
