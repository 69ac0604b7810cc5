//! An app whose handlers are tested with tokens that are made for it, good and broken ones.
//!
//! ```text
//! cargo test --features testing --example test_your_handlers
//! ```
//!
//! In an app of your own, `testing` is a feature of the dev-dependency alone:
//!
//! ```text
//! [dev-dependencies]
//! countersign = { version = "0.1", features = ["testing"] }
//! ```

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use countersign::{Bearer, KeyRing, RequireLayer, ValidateLayer, Validator};
use serde::Deserialize;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let jwks = std::env::args().nth(1).ok_or("name a file with the issuer's JWK Set")?;
    let validator = Validator::builder()
        .issuer("https://auth.example.com")
        .audience("https://api.example.com")
        .keys(KeyRing::from_jwks(&std::fs::read(jwks)?)?)
        .build()?;
    let listener = TcpListener::bind("127.0.0.1:8081").await?;
    axum::serve(listener, app(validator)).await?;
    Ok(())
}

/// What is tested: it takes its validator from whoever builds it.
fn app(validator: Validator) -> Router {
    let orders =
        get(orders).route_layer(RequireLayer::new("GetOrders").scope_from_path("productId"));
    Router::new().route("/products/{productId}/orders", orders).layer(ValidateLayer::new(validator))
}

#[derive(Clone, Deserialize)]
struct Claims {
    tier: String,
}

async fn orders(Bearer(claims): Bearer<Claims>, Path(product): Path<String>) -> String {
    format!("{} orders of {product} for {}", claims.custom.tier, claims.principal().id())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use countersign::testing::{TestIssuer, TestToken};
    use http::{Request, StatusCode};
    use http_body_util::BodyExt as _;
    use serde_json::json;
    use tower::ServiceExt as _;

    use super::app;

    /// A token with what the handler wants.
    fn good(issuer: &TestIssuer) -> TestToken {
        issuer.token().allow("GetOrders").custom_claims(json!({"tier": "gold"}))
    }

    async fn ask(issuer: &TestIssuer, token: &TestToken) -> (StatusCode, String) {
        let request = Request::get("/products/prod_1/orders")
            .header("authorization", token.bearer())
            .body(Body::empty());
        let response = app(issuer.validator()).oneshot(request.unwrap()).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn orders_are_shown_to_whoever_may_see_them() {
        let issuer = TestIssuer::new();
        let (status, body) = ask(&issuer, &good(&issuer).user("jane")).await;
        assert_eq!((status, &*body), (StatusCode::OK, "gold orders of prod_1 for jane"));
    }

    #[tokio::test]
    async fn orders_of_another_product_are_not() {
        let issuer = TestIssuer::new();
        let token = issuer.token().allow_at("GetOrders", &[("productId", "prod_2")]);
        let (status, _) = ask(&issuer, &token.custom_claims(json!({"tier": "gold"}))).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
    }

    #[tokio::test]
    async fn bad_tokens_are_rejected() {
        let issuer = TestIssuer::new();
        let good = || good(&issuer);
        for token in [good().expired(), good().tampered(), good().without("sub")] {
            assert_eq!(ask(&issuer, &token).await.0, StatusCode::UNAUTHORIZED, "{token:?}");
        }
    }

    #[tokio::test]
    async fn a_token_is_good_for_an_hour() {
        let issuer = TestIssuer::new();
        let token = good(&issuer);
        assert_eq!(ask(&issuer, &token).await.0, StatusCode::OK);
        issuer.clock().advance(Duration::from_secs(3_700));
        assert_eq!(ask(&issuer, &token).await.0, StatusCode::UNAUTHORIZED);
    }
}
