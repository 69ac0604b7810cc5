//! The routes within a host's router: what is theirs, and below an organization.

use std::sync::Arc;

use axum::Router;
use countersign::{Entity, Organization, OrganizationId};
use http::{Method, Request};

use super::{
    ENTITY_TOKEN, JSON, READ, RESET, ROUTES, SECRET, TRANSACTION, assert_envelope, assert_error,
    assert_uuid, complete, complete_for, manager, service,
};
use crate::support::{Fixture, Server};

#[tokio::test]
async fn another_method_is_a_405_that_names_the_one_there_is() {
    let (_fixture, server) = service().await;
    for route in ROUTES {
        for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            let request = Request::builder().method(method).uri(route).body("").unwrap();
            let answer = server.send(request).await;
            let message = "This route takes POST alone";
            assert_error(&answer, 405, "Method Not Allowed", message);
            assert_eq!(answer.header("allow"), "POST", "{method} {route}");
            assert_uuid(&answer.json()["txnId"]);
        }
        let request = Request::builder().method(Method::HEAD).uri(route).body("").unwrap();
        let answer = server.send(request).await.expect(405);
        assert_eq!(answer.header("allow"), "POST");
        assert_eq!(answer.header("content-type"), JSON);
    }
}

#[tokio::test]
async fn an_unknown_path_is_the_hosts_to_answer() {
    let fixture = Fixture::new();
    fixture.machine("aa-1", SECRET).await;
    let host = Router::new()
        .route("/orders", axum::routing::get(|| async { "the host's orders" }))
        .merge(fixture.tokens.router())
        .nest("/iam/v1", fixture.tokens.router())
        .fallback(|| async { (http::StatusCode::IM_A_TEAPOT, "the host's fallback") });
    let server = Server::start(host).await;
    assert_eq!(server.get("/orders", None).await.expect(200).text(), "the host's orders");
    for unknown in
        ["/", "/user", "/user/token/generate/", "/entity/secret", "/iam/v1/unknown", "/iam/v1"]
    {
        let answer = server.post(unknown, None, &complete()).await.expect(418);
        assert_eq!(answer.text(), "the host's fallback", "{unknown}");
    }
    server.post(ENTITY_TOKEN, None, &complete()).await.expect(200);
    server.post("/iam/v1/entity/token/generate", None, &complete()).await.expect(200);
    let wrong_method = server.get("/iam/v1/entity/token/generate", None).await;
    assert_error(&wrong_method, 405, "Method Not Allowed", "This route takes POST alone");
}

#[tokio::test]
async fn the_router_serves_in_a_host_that_has_a_state_of_its_own() {
    let fixture = Fixture::new();
    fixture.machine("aa-1", SECRET).await;
    let greet = |axum::extract::State(name): axum::extract::State<Arc<str>>| async move {
        format!("hello {name}")
    };
    let host: Router = Router::new()
        .route("/greet", axum::routing::get(greet))
        .merge(fixture.tokens.router())
        .with_state(Arc::<str>::from("host"));
    let server = Server::start(host).await;
    assert_eq!(server.get("/greet", None).await.text(), "hello host");
    server.post(ENTITY_TOKEN, None, &complete()).await.expect(200);
}

#[tokio::test]
async fn below_an_organization_only_its_own_entities_are_managed() {
    let fixture = Fixture::new();
    for (id, organization) in [("of-1", Some("org_1")), ("of-2", Some("org_2")), ("of-none", None)]
    {
        let organization = organization
            .map_or(Organization::All, |id| Organization::One(OrganizationId::new(id).unwrap()));
        let entity = Entity::machine(id).unwrap().organization(organization);
        fixture.tokens.register(entity).await.unwrap();
    }
    let nested = Router::new().nest("/organizations/{organizationId}", fixture.tokens.router());
    let server = Server::start(nested).await;
    let manager = manager(&fixture);
    for (organization, entity, status) in [
        ("org_1", "of-1", 200),
        ("org_2", "of-2", 200),
        ("org%5F1", "of-1", 200),
        ("org_1", "of-2", 401),
        ("org_1", "of-none", 401),
        ("ORG_1", "of-1", 401),
        ("org_1%20", "of-1", 401),
        ("%20", "of-none", 401),
        ("%FF", "of-none", 401),
    ] {
        for route in [RESET, READ] {
            let path = format!("/organizations/{organization}{route}");
            let answer =
                server.post(&path, Some(&manager), &complete_for(entity)).await.expect(status);
            assert_eq!(assert_envelope(&answer)["txnId"], TRANSACTION);
        }
    }
}
