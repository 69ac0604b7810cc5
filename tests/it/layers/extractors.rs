use countersign::Grant;
use serde_json::{Value, json};

use crate::layers::{assert_rejected, challenge, extracting, token_of, user_token};
use crate::support::log::Log;
use crate::support::{Fixture, ISSUER, Server};

fn with_claims(fixture: &Fixture, claims: Value) -> String {
    token_of(fixture, Grant::user("ops@example.com").custom_claims(claims).unwrap())
}

#[tokio::test]
async fn a_handler_gets_the_validated_token_and_its_own_claims() {
    let fixture = Fixture::new();
    let server = Server::start(extracting().layer(fixture.tokens.validate_layer())).await;
    let plain = user_token(&fixture);
    let mine = with_claims(&fixture, json!({"locale": "de", "roles": ["a"], "more": 1}));
    for (path, token, expected) in [
        ("/", &plain, "ops@example.com"),
        ("/", &mine, "ops@example.com"),
        ("/maybe", &plain, "ops@example.com"),
        ("/mine", &mine, "ops@example.com de [\"a\"]"),
        ("/maybe/mine", &mine, "de"),
    ] {
        assert_eq!(server.get(path, Some(token)).await.expect(200).text(), expected, "{path}");
    }
}

#[tokio::test]
async fn claims_that_do_not_read_as_the_handlers_own_are_a_401() {
    let fixture = Fixture::new();
    let layer = fixture.tokens.validate_layer().optional();
    let server = Server::start(extracting().layer(layer)).await;
    let detail = "The access token lacks custom claims";
    let expected = challenge("invalid_token", detail);
    for claims in
        [json!({}), json!({"Locale": "de"}), json!({"locale": 1}), json!({"locale": null})]
    {
        let token = with_claims(&fixture, claims);
        for path in ["/mine", "/maybe/mine"] {
            assert_rejected(&server.get(path, Some(&token)).await, 401, detail, Some(&expected));
        }
        server.get("/", Some(&token)).await.expect(200);
    }
}

#[tokio::test]
async fn behind_an_optional_layer_the_handler_says_whether_it_demands_a_token() {
    let fixture = Fixture::new();
    let layer = fixture.tokens.validate_layer().optional();
    let server = Server::start(extracting().layer(layer)).await;
    for path in ["/maybe", "/maybe/mine"] {
        assert_eq!(server.get(path, None).await.expect(200).text(), "nobody");
        server.get(path, Some("a.bad.token")).await.expect(401);
    }
    let expected = format!("Bearer realm=\"{ISSUER}\"");
    for path in ["/", "/mine"] {
        let answer = server.get(path, None).await;
        assert_rejected(&answer, 401, "A bearer token is required", Some(&expected));
    }
}

#[tokio::test]
async fn an_extractor_without_its_layer_is_a_500_and_the_log_says_why() {
    let fixture = Fixture::new();
    let log = Log::default();
    let _guard = log.listen();
    let server = Server::start(extracting()).await;
    let token = user_token(&fixture);
    for (count, path) in ["/", "/mine", "/maybe", "/maybe/mine"].into_iter().enumerate() {
        let answer = server.get(path, Some(&token)).await;
        assert_rejected(&answer, 500, "Internal server error", None);
        let errors = log.errors();
        assert_eq!(errors.len(), count + 1, "{errors:?}");
        let told = errors.last().unwrap();
        assert!(told.contains("ValidateLayer") && told.contains("Bearer"), "{told}");
    }
}
