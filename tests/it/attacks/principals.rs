//! Principals that are taken for others.

use std::collections::HashSet;

use axum::Router;
use axum::routing::get;
use countersign::testing::{IssuerServer, TestIssuer};
use countersign::trusted_issuer::MappedClaims;
use countersign::{
    Acl, Bearer, Caller, Grant, Organization, OrganizationId, Requirement, SubjectType,
    TrustedIssuer, ValidateLayer,
};

use crate::support::{Fixture, ISSUER, Server, issue_now};

#[tokio::test]
async fn whoever_shares_a_name_is_somebody_else() {
    let partner = IssuerServer::start().await;
    let trusted = TrustedIssuer::new(partner.url())
        .jwks_url(partner.jwks_url())
        .dangerous_allow_http()
        .audience(partner.issuer().audience())
        // A host that gives a partner's users its own organization.
        .map_claims(|claims| {
            let subject = claims.text("sub").unwrap_or_default();
            let organization = OrganizationId::new("org_1")?;
            Ok(MappedClaims::new(SubjectType::User, subject).organization(organization))
        });
    let tokens = TestIssuer::named(ISSUER)
        .by_clock(partner.issuer().clock().clone())
        .service_builder()
        .trusted_issuer(trusted)
        .build()
        .unwrap();
    tokens.fetch_trusted_keys().await.unwrap();
    let whoami = get(async |Bearer(caller): Bearer| caller.principal().to_string());
    let app = Router::new().route("/", whoami).layer(tokens.validate_layer_with_trusted_issuers());
    let server = Server::start(app).await;
    let mut seen = HashSet::new();
    let mut keys = HashSet::new();
    let mut meet = async |token: &str| {
        let validator = tokens.validator_with_trusted_issuers();
        let principal = validator.validate(token).unwrap().principal().clone();
        assert_eq!(server.get("/", Some(token)).await.expect(200).text(), principal.to_string());
        assert!(keys.insert(principal.to_string()), "{principal} is two");
        assert!(seen.insert(principal));
    };
    meet(&partner.issuer().token().user("jane").sign()).await;
    for organization in [
        Organization::All,
        OrganizationId::new("org_1").unwrap().into(),
        OrganizationId::new("org_2").unwrap().into(),
    ] {
        for kind in [SubjectType::User, SubjectType::Machine, SubjectType::Customer] {
            let grant = Grant::new(kind, "jane").organization(organization.clone());
            meet(tokens.issue(grant).await.unwrap().access_token.expose()).await;
        }
    }
    assert_eq!(seen.len(), 10);
    // Of one principal, all tokens are the same.
    let again = tokens.issue(Grant::user("jane")).await.unwrap();
    let again = tokens.validator().validate(again.access_token.expose()).unwrap();
    assert!(seen.contains(again.principal()));
}

#[tokio::test]
async fn a_layer_and_a_handler_admit_the_kinds_of_principals_that_they_name() {
    struct Customers;
    impl Requirement for Customers {
        const KINDS: &'static [SubjectType] = &[SubjectType::Customer];
    }
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let validator = tokens.validator();
    let staff = Router::new()
        .route("/staff", get(async |_: Bearer| "staff"))
        .layer(ValidateLayer::new(validator.clone()).only([SubjectType::User]));
    let permitted = Router::new()
        .route(
            "/permitted",
            get(async || "permitted")
                .route_layer(tokens.require_layer("GetOrders").only([SubjectType::User])),
        )
        .route("/customers", get(async |_: Caller<Customers>| "customers"))
        .layer(tokens.validate_layer());
    let exchanged = Router::new()
        .route("/exchanged", get(async |_: Bearer| "exchanged"))
        .layer(tokens.exchange_layer());
    let server = Server::start(staff.merge(permitted).merge(exchanged)).await;
    let token = |kind| {
        let grant = Grant::new(kind, "a").acl(Acl::everything());
        issue_now(tokens, grant).unwrap().access_token.expose().to_owned()
    };
    for (kind, user, customer) in [
        (SubjectType::User, 200, 403),
        (SubjectType::Machine, 403, 403),
        (SubjectType::Customer, 403, 200),
    ] {
        let token = token(kind);
        for (path, expected) in [
            ("/staff", user),
            ("/permitted", user),
            ("/customers", customer),
            ("/exchanged", customer),
        ] {
            let answer = server.get(path, Some(&token)).await.expect(expected);
            if expected == 403 {
                assert!(answer.header("www-authenticate").contains("insufficient_scope"));
            }
        }
    }
}
