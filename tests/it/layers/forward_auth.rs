//! The route that proxies ask. `engines` has the proxies.

use countersign::cookies::SessionCookie;
use countersign::forward_auth::{Access, ForwardAuth};
use countersign::{Grant, OrganizationId, Policy, SubjectType, TrustedProxies};
use http::{HeaderName, Request};
use serde_json::json;

use crate::layers::{session, token_of, user_with};
use crate::support::log::Log;
use crate::support::{Answer, Fixture, ISSUER, Server};

/// A service that trusts these proxies.
fn trusting(proxies: &[&str]) -> Fixture {
    let policy = Policy::default()
        .http(|http| http.trusted_proxies(TrustedProxies::networks(proxies).unwrap()));
    Fixture::with(|builder| builder.policy(policy))
}

async fn serve(route: &ForwardAuth) -> Server {
    Server::start_with_addresses(route.router()).await
}

/// Asks as a proxy does, of a request with these headers.
async fn ask(
    server: &Server,
    (method, uri): (&str, &str),
    headers: &[(&'static str, &str)],
) -> Answer {
    let mut request = Request::get("/forward-auth")
        .header("x-forwarded-method", method)
        .header("x-forwarded-uri", uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.send(request.body("").unwrap()).await
}

#[tokio::test]
async fn a_good_token_is_a_200_with_who_the_caller_is_whatever_method_it_is_asked_by() {
    let fixture = trusting(&["127.0.0.1"]);
    let organization = OrganizationId::new("org_1").unwrap();
    let token = token_of(&fixture, Grant::user("Zo\u{eb} 100%").organization(organization));
    let server = serve(&fixture.tokens.forward_auth()).await;
    for method in ["GET", "HEAD", "POST", "DELETE", "PROPFIND"] {
        let request = Request::builder().method(method).uri("/forward-auth");
        let request = request.header("authorization", format!("Bearer {token}"));
        let answer = server.send(request.body("").unwrap()).await.expect(200);
        assert_eq!(answer.text(), "");
        assert_eq!(answer.header("x-auth-id"), "Zo%C3%AB%20100%25");
        assert_eq!(answer.header("x-auth-kind"), "user");
        assert_eq!(answer.header("x-auth-organization"), "org_1");
        let principal = format!("{ISSUER}|org_1|user|Zo%C3%AB%20100%2525");
        assert_eq!(answer.header("x-auth-principal"), principal);
        assert_eq!(answer.header("cache-control"), "private, no-store");
        assert!(!answer.headers().contains_key("authorization"));
    }
}

#[tokio::test]
async fn the_headers_are_of_the_hosts_choice_and_the_token_of_a_session_may_be_one() {
    let fixture = trusting(&["127.0.0.1"]);
    let opaque = session(&fixture).await;
    let route = fixture
        .tokens
        .forward_auth()
        .id_header(HeaderName::from_static("remote-user"))
        .kind_header(HeaderName::from_static("remote-kind"))
        .organization_header(HeaderName::from_static("remote-group"))
        .principal_header(HeaderName::from_static("remote-key"))
        .cookie(SessionCookie::new("__Host-shop").unwrap())
        .send_token();
    let server = serve(&route).await;
    let cookie = format!("__Host-shop={opaque}");
    let answer = ask(&server, ("GET", "/"), &[("cookie", &cookie)]).await.expect(200);
    assert_eq!(answer.header("remote-user"), "cus_1");
    assert_eq!(answer.header("remote-kind"), "customer");
    assert_eq!(answer.header("remote-key"), format!("{ISSUER}||customer|cus_1"));
    assert!(!answer.headers().contains_key("remote-group"));
    assert!(!answer.headers().keys().any(|name| name.as_str().starts_with("x-auth")));
    let jwt = answer.header("authorization").strip_prefix("Bearer ").unwrap();
    let validated = fixture.tokens.validator().validate(jwt).unwrap();
    assert_eq!(validated.principal().id(), "cus_1");
}

#[tokio::test]
async fn what_is_malformed_is_a_401_since_nginx_knows_no_400() {
    let fixture = trusting(&["127.0.0.1"]);
    let server = serve(&fixture.tokens.forward_auth().only([SubjectType::Machine])).await;
    let user = format!("Bearer {}", token_of(&fixture, Grant::user("jane")));
    for (headers, status, code) in [
        (vec![], 401, "missing-token"),
        (vec![("authorization", "Bearer a b")], 401, "malformed-credentials"),
        (vec![("authorization", "Bearer a.b.c")], 401, "invalid-token"),
        (vec![("cookie", "__Host-session=a; __Host-session=b")], 401, "malformed-credentials"),
        (vec![("authorization", user.as_str())], 403, "kind-not-admitted"),
    ] {
        let answer = ask(&server, ("GET", "/"), &headers).await.expect(status);
        assert_eq!(answer.json()["code"], code, "{headers:?}");
        assert!(answer.headers().contains_key("www-authenticate"));
        assert!(!answer.headers().keys().any(|name| name.as_str().starts_with("x-auth")));
    }
}

#[tokio::test]
async fn a_request_of_grpc_is_rejected_by_a_status_of_http() {
    let fixture = trusting(&["127.0.0.1"]);
    let server = serve(&fixture.tokens.forward_auth().require(|_| Access::denied())).await;
    let user = format!("Bearer {}", user_with(&fixture, json!({}), &["*"]));
    for media_type in ["application/grpc", "application/grpc+proto"] {
        let anonymous = [("content-type", media_type)];
        let answer = ask(&server, ("POST", "/orders.Orders/Get"), &anonymous).await.expect(401);
        assert_eq!(answer.json()["code"], "missing-token");
        let denied = [("content-type", media_type), ("authorization", user.as_str())];
        ask(&server, ("POST", "/orders.Orders/Get"), &denied).await.expect(403);
    }
}

#[tokio::test]
async fn a_rule_is_asked_of_the_original_request_within_a_scope_and_an_organization() {
    let fixture = trusting(&["127.0.0.1"]);
    let route = fixture.tokens.forward_auth().require(|request| {
        let get = request.method() == "GET";
        match request.segments()[..] {
            ["health"] => Access::any_caller(),
            ["organizations", id, "orders"] if get => {
                Access::permission("GetOrders").scope("organizationId", id)
            }
            ["orders"] => Access::permission("GetOrders").in_own_organization(),
            ["odd"] => Access::any_caller().scope("organizationId", "org_1"),
            ["odder"] => Access::any_caller().in_own_organization(),
            _ => Access::denied(),
        }
    });
    let server = serve(&route).await;
    let acl = crate::support::acl_of(json!([{"scope": {}, "permissions": ["GetOrders"]}]));
    let organization = OrganizationId::new("org_1").unwrap();
    let bound = token_of(&fixture, Grant::user("jane").acl(acl).organization(organization));
    let everything = user_with(&fixture, json!({}), &["*"]);
    for (token, method, uri, status) in [
        (&bound, "GET", "/health?x", 200),
        (&bound, "GET", "/organizations/org_1/orders", 200),
        (&bound, "GET", "/organizations/org%5F1/orders", 200),
        (&bound, "GET", "/organizations/org_2/orders", 403),
        (&bound, "POST", "/organizations/org_1/orders", 403),
        (&bound, "POST", "/orders", 200),
        (&everything, "POST", "/orders", 200),
        (&everything, "GET", "/organizations/org_2/orders", 200),
        (&everything, "GET", "/odd", 403),
        (&everything, "GET", "/odder", 403),
        (&everything, "GET", "/", 403),
        (&everything, "GET", "/health/../admin", 403),
        (&everything, "GET", "/health#/../admin", 403),
    ] {
        let bearer = format!("Bearer {token}");
        let answer = ask(&server, (method, uri), &[("authorization", &bearer)]).await;
        assert_eq!(answer.status(), status, "{method} {uri}: {answer:?}");
    }
}

#[tokio::test]
async fn what_a_peer_that_is_no_proxy_says_of_the_original_request_is_not_believed() {
    let log = Log::default();
    let _guard = log.listen();
    let fixture = trusting(&["192.0.2.0/24"]);
    let open = fixture.tokens.forward_auth();
    let closed = open.clone().require(|_| Access::any_caller());
    let (open, closed) = (serve(&open).await, serve(&closed).await);
    let user = format!("Bearer {}", user_with(&fixture, json!({}), &["*"]));
    let answer = ask(&closed, ("GET", "/"), &[("authorization", &user)]).await.expect(403);
    assert_eq!(answer.json()["code"], "unclear-request");
    assert!(log.text().contains("untrusted_proxy"), "{}", log.text());
    ask(&open, ("GET", "/"), &[("authorization", &user)]).await.expect(200);
    // A cookie counts as with a method that changes something.
    let cookie = format!("__Host-session={}", session(&fixture).await);
    let of = async |site: &str| {
        let headers = [("cookie", cookie.as_str()), ("sec-fetch-site", site)];
        ask(&open, ("GET", "/"), &headers).await.status().as_u16()
    };
    assert_eq!((of("same-origin").await, of("cross-site").await), (200, 403));
}

#[tokio::test]
async fn a_trusted_proxy_that_says_nothing_or_two_things_is_not_believed() {
    let fixture = trusting(&["127.0.0.1"]);
    let server = serve(&fixture.tokens.forward_auth().require(|_| Access::any_caller())).await;
    let user = format!("Bearer {}", user_with(&fixture, json!({}), &["*"]));
    let request = Request::get("/forward-auth").header("authorization", &user);
    let answer = server.send(request.body("").unwrap()).await.expect(403);
    assert_eq!(answer.json()["code"], "unclear-request");
    for (name, value) in [
        ("x-original-uri", "/public"),
        ("x-forwarded-uri", "/public"),
        ("x-original-method", "HEAD"),
        ("x-forwarded-method", "HEAD"),
    ] {
        let headers = [("authorization", user.as_str()), (name, value)];
        let answer = ask(&server, ("GET", "/admin"), &headers).await.expect(403);
        assert_eq!(answer.json()["code"], "unclear-request", "{name}");
    }
}

#[tokio::test]
async fn a_hook_shapes_what_the_route_rejects() {
    let policy = Policy::default()
        .http(|http| http.trusted_proxies(TrustedProxies::networks(["127.0.0.1"]).unwrap()));
    let fixture = Fixture::with(|builder| {
        builder.policy(policy).reject_with(|rejection, request| {
            let uri = request.headers.get("x-forwarded-uri").unwrap().to_str().unwrap();
            let login = format!("/login?from={uri}");
            (http::StatusCode::SEE_OTHER, [("location", login)], rejection.code())
        })
    });
    let server = serve(&fixture.tokens.forward_auth().require(|_| Access::denied())).await;
    let answer = ask(&server, ("GET", "/orders"), &[]).await.expect(303);
    assert_eq!(
        (answer.header("location"), answer.text().as_str()),
        ("/login?from=/orders", "missing-token")
    );
    let user = format!("Bearer {}", user_with(&fixture, json!({}), &["*"]));
    let answer = ask(&server, ("GET", "/orders"), &[("authorization", &user)]).await.expect(303);
    assert_eq!(answer.text(), "insufficient-permission");
}
