//! An API with tenants: users and machine clients belong to organizations, and staff to all of them.
//!
//! ```text
//! cargo run --example tenants
//! curl -d username=jane -d password=correct-horse http://127.0.0.1:8080/organizations/org_1/user/token/generate
//! curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8080/organizations/org_1/orders     200
//! curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8080/organizations/org_2/orders     403
//! curl -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{"name": "till"}' http://127.0.0.1:8080/organizations/org_1/machines
//! curl -d id=$ID -d secret=$SECRET http://127.0.0.1:8080/organizations/org_1/entity/token/generate
//! curl -d username=staff -d password=correct-horse http://127.0.0.1:8080/staff/user/token/generate
//! cargo test --example tenants
//! ```
//!
//! Names of users are unique within an organization: each has a `jane`. `principals.organization_required` rejects what was
//! registered without an organization by mistake: staff say `Organization::All`.

#![allow(clippy::print_stdout, reason = "a program talks to its terminal")]

use std::net::SocketAddr;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use countersign::{
    Acl, AclEntry, Actor, Algorithm, Caller, Entity, EntityId, Error, KeyRing, Organization,
    OrganizationId, Password, Policy, Rejection, RequestContext, Requirement, SubjectType,
    TokenService,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tokens = token_service().await?;
    let housekeeping = tokens.start().await?;
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("org_1 and org_2 have a jane each, staff is of all; the password is correct-horse");
    let app = app(&tokens).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).await?;
    housekeeping.shutdown().await;
    Ok(())
}

async fn token_service() -> Result<TokenService, Error> {
    let tokens = TokenService::builder()
        .issuer("https://auth.example.com")
        .audience("https://api.example.com")
        .keys(KeyRing::generate(Algorithm::EdDSA)?)
        .policy(Policy::default().principals(|principals| principals.organization_required(true)))
        .build()?;
    for (name, organization) in [
        ("jane", OrganizationId::new("org_1")?.into()),
        ("jane", OrganizationId::new("org_2")?.into()),
        ("staff", Organization::All),
    ] {
        // Within the organization, whatever the list says.
        let may = Acl::new([AclEntry::anywhere(["GetOrders", "PostMachine"])?]);
        let hash = tokens.hash_password(Password::new("correct-horse")?).await?;
        let user = Entity::user(name, hash)?.organization(organization).acl(may);
        tokens.register(user).await?;
    }
    Ok(tokens)
}

fn app(tokens: &TokenService) -> Router {
    let layer = tokens.validate_layer().organization_from_path("organizationId");
    let own = Router::new()
        .route("/orders", get(orders))
        .route("/machines", post(add_machine))
        .layer(layer)
        .with_state(tokens.clone());
    Router::new()
        // Here the routes of the service find this organization's users and machine clients alone.
        .nest("/organizations/{organizationId}", own.merge(tokens.router()))
        .nest("/staff", tokens.router())
}

struct GetOrders;

impl Requirement for GetOrders {
    const PERMISSION: Option<&'static str> = Some("GetOrders");
    const SCOPE_FROM_PATH: &'static [&'static str] = &["organizationId"];
}

async fn orders(caller: Caller<GetOrders>) -> Result<String, Rejection> {
    Ok(format!("orders of {}, for {}\n", caller.scope("organizationId")?, caller.principal().id()))
}

struct PostMachine;

impl Requirement for PostMachine {
    const PERMISSION: Option<&'static str> = Some("PostMachine");
    const SCOPE_FROM_PATH: &'static [&'static str] = &["organizationId"];
    const KINDS: &'static [SubjectType] = &[SubjectType::User];
}

#[derive(Deserialize)]
struct NewMachine {
    name: String,
}

/// Registers a machine client of the organization, and shows its secret.
async fn add_machine(
    State(tokens): State<TokenService>,
    caller: Caller<PostMachine>,
    context: RequestContext,
    Json(new): Json<NewMachine>,
) -> Result<Json<Value>, Rejection> {
    let organization = OrganizationId::new(caller.scope("organizationId")?)?;
    // The ids of machine clients are unique in the service.
    let id = format!("{organization}.{}", new.name);
    let may = Acl::new([AclEntry::anywhere(["GetOrders"])?]);
    tokens.register(Entity::machine(&id)?.organization(organization).acl(may)).await?;
    let issued = tokens.read_secret(Actor::Host, &EntityId::machine(&id)?, None, &context).await?;
    Ok(Json(json!({"id": id, "secret": issued.secret.expose()})))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use countersign::ErrorKind;
    use http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    struct App(Router);

    impl App {
        async fn new() -> Self {
            Self(app(&token_service().await.unwrap()))
        }

        async fn send(&self, request: Request<String>) -> (u16, String) {
            let response = self.0.clone().oneshot(request.map(Body::from)).await.unwrap();
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            (status, String::from_utf8(body.to_vec()).unwrap())
        }

        async fn post_form(&self, path: &str, form: &str) -> (u16, Value) {
            let request = Request::post(path)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form.to_owned());
            let (status, body) = self.send(request.unwrap()).await;
            (status, serde_json::from_str(&body).unwrap())
        }

        async fn log_in(&self, mount: &str, name: &str) -> String {
            let form = format!("username={name}&password=correct-horse");
            let (_, body) = self.post_form(&format!("{mount}/user/token/generate"), &form).await;
            body["accessToken"].as_str().unwrap_or_default().to_owned()
        }

        async fn orders(&self, organization: &str, token: &str) -> u16 {
            let request = Request::get(format!("/organizations/{organization}/orders"))
                .header("authorization", format!("Bearer {token}"));
            self.send(request.body(String::new()).unwrap()).await.0
        }
    }

    #[tokio::test]
    async fn each_sees_their_own_organization_and_staff_sees_all() {
        let app = App::new().await;
        let jane = app.log_in("/organizations/org_1", "jane").await;
        let other_jane = app.log_in("/organizations/org_2", "jane").await;
        let staff = app.log_in("/staff", "staff").await;
        assert_eq!(app.orders("org_1", &jane).await, 200);
        assert_eq!(app.orders("org_2", &jane).await, 403);
        assert_eq!(app.orders("org_1", &other_jane).await, 403);
        assert_eq!(app.orders("org_2", &other_jane).await, 200);
        assert_eq!(app.orders("org_1", &staff).await, 200);
        assert_eq!(app.orders("org_2", &staff).await, 200);
    }

    #[tokio::test]
    async fn nobody_logs_in_where_they_do_not_belong() {
        let app = App::new().await;
        for (mount, name) in [
            ("/staff", "jane"),
            ("/organizations/org_1", "staff"),
            ("/organizations/org_3", "jane"),
        ] {
            assert_eq!(app.log_in(mount, name).await, "", "{mount} {name}");
        }
    }

    #[tokio::test]
    async fn a_machine_client_belongs_to_the_organization_that_it_was_made_in() {
        let app = App::new().await;
        let jane = app.log_in("/organizations/org_1", "jane").await;
        let add = async |organization: &str| {
            let request = Request::post(format!("/organizations/{organization}/machines"))
                .header("authorization", format!("Bearer {jane}"))
                .header("content-type", "application/json")
                .body(json!({"name": "till"}).to_string());
            app.send(request.unwrap()).await
        };
        assert_eq!(add("org_2").await.0, 403);
        let (status, body) = add("org_1").await;
        assert_eq!(status, 200, "{body}");
        let machine: Value = serde_json::from_str(&body).unwrap();
        let form = format!(
            "id={}&secret={}",
            machine["id"].as_str().unwrap(),
            machine["secret"].as_str().unwrap()
        );
        let (_, body) = app.post_form("/organizations/org_1/entity/token/generate", &form).await;
        let till = body["accessToken"].as_str().unwrap();
        assert_eq!(app.orders("org_1", till).await, 200);
        assert_eq!(app.orders("org_2", till).await, 403);
        let elsewhere = app.post_form("/organizations/org_2/entity/token/generate", &form).await;
        assert_eq!(elsewhere.0, 401);
        let (status, body) = add("org_1").await;
        assert_eq!(status, 409, "{body}");
    }

    #[tokio::test]
    async fn who_says_nothing_of_organizations_is_not_registered() {
        let tokens = token_service().await.unwrap();
        let error = tokens.register(Entity::machine("aa-1").unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidFields);
    }
}
