//! Names that are taken for others.

use countersign::{
    CustomerId, Entity, EntityId, ErrorKind, Password, PasswordHash, Policy, SubjectType,
};
use serde_json::json;

use crate::support::{Fixture, PASSWORD};

const JANE: &str = "jane@example.com";
/// Ways to write [`JANE`] that people, or a store of a host, take for it.
const LOOK_ALIKES: [&str; 7] = [
    "Jane@example.com",
    "JANE@EXAMPLE.COM",
    "jane@example.com ",
    "ja ne@example.com",
    "ｊane@example.com",
    "j\u{430}ne@example.com",
    "jan\u{200b}e@example.com",
];

async fn hash(fixture: &Fixture) -> PasswordHash {
    fixture.tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap()
}

fn entity(kind: SubjectType, name: &str, hash: &PasswordHash) -> Entity {
    let made = match kind {
        SubjectType::User => Entity::user(name, hash.clone()),
        SubjectType::Machine => Entity::machine(name),
        SubjectType::Customer => {
            Entity::customer(name, hash.clone(), CustomerId::new("cus_1").unwrap(), false)
        }
    };
    made.unwrap()
}

#[tokio::test]
async fn who_registers_a_look_alike_of_a_name_is_rejected() {
    let fixture = Fixture::new();
    let (tokens, hash) = (&fixture.tokens, hash(&fixture).await);
    for kind in [SubjectType::User, SubjectType::Machine, SubjectType::Customer] {
        let register = async |name: &str| tokens.register(entity(kind, name, &hash)).await;
        // A name of another sort is nobody's here.
        register(JANE).await.unwrap();
        for name in LOOK_ALIKES {
            let rejected = register(name).await.unwrap_err();
            assert_eq!(rejected.kind(), ErrorKind::Conflict, "{name:?}");
            assert_eq!(
                rejected.to_string(),
                "a name that looks like it is registered already",
                "{name:?}"
            );
            let id = EntityId::new(kind, name).unwrap();
            assert!(tokens.find_entity(&id).await.unwrap().is_none(), "{name:?}");
        }
        let rejected = register(JANE).await.unwrap_err();
        assert_eq!(rejected.kind(), ErrorKind::Conflict);
        assert_eq!(rejected.to_string(), "the id is registered already");
        register("joan@example.com").await.unwrap();
    }
    // NUL is in no name at all.
    assert!(EntityId::user("jane\0@example.com").is_err());
    // Whoever was there is found by the name as it is written, and logs in by no other one.
    let server = fixture.serve().await;
    for (name, status) in [(JANE, 200), (LOOK_ALIKES[0], 401)] {
        let login = json!({"username": name, "password": PASSWORD});
        server.post("/user/token/generate", None, &login).await.expect(status);
    }
}

#[tokio::test]
async fn a_name_is_free_for_its_look_alikes_once_its_owner_was_removed() {
    let fixture = Fixture::new();
    let hash = hash(&fixture).await;
    for (before, name) in LOOK_ALIKES.iter().zip(&LOOK_ALIKES[1..]) {
        let user = |name: &str| entity(SubjectType::User, name, &hash);
        let _ = fixture.tokens.register(user(before)).await;
        assert!(fixture.tokens.register(user(name)).await.is_err());
        fixture.tokens.remove_entity(user(before).id()).await.unwrap();
        fixture.tokens.register(user(name)).await.unwrap();
    }
}

#[tokio::test]
async fn names_that_were_registered_without_the_policy_are_kept_and_compared_with_nobody() {
    let lax = Fixture::with(|builder| builder.policy(Policy::default().distinct_names(false)));
    let hash = hash(&lax).await;
    let names = [&[JANE], &LOOK_ALIKES[..]].concat();
    for name in &names {
        lax.tokens.register(entity(SubjectType::User, name, &hash)).await.unwrap();
    }
    for name in names {
        lax.user_token(name).await;
    }
}
