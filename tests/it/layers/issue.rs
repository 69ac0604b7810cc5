use std::convert::Infallible;

use axum::Router;
use axum::response::{AppendHeaders, IntoResponse as _};
use axum::routing::post;
use countersign::cookies::{SameSite, SessionCookie};
use countersign::{
    Acl, AclEntry, Algorithm, Grant, Issue, ManagedKeys, Policy, SubjectType, TokenService,
};
use http::{HeaderName, Request, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt as _, service_fn};

use crate::layers::{assert_rejected, issuing, post_to, text_of};
use crate::support::log::Log;
use crate::support::{AUDIENCE, Answer, Fixture, ISSUER, START, Server, issue_now};

#[track_caller]
fn assert_token(fixture: &Fixture, token: &str) {
    let validated = fixture.tokens.validator().validate(token).unwrap();
    assert_eq!(validated.principal().id(), "ops@example.com");
    assert_eq!(validated.principal().subject_type(), SubjectType::User);
    assert_eq!(validated.expires_at().as_secs(), START + 86_400);
    assert_eq!(validated.acl(), Acl::everything());
}

#[tokio::test]
async fn what_a_handler_grants_becomes_a_token_in_json() {
    let fixture = Fixture::new();
    let server = Server::start(issuing().layer(fixture.tokens.issue_layer())).await;
    let answer = post_to(&server, "/login").await.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-type"), "application/json");
    let body = answer.json();
    let token = body["accessToken"].as_str().unwrap();
    assert_eq!(body, json!({"accessToken": token, "expiresIn": 86_400, "tokenType": "Bearer"}));
    assert_token(&fixture, token);
}

#[tokio::test]
async fn other_headers_of_a_handler_that_grants_a_token_are_kept() {
    let fixture = Fixture::new();
    let handler = async || {
        let cookies = AppendHeaders([("set-cookie", "state=; Max-Age=0"), ("x-a", "b")]);
        (cookies, Issue::grant(Grant::user("ops@example.com").acl(Acl::everything())))
    };
    let app = Router::new().route("/login", post(handler));
    let server = Server::start(app.layer(fixture.tokens.issue_layer().as_cookie())).await;
    let answer = post_to(&server, "/login").await.expect(204);
    assert_eq!(answer.header("x-a"), "b");
    let cookies: Vec<_> = answer.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies.len(), 2);
    assert_eq!(cookies[0], "state=; Max-Age=0");
    assert!(cookies[1].to_str().unwrap().starts_with("__Host-session="));
    assert!(answer.headers().get("content-type").is_none());
}

#[tokio::test]
async fn what_cannot_be_issued_yet_is_a_503_and_no_fault_of_the_host() {
    let tokens = TokenService::builder()
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .keys(ManagedKeys::new(Algorithm::EdDSA))
        .build()
        .unwrap();
    let server = Server::start(issuing().layer(tokens.issue_layer())).await;
    let answer = post_to(&server, "/login").await.expect(503);
    assert!(!answer.header("retry-after").is_empty());
    tokens.catch_up().await.unwrap();
    post_to(&server, "/login").await.expect(200);
}

#[tokio::test]
async fn what_a_handler_grants_becomes_a_token_in_a_header() {
    let fixture = Fixture::new();
    let layer = fixture.tokens.issue_layer().as_header(HeaderName::from_static("x-token"));
    let server = Server::start(issuing().layer(layer)).await;
    let answer = post_to(&server, "/login").await.expect(204);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.text(), "");
    assert_token(&fixture, answer.header("x-token"));
    let answer = post_to(&server, "/form").await.expect(303);
    assert_eq!(answer.header("location"), "/home");
    assert_token(&fixture, answer.header("x-token"));
}

#[tokio::test]
async fn what_a_handler_grants_becomes_a_cookie_that_scripts_and_plain_http_do_not_get() {
    let fixture = Fixture::new();
    let cookie = |answer: &Answer| -> (String, String) {
        let (pair, attributes) = answer.header("set-cookie").split_once("; ").unwrap();
        let (name, token) = pair.split_once('=').unwrap();
        assert_token(&fixture, token);
        assert_eq!(answer.header("cache-control"), "no-store");
        (name.to_owned(), attributes.to_owned())
    };
    let server = Server::start(issuing().layer(fixture.tokens.issue_layer().as_cookie())).await;
    let plain = post_to(&server, "/login").await.expect(204);
    let form = post_to(&server, "/form").await.expect(303);
    assert_eq!(form.header("location"), "/home");
    for answer in [plain, form] {
        let (name, attributes) = cookie(&answer);
        assert_eq!(name, "__Host-session");
        assert_eq!(attributes, "Path=/; Max-Age=86400; HttpOnly; Secure; SameSite=Lax");
    }
    for (same_site, written) in
        [(SameSite::Strict, "Strict"), (SameSite::Lax, "Lax"), (SameSite::None, "None")]
    {
        let shop = SessionCookie::dangerous_without_prefix("shop").unwrap().same_site(same_site);
        let layer = fixture.tokens.issue_layer().as_session_cookie(shop);
        let server = Server::start(issuing().layer(layer)).await;
        let (name, attributes) = cookie(&post_to(&server, "/login").await.expect(204));
        assert_eq!(name, "shop");
        let expected = format!("Path=/; Max-Age=86400; HttpOnly; Secure; SameSite={written}");
        assert_eq!(attributes, expected);
    }
}

#[tokio::test]
async fn answers_that_grant_nothing_go_out_as_they_are() {
    let fixture = Fixture::new();
    for layer in [fixture.tokens.issue_layer(), fixture.tokens.issue_layer().as_cookie()] {
        let server = Server::start(issuing().layer(layer)).await;
        let answer = post_to(&server, "/other").await.expect(202);
        assert_eq!(answer.text(), "not a token");
        assert_eq!(answer.header("x-a"), "b");
        assert!(!answer.headers().contains_key("set-cookie"));
        post_to(&server, "/unknown").await.expect(404);
    }
}

#[tokio::test]
async fn a_grant_that_cannot_be_signed_is_a_500_and_the_log_says_why() {
    let fixture = Fixture::new();
    let log = Log::default();
    let _guard = log.listen();
    let server = Server::start(issuing().layer(fixture.tokens.issue_layer().as_cookie())).await;
    let answer = post_to(&server, "/blank").await;
    assert_rejected(&answer, 500, "Internal server error", None);
    assert!(!answer.headers().contains_key("set-cookie"));
    let errors = log.errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("subject must not be blank"), "{errors:?}");
}

#[tokio::test]
async fn a_token_that_browsers_would_not_keep_is_a_500_and_the_log_says_why() {
    let fixture = Fixture::new();
    let log = Log::default();
    let _guard = log.listen();
    let login = |permissions: usize| {
        let permissions = (0..permissions).map(|n| format!("PostOrganizationsOrdersArchive{n}"));
        let acl = Acl::new([AclEntry::anywhere(permissions).unwrap()]);
        async move || Issue::grant(Grant::user("ops@example.com").acl(acl.clone()))
    };
    let app = Router::new().route("/few", post(login(40))).route("/many", post(login(80)));
    let server = Server::start(app.layer(fixture.tokens.issue_layer().as_cookie())).await;
    let answer = post_to(&server, "/few").await.expect(204);
    let cookie = answer.header("set-cookie").to_owned();
    assert!(cookie.split(';').next().unwrap().len() <= 4_097, "with its equals sign");
    let answer = post_to(&server, "/many").await;
    assert_rejected(&answer, 500, "Internal server error", None);
    assert!(!answer.headers().contains_key("set-cookie"));
    let errors = log.errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("browsers ignore a cookie"), "{errors:?}");
}

#[tokio::test]
async fn a_grant_without_its_layer_is_a_500_and_the_log_says_why() {
    let log = Log::default();
    let _guard = log.listen();
    let server = Server::start(issuing()).await;
    for (count, path) in ["/login", "/form"].into_iter().enumerate() {
        let answer = post_to(&server, path).await.expect(500);
        assert_eq!(answer.text(), "Internal server error\n");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(!answer.headers().contains_key("location"));
        let errors = log.errors();
        assert_eq!(errors.len(), count + 1, "{errors:?}");
        assert!(errors[count].contains("IssueLayer"), "{errors:?}");
    }
}

#[tokio::test]
async fn a_grant_with_its_layer_leaves_no_error_in_the_log() {
    let fixture = Fixture::new();
    let log = Log::default();
    let _guard = log.listen();
    let server = Server::start(issuing().layer(fixture.tokens.issue_layer())).await;
    let answer = post_to(&server, "/login").await.expect(200);
    assert_eq!(log.errors(), Vec::<String>::new());
    let token = answer.json()["accessToken"].as_str().unwrap().to_owned();
    let logged = log.text();
    assert!(!logged.contains(&token));
}

#[test]
fn a_grant_carries_no_more_claims_than_the_policy_allows() {
    let fixture = Fixture::with(|builder| {
        builder.policy(Policy::default().tokens(|tokens| tokens.max_custom_claims_len(20)))
    });
    let issue = |text: &str| {
        let grant = Grant::user("ops@example.com").custom_claims(json!({"locale": text}));
        issue_now(&fixture.tokens, grant.unwrap())
    };
    issue("de").unwrap();
    let error = issue("much too long to be one").unwrap_err();
    assert_eq!(error.invalid_fields()[0].field, "customClaims");
}

#[tokio::test]
async fn what_cannot_be_issued_is_answered_in_the_shape_of_the_host() {
    let fixture = Fixture::with(|builder| {
        builder
            .reject_with(|rejection, _| (rejection.status(), format!("oops: {}", rejection.code())))
    });
    let unsignable = service_fn(async |_: Request<()>| {
        let nobody = Issue::grant(Grant::user(" ")).into_response();
        Ok::<_, Infallible>(nobody.map(|_| String::new()))
    });
    let layer = fixture.tokens.issue_layer();
    let answer = layer.layer(unsignable).oneshot(Request::new(())).await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(text_of(answer).await, "oops: internal");
}

#[tokio::test]
async fn an_issue_layer_serves_plain_tower_with_any_body() {
    let fixture = Fixture::new();
    let grant =
        || Issue::grant(Grant::user("ops@example.com").acl(Acl::everything())).into_response();
    let text = service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(grant().map(|_| "a placeholder".to_owned()))
    });
    let answer = fixture.tokens.issue_layer().layer(text).oneshot(Request::new(())).await.unwrap();
    let body: Value = serde_json::from_str(&text_of(answer).await).unwrap();
    assert_token(&fixture, body["accessToken"].as_str().unwrap());

    let full = service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(grant().map(|_| Full::<Bytes>::default()))
    });
    let layer = fixture.tokens.issue_layer().as_header(HeaderName::from_static("x-token"));
    let answer = layer.layer(full).oneshot(Request::new(())).await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_token(&fixture, answer.headers()["x-token"].to_str().unwrap());
    assert!(answer.headers()["x-token"].is_sensitive());
}
