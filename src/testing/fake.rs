//! Identity providers as their documentation describes their tokens, for tests of an app that accepts them.
//!
//! ```
//! # #[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))] {
//! use countersign::testing::fake;
//! use countersign::{AclEntry, Validator};
//!
//! let provider = fake::entra();
//! let trusted = provider
//!     .trusted_issuer()
//!     .grant("Orders.Read", AclEntry::anywhere(["GetOrders"])?);
//! let validator = Validator::for_issuers([trusted]).clock(provider.clock().clone()).build()?;
//!
//! let validated = validator.validate(&provider.token().sign()).unwrap();
//! assert!(validated.allows("GetOrders", &[]));
//! assert!(validator.validate(&provider.token().expired().sign()).is_err());
//! # }
//! # Ok::<(), countersign::Error>(())
//! ```

use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use crate::clock::Clock as _;
use crate::jose::{Algorithm, KeyRing, SigningKey};
use crate::testing::{TestClock, TestToken};
use crate::validate::trusted::TrustedIssuer;

/// An identity provider with keys of its own, which it signs with RS256.
///
/// Its keys are at hand, so nothing is fetched; [`IssuerServer`](crate::testing::IssuerServer) serves keys over HTTP.
#[derive(Clone, Debug)]
pub struct FakeProvider {
    trusted: TrustedIssuer,
    typ: Option<&'static str>,
    claims: Map<String, Value>,
    clock: TestClock,
}

impl FakeProvider {
    fn new(trusted: TrustedIssuer, typ: Option<&'static str>, claims: Value) -> Self {
        let trusted = trusted.keys_of_test(KeyRing::new(rsa_key()));
        let claims = if let Value::Object(claims) = claims { claims } else { Map::new() };
        Self { trusted, typ, claims, clock: TestClock::new() }
    }

    /// Returns the provider's profile, with the audience of its tokens, and its keys.
    pub fn trusted_issuer(&self) -> TrustedIssuer {
        self.trusted.clone()
    }

    /// Returns a new token, with the header and the claims that the provider documents.
    pub fn token(&self) -> TestToken {
        let key = rsa_key();
        let mut header = Map::new();
        header.insert("alg".to_owned(), json!("RS256"));
        header.insert("kid".to_owned(), json!(key.kid()));
        header.extend(self.typ.map(|typ| ("typ".to_owned(), json!(typ))));
        let now = self.clock.now();
        let mut claims = self.claims.clone();
        claims.insert("iat".to_owned(), json!(now.as_secs()));
        claims.insert("exp".to_owned(), json!(now.as_secs() + 3_600));
        TestToken::foreign(key, header, claims, now)
    }

    /// Returns the clock of its tokens.
    #[must_use]
    pub fn clock(&self) -> &TestClock {
        &self.clock
    }
}

fn rsa_key() -> SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    let new = || SigningKey::generate(Algorithm::RS256).expect("a key can be made");
    KEY.get_or_init(new).clone()
}

const TENANT: &str = "72f988bf-0000-4000-8000-2d7cd011db47";
const APP: &str = "6731de76-0000-4000-8000-a677b2f18c75";

fn entra_claims() -> Value {
    json!({
        "aud": APP, "iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
        "azp": "1b3f0000-0000-4000-8000-0c0f4a5e9d11", "azpacr": "0", "name": "Jane Doe",
        "oid": "690222be-0000-4000-8000-d6c0d6f2b4f1", "preferred_username": "jane@example.com",
        "rh": "0.AAAA", "scp": "Orders.Read Orders.Write", "roles": ["Clerk"],
        "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ", "tid": TENANT, "uti": "fqi", "ver": "2.0",
    })
}

/// Microsoft Entra ID: a user's token for scopes and a role.
#[must_use]
pub fn entra() -> FakeProvider {
    FakeProvider::new(TrustedIssuer::entra(TENANT).audience(APP), Some("JWT"), entra_claims())
}

/// Microsoft Entra ID for an app of many tenants: the same token.
#[must_use]
pub fn entra_multi_tenant() -> FakeProvider {
    let trusted = TrustedIssuer::entra_multi_tenant([TENANT]).audience(APP);
    FakeProvider::new(trusted, Some("JWT"), entra_claims())
}

/// Auth0: a user's token for an API, with permissions of RBAC.
#[must_use]
pub fn auth0() -> FakeProvider {
    let trusted = TrustedIssuer::auth0("example.eu.auth0.com").audience("https://api.example.com");
    let claims = json!({
        "iss": "https://example.eu.auth0.com/", "sub": "auth0|507f1f77bcf86cd799439020",
        "aud": ["https://api.example.com", "https://example.eu.auth0.com/userinfo"],
        "azp": "my_client_id", "scope": "openid profile orders:read", "permissions": ["orders:write"],
    });
    FakeProvider::new(trusted, Some("JWT"), claims)
}

/// Okta: a user's token of the default custom authorization server.
#[must_use]
pub fn okta() -> FakeProvider {
    let issuer = "https://example.okta.com/oauth2/default";
    let claims = json!({
        "ver": 1, "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE", "iss": issuer,
        "aud": "api://default", "cid": "nmdP1fcyvdVO11AL7ECm", "uid": "00ujmkLgagxeRrAg20g3",
        "scp": ["openid", "orders:read"], "auth_time": 1_438_888_000, "sub": "jane@example.com",
    });
    FakeProvider::new(TrustedIssuer::okta(issuer).audience("api://default"), None, claims)
}

/// Keycloak: a user's token, with an audience mapper and roles of the realm.
#[must_use]
pub fn keycloak() -> FakeProvider {
    let trusted = TrustedIssuer::keycloak("https://sso.example.com", "shop").audience("orders-api");
    let claims = json!({
        "jti": "onrtac:6e1b4b60-0000-4000-8000-1f4b0d1c2b3a",
        "iss": "https://sso.example.com/realms/shop", "aud": ["orders-api", "account"],
        "sub": "f3a1c2d4-0000-4000-8000-9b8c7d6e5f40", "typ": "Bearer", "azp": "shop-web",
        "sid": "9d0e1f20-0000-4000-8000-a1b2c3d4e5f6", "acr": "1",
        "allowed-origins": ["https://shop.example.com"], "scope": "profile email orders",
        "realm_access": {"roles": ["offline_access", "clerk"]},
        "resource_access": {"account": {"roles": ["view-profile"]}}, "email_verified": true,
        "preferred_username": "jane", "email": "jane@example.com",
    });
    FakeProvider::new(trusted, Some("JWT"), claims)
}

/// Amazon Cognito: a user's access token.
#[must_use]
pub fn cognito() -> FakeProvider {
    let trusted = TrustedIssuer::cognito("eu-west-1", "eu-west-1_Example").audience("7example23");
    let claims = json!({
        "sub": "aaaaaaaa-0000-4000-8000-cccccccccccc", "cognito:groups": ["clerks"],
        "iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Example", "version": 2,
        "client_id": "7example23", "origin_jti": "aaaaaaaa-0000-4000-8000-dddddddddddd",
        "event_id": "bbbbbbbb-0000-4000-8000-eeeeeeeeeeee", "token_use": "access",
        "scope": "openid orders/read", "auth_time": 1_676_313_851,
        "jti": "cccccccc-0000-4000-8000-ffffffffffff", "username": "jane",
    });
    FakeProvider::new(trusted, None, claims)
}

/// Google: a user's ID token.
#[must_use]
pub fn google() -> FakeProvider {
    let client = "1234987819200.apps.googleusercontent.com";
    let claims = json!({
        "iss": "https://accounts.google.com", "azp": client, "aud": client,
        "sub": "10769150350006150715113082367", "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
        "hd": "example.com", "email": "jane@example.com", "email_verified": true,
    });
    FakeProvider::new(TrustedIssuer::google().audience(client), Some("JWT"), claims)
}

/// Kubernetes: the token of a service account in a pod.
#[must_use]
pub fn kubernetes() -> FakeProvider {
    let issuer = "https://kubernetes.default.svc.cluster.local";
    let claims = json!({
        "aud": ["orders"], "iss": issuer, "jti": "dddddddd-0000-4000-8000-aaaaaaaaaaaa",
        "kubernetes.io": {
            "namespace": "shop", "pod": {"name": "web-0", "uid": "eeeeeeee-0000-4000-8000-bbbbbbbbbbbb"},
            "serviceaccount": {"name": "web", "uid": "ffffffff-0000-4000-8000-cccccccccccc"},
        },
        "sub": "system:serviceaccount:shop:web",
    });
    FakeProvider::new(TrustedIssuer::kubernetes(issuer).audience("orders"), None, claims)
}

/// GitHub Actions: the token of a workflow.
#[must_use]
pub fn github_actions() -> FakeProvider {
    let claims = json!({
        "jti": "example-id", "sub": "repo:octo-org/octo-repo:ref:refs/heads/main",
        "aud": "https://api.example.com", "ref": "refs/heads/main", "sha": "example-sha",
        "repository": "octo-org/octo-repo", "repository_owner": "octo-org", "actor": "octocat",
        "workflow": "example-workflow", "ref_type": "branch", "event_name": "push", "run_id": "1",
        "runner_environment": "github-hosted", "iss": "https://token.actions.githubusercontent.com",
    });
    let trusted = TrustedIssuer::github_actions().audience("https://api.example.com");
    FakeProvider::new(trusted, Some("JWT"), claims)
}

/// Clerk: a user's session token.
#[must_use]
pub fn clerk() -> FakeProvider {
    let claims = json!({
        "azp": "https://app.example.com", "iss": "https://clerk.example.com",
        "sid": "sess_2NfYqXwVZ", "sub": "user_2NfYqXwVZ", "org_id": "org_123",
        "org_role": "org:clerk", "org_permissions": ["org:orders:read"],
    });
    let trusted = TrustedIssuer::clerk("clerk.example.com").audience("https://app.example.com");
    FakeProvider::new(trusted, Some("JWT"), claims)
}

/// WorkOS AuthKit: a user's session token.
#[must_use]
pub fn workos() -> FakeProvider {
    let client = "client_123456789";
    let claims = json!({
        "iss": format!("https://api.workos.com/user_management/{client}"), "client_id": client,
        "sub": "user_01HBEQKA6K4QJAS93VPE39W1JT", "org_id": "org_01HRDMC6CM357W30QMHMQ96Q0S",
        "role": "member", "roles": ["member"], "permissions": ["orders:read"],
        "sid": "session_01HQSXZGF8FHF7A9ZZFCW4387R", "jti": "01HQSXZXPPFPKMDD32RKTFY6PV",
    });
    FakeProvider::new(TrustedIssuer::workos(client), None, claims)
}
