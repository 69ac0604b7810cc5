//! A token service, a second service that checks its tokens by its published keys, and a machine client of
//! the second service.
//!
//! ```text
//! cargo run --features remote-jwks --example two_services
//! curl -d id=reports -d secret=$SECRET http://127.0.0.1:8080/entity/token/generate
//! curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8081/orders
//! cargo test --features remote-jwks --example two_services
//! ```
//!
//! Both run in one process here, and know nothing of each other but URLs. The second has no secret, and
//! compiles with `default-features = false, features = ["aws-lc-rs", "remote-jwks"]`. What is revoked it does
//! not hear, so the tokens live for five minutes.

#![allow(clippy::print_stdout, reason = "a program talks to its terminal")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use countersign::{
    Acl, AclEntry, Actor, Algorithm, Bearer, Entity, EntityId, Error, KeyRing, Policy,
    RequestContext, RequireLayer, Secret, SubjectType, TokenService, ValidateLayer, Validator,
};
use tokio::net::TcpListener;

const ISSUER: &str = "https://auth.example.com";
const ORDERS: &str = "https://orders.example.com";
/// A third service. A token is good for those alone that its audiences name.
const BILLING: &str = "https://billing.example.com";
const FIVE_MINUTES: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (tokens, secret) = token_service().await?;
    let housekeeping = tokens.start().await?;
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    let app = tokens.router().into_make_service_with_connect_info::<SocketAddr>();
    let auth = axum::serve(listener, app);

    let orders = orders("http://127.0.0.1:8080/.well-known/jwks.json")?;
    let listener = TcpListener::bind("127.0.0.1:8081").await?;
    let orders = axum::serve(listener, orders);

    let secret = secret.expose();
    println!("curl -d id=reports -d secret={secret} http://127.0.0.1:8080/entity/token/generate");
    println!("curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:8081/orders");
    tokio::try_join!(auth.into_future(), orders.into_future())?;
    housekeeping.shutdown().await;
    Ok(())
}

// --- The token service ----------------------------------------------------------------------

/// Returns it with the secret of its one machine client.
async fn token_service() -> Result<(TokenService, Secret), Error> {
    let tokens = TokenService::builder()
        .issuer(ISSUER)
        .audience(ORDERS)
        .keys(KeyRing::generate(Algorithm::EdDSA)?)
        .audience(BILLING)
        .policy(Policy::default().tokens(|tokens| tokens.machine_lifetime(FIVE_MINUTES)))
        .build()?;
    let may = Acl::new([AclEntry::anywhere(["GetOrders"])?]);
    // For the second service alone; who is registered for no audience has tokens for all.
    tokens.register(Entity::machine("reports")?.audience(ORDERS).acl(may)).await?;
    let (id, here) = (EntityId::machine("reports")?, RequestContext::without_address());
    let issued = tokens.reset_secret(Actor::Host, &id, None, &here).await?;
    Ok((tokens, issued.secret))
}

// --- The second service ---------------------------------------------------------------------

fn orders(jwks_url: &str) -> Result<Router, Error> {
    let validator =
        Validator::builder().issuer(ISSUER).audience(ORDERS).jwks_url(jwks_url).build()?;
    let may = RequireLayer::new("GetOrders").only([SubjectType::Machine]);
    Ok(Router::new()
        .route("/orders", get(list).route_layer(may))
        .layer(ValidateLayer::new(validator)))
}

async fn list(Bearer(caller): Bearer) -> String {
    format!("all orders, for {}\n", caller.principal().id())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::response::Response;
    use countersign::Grant;
    use http::Request;
    use http_body_util::BodyExt as _;
    use serde_json::Value;
    use tower::ServiceExt as _;

    use super::*;

    /// Serves the token service, and returns the second one, which fetches its keys.
    async fn both() -> (TokenService, Secret, Router) {
        let (tokens, secret) = token_service().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/.well-known/jwks.json", listener.local_addr().unwrap());
        let auth = tokens.router();
        tokio::spawn(async move { axum::serve(listener, auth).await });
        (tokens, secret, orders(&url).unwrap())
    }

    async fn ask_for_token(tokens: &TokenService, secret: &str) -> Response {
        let request = Request::post("/entity/token/generate")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(format!("id=reports&secret={secret}")));
        tokens.router().oneshot(request.unwrap()).await.unwrap()
    }

    async fn get(orders: &Router, token: &str) -> (u16, String) {
        let request = Request::get("/orders").header("authorization", format!("Bearer {token}"));
        let request = request.body(Body::empty()).unwrap();
        let response = orders.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_machine_client_gets_a_token_of_the_one_service_and_uses_it_at_the_other() {
        let (tokens, secret, orders) = both().await;
        let response = ask_for_token(&tokens, secret.expose()).await;
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let token = body["accessToken"].as_str().unwrap();
        let expected = (200, "all orders, for reports\n".to_owned());
        assert_eq!(get(&orders, token).await, expected);
        assert_eq!(ask_for_token(&tokens, "a-wrong-one").await.status(), 401);
    }

    #[tokio::test]
    async fn the_second_service_takes_machines_alone_and_no_token_of_another_service() {
        let (tokens, _, orders) = both().await;
        let all = Acl::new([AclEntry::anywhere(["*"]).unwrap()]);
        let user = tokens.issue(Grant::user("jane").acl(all.clone())).await.unwrap();
        assert_eq!(get(&orders, user.access_token.expose()).await.0, 403);

        let elsewhere = Grant::new(SubjectType::Machine, "invoices").audience(BILLING).acl(all);
        let elsewhere = tokens.issue(elsewhere).await.unwrap();
        assert_eq!(get(&orders, elsewhere.access_token.expose()).await.0, 401);

        let (other, _) = token_service().await.unwrap();
        let id = EntityId::machine("reports").unwrap();
        let forged = other.issue_for(&id).await.unwrap();
        assert_eq!(get(&orders, forged.access_token.expose()).await.0, 401);
    }

    #[tokio::test]
    async fn while_the_keys_cannot_be_fetched_a_token_is_a_503_and_not_a_401() {
        let (tokens, _) = token_service().await.unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        drop(taken);
        let orders = orders(&format!("http://{address}/.well-known/jwks.json")).unwrap();
        let token = tokens.issue_for(&EntityId::machine("reports").unwrap()).await.unwrap();
        assert_eq!(get(&orders, token.access_token.expose()).await.0, 503);
    }
}
