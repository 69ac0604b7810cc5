//! What is written is read again as what it was.

use countersign::claims::TokenId;
use countersign::jose::{SigningKey, VerifyingKey};
use countersign::{
    Algorithm, AuthenticationToken, CustomerId, EntityId, KeyRing, OrganizationId, SessionId,
    Timestamp,
};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value};

use crate::support::{Fixture, issue_now};

const ALGORITHMS: [Algorithm; 3] = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::HS256];

/// JSON of any kind, a few levels deep.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            members(inner).prop_map(Value::Object),
        ]
    })
}

fn members(of: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map(".{0,8}", of, 0..4)
        .prop_map(|members| members.into_iter().collect())
}

proptest! {
    #[test]
    fn an_instant_is_read_as_it_was_written(micros in 0..=253_402_300_799_999_999_u64) {
        let instant = Timestamp::from_micros(micros);
        let read: Timestamp = instant.to_string().parse().unwrap();
        // It is written in milliseconds.
        prop_assert_eq!(read, Timestamp::from_micros(micros / 1_000 * 1_000));
        prop_assert_eq!(read.to_string(), instant.to_string());
    }

    #[test]
    fn an_identifier_is_read_as_it_was_written_or_is_none(text in "\\PC{0,40}|[a-z0-9._@-]{1,40}") {
        fn assert_same<T: serde::Serialize + for<'de> serde::Deserialize<'de>>(
            id: Option<T>, text: &str,
        ) {
            let json = serde_json::to_string(text).unwrap();
            let read = serde_json::from_str::<T>(&json).ok();
            let write = |id: &Option<T>| id.as_ref().map(|id| serde_json::to_string(id).unwrap());
            assert_eq!(write(&id), write(&read));
            assert!(id.is_none_or(|id| serde_json::to_string(&id).unwrap() == json));
        }
        assert_same(CustomerId::new(&text).ok(), &text);
        assert_same(OrganizationId::new(&text).ok(), &text);
        assert_same(SessionId::new(&text).ok(), &text);
        assert_same(TokenId::new(&text).ok(), &text);
    }

    #[test]
    fn a_name_that_was_accepted_is_accepted_again(text in "\\PC{0,40}") {
        if let Ok(id) = EntityId::user(&text) {
            let again = EntityId::user(id.name()).unwrap();
            prop_assert_eq!(again, id);
        }
    }

    #[test]
    fn an_authentication_token_is_visible_ascii_and_stays_so(text in "\\PC{0,40}|[!-~]{1,600}") {
        let is_one = (1..=512).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        let read = AuthenticationToken::from_text(&text);
        prop_assert_eq!(read.is_ok(), is_one);
        if let Ok(token) = read {
            prop_assert_eq!(token.expose(), text.as_str());
        }
    }

    #[test]
    fn custom_claims_come_out_of_a_token_as_they_went_in(claims in members(value())) {
        let fixture = Fixture::new();
        let grant = countersign::Grant::user("jane@example.com").custom_claims(claims.clone()).unwrap();
        let token = issue_now(&fixture.tokens, grant).unwrap().access_token;
        let validated = fixture.tokens.validator().validate(token.expose()).unwrap();
        prop_assert_eq!(validated.custom_claims(), &claims);
    }

    #[test]
    fn whatever_text_is_no_token_without_a_signature(
        text in "\\PC{0,60}|[A-Za-z0-9_-]{0,20}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,90}",
    ) {
        let fixture = Fixture::new();
        prop_assert!(fixture.tokens.validator().validate(&text).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_public_key_is_read_as_it_was_written(algorithm in select(&ALGORITHMS)) {
        let key = SigningKey::generate(algorithm).unwrap();
        let Some(jwk) = key.verifying_key().to_jwk() else {
            // A shared secret is written nowhere.
            prop_assert_eq!(algorithm, Algorithm::HS256);
            return Ok(());
        };
        let read = VerifyingKey::from_jwk(jwk.to_string().as_bytes()).unwrap();
        prop_assert_eq!(read.kid(), key.kid());
        prop_assert_eq!(read.algorithm(), algorithm);
        prop_assert_eq!(read.to_jwk(), Some(jwk));
    }

    #[test]
    fn a_set_of_keys_is_read_as_it_was_written(count in 1..4_usize) {
        let ring = KeyRing::generate(Algorithm::EdDSA).unwrap();
        for _ in 1..count {
            ring.announce(&SigningKey::generate(Algorithm::EdDSA).unwrap()).unwrap();
            ring.rotate(Timestamp::MAX).unwrap();
        }
        let written = ring.to_jwks(Timestamp::MIN);
        let read = KeyRing::from_jwks(written.as_bytes()).unwrap();
        let sorted = |text: &str| {
            let set: Value = serde_json::from_str(text).unwrap();
            let mut keys: Vec<_> =
                set["keys"].as_array().unwrap().iter().map(ToString::to_string).collect();
            keys.sort();
            keys
        };
        prop_assert_eq!(sorted(&written).len(), count);
        prop_assert_eq!(sorted(&read.to_jwks(Timestamp::MIN)), sorted(&written));
    }
}
