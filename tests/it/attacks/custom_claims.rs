//! Custom claims that somebody else than the host would set.

use std::sync::Arc;

use countersign::{
    AuthenticationToken, CustomerId, Entity, Error, ErrorKind, ExchangeRequest, Grant, NewSession,
    Policy, RequestContext, Validated,
};
use serde_json::{Map, Value, json};

use crate::support::problems::assert_problem;
use crate::support::sessions::{SESSIONS, exchange, exchange_path};
use crate::support::{Answer, Fixture, Server, acl_of, issue_now};

const PERMISSIONS: [&str; 2] = ["PostAuthenticationToken", "PostAuthenticationTokenExchange"];

async fn served(policy: Policy) -> (Fixture, Server) {
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let server = fixture.serve().await;
    (fixture, server)
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// The token of a machine client that may start sessions and widen exchanges, with these claims.
fn machine_with(fixture: &Fixture, claims: Value) -> String {
    let acl = acl_of(json!([{"scope": {}, "permissions": PERMISSIONS}]));
    let grant = Grant::new(countersign::SubjectType::Machine, "kiosk-1").acl(acl);
    let issued = issue_now(&fixture.tokens, grant.custom_claims(object(claims)).unwrap()).unwrap();
    issued.access_token.expose().to_owned()
}

async fn start(server: &Server, bearer: &str, claims: &Value) -> Answer {
    let body = json!({"mode": "passwordless", "customerId": "cus_1", "customClaims": claims});
    server.post(SESSIONS, Some(bearer), &body).await
}

async fn exchange_by(server: &Server, bearer: &str, token: &str, claims: &Value) -> Answer {
    server.post(&exchange_path(token), Some(bearer), &json!({"customClaims": claims})).await
}

#[track_caller]
fn assert_not_allowed(answer: &Answer, name: &str) {
    assert_problem(answer, 403, "custom-claims-not-allowed");
    assert_eq!(answer.json()["detail"], format!("customClaims.{name} may not be set"));
    assert!(!answer.text().contains("secret value"), "{answer:?}");
}

#[tokio::test]
async fn a_bearer_who_may_start_sessions_and_widen_exchanges_does_not_say_who_somebody_is() {
    let (fixture, server) = served(Policy::default()).await;
    for own in [json!({}), json!({"role": "secret value"})] {
        let bearer = machine_with(&fixture, own);
        let claims = json!({"role": "secret value"});
        assert_not_allowed(&start(&server, &bearer, &claims).await, "role");
        let token = fixture.session(|new| new).await;
        assert_not_allowed(&exchange_by(&server, &bearer, &token, &claims).await, "role");
        exchange(&server, &token, &json!({})).await.expect(201);
    }
}

#[tokio::test]
async fn what_the_host_has_set_is_changed_by_no_open_name_and_no_bearer() {
    let (fixture, server) =
        served(Policy::default().tokens(|tokens| tokens.open_custom_claims(["tier"]))).await;
    let bearer = machine_with(&fixture, json!({"tier": "gold"}));
    let tier = |tier: &str| json!({"tier": tier});
    let set_by_host =
        async || fixture.session(|new| new.custom_claims(object(tier("basic"))).unwrap()).await;
    let token = set_by_host().await;
    assert_not_allowed(
        &exchange(&server, &token, &json!({"customClaims": tier("gold")})).await,
        "tier",
    );
    assert_not_allowed(&exchange_by(&server, &bearer, &token, &tier("gold")).await, "tier");
    let same = exchange(&server, &token, &json!({"customClaims": tier("basic")})).await;
    assert_eq!(same.expect(201).json()["customClaims"], tier("basic"));
    let same = exchange_by(&server, &bearer, &set_by_host().await, &tier("basic")).await;
    assert_eq!(same.expect(201).json()["customClaims"], tier("basic"));
    let token = fixture.session(|new| new).await;
    let open = exchange(&server, &token, &json!({"customClaims": tier("gold")})).await;
    assert_eq!(open.expect(201).json()["customClaims"], tier("gold"), "nobody has set it");
}

#[tokio::test]
async fn the_first_claim_that_may_not_be_set_is_named_in_few_words() {
    let (fixture, server) =
        served(Policy::default().tokens(|tokens| tokens.open_custom_claims(["a"]))).await;
    let bearer = machine_with(&fixture, json!({}));
    let claims = json!({"a": "secret value", "b": "secret value", "c": "secret value"});
    assert_not_allowed(&start(&server, &bearer, &claims).await, "b");
    let long = "b".repeat(4_000);
    let claims = Value::Object([(long.clone(), json!("secret value"))].into_iter().collect());
    assert_not_allowed(&start(&server, &bearer, &claims).await, &long[..64]);
}

#[tokio::test]
async fn a_bearer_passes_on_its_own_value_of_a_name_that_the_policy_delegates() {
    let (fixture, server) =
        served(Policy::default().tokens(|tokens| tokens.delegated_custom_claims(["channel"])))
            .await;
    let channel = |name: &str| json!({"channel": name});
    let bearer = machine_with(&fixture, json!({"channel": "kiosk", "role": "staff"}));
    let started = start(&server, &bearer, &channel("kiosk")).await.expect(201).json();
    let token = started["token"].as_str().unwrap();
    let exchanged = exchange(&server, token, &json!({})).await.expect(201).json();
    assert_eq!(exchanged["customClaims"], channel("kiosk"));
    let token = fixture.session(|new| new).await;
    for attempt in
        [json!({"channel": "web"}), json!({"channel": ["kiosk"]}), json!({"channel": null})]
    {
        assert_not_allowed(&start(&server, &bearer, &attempt).await, "channel");
        assert_not_allowed(&exchange_by(&server, &bearer, &token, &attempt).await, "channel");
    }
    let role = json!({"role": "staff"});
    assert_not_allowed(&start(&server, &bearer, &role).await, "role");
    // Without a bearer, or with one that has none, the name is worth nothing.
    let alone = exchange(&server, &token, &json!({"customClaims": channel("kiosk")})).await;
    assert_not_allowed(&alone, "channel");
    let without = machine_with(&fixture, json!({}));
    let answer = exchange_by(&server, &without, &token, &channel("kiosk")).await;
    assert_not_allowed(&answer, "channel");
    let answer = exchange_by(&server, &bearer, &token, &channel("kiosk")).await;
    assert_eq!(answer.expect(201).json()["customClaims"], channel("kiosk"));
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Asker {
    Nobody,
    /// A bearer with the claim, whose list grants nothing.
    Unpermitted,
    Without,
    With,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    set_by_host: bool,
    asked: &'static str,
    is_open: bool,
    is_delegated: bool,
    is_ruled: bool,
    asker: Asker,
}

impl Case {
    fn all() -> Vec<Self> {
        let flags = [false, true];
        let mut all = Vec::new();
        for number in 0..32_usize {
            let flag = |bit: usize| flags[number >> bit & 1];
            for asker in [Asker::Nobody, Asker::Unpermitted, Asker::Without, Asker::With] {
                all.push(Self {
                    set_by_host: flag(0),
                    asked: if flag(1) { "a" } else { "b" },
                    is_open: flag(2),
                    is_delegated: flag(3),
                    is_ruled: flag(4),
                    asker,
                });
            }
        }
        all
    }

    /// Whether the claim may be set, where the host's value and the bearer's own are "a".
    fn is_allowed(self) -> bool {
        let may_set = self.is_ruled || self.is_delegated && self.asked == "a";
        match (self.set_by_host, self.asker) {
            (true, _) => self.asked == "a",
            (false, Asker::Nobody | Asker::Unpermitted) => self.is_open,
            (false, Asker::Without) => self.is_open || self.is_ruled,
            (false, Asker::With) => self.is_open || may_set,
        }
    }

    fn fixture(self) -> Fixture {
        let mut policy = Policy::default();
        if self.is_open {
            policy = policy.tokens(|tokens| tokens.open_custom_claims(["name"]));
        }
        if self.is_delegated {
            policy = policy.tokens(|tokens| tokens.delegated_custom_claims(["name"]));
        }
        if self.is_ruled {
            policy = policy.tokens(|tokens| {
                tokens.custom_claims_rule(|bearer: &Validated, name, _| {
                    bearer.principal().id() == "kiosk-1" && name == "name"
                })
            });
        }
        Fixture::with(|builder| builder.policy(policy))
    }

    fn bearer(self, fixture: &Fixture) -> Option<Arc<Validated>> {
        let own = if self.asker == Asker::Without { json!({}) } else { json!({"name": "a"}) };
        let token = match self.asker {
            Asker::Nobody => return None,
            Asker::Unpermitted => {
                let grant = Grant::user("ops").custom_claims(object(own)).unwrap();
                issue_now(&fixture.tokens, grant).unwrap().access_token.expose().to_owned()
            }
            Asker::Without | Asker::With => machine_with(fixture, own),
        };
        Some(fixture.tokens.validator().validate(&token).unwrap())
    }

    #[track_caller]
    fn assert_outcome(self, claims: Result<Map<String, Value>, Error>) {
        match claims {
            Ok(claims) => {
                assert!(self.is_allowed(), "{self:?}");
                assert_eq!(Value::Object(claims), json!({"name": self.asked}), "{self:?}");
            }
            Err(error) => {
                assert!(!self.is_allowed(), "{self:?}");
                assert_eq!(error.kind(), ErrorKind::CustomClaimsNotAllowed, "{self:?}");
            }
        }
    }
}

#[tokio::test]
async fn one_rule_decides_for_whoever_asks_and_whatever_the_policy_at_a_start_and_at_an_exchange() {
    for case in Case::all() {
        let fixture = case.fixture();
        let asked = object(json!({"name": case.asked}));
        let bearer = case.bearer(&fixture);
        let host = if case.set_by_host { json!({"name": "a"}) } else { json!({}) };
        let token = fixture.session(|new| new.custom_claims(object(host)).unwrap()).await;
        let token = AuthenticationToken::from_text(&token).unwrap();
        let mut request = ExchangeRequest::default().custom_claims(asked.clone()).unwrap();
        if let Some(bearer) = bearer.clone() {
            request = request.bearer(bearer);
        }
        let exchanged =
            fixture.tokens.exchange(&token, request, &RequestContext::without_address()).await;
        case.assert_outcome(exchanged.map(|exchanged| exchanged.custom_claims));
        let may_start = matches!(case.asker, Asker::Without | Asker::With);
        if let Some(bearer) = bearer.filter(|_| may_start && !case.set_by_host) {
            let new =
                NewSession::of(CustomerId::new("cus_1").unwrap()).custom_claims(asked).unwrap();
            let context = RequestContext::without_address();
            let started = fixture.tokens.start_session(&bearer, new, &context).await;
            let started = started.and_then(|started| started.session.proven());
            case.assert_outcome(started.map(|session| session.custom_claims().clone()));
        }
    }
}

#[derive(Clone, serde::Serialize)]
struct Tier {
    tier: &'static str,
}

#[test]
fn a_hosts_own_type_is_taken_wherever_claims_are_and_what_is_no_object_is_rejected() {
    let gold = Tier { tier: "gold" };
    let machine = Entity::machine("aa-1").unwrap().custom_claims(&gold).unwrap();
    assert_eq!(machine.custom_claims, object(json!({"tier": "gold"})));
    let grant = Grant::user("ops").custom_claims(gold.clone()).unwrap();
    let fixture = Fixture::new();
    let issued = issue_now(&fixture.tokens, grant).unwrap();
    let validated = fixture.tokens.validator().validate(issued.access_token.expose()).unwrap();
    assert_eq!(*validated.custom_claims(), object(json!({"tier": "gold"})));
    let customer = || NewSession::of(CustomerId::new("cus_1").unwrap());
    assert!(format!("{:?}", customer().custom_claims(&gold).unwrap()).contains("gold"));
    let asked = ExchangeRequest::default().custom_claims(json!({"tier": "gold"})).unwrap();
    assert!(format!("{asked:?}").contains("gold"));

    for none in [json!("a secret"), json!(["a secret"]), json!(7), Value::Null] {
        let grant = Grant::user("ops").custom_claims(&none).map(drop);
        let session = customer().custom_claims(&none).map(drop);
        let exchange = ExchangeRequest::default().custom_claims(&none).map(drop);
        let entity = Entity::machine("aa-1").unwrap().custom_claims(&none).map(drop);
        for taken in [grant, session, exchange, entity] {
            let error = taken.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidFields);
            assert_eq!(
                error.to_string(),
                "some fields are invalid: customClaims must be an object"
            );
            assert!(!format!("{error:?}").contains("secret"));
        }
    }
    // JSON has no names but texts.
    let pairs = std::collections::BTreeMap::from([((1, 2), "a secret")]);
    let error = Grant::user("ops").custom_claims(pairs).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidFields);
}
