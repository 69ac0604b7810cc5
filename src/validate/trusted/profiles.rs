//! Identity providers, with the settings that their tokens need.

use crate::validate::trusted::TrustedIssuer;
use crate::validate::trusted::claims::ForeignClaims;

/// Settings for the tokens of known identity providers, as each documented them in December 2026. Each is a shorthand for
/// setters, and what it sets can be set again. All but the audience and what scopes and roles grant is set: see
/// [`audience`](TrustedIssuer::audience) and [`grant`](TrustedIssuer::grant).
impl TrustedIssuer {
    /// Microsoft Entra ID, access tokens of version 2.0 of one tenant. The audience is the client id of the API; scopes
    /// are in `scp`, roles in `roles`. A token without `scp` is of a machine client.
    /// <https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference>
    pub fn entra(tenant: &str) -> Self {
        Self::new(format!("https://login.microsoftonline.com/{tenant}/v2.0")).of_entra()
    }

    /// Microsoft Entra ID, like [`entra`](Self::entra), for an app of many tenants: those whose ids are given.
    pub fn entra_multi_tenant<T: Into<String>>(tenants: impl IntoIterator<Item = T>) -> Self {
        Self::new("https://login.microsoftonline.com/{tid}/v2.0")
            .tenants(tenants)
            .jwks_url("https://login.microsoftonline.com/common/discovery/v2.0/keys")
            .of_entra()
    }

    fn of_entra(self) -> Self {
        self.token_types(["JWT"])
            .scope_claims(["scp", "roles"])
            // An ID token has neither.
            .only_if(|claims| claims.get("azp").is_some() || claims.get("appid").is_some())
            .machines(|claims| claims.get("scp").is_none())
    }

    /// Auth0, access tokens of an API. The audience is the API's identifier; scopes are in `scope`, permissions of RBAC in
    /// `permissions`. <https://auth0.com/docs/secure/tokens/access-tokens/access-token-profiles>
    pub fn auth0(domain: &str) -> Self {
        Self::new(format!("https://{domain}/"))
            .token_types(["at+jwt", "JWT"])
            .scope_claims(["scope", "permissions"])
            .machines(|claims| claims.text("gty") == Some("client-credentials"))
    }

    /// Okta, access tokens of a custom authorization server, as `https://example.okta.com/oauth2/default`. The audience is
    /// that of the server; scopes are in `scp`. <https://developer.okta.com/docs/guides/validate-access-tokens/main/>
    pub fn okta(issuer: impl Into<String>) -> Self {
        Self::new(issuer)
            .token_types(["at+jwt", "JWT"])
            .untyped_tokens()
            .scope_claims(["scp", "groups"])
            .machines(|claims| {
                claims.text("cid").is_some() && claims.text("cid") == claims.text("sub")
            })
    }

    /// Keycloak, access tokens of a realm of the server at `base_url`. The audience is what an audience mapper adds;
    /// without one, set [`audience_claim("azp")`](Self::audience_claim) and the ids of the clients. Scopes are in `scope`,
    /// roles of the realm in `realm_access.roles`. <https://www.keycloak.org/docs/latest/server_admin/#_audience>
    pub fn keycloak(base_url: &str, realm: &str) -> Self {
        Self::new(format!("{}/realms/{realm}", base_url.trim_end_matches('/')))
            .token_types(["JWT"])
            .scope_claims(["scope", "/realm_access/roles"])
            // Its ID and refresh tokens say so here.
            .only_if(|claims| claims.text("typ") == Some("Bearer"))
            .machines(|claims| starts_with(claims, "preferred_username", "service-account-"))
    }

    /// Amazon Cognito, access tokens of a user pool. They have no `aud`: the audience is the id of the client. Scopes are
    /// in `scope`, groups in `cognito:groups`.
    /// <https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html>
    pub fn cognito(region: &str, user_pool: &str) -> Self {
        Self::new(format!("https://cognito-idp.{region}.amazonaws.com/{user_pool}"))
            .audience_claim("client_id")
            .untyped_tokens()
            .scope_claims(["scope", "cognito:groups"])
            .only_if(|claims| claims.text("token_use") == Some("access"))
            .machines(|claims| claims.text("client_id") == claims.text("sub"))
    }

    /// Google, ID tokens of its accounts and service accounts. The audience is the client id of the app. They have no
    /// scopes: grant by the `hd` of an organization.
    /// <https://developers.google.com/identity/openid-connect/openid-connect#an-id-tokens-payload>
    pub fn google() -> Self {
        Self::new("https://accounts.google.com")
            .token_types(["JWT"])
            .scope_claims(["hd", "email"])
            .machines(|claims| {
                claims.text("email").is_some_and(|email| email.ends_with(".gserviceaccount.com"))
            })
    }

    /// Kubernetes, tokens of service accounts of the cluster with that issuer. The audience is one that a projected volume
    /// asks for. They have no scopes: grant by the `sub`, as `system:serviceaccount:NAMESPACE:NAME`.
    /// <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/>
    pub fn kubernetes(issuer: impl Into<String>) -> Self {
        Self::new(issuer).untyped_tokens().scope_claims(["sub"]).machines(|_| true)
    }

    /// GitHub Actions, tokens of a workflow. The audience is what the workflow asks for. They have no scopes: grant by the
    /// `sub`, as `repo:octo-org/octo-repo:ref:refs/heads/main`, or by the `repository`.
    /// <https://docs.github.com/actions/reference/security/oidc>
    pub fn github_actions() -> Self {
        Self::new("https://token.actions.githubusercontent.com")
            .token_types(["JWT"])
            .scope_claims(["sub", "repository"])
            .machines(|_| true)
    }

    /// Clerk, session tokens of the instance with that Frontend API, as `clerk.example.com`. They have no `aud`: the
    /// audience is the origin of the app, in `azp`. Permissions in an organization are in `org_permissions`.
    /// <https://clerk.com/docs/guides/sessions/session-tokens>
    pub fn clerk(frontend_api: &str) -> Self {
        Self::new(format!("https://{frontend_api}"))
            .audience_claim("azp")
            .token_types(["JWT"])
            .scope_claims(["org_permissions", "org_role"])
            .jwks_url(format!("https://{frontend_api}/.well-known/jwks.json"))
    }

    /// WorkOS AuthKit, session tokens of the environment with that client id, which is their audience, in `client_id`.
    /// Permissions are in `permissions`, roles in `roles`. <https://workos.com/docs/reference/authkit/session-tokens>
    pub fn workos(client_id: &str) -> Self {
        Self::new(format!("https://api.workos.com/user_management/{client_id}"))
            .audience_claim("client_id")
            .audience(client_id)
            .token_types(["JWT"])
            .untyped_tokens()
            .scope_claims(["permissions", "roles", "role"])
            .jwks_url(format!("https://api.workos.com/sso/jwks/{client_id}"))
    }
}

fn starts_with(claims: &ForeignClaims, name: &str, prefix: &str) -> bool {
    claims.text(name).is_some_and(|text| text.starts_with(prefix))
}
