//! Tokens of identity providers, as each documents them: accepted by its profile, and rejected for each thing that is
//! wrong with them.

use std::time::Duration;

use countersign::faults::TokenFault;
use countersign::jose::SigningKey;
use countersign::testing::TestToken;
use countersign::testing::fake::{self, FakeProvider};
use countersign::{AclEntry, Algorithm, SubjectType, TrustedIssuer, Validator};
use serde_json::json;

/// A provider, the scope or role that its token is granted by, who it is of, and whether its `typ` is checked.
struct Row {
    name: &'static str,
    provider: FakeProvider,
    scope: &'static str,
    kind: SubjectType,
    audience_claim: &'static str,
}

fn rows() -> Vec<Row> {
    let row = |name, provider, scope, kind, audience_claim| Row {
        name,
        provider,
        scope,
        kind,
        audience_claim,
    };
    let (user, machine) = (SubjectType::User, SubjectType::Machine);
    vec![
        row("entra", fake::entra(), "Orders.Read", user, "aud"),
        row("entra's role", fake::entra(), "Clerk", user, "aud"),
        row("entra, many tenants", fake::entra_multi_tenant(), "Orders.Write", user, "aud"),
        row("auth0", fake::auth0(), "orders:read", user, "aud"),
        row("auth0's permission", fake::auth0(), "orders:write", user, "aud"),
        row("okta", fake::okta(), "orders:read", user, "aud"),
        row("keycloak", fake::keycloak(), "orders", user, "aud"),
        row("keycloak's role", fake::keycloak(), "clerk", user, "aud"),
        row("cognito", fake::cognito(), "orders/read", user, "client_id"),
        row("cognito's group", fake::cognito(), "clerks", user, "client_id"),
        row("google", fake::google(), "example.com", user, "aud"),
        row("kubernetes", fake::kubernetes(), "system:serviceaccount:shop:web", machine, "aud"),
        row("github", fake::github_actions(), "octo-org/octo-repo", machine, "aud"),
        row("clerk", fake::clerk(), "org:orders:read", user, "azp"),
        row("workos", fake::workos(), "orders:read", user, "client_id"),
    ]
}

fn orders() -> AclEntry {
    AclEntry::anywhere(["GetOrders"]).unwrap()
}

fn validator(provider: &FakeProvider, trusted: TrustedIssuer) -> Validator {
    let builder = Validator::for_issuers([trusted]).clock(provider.clock().clone());
    builder.leeway(Duration::from_secs(60)).build().unwrap()
}

fn fault(validator: &Validator, token: &TestToken) -> Option<TokenFault> {
    validator.validate(&token.sign()).err()
}

#[test]
fn a_token_of_each_provider_is_accepted_and_its_scopes_grant_what_the_host_says() {
    for Row { name, provider, scope, kind, .. } in rows() {
        let trusted = provider.trusted_issuer();
        let without = validator(&provider, trusted.clone());
        let token = provider.token();
        let validated = without.validate(&token.sign()).unwrap_or_else(|fault| {
            panic!("{name}: {}", fault.as_str());
        });
        assert_eq!(validated.principal().subject_type(), kind, "{name}");
        assert!(!validated.allows("GetOrders", &[]), "{name}: nothing is granted by itself");
        let granting = validator(&provider, trusted.clone().grant(scope, orders()));
        let validated = granting.validate(&token.sign()).unwrap();
        assert!(validated.allows("GetOrders", &[]), "{name}");
        let other = validator(&provider, trusted.grant(format!("{scope}x"), orders()));
        let validated = other.validate(&token.sign()).unwrap();
        assert!(!validated.allows("GetOrders", &[]), "{name}");
        assert!(!validated.custom_claims().is_empty(), "{name}: handlers read the other claims");
    }
}

#[test]
fn a_token_of_each_provider_is_rejected_for_each_thing_that_is_wrong_with_it() {
    let other_key = SigningKey::generate(Algorithm::RS256).unwrap();
    let hmac =
        SigningKey::from_jwk(json!({"kty": "oct", "k": "A".repeat(64)}).to_string().as_bytes());
    let hmac = hmac.unwrap();
    for Row { name, provider, audience_claim, .. } in rows() {
        let validator = validator(&provider, provider.trusted_issuer());
        let token = || provider.token();
        assert_eq!(fault(&validator, &token()), None, "{name}");
        for (what, token, expected) in [
            ("aud", token().claim(audience_claim, "other"), TokenFault::Audience),
            ("aud", token().without(audience_claim), TokenFault::Audience),
            ("aud", token().claim(audience_claim, json!(null)), TokenFault::Audience),
            ("iss", token().claim("iss", "https://other.example.com"), TokenFault::Issuer),
            ("typ", token().header("typ", "logout+jwt"), TokenFault::Type),
            ("exp", token().expired(), TokenFault::Expired),
            ("exp", token().without("exp"), TokenFault::Claims),
            ("nbf", token().claim("nbf", 4_102_444_800_u64), TokenFault::NotYetValid),
            ("sub", token().without("sub"), TokenFault::Claims),
            ("key", token().wrong_key(&other_key), TokenFault::Signature),
            ("kid", token().header("kid", other_key.kid()), TokenFault::UnknownKey),
            ("alg", token().header("alg", "RS512"), TokenFault::UnknownKey),
            ("alg", token().header("alg", "HS256").wrong_key(&hmac), TokenFault::Algorithm),
            ("alg", token().unsigned(), TokenFault::Malformed),
            ("signature", token().tampered(), TokenFault::Signature),
        ] {
            assert_eq!(fault(&validator, &token), Some(expected), "{name}: {what}");
        }
    }
}

#[test]
fn a_token_of_a_provider_that_is_no_access_token_is_rejected() {
    let rejected = |provider: FakeProvider, token: TestToken| {
        fault(&validator(&provider, provider.trusted_issuer()), &token)
    };
    let entra = fake::entra();
    let id_token = entra.token().without("azp").without("scp");
    assert_eq!(rejected(entra, id_token), Some(TokenFault::Claims));
    let keycloak = fake::keycloak();
    let id_token = keycloak.token().claim("typ", "ID");
    assert_eq!(rejected(keycloak, id_token), Some(TokenFault::Claims));
    let cognito = fake::cognito();
    let id_token = cognito.token().claim("token_use", "id");
    assert_eq!(rejected(cognito.clone(), id_token), Some(TokenFault::Claims));
    let id_token = cognito.token().without("client_id").claim("aud", "7example23");
    assert_eq!(rejected(cognito, id_token), Some(TokenFault::Audience));
}

#[test]
fn a_machine_clients_token_is_told_from_a_users() {
    for (name, provider, token) in [
        ("entra", fake::entra(), fake::entra().token().without("scp")),
        ("auth0", fake::auth0(), fake::auth0().token().claim("gty", "client-credentials")),
        ("okta", fake::okta(), fake::okta().token().claim("sub", "nmdP1fcyvdVO11AL7ECm")),
        (
            "keycloak",
            fake::keycloak(),
            fake::keycloak().token().claim("preferred_username", "service-account-jobs"),
        ),
        ("cognito", fake::cognito(), fake::cognito().token().claim("sub", "7example23")),
    ] {
        let validated = validator(&provider, provider.trusted_issuer()).validate(&token.sign());
        let kind = validated.unwrap().principal().subject_type();
        assert_eq!(kind, SubjectType::Machine, "{name}");
    }
}

#[test]
fn a_tenant_is_accepted_by_its_own_name_alone_where_it_is_allowed() {
    let provider = fake::entra_multi_tenant();
    let validator = validator(&provider, provider.trusted_issuer());
    let validated = validator.validate(&provider.token().sign()).unwrap();
    let tenant = "72f988bf-0000-4000-8000-2d7cd011db47";
    assert_eq!(validated.issuer(), format!("https://login.microsoftonline.com/{tenant}/v2.0"));
    let of = |iss: &str, tid: &str| provider.token().claim("iss", iss).claim("tid", tid);
    let at = |tenant: &str| format!("https://login.microsoftonline.com/{tenant}/v2.0");
    let other = "0d2a5c77-0000-4000-8000-2d7cd011db47";
    for (iss, tid) in [
        (at(other), other),
        (at(tenant), other),
        (at(other), tenant),
        (at(&tenant.to_uppercase()), tenant),
        (at(&format!("{tenant}/x")), tenant),
        (at(&format!("{tenant}%2Fx")), tenant),
        (at(""), ""),
        (at("{tid}"), "{tid}"),
        (format!("{}/", at(tenant)), tenant),
        (format!("https://login.microsoftonline.com/{tenant}/v2.0x"), tenant),
    ] {
        assert_eq!(fault(&validator, &of(&iss, tid)), Some(TokenFault::Issuer), "{iss}, {tid}");
    }
    assert_eq!(fault(&validator, &provider.token().without("tid")), Some(TokenFault::Issuer));
    // Another validator with other tenants looks again.
    let others = TrustedIssuer::new("https://login.microsoftonline.com/{tid}/v2.0")
        .tenants([other])
        .audience("6731de76-0000-4000-8000-a677b2f18c75")
        .jwks_url("https://login.microsoftonline.com/common/discovery/v2.0/keys");
    let others = Validator::for_issuers([others]).clock(provider.clock().clone()).build().unwrap();
    assert_eq!(others.recheck(&validated), Err(TokenFault::Issuer));
}

#[test]
fn a_template_that_says_too_little_or_could_be_another_issuer_is_not_built() {
    let template =
        |name: &str| TrustedIssuer::new(name).audience("api").jwks_url("https://idp.test/keys");
    let is_built = |issuers: Vec<TrustedIssuer>| Validator::for_issuers(issuers).build().is_ok();
    assert!(is_built(vec![template("https://idp.test/{tid}").tenants(["a"])]));
    assert!(!is_built(vec![template("https://idp.test/{tid}")]), "without tenants");
    assert!(!is_built(vec![template("https://idp.test/{tid}").tenants::<String>([])]));
    assert!(!is_built(vec![template("https://idp.test/{}").tenants(["a"])]));
    assert!(!is_built(vec![template("https://idp.test/{tid}/{x}").tenants(["a"])]));
    assert!(!is_built(vec![template("https://idp.test/{tid").tenants(["a"])]));
    assert!(!is_built(vec![template("https://idp.test/").tenants(["a"])]));
    let without_keys = TrustedIssuer::new("https://idp.test/{tid}").tenants(["a"]).audience("api");
    assert!(!is_built(vec![without_keys]));
    let both =
        vec![template("https://idp.test/{tid}").tenants(["a"]), template("https://idp.test/b")];
    assert!(!is_built(both));
    let mapped = template("https://idp.test/")
        .grant("orders", orders())
        .map_claims(|_| unreachable!("it is not built"));
    assert!(!is_built(vec![mapped]), "the mapping says what is granted");
}
