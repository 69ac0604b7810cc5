//! Routes and methods that a layer was believed to guard.

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use countersign::layers::require::CheckedScope;
use countersign::testing::every_route_rejects_anonymous;
use countersign::{Acl, Bearer, Caller, Grant, Requirement};
use http::{Method, Request};
use serde_json::json;

use crate::support::log::Log;
use crate::support::{Fixture, Server, acl_of, issue_now};

struct GetOrders;

impl Requirement for GetOrders {
    const PERMISSION: Option<&'static str> = Some("GetOrders");
}

fn token_of(fixture: &Fixture, acl: Acl) -> String {
    let grant = Grant::user("ops@example.com").acl(acl);
    issue_now(&fixture.tokens, grant).unwrap().access_token.expose().to_owned()
}

async fn orders(caller: Caller<GetOrders>) -> String {
    format!("orders for {}", caller.principal().id())
}

#[tokio::test]
async fn a_demand_in_the_signature_holds_for_every_method_and_mount() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let app = Router::new()
        .route("/", get(orders).post(orders).delete(orders))
        .nest("/nested", Router::new().route("/orders", get(orders)).fallback(orders))
        .layer(tokens.validate_layer().optional());
    let server = Server::start(app).await;
    let allowed = token_of(&fixture, acl_of(json!([{"scope": {}, "permissions": ["GetOrders"]}])));
    let denied = token_of(&fixture, acl_of(json!([{"scope": {}, "permissions": ["PostOrder"]}])));
    for (method, path) in [
        (Method::GET, "/"),
        (Method::HEAD, "/"),
        (Method::POST, "/"),
        (Method::DELETE, "/"),
        (Method::GET, "/nested/orders"),
        (Method::PATCH, "/nested/no/such/route"),
    ] {
        let ask = async |token: Option<&str>| {
            let mut request = Request::builder().method(method.clone()).uri(path);
            if let Some(token) = token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            server.send(request.body(String::new()).unwrap()).await
        };
        ask(None).await.expect(401);
        ask(Some(&denied)).await.expect(403);
        ask(Some(&allowed)).await.expect(200);
    }
}

#[tokio::test]
async fn a_demand_without_a_layer_that_validates_is_a_500_that_names_it() {
    let server = Server::start(Router::new().route("/", get(orders))).await;
    let log = Log::default();
    let listening = log.listen();
    server.get("/", None).await.expect(500);
    drop(listening);
    let errors = log.errors();
    let names_both =
        |line: &String| line.contains("ValidateLayer is missing") && line.contains("Caller");
    assert!(errors.iter().any(names_both), "{errors:?}");
}

#[tokio::test]
async fn what_is_open_is_found_by_a_test_of_the_host() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let app = |open: Router| {
        Router::new()
            .route("/closed", get(async |_: Bearer| "closed").post(async |_: Bearer| "closed"))
            .layer(tokens.validate_layer())
            .merge(open)
    };
    every_route_rejects_anonymous(app(Router::new()), ["/closed"]).await;

    let must = || tokens.validate_layer();
    let method = get(async || "list").route_layer(must()).post(async || "create");
    let method = Router::new().route("/method", method);
    let late = Router::new().layer(must()).route("/late", get(async || "late"));
    let optional = Router::new()
        .route("/optional", get(async |_: Option<Bearer>| "optional"))
        .layer(must().optional());
    for (open, path, named) in [
        (method, "/method", "POST /method"),
        (late, "/late", "GET /late"),
        (optional, "/optional", "GET /optional"),
        (Router::new(), "/no-such-route", "GET /no-such-route"),
    ] {
        let app = app(open);
        let check = tokio::spawn(async move {
            every_route_rejects_anonymous(app, ["/closed", path]).await;
        });
        let panic = check.await.unwrap_err().into_panic();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains(named), "{message}");
    }
}

#[tokio::test]
async fn a_handler_finds_what_the_layer_has_checked() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let plan = async |scope: CheckedScope| scope.get("planId").unwrap_or("none").to_owned();
    let by_query = tokens
        .require_layer("GetPlan")
        .scope("planId", |request| request.uri.query()?.strip_prefix("plan=").map(str::to_owned));
    let app = Router::new()
        .route(
            "/path/{planId}",
            get(plan).route_layer(tokens.require_layer("GetPlan").scope_from_path("planId")),
        )
        .route("/query", get(plan).route_layer(by_query))
        .route("/unchecked", get(plan).route_layer(tokens.require_layer("GetPlan")))
        // Two layers that ask about different things under one key.
        .route(
            "/torn/{planId}",
            get(async |scope: Option<CheckedScope>, Path(id): Path<String>| {
                format!("{:?} {id}", scope.unwrap().get("planId"))
            })
            .route_layer(tokens.require_layer("GetPlan").scope_from_path("planId"))
            .route_layer(
                tokens.require_layer("GetPlan").scope("planId", |_| Some("p_2".to_owned())),
            ),
        )
        .layer(tokens.validate_layer());
    let server = Server::start(app).await;
    let token = token_of(
        &fixture,
        acl_of(json!([{"scope": {"planId": ["p_1", "p_2"]}, "permissions": ["GetPlan"]}])),
    );
    let everything = token_of(&fixture, Acl::everything());
    assert_eq!(server.get("/path/p_1", Some(&token)).await.expect(200).text(), "p_1");
    assert_eq!(server.get("/path/p%5F1", Some(&token)).await.expect(200).text(), "p_1");
    assert_eq!(server.get("/query?plan=p_2", Some(&token)).await.expect(200).text(), "p_2");
    server.get("/query?plan=p_3", Some(&token)).await.expect(403);
    server.get("/query", Some(&token)).await.expect(403);
    assert_eq!(server.get("/query?plan=x", Some(&everything)).await.expect(200).text(), "x");
    // Nothing was checked, and the handler is not told otherwise.
    server.get("/query", Some(&everything)).await.expect(500);
    server.get("/unchecked", Some(&everything)).await.expect(500);
    server.get("/torn/p_1", Some(&token)).await.expect(403);
    assert_eq!(server.get("/torn/p_2", Some(&token)).await.expect(200).text(), "Some(\"p_2\") p_2");
}
