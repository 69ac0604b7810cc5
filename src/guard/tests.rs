//! Tests of path parameters, with the feature `axum` and without the token service.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::json;
use tower::ServiceExt as _;

use crate::clock::{Clock as _, SystemClock};
use crate::guard::require::CheckedScope;
use crate::{
    Algorithm, Caller, KeyRing, Rejection, RequireLayer, Requirement, ValidateLayer, Validator,
};

const ISSUER: &str = "https://auth.example.com";
const AUDIENCE: &str = "https://api.example.com";

struct GetOrders;

impl Requirement for GetOrders {
    const PERMISSION: Option<&'static str> = Some("GetOrders");
    const SCOPE_FROM_PATH: &'static [&'static str] = &["organizationId"];
}

async fn orders(caller: Caller<GetOrders>) -> Result<String, Rejection> {
    assert_eq!(caller.organization_id().unwrap().as_str(), "org_1");
    Ok(caller.scope("organizationId")?.to_owned())
}

fn app(keys: KeyRing) -> Router {
    let validator =
        Validator::builder().issuer(ISSUER).audience(AUDIENCE).keys(keys).build().unwrap();
    let layer = ValidateLayer::new(validator);
    let checked = get(async |scope: CheckedScope| scope.get("organizationId").unwrap().to_owned());
    let by_layer = RequireLayer::new("GetOrders").scope_from_path("organizationId");
    let scoped = Router::new()
        .route("/{organizationId}/orders", get(orders))
        .route("/{organizationId}/invoices", checked.clone().route_layer(by_layer))
        .layer(layer.clone());
    let confined = Router::new()
        .route("/{organizationId}", checked)
        .route("/all", get(async || "all"))
        .layer(layer.organization_from_path("organizationId"));
    scoped.nest("/confined", confined)
}

/// A token of `org_1`.
fn token(keys: &KeyRing) -> String {
    let now = SystemClock.now().as_secs();
    let claims = json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "jane",
        "subject_type": "user",
        "client_id": "first-party",
        "jti": "jwt-1",
        "iat": now,
        "exp": now + 300,
        "organizationId": "org_1",
        "acl": [{"scope": {}, "permissions": ["GetOrders"]}],
    });
    keys.active().unwrap().sign_compact(claims.to_string().as_bytes()).unwrap()
}

#[tokio::test]
async fn a_resource_server_reads_the_organization_from_the_path_and_knows_no_service() {
    let keys = KeyRing::generate(Algorithm::EdDSA).unwrap();
    let token = token(&keys);
    let app = app(keys);
    for (path, status, body) in [
        ("/org_1/orders", 200, "org_1"),
        ("/org_2/orders", 403, ""),
        ("/org_1/invoices", 200, "org_1"),
        ("/org_2/invoices", 403, ""),
        ("/confined/org_1", 200, "org_1"),
        ("/confined/org_2", 403, ""),
        ("/confined/all", 500, ""),
    ] {
        let get = |token: Option<&str>| {
            let request = Request::get(path);
            let request = match token {
                Some(token) => request.header("authorization", format!("Bearer {token}")),
                None => request,
            };
            app.clone().oneshot(request.body(Body::empty()).unwrap())
        };
        assert_eq!(get(None).await.unwrap().status(), 401, "{path}");
        let answer = get(Some(&token)).await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        if status == 200 {
            let text = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(text, body, "{path}");
        }
    }
}
