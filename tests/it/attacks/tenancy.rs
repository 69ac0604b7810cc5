//! A principal of one organization on the routes of another.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use countersign::layers::require::CheckedScope;
use countersign::{
    Acl, AclEntry, Actor, Bearer, Caller, Entity, ErrorKind, ExchangeRequest, Grant, NewSession,
    Organization, OrganizationId, Password, Policy, RequestContext, Requirement, TokenService,
};
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use serde_json::json;
use tower::{Layer as _, ServiceExt as _};

use crate::support::log::Log;
use crate::support::{Fixture, PASSWORD, Server, issue_now};

fn organization(id: &str) -> OrganizationId {
    OrganizationId::new(id).unwrap()
}

fn anywhere(permissions: &[&str]) -> Acl {
    Acl::new([AclEntry::anywhere(permissions.iter().copied()).unwrap()])
}

/// The token of a user whose list is not scoped, as a host writes it that leaves organizations to the
/// token's own.
fn token_of(fixture: &Fixture, organization: impl Into<Organization>) -> String {
    let grant = Grant::user("ops@example.com").acl(Acl::everything()).organization(organization);
    issue_now(&fixture.tokens, grant).unwrap().access_token.expose().to_owned()
}

struct GetOrders;

impl Requirement for GetOrders {
    const PERMISSION: Option<&'static str> = Some("GetOrders");
    const SCOPE_FROM_PATH: &'static [&'static str] = &["organizationId"];
}

struct GetOwnOrders;

impl Requirement for GetOwnOrders {
    const PERMISSION: Option<&'static str> = Some("GetOrders");
    const IN_OWN_ORGANIZATION: bool = true;
}

async fn register_machine(
    State(tokens): State<TokenService>,
    Path(id): Path<String>,
) -> Result<(), StatusCode> {
    let machine = Entity::machine("made-by-a-handler").unwrap().organization(organization(&id));
    tokens.register(machine).await.map_err(|_| StatusCode::CONFLICT)
}

#[tokio::test]
async fn a_caller_of_one_organization_gets_nothing_on_the_routes_of_another() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let require = || tokens.require_layer("GetOrders").scope_from_path("organizationId");
    let orders = || Router::new().route("/orders", get(async || "orders"));
    let by_demand =
        get(async |caller: Caller<GetOrders>| caller.scope("organizationId").map(str::to_owned));
    let app = Router::new()
        .route("/route/{organizationId}/orders", get(async || "orders").route_layer(require()))
        .nest("/nest/{organizationId}", orders().layer(require()))
        .route("/demand/{organizationId}/orders", by_demand)
        .route(
            "/machines/{organizationId}",
            post(register_machine).route_layer(require()).with_state(tokens.clone()),
        )
        .layer(tokens.validate_layer())
        .merge(
            Router::new()
                .route("/layer/{organizationId}/orders", get(async |_: Bearer| "orders"))
                .layer(tokens.validate_layer().organization_from_path("organizationId")),
        )
        .merge(
            Router::new()
                .route("/exchange/{organizationId}/orders", get(async |_: Bearer| "orders"))
                .layer(tokens.exchange_layer().organization_from_path("organizationId")),
        );
    let server = Server::start(app).await;
    let bound = token_of(&fixture, organization("org_1"));
    let free = token_of(&fixture, Organization::All);
    for mount in ["route", "nest", "demand", "layer"] {
        let path = |id: &str| format!("/{mount}/{id}/orders");
        server.get(&path("org_1"), Some(&bound)).await.expect(200);
        server.get(&path("org_2"), Some(&free)).await.expect(200);
        for other in ["org_2", "ORG_1", "org_1%20", "org_1%00", "%FF"] {
            server.get(&path(other), Some(&bound)).await.expect(403);
        }
    }
    server.post("/machines/org_2", Some(&bound), &json!({})).await.expect(403);
    server.post("/machines/org_1", Some(&bound), &json!({})).await.expect(200);
    let session =
        fixture.session(|new| new.acl(Acl::everything()).organization(organization("org_1"))).await;
    server.get("/exchange/org_1/orders", Some(&session)).await.expect(200);
    server.get("/exchange/org_2/orders", Some(&session)).await.expect(403);
}

#[tokio::test]
async fn where_no_organization_is_named_a_bound_caller_holds_nothing_but_in_its_own() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let own = get(async |caller: Caller<GetOwnOrders>| {
        caller.organization_id().map_or("all", OrganizationId::as_str).to_owned()
    });
    let by_layer = get(async |scope: CheckedScope| scope.get("organizationId").unwrap().to_owned())
        .route_layer(tokens.require_layer("GetOrders").in_own_organization());
    let app = Router::new()
        .route(
            "/everybody",
            get(async || "orders of all").route_layer(tokens.require_layer("GetOrders")),
        )
        .route("/own", own)
        .route("/own-by-layer", by_layer)
        .layer(tokens.validate_layer());
    let server = Server::start(app).await;
    let bound = token_of(&fixture, organization("org_1"));
    let free = token_of(&fixture, Organization::All);
    let answer = server.get("/everybody", Some(&bound)).await.expect(403);
    let detail = "The access token is bound to an organization, and grants nothing outside it";
    assert_eq!(answer.json()["detail"], detail);
    server.get("/everybody", Some(&free)).await.expect(200);
    assert_eq!(server.get("/own", Some(&bound)).await.expect(200).text(), "org_1");
    assert_eq!(server.get("/own-by-layer", Some(&bound)).await.expect(200).text(), "org_1");
    assert_eq!(server.get("/own", Some(&free)).await.expect(200).text(), "all");
}

#[tokio::test]
async fn a_list_that_is_not_scoped_gives_no_more_than_the_organization_at_an_exchange() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let session = fixture
        .session(|new| new.acl(anywhere(&["GetOrders"])).organization(organization("org_1")))
        .await;
    let session = countersign::AuthenticationToken::from_text(&session).unwrap();
    let ask = async |acl: Acl| {
        let request = ExchangeRequest::default().acl(acl).invalidate(false);
        tokens.exchange(&session, request, &RequestContext::without_address()).await
    };
    let at =
        |id: &str| Acl::new([AclEntry::new([("organizationId", [id])], ["GetOrders"]).unwrap()]);
    // What is not scoped is read within the organization, and what is, is compared with it.
    ask(anywhere(&["GetOrders"])).await.unwrap();
    ask(at("org_1")).await.unwrap();
    assert_eq!(ask(at("org_2")).await.unwrap_err().kind(), ErrorKind::AclExceedsGrant);
    assert_eq!(ask(anywhere(&["PostOrder"])).await.unwrap_err().kind(), ErrorKind::AclExceedsGrant);

    // A bearer of another organization widens nothing, whatever its list.
    let foreign = tokens.validator().validate(&token_of(&fixture, organization("org_2"))).unwrap();
    let request = ExchangeRequest::default().acl(anywhere(&["PostOrder"])).bearer(foreign);
    let refused = tokens
        .exchange(&session, request.invalidate(false), &RequestContext::without_address())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AclExceedsGrant);
    let own = tokens.validator().validate(&token_of(&fixture, organization("org_1"))).unwrap();
    let request = ExchangeRequest::default().acl(anywhere(&["PostOrder"])).bearer(own);
    let widened = tokens
        .exchange(&session, request.invalidate(false), &RequestContext::without_address())
        .await
        .unwrap();
    let widened = tokens.validator().validate(widened.token.access_token.expose()).unwrap();
    assert!(widened.allows("PostOrder", &[("organizationId", "org_1")]));
    assert!(!widened.allows("PostOrder", &[("organizationId", "org_2")]));
}

#[tokio::test]
async fn a_parameter_that_the_route_does_not_have_is_a_500_that_names_it() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let twice = Router::new().route("/plans/{planId}", get(async || "plan"));
    let app = Router::new()
        .route(
            "/organizations/{organizationId}/orders",
            get(async || "orders")
                .route_layer(tokens.require_layer("GetOrders").scope_from_path("orgId")),
        )
        .route("/demand/{orgId}", get(async |_: Caller<GetOrders>| "orders"))
        .nest(
            "/twice/{planId}",
            twice.route_layer(tokens.require_layer("GetPlan").scope_from_path("planId")),
        )
        .layer(tokens.validate_layer())
        .merge(
            Router::new()
                .route("/layer/{orgId}", get(async || "orders"))
                .layer(tokens.validate_layer().organization_from_path("organizationId")),
        );
    let server = Server::start(app).await;
    let free = token_of(&fixture, Organization::All);
    for (path, name) in [
        ("/organizations/org_1/orders", "orgId"),
        ("/demand/org_1", "organizationId"),
        ("/twice/p_1/plans/p_2", "planId"),
        ("/layer/org_1", "organizationId"),
    ] {
        let log = Log::default();
        let listening = log.listen();
        server.get(path, Some(&free)).await.expect(500);
        drop(listening);
        let errors = log.errors();
        assert_eq!(errors.len(), 1, "{path}: {errors:?}");
        assert!(errors[0].contains(&format!("parameter=\"{name}\"")), "{errors:?}");
    }
}

#[tokio::test]
async fn a_layer_outside_of_the_router_that_is_to_read_a_parameter_is_a_500() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let app = Router::new().route("/{organizationId}/orders", get(async || "orders"));
    let token = token_of(&fixture, organization("org_2"));
    let request = || {
        let request = Request::get("/org_1/orders");
        request.header(AUTHORIZATION, format!("Bearer {token}")).body(Body::empty()).unwrap()
    };
    let layer = tokens.validate_layer().organization_from_path("organizationId");
    let response = layer.layer(app.clone()).oneshot(request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let layer = tokens.require_layer("GetOrders").scope_from_path("organizationId");
    let layers = (tokens.validate_layer(), layer);
    let response = layers.layer(app).oneshot(request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn what_a_fallback_answers_is_of_no_organization() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let app = Router::new()
        .route("/{organizationId}/orders", get(async || "orders"))
        .fallback(async || (StatusCode::NOT_FOUND, "the fallback"))
        .layer(tokens.require_layer("GetOrders").scope_from_path("organizationId"))
        .layer(tokens.validate_layer().organization_from_path("organizationId"));
    let nested = Router::new().nest("/api", app.clone());
    for (app, base) in [(app, ""), (nested, "/api")] {
        let server = Server::start(app).await;
        let log = Log::default();
        let listening = log.listen();
        let path = format!("{base}/no/such/route");
        server.get(&path, Some(&token_of(&fixture, organization("org_1")))).await.expect(403);
        server.get(&path, Some(&token_of(&fixture, Organization::All))).await.expect(403);
        drop(listening);
        assert!(log.errors().is_empty(), "whoever asks for what is not there fills no log");
    }
}

#[tokio::test]
async fn the_router_serves_nobody_where_it_is_mounted_below_a_parameter_that_it_does_not_read() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    fixture.user("ops@example.com", json!([])).await;
    let login = json!({"username": "ops@example.com", "password": PASSWORD});
    for (mount, path) in [
        ("/organizations/{orgId}", "/organizations/org_1"),
        ("/{region}/organizations/{organizationId}", "/eu/organizations/org_1"),
        ("/a/{organizationId}/{other}", "/a/org_1/b"),
    ] {
        let server = Server::start(Router::new().nest(mount, tokens.router())).await;
        let log = Log::default();
        let listening = log.listen();
        for route in ["/user/token/generate", "/entity/token/generate", "/authentication-tokens"] {
            server.post(&format!("{path}{route}"), None, &login).await.expect(500);
        }
        for route in ["/entity/secret/read", "/entity/secret/reset"] {
            let body = json!({"ver": "1.0.0", "timestamp": "2026-01-01T00:00:00Z", "txnId": "a", "entityId": "a"});
            let token = token_of(&fixture, Organization::All);
            server.post(&format!("{path}{route}"), Some(&token), &body).await.expect(500);
        }
        server.get(&format!("{path}/authentication-tokens/abc"), None).await.expect(500);
        drop(listening);
        assert!(log.errors().iter().all(|line| line.contains("organization_parameter")));
        assert!(!log.errors().is_empty());
    }
    let policy = Policy::default().http(|http| http.organization_parameter("orgId"));
    let other = Fixture::with(|builder| builder.policy(policy));
    other.user("ops@example.com", json!([])).await;
    let server =
        Server::start(Router::new().nest("/organizations/{orgId}", other.tokens.router())).await;
    // Confined, to an organization that the user is not of.
    server.post("/organizations/org_1/user/token/generate", None, &login).await.expect(401);
}

#[tokio::test]
async fn a_handlers_context_is_confined_to_the_organization_in_its_path() {
    let fixture = Fixture::new();
    fixture.user("joan", json!([])).await;
    let hash = fixture.tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
    let user = Entity::user("jane", hash).unwrap().organization(organization("org_1"));
    fixture.tokens.register(user).await.unwrap();
    let log_in =
        async |State(tokens): State<TokenService>, context: RequestContext, name: String| {
            let password = Password::new(PASSWORD).unwrap();
            let issued = tokens.issue_user_token(&name, password, &context).await;
            issued.map(drop).map_err(|error| match error.kind() {
                ErrorKind::InvalidCredentials => StatusCode::UNAUTHORIZED,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            })
        };
    let app = Router::new()
        .route("/login", post(log_in))
        .route("/organizations/{organizationId}/login", post(log_in))
        .with_state(fixture.tokens.clone());
    let server = Server::start(app).await;
    for (path, jane, joan) in [
        ("/login", 401, 200),
        ("/organizations/org_1/login", 200, 401),
        ("/organizations/org_2/login", 401, 401),
        ("/organizations/%00/login", 401, 401),
        ("/organizations/%FF/login", 401, 401),
    ] {
        server.post_text(path, None, None, "jane").await.expect(jane);
        server.post_text(path, None, None, "joan").await.expect(joan);
    }
}

#[tokio::test]
async fn where_an_organization_is_required_what_says_none_gets_nothing() {
    let policy = Policy::default().principals(|principals| principals.organization_required(true));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let tokens = &fixture.tokens;
    let field = |error: countersign::Error| {
        assert_eq!(error.kind(), ErrorKind::InvalidFields);
        error.invalid_fields()[0].field.clone()
    };
    let unsaid = Entity::machine("aa-1").unwrap();
    assert_eq!(field(tokens.register(unsaid.clone()).await.unwrap_err()), "organization");
    assert_eq!(field(tokens.issue(Grant::user("jane")).await.unwrap_err()), "organization");
    let new = || NewSession::of(countersign::CustomerId::new("cus_1").unwrap());
    assert_eq!(
        field(
            tokens
                .start_session(Actor::Host, new(), &RequestContext::without_address())
                .await
                .unwrap_err()
        ),
        "organization"
    );
    for organization in [Organization::All, organization("org_1").into()] {
        tokens.issue(Grant::user("jane").organization(organization.clone())).await.unwrap();
        tokens
            .start_session(
                Actor::Host,
                new().organization(organization),
                &RequestContext::without_address(),
            )
            .await
            .unwrap();
    }
    tokens.register(unsaid.organization(Organization::All)).await.unwrap();
}

#[tokio::test]
async fn who_was_registered_without_an_organization_gets_no_token_once_one_is_required() {
    let store = countersign::store::MemoryStore::new();
    let build = |required: bool| {
        let policy =
            Policy::default().principals(|principals| principals.organization_required(required));
        Fixture::with(|builder| builder.policy(policy).entity_store(store.clone()))
    };
    let (before, after) = (build(false), build(true));
    before.user("jane", json!([])).await;
    let hash = before.tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
    let root = Entity::user("root", hash).unwrap().organization(Organization::All);
    before.tokens.register(root).await.unwrap();
    let log_in = async |fixture: &Fixture, name: &str| {
        let password = Password::new(PASSWORD).unwrap();
        let context = RequestContext::without_address();
        fixture.tokens.issue_user_token(name, password, &context).await.map_err(|e| e.kind())
    };
    log_in(&before, "jane").await.unwrap();
    assert_eq!(log_in(&after, "jane").await.unwrap_err(), ErrorKind::Configuration);
    log_in(&after, "root").await.unwrap();
}

#[tokio::test]
async fn a_session_on_a_bearers_word_belongs_to_the_organization_that_the_host_has_named() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let new = || NewSession::of(countersign::CustomerId::new("cus_1").unwrap());
    let desk = |of: Organization| tokens.validator().validate(&token_of(&fixture, of)).unwrap();
    let start = async |bearer: Organization, named: Option<Organization>, below: Option<&str>| {
        let new = match named {
            Some(named) => new().organization(named),
            None => new(),
        };
        let context = RequestContext::without_address();
        let context = match below {
            Some(id) => context.organization(organization(id)),
            None => context,
        };
        let new = new.acl(anywhere(&["GetOrders"]));
        let bearer = desk(bearer);
        let started = tokens.start_session(&bearer, new, &context).await;
        started.map_err(|error| error.kind())
    };
    let one = |id: &str| Organization::One(organization(id));
    let started = start(Organization::All, Some(one("org_1")), None).await.unwrap();
    let jwt = tokens
        .exchange(&started.token, ExchangeRequest::default(), &RequestContext::without_address())
        .await
        .unwrap();
    assert_eq!(jwt.organization_id, Some(organization("org_1")));
    let jwt = tokens.validator().validate(jwt.token.access_token.expose()).unwrap();
    assert_eq!(jwt.organization_id(), Some(&organization("org_1")));
    assert!(!jwt.allows("GetOrders", &[("organizationId", "org_2")]));
    // What is named and where it is asked for have to agree.
    let refused = ErrorKind::InsufficientPermission;
    assert_eq!(
        start(Organization::All, Some(one("org_1")), Some("org_2")).await.unwrap_err(),
        refused
    );
    assert_eq!(
        start(Organization::All, Some(Organization::All), Some("org_2")).await.unwrap_err(),
        refused
    );
    start(Organization::All, Some(Organization::All), None).await.unwrap();
    // A customer of the tenant who is blocked is blocked there.
    let blocked =
        tokens.principal(countersign::SubjectType::Customer, "cus_1", organization("org_1"));
    let until = tokens.now() + std::time::Duration::from_secs(60);
    tokens.block_subject(&blocked, until).await.unwrap();
    assert_eq!(
        start(Organization::All, Some(one("org_1")), None).await.unwrap_err(),
        ErrorKind::Disabled
    );
}

#[tokio::test]
async fn a_start_that_names_no_organization_is_rejected_where_one_is_required() {
    let policy = Policy::default().principals(|principals| principals.organization_required(true));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let server = Server::start(
        fixture.tokens.router().nest("/organizations/{organizationId}", fixture.tokens.router()),
    )
    .await;
    let bearer = token_of(&fixture, Organization::All);
    let body = json!({"mode": "passwordless", "customerId": "cus_1"});
    let answer = server.post("/authentication-tokens", Some(&bearer), &body).await.expect(422);
    assert_eq!(answer.json()["invalidFields"][0]["field"], "organization");
    let below = "/organizations/org_1/authentication-tokens";
    server.post(below, Some(&bearer), &body).await.expect(201);
}

#[tokio::test]
async fn a_token_is_issued_in_the_organization_of_the_registered_machine_client_alone() {
    let fixture = Fixture::new();
    let tokens = &fixture.tokens;
    let machine = Entity::machine("aa-1").unwrap().organization(organization("org_1"));
    tokens.register(machine).await.unwrap();
    let grant = || Grant::new(countersign::SubjectType::Machine, "aa-1").acl(Acl::everything());
    for other in [None, Some(Organization::All), Some(organization("org_2").into())] {
        let grant = match other {
            Some(other) => grant().organization(other),
            None => grant(),
        };
        let refused = tokens.issue(grant).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidFields);
        assert_eq!(refused.invalid_fields()[0].field, "organization");
    }
    let own = tokens.issue(grant().organization(organization("org_1"))).await.unwrap();
    fixture.clock.advance(std::time::Duration::from_secs(1));
    tokens.disable_entity(&countersign::EntityId::machine("aa-1").unwrap()).await.unwrap();
    assert!(tokens.validator().validate(own.access_token.expose()).is_err());
}

#[tokio::test]
async fn a_context_below_a_parameter_that_may_be_a_tenant_finds_nothing_where_one_is_required() {
    let policy = Policy::default().principals(|principals| principals.organization_required(true));
    let fixture = Fixture::with(|builder| builder.policy(policy));
    let hash = fixture.tokens.hash_password(Password::new(PASSWORD).unwrap()).await.unwrap();
    let jane = Entity::user("jane", hash).unwrap().organization(Organization::All);
    fixture.tokens.register(jane).await.unwrap();
    let log_in = async |State(tokens): State<TokenService>, context: RequestContext| {
        let password = Password::new(PASSWORD).unwrap();
        let issued = tokens.issue_user_token("jane", password, &context).await;
        if issued.is_ok() { StatusCode::OK } else { StatusCode::UNAUTHORIZED }
    };
    let app = Router::new()
        .route("/login", post(log_in))
        .route("/t/{tenant}/login", post(log_in))
        .with_state(fixture.tokens.clone());
    let server = Server::start(app).await;
    server.post("/login", None, &json!({})).await.expect(200);
    let log = Log::default();
    let listening = log.listen();
    server.post("/t/org_1/login", None, &json!({})).await.expect(401);
    drop(listening);
    assert!(log.errors()[0].contains("organization_parameter"), "{:?}", log.errors());
}
