//! What an answer tells of somebody else's account.

use std::collections::BTreeMap;

use countersign::entities::PasswordHash;
use countersign::{
    CustomerId, Entity, EntityId, ErrorKind, Password, Policy, RequestContext, SubjectType,
};
use serde_json::Value;

use crate::attacks::service::{HOME, LOGINS, Login, MINUTE, NAME, limit, populated_service};
use crate::support::{Answer, Fixture, PASSWORD, Server, change_of};

const NEVER: &str = "never@example.com";
const DISABLED: &str = "disabled@example.com";
const UNKNOWN: &str = "unknown@example.com";
const SPRAYED: u32 = 8;

/// A service with a name that has logged in from [`HOME`], one that never has, and one that has and
/// was disabled since, at an address that was then used up by guesses at other names.
async fn exhausted_address(login: Login) -> (Fixture, Server) {
    let policy = Policy::default().throttle(|throttle| throttle.by_address(limit(SPRAYED)));
    let (fixture, server) = populated_service(policy).await;
    for name in [NEVER, DISABLED] {
        let Login::Entity = login else {
            let hash = Password::new(PASSWORD).unwrap();
            let hash = fixture.tokens.hash_password(hash).await.unwrap();
            fixture.tokens.register(principal(login, name, hash)).await.unwrap();
            continue;
        };
        fixture.machine(name, login.right()).await;
    }
    for name in [NAME, DISABLED] {
        let answer = login.attempt(&server, HOME, name, login.right()).await;
        assert!(answer.status().is_success(), "{login:?} {answer:?}");
    }
    fixture.tokens.disable_entity(&id_of(login, DISABLED)).await.unwrap();
    for number in 0..SPRAYED {
        assert_eq!(login.guess(&server, HOME, &format!("sprayed {number}")).await, 401);
    }
    (fixture, server)
}

fn principal(login: Login, name: &str, hash: PasswordHash) -> Entity {
    match login {
        Login::Customer => {
            let customer = CustomerId::new(format!("customer of {name}")).unwrap();
            Entity::customer(name, hash, customer, false).unwrap()
        }
        Login::User | Login::Entity => Entity::user(name, hash).unwrap(),
    }
}

fn id_of(login: Login, name: &str) -> EntityId {
    let subject_type = match login {
        Login::User => SubjectType::User,
        Login::Entity => SubjectType::Machine,
        Login::Customer => SubjectType::Customer,
    };
    EntityId::new(subject_type, name).unwrap()
}

/// All of an answer but what is another one in each.
fn seen(answer: &Answer) -> (u16, BTreeMap<String, String>, Value) {
    let headers = answer.headers().iter().filter(|(name, _)| *name != "date");
    let headers = headers.map(|(name, value)| (name.to_string(), format!("{value:?}"))).collect();
    let mut body = answer.json();
    for generated in ["txnId", "timestamp"] {
        body.as_object_mut().unwrap().remove(generated);
    }
    (answer.status().as_u16(), headers, body)
}

#[tokio::test]
async fn an_exhausted_address_gets_one_answer_whether_or_not_a_name_exists_or_has_logged_in_there()
{
    for login in LOGINS {
        let (fixture, server) = exhausted_address(login).await;
        let unknown = login.attempt(&server, HOME, UNKNOWN, "a guess").await;
        let expected = seen(&unknown.expect(429));
        for secret in ["a guess", login.right()] {
            for name in [NAME, NEVER, DISABLED] {
                let answer = login.attempt(&server, HOME, name, secret).await;
                assert_eq!(seen(&answer), expected, "{login:?} {name} {secret}");
            }
        }
        // Nobody was let through, so nothing has become longer.
        fixture.clock.advance(MINUTE);
        assert!(login.owner_gets_in(&server, HOME).await, "{login:?}");
    }
}

#[tokio::test]
async fn an_exhausted_address_gets_one_answer_to_changes_of_passwords_too() {
    for login in [Login::User, Login::Customer] {
        let (fixture, _) = exhausted_address(login).await;
        let context = RequestContext::from_address(HOME.parse().unwrap());
        let change = async |name: &str, old: &str| {
            let change = change_of(id_of(login, name), old, "another good password");
            let changed = fixture.tokens.change_password(change, &context).await;
            let error = changed.unwrap_err();
            (error.kind(), error.retry_after(), error.to_string())
        };
        let expected = change(UNKNOWN, "a guess").await;
        assert_eq!((expected.0, expected.1), (ErrorKind::Throttled, Some(MINUTE)));
        for name in [NAME, NEVER, DISABLED] {
            for old in ["a guess", PASSWORD] {
                assert_eq!(change(name, old).await, expected, "{login:?} {name} {old}");
            }
        }
    }
}

#[tokio::test]
async fn guesses_at_a_name_count_against_the_address_alike_whether_or_not_it_has_logged_in_there() {
    for login in LOGINS {
        let mut left = Vec::new();
        for name in [NAME, UNKNOWN] {
            let policy = Policy::default().throttle(|throttle| throttle.by_address(limit(SPRAYED)));
            let (_, server) = populated_service(policy).await;
            assert!(login.owner_gets_in(&server, HOME).await);
            for _ in 0..3 {
                assert_eq!(login.guess(&server, HOME, name).await, 401);
            }
            let mut sprayed = 0;
            while login.guess(&server, HOME, &format!("sprayed {sprayed}")).await == 401 {
                sprayed += 1;
            }
            left.push(sprayed);
        }
        assert_eq!(left, [SPRAYED - 3; 2], "{login:?}");
    }
}
