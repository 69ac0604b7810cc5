//! Password hashes, and how they follow the policy.

use countersign::store::MemoryStore;
use countersign::{Caller, EntityId, EntityKind, Password, PasswordCost, Policy};
use serde_json::json;

use crate::support::{Fixture, PASSWORD};

async fn stored_hash(fixture: &Fixture) -> String {
    let user = fixture.tokens.find(&EntityId::user("ops").unwrap()).await.unwrap().unwrap();
    match user.kind() {
        EntityKind::User { password } => password.as_phc().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_login_hashes_anew_where_the_cost_has_grown_and_a_wrong_password_does_not() {
    let store = MemoryStore::new();
    let before = Fixture::with(|builder| builder.entities(store.clone()));
    before.user("ops", json!([])).await;
    let cheap = stored_hash(&before).await;
    assert!(cheap.contains("m=19456,t=2,p=1"), "{cheap}");

    let dearer = Policy::default().password_cost(PasswordCost::new(19 * 1024, 3, 1).unwrap());
    let after = Fixture::with(|builder| builder.entities(store.clone()).policy(dearer));
    let caller = Caller::default();
    let login = |password: &str| {
        after.tokens.issue_user_token("ops", Password::new(password).unwrap(), &caller)
    };
    login("wrong").await.unwrap_err();
    assert_eq!(stored_hash(&after).await, cheap);
    login(PASSWORD).await.unwrap();
    let grown = stored_hash(&after).await;
    assert!(grown.contains("m=19456,t=3,p=1"), "{grown}");
    login(PASSWORD).await.unwrap();
    assert_eq!(stored_hash(&after).await, grown, "it is hashed anew once");
    before.user_token("ops").await;
    assert_eq!(stored_hash(&before).await, grown, "a service at a lower cost leaves it be");
}
