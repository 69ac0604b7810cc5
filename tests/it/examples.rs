//! The examples, run as a newcomer runs them.

use http::Request;
use serde_json::{Value, json};

use crate::support::programs::{Folder, TokenServer, example, seed};
use crate::support::{Answer, kid_of, send};

#[test]
fn the_quickstart_walks_through_every_route() {
    let output = example("quickstart").arg("--walk").output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("answers were as documented"), "{out}");
}

#[test]
fn the_custom_store_keeps_every_rule_and_a_user_logs_in_over_it() {
    let output = example("custom_store").output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    for line in [
        "EntityStore: it keeps every rule.",
        "SessionStore: it keeps every rule.",
        "KeyStore: it keeps every rule.",
        "A login over it was answered 200 OK.",
    ] {
        assert!(out.contains(line), "{out}{err}");
    }
}

#[test]
fn a_cluster_without_a_store_that_is_shared_is_one_line_and_exit_code_2() {
    for store in ["", "memory:"] {
        let output = example("cluster").env("COUNTERSIGN_STORE", store).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("COUNTERSIGN_STORE"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_server_serves_what_its_seed_says() {
    let folder = Folder::new("seed");
    let mut command = example("token_server");
    command
        .env("COUNTERSIGN_SEED", folder.write("seed.json", &seed().to_string()))
        .env("COUNTERSIGN_OUTBOX", folder.path().join("outbox.jsonl"));
    let server = TokenServer::start(command);
    let form = "application/x-www-form-urlencoded";

    let body = "username=ops%40example.com&password=pass-word";
    let login = server.post("/user/token/generate", form, body).await.expect(200).json();
    let token = login["accessToken"].as_str().unwrap().to_owned();
    let claims = server.get("/protected", &token).await.expect(200).json();
    assert_eq!(claims["sub"], "ops@example.com");
    server.get("/open", &token).await.expect(200);
    server.get("/protected", "forged").await.expect(401);

    let body = "id=aa-1&secret=a-known-secret";
    server.post("/entity/token/generate", form, body).await.expect(200);
    let body = "id=aa-2&secret=x";
    server.post("/entity/token/generate", form, body).await.expect(401);

    let claims = server.get("/session", "known-1").await.expect(200).json();
    assert_eq!(claims["sub"], "cus_1");
    let exchange = "/authentication-tokens/known-1/exchange";
    server.post(exchange, "application/json", "{}").await.expect(201);
    server.get("/session", "known-1").await.expect(401);

    let outbox = std::fs::read_to_string(folder.path().join("outbox.jsonl")).unwrap();
    let line: Value = serde_json::from_str(outbox.lines().next().unwrap()).unwrap();
    assert_eq!(line["to"], "cus_2");
    assert!(line["sid"].is_string() && line["expiresAt"].is_string());
    let body = json!({"oneTimePassword": line["oneTimePassword"]}).to_string();
    let exchange = "/organizations/org_1/authentication-tokens/known-2/exchange";
    server.post(exchange, "application/json", body).await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_server_signs_with_the_key_that_it_is_given() {
    let folder = Folder::new("key");
    let jwk = json!({"kty": "oct", "k": "A".repeat(43)}).to_string();
    let mut command = example("token_server");
    command
        .env("COUNTERSIGN_SIGNING_KEY", folder.write("key.json", &jwk))
        .env("COUNTERSIGN_ISSUER", "https://auth.example.com")
        .env("COUNTERSIGN_AUDIENCE", "https://api.example.com")
        .env(
            "COUNTERSIGN_SEED",
            folder.write(
                "seed.json",
                &json!({"users": [
            {"username": "ops", "password": "x"}]})
                .to_string(),
            ),
        );
    let server = TokenServer::start(command);
    let form = "application/x-www-form-urlencoded";
    let login = server.post("/user/token/generate", form, "username=ops&password=x").await;
    let token = login.expect(200).json()["accessToken"].as_str().unwrap().to_owned();
    let claims = server.get("/protected", &token).await.expect(200).json();
    assert_eq!(claims["iss"], "https://auth.example.com");
    assert_eq!(claims["aud"], "https://api.example.com");
    let jwks = server.get("/.well-known/jwks.json", &token).await.expect(200).json();
    assert_eq!(jwks, json!({"keys": []}), "a shared secret is not published");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_server_serves_all_routes_below_its_mount_and_no_other() {
    let folder = Folder::new("mount");
    let mut command = example("token_server");
    command
        .env("COUNTERSIGN_MOUNT", "/iam/v1")
        .env("COUNTERSIGN_SIGNING_ALGORITHM", "ES256")
        .env("COUNTERSIGN_SEED", folder.write("seed.json", &seed().to_string()))
        .env("COUNTERSIGN_OUTBOX", folder.path().join("outbox.jsonl"));
    let server = TokenServer::start(command);
    let (form, json) = ("application/x-www-form-urlencoded", "application/json");
    let login = "username=ops%40example.com&password=pass-word";

    let answer = server.post("/iam/v1/user/token/generate", form, login).await.expect(200).json();
    let token = answer["accessToken"].as_str().unwrap().to_owned();
    let claims = server.get("/iam/v1/protected", &token).await.expect(200).json();
    let issuer = format!("{}/iam/v1", server.url());
    assert_eq!(claims["iss"], issuer);
    let keys = server.get("/iam/v1/.well-known/jwks.json", &token).await.expect(200).json();
    assert_eq!(keys["keys"][0]["alg"], "ES256");
    assert_eq!(keys["keys"][0]["kid"], kid_of(&token));

    let exchange = "/iam/v1/authentication-tokens/known-1/exchange";
    let body = r#"{"invalidate": false}"#;
    let exchanged = server.post(exchange, json, body).await.expect(201).json();
    assert_eq!(exchanged["_links"][0]["href"], "/iam/v1/customers/cus_1");
    server.get("/iam/v1/session", "known-1").await.expect(200);
    server.get("/iam/v1/open", &token).await.expect(200);
    let below = "/iam/v1/organizations/org_1/authentication-tokens/known-2";
    server.get(below, &token).await.expect(200);

    for path in ["/protected", "/open", "/.well-known/jwks.json", "/iam/v1", "/iam/v2/open"] {
        server.get(path, &token).await.expect(404);
    }
    server.post("/user/token/generate", form, login).await.expect(404);
    let below = "/organizations/org_1/authentication-tokens/known-2";
    server.get(below, &token).await.expect(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_the_origins_that_are_named_may_call_the_token_server_and_no_others() {
    const ORIGINS: &str = "https://shop.example.com, http://localhost:5173";
    let server = |origins: Option<&str>| {
        let mut command = example("token_server");
        command
            .env("COUNTERSIGN_MOUNT", "/iam/v1")
            .envs(origins.map(|origins| ("COUNTERSIGN_CORS_ORIGINS", origins)));
        TokenServer::start(command)
    };
    let (open, closed) = (server(Some(ORIGINS)), server(None));
    let ask = async |server: &TokenServer, method: &str, origin: &str| {
        let request = Request::builder()
            .method(method)
            .uri("/iam/v1/authentication-tokens")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type");
        send(server.address(), request.body("").unwrap()).await
    };
    let allowed = |answer: &Answer| {
        let value = answer.headers().get("access-control-allow-origin");
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    for origin in ["https://shop.example.com", "http://localhost:5173"] {
        let preflight = ask(&open, "OPTIONS", origin).await.expect(200);
        assert_eq!(allowed(&preflight).as_deref(), Some(origin));
        assert_eq!(preflight.header("access-control-allow-methods"), "GET,POST,DELETE");
        let headers = preflight.header("access-control-allow-headers");
        assert_eq!(headers, "authorization,content-type,idempotency-key");
        // An error, too, is for the page to read.
        let answer = ask(&open, "GET", origin).await.expect(401);
        assert_eq!(allowed(&answer).as_deref(), Some(origin));
        let exposed = answer.header("access-control-expose-headers");
        assert!(exposed.contains("pagination-total") && exposed.contains("www-authenticate"));
        for answer in [preflight, answer] {
            assert!(answer.header("vary").contains("origin"), "{answer:?}");
            assert!(!answer.headers().contains_key("access-control-allow-credentials"));
        }
    }
    for origin in ["https://evil.example", "https://shop.example.com.evil.example", "null"] {
        for method in ["OPTIONS", "GET"] {
            assert_eq!(allowed(&ask(&open, method, origin).await), None, "{method} {origin}");
        }
    }
    // Unless it is told, it lets no page in, and knows nothing of preflights.
    let preflight = ask(&closed, "OPTIONS", "https://shop.example.com").await.expect(405);
    assert_eq!(allowed(&preflight), None);
    let answer = ask(&closed, "GET", "https://shop.example.com").await.expect(401);
    assert_eq!(allowed(&answer), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_server_says_where_a_seed_differs_from_what_is_stored() {
    let folder = Folder::new("differing-seed");
    let command = |seed: Value| {
        let mut command = example("token_server");
        command
            .env("COUNTERSIGN_LISTEN", "127.0.0.1:0")
            .env("COUNTERSIGN_STORE", format!("sqlite:{}", folder.path().join("a.db").display()))
            .env("COUNTERSIGN_SEALING_KEY", "A".repeat(43) + "=")
            .env("COUNTERSIGN_SEED", folder.write("seed.json", &seed.to_string()));
        command
    };
    let acl = |permission: &str| json!([{"scope": {}, "permissions": [permission]}]);
    let seed = |permission: &str, disabled: bool| {
        json!({
            "users": [{"username": "ops", "password": "x", "acl": acl(permission)}],
            "entities": [{"id": "aa-1", "secret": "a-known-secret", "disabled": disabled}],
        })
    };
    let server = TokenServer::start(command(seed("GetOrders", false)));
    drop(server);
    let output = command(seed("PostOrder", true)).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("seed: user:ops differs from what is stored in acl"), "{text}");
    assert!(
        text.contains("entities[0] (\"aa-1\"): it is disabled there, and not in the store"),
        "{text}"
    );
    let look_alike = json!({"users": [{"username": "Ops", "password": "x"}]});
    let output = command(look_alike).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    let problem = "users[0] (\"Ops\"): it cannot be registered: a name that looks like it is registered already";
    assert!(text.contains(problem), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_server_registers_namesakes_of_two_organizations_and_drops_nobody() {
    let folder = Folder::new("namesakes");
    let jane = |organization: Option<&str>, password: &str| json!({"username": "jane", "password": password, "organizationId": organization});
    let customer = |organization: &str, password: &str| {
        let mut customer = jane(Some(organization), password);
        customer["customerId"] = json!("cus_1");
        customer
    };
    let seed = json!({
        "users": [jane(None, "none"), jane(Some("org_1"), "first"), jane(Some("org_2"), "second")],
        "customers": [customer("org_1", "first"), customer("org_2", "second")],
    });
    let mut command = example("token_server");
    command.env("COUNTERSIGN_SEED", folder.write("seed.json", &seed.to_string()));
    let server = TokenServer::start(command);
    let (form, json) = ("application/x-www-form-urlencoded", "application/json");
    for (home, own) in
        [("", "none"), ("/organizations/org_1", "first"), ("/organizations/org_2", "second")]
    {
        for password in ["none", "first", "second"] {
            let body = format!("username=jane&password={password}");
            let answer = server.post(&format!("{home}/user/token/generate"), form, &body).await;
            answer.expect(if password == own { 200 } else { 401 });
            let body = json!({"username": "jane", "password": password}).to_string();
            let answer = server.post(&format!("{home}/authentication-tokens"), json, &body).await;
            answer.expect(if password == own && !home.is_empty() { 201 } else { 401 });
        }
    }
    drop(server);

    let machine = |organization: &str| json!({"id": "aa-1", "organizationId": organization});
    let session = json!({"token": "known", "customerId": "cus_1"});
    for (seed, named) in [
        (
            json!({"users": [jane(Some("org_1"), "a"), jane(Some("org_1"), "b")]}),
            "users[1] (\"jane\")",
        ),
        (json!({"users": [{"username": " ", "password": "a"}]}), "users[0] (\" \")"),
        (json!({"entities": [machine("org_1"), machine("org_2")]}), "entities[1] (\"aa-1\")"),
        (json!({"entities": [{"id": "first-party"}]}), "entities[0] (\"first-party\")"),
        (
            json!({"customers": [customer("org_1", "a"), customer("org_1", "a")]}),
            "customers[1] (\"jane\")",
        ),
        (json!({"sessions": [session, session]}), "sessions[1] (of \"cus_1\")"),
    ] {
        let mut command = example("token_server");
        command
            .env("COUNTERSIGN_LISTEN", "127.0.0.1:0")
            .env("COUNTERSIGN_SEED", folder.write("seed.json", &seed.to_string()));
        let output = command.env("RUST_LOG", "off").output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(&format!("COUNTERSIGN_SEED: {named}: ")), "{text}");
    }
}

#[test]
fn a_wrong_setting_is_one_line_and_exit_code_2() {
    let folder = Folder::new("settings");
    let unknown_key = folder.write("unknown.json", r#"{"users": [], "admins": []}"#);
    let no_key = folder.write("key.pem", "nothing");
    let unknown_key = unknown_key.to_str().unwrap();
    for (name, value, mentions) in [
        ("COUNTERSIGN_LISTEN", "somewhere", "COUNTERSIGN_LISTEN"),
        ("COUNTERSIGN_STORE", "paper:", "COUNTERSIGN_STORE"),
        ("COUNTERSIGN_SIGNING_KEY", "/nowhere", "COUNTERSIGN_SIGNING_KEY"),
        ("COUNTERSIGN_SIGNING_KEY", no_key.to_str().unwrap(), "COUNTERSIGN_SIGNING_KEY"),
        ("COUNTERSIGN_SIGNING_ALGORITHM", "none", "COUNTERSIGN_SIGNING_ALGORITHM"),
        ("COUNTERSIGN_SIGNING_ALGORITHM", "HS256", "COUNTERSIGN_SIGNING_ALGORITHM"),
        ("COUNTERSIGN_MOUNT", "iam", "COUNTERSIGN_MOUNT"),
        ("COUNTERSIGN_MOUNT", "/iam/", "COUNTERSIGN_MOUNT"),
        ("COUNTERSIGN_MOUNT", "/iam/../v1", "COUNTERSIGN_MOUNT"),
        ("COUNTERSIGN_MOUNT", "/{organizationId}", "COUNTERSIGN_MOUNT"),
        ("COUNTERSIGN_CORS_ORIGINS", "*", "COUNTERSIGN_CORS_ORIGINS"),
        ("COUNTERSIGN_CORS_ORIGINS", "https://a.example,null", "COUNTERSIGN_CORS_ORIGINS"),
        ("COUNTERSIGN_CORS_ORIGINS", "https://a.example/", "COUNTERSIGN_CORS_ORIGINS"),
        ("COUNTERSIGN_CORS_ORIGINS", "https://A.example", "COUNTERSIGN_CORS_ORIGINS"),
        ("COUNTERSIGN_CORS_ORIGINS", "ftp://a.example", "COUNTERSIGN_CORS_ORIGINS"),
        ("COUNTERSIGN_CORS_ORIGINS", "https://me@a.example", "COUNTERSIGN_CORS_ORIGINS"),
        ("COUNTERSIGN_SEALING_KEY", "c2hvcnQ=", "COUNTERSIGN_SEALING_KEY"),
        ("COUNTERSIGN_SEED", unknown_key, "admins"),
        ("COUNTERSIGN_ISSUER", " ", "COUNTERSIGN_ISSUER"),
        ("COUNTERSIGN_TRUSTED_PROXIES", "10.0.0.0/8,0.0.0.0/0", "trusted proxies"),
    ] {
        let mut command = example("token_server");
        if name != "COUNTERSIGN_LISTEN" {
            command.env("COUNTERSIGN_LISTEN", "127.0.0.1:0");
        }
        let output = command.env("RUST_LOG", "off").env(name, value).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{name}={value}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(mentions), "{text}");
    }
}
