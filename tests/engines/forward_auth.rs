//! Forward auth, judged by proxies: nginx, HAProxy, Traefik and Caddy, with the configurations that the guide prints.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Json;
use countersign::forward_auth::{Access, ForwardAuth};
use countersign::store::MemoryStore;
use countersign::testing::{Calls, FaultyStore, StoreFault, StoreVerb};
use countersign::{Grant, OrganizationId, Policy, SealingKey, SubjectType, TrustedProxies};
use serde_json::{Map, Value, json};

use crate::support::programs::{Folder, free_address};
use crate::support::{Answer, Fixture, ISSUER, Server, acl_of, issue_now, send, try_send};

const GUIDE: &str = include_str!("../../src/docs/guide/forward_auth.md");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nginx,
    HaProxy,
    Traefik,
    Caddy,
}

const ALL: [Kind; 4] = [Kind::Nginx, Kind::HaProxy, Kind::Traefik, Kind::Caddy];

/// The one block of code in a language that the guide has.
#[track_caller]
fn printed(language: &str) -> &'static str {
    let begin = format!("```{language}\n");
    let mut blocks = GUIDE.split(&begin).skip(1);
    let block = blocks.next().unwrap_or_else(|| panic!("a block in {language}"));
    assert!(blocks.next().is_none(), "one block in {language}");
    block.split("```").next().unwrap()
}

/// A proxy with a folder of its own; ended with the test.
struct Proxy {
    kind: Kind,
    child: Child,
    address: SocketAddr,
    // Removed once nobody writes there.
    folder: Folder,
}

impl Proxy {
    /// Between clients and an app, asking a token service.
    async fn start(kind: Kind, service: SocketAddr, app: SocketAddr) -> Self {
        let (address, folder) = (free_address(), Folder::new("proxy"));
        let at_hand = |text: &str| {
            let text = text.replace("127.0.0.1:3000", &service.to_string());
            let text = text.replace("127.0.0.1:4000", &app.to_string());
            let text = text.replace("127.0.0.1:8080", &address.to_string());
            text.replace("http://:8080", &format!("http://:{}", address.port()))
        };
        let mut command = match kind {
            Kind::Nginx => {
                let server = at_hand(printed("nginx"));
                // One process, which is its own master, and writes nowhere else.
                let whole = format!(
                    "daemon off; master_process off; pid nginx.pid; error_log stderr;\n\
                     events {{}}\nhttp {{ access_log off; client_body_temp_path body; \
                     proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; \
                     scgi_temp_path scgi;\n{server}}}\n"
                );
                folder.write("nginx.conf", &whole);
                let mut command = Command::new(installed("nginx"));
                command.arg("-p").arg(folder.path()).args(["-e", "stderr", "-c", "nginx.conf"]);
                command
            }
            Kind::HaProxy => {
                folder.write("forward_auth.lua", printed("lua"));
                folder.write("haproxy.cfg", &at_hand(printed("haproxy")));
                let mut command = Command::new(installed("haproxy"));
                command.args(["-db", "-f", "haproxy.cfg"]);
                command
            }
            Kind::Traefik => {
                let dynamic = folder.write("dynamic.yml", &at_hand(printed("yaml")));
                let mut command = Command::new(client("traefik"));
                command.args([
                    format!("--entryPoints.web.address={address}"),
                    format!("--providers.file.filename={}", dynamic.display()),
                    "--global.checkNewVersion=false".to_owned(),
                    "--global.sendAnonymousUsage=false".to_owned(),
                ]);
                command
            }
            Kind::Caddy => {
                let global = "{\n    admin off\n    persist_config off\n}\n";
                folder.write("Caddyfile", &format!("{global}{}", at_hand(printed("caddyfile"))));
                let mut command = Command::new(client("caddy"));
                command.args(["run", "--config", "Caddyfile"]);
                command
            }
        };
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        command
            .current_dir(folder.path())
            .env_clear()
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        let mut proxy = Self { kind, child, address, folder };
        proxy.become_ready().await;
        proxy
    }

    /// Waits until it listens, and has read what it is to do.
    async fn become_ready(&mut self) {
        for _ in 0..600 {
            if let Ok(answer) = try_send(self.address, Request::get("/").body("").unwrap()).await
                && (answer.status() == 401 || answer.status().is_server_error())
            {
                return;
            }
            if self.child.try_wait().unwrap().is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
        panic!("{:?} did not start: {log}", self.kind);
    }

    async fn send(&self, request: http::request::Builder) -> Answer {
        send(self.address, request.body("").unwrap()).await
    }

    /// What the app got, of a request that was let through.
    async fn forwarded(&self, request: http::request::Builder) -> Value {
        self.send(request).await.expect(200).json()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program of Debian's, which may be out of the user's path.
#[track_caller]
fn installed(name: &str) -> std::path::PathBuf {
    let folders = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];
    let found =
        folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("no {name} (scripts/test --install-only installs it)"))
}

/// A program that `scripts/clients` installs.
#[track_caller]
fn client(name: &str) -> std::path::PathBuf {
    let folder = std::env::var("COUNTERSIGN_TEST_CLIENTS").unwrap_or_else(|_| {
        panic!(
            "COUNTERSIGN_TEST_CLIENTS has to be set: run scripts/test, or \
             export COUNTERSIGN_TEST_CLIENTS=$(scripts/clients)"
        )
    });
    let path = Path::new(&folder).join("python/bin").join(name);
    assert!(path.exists(), "no {} (scripts/clients installs it)", path.display());
    path
}

/// Returns the method, the path and the headers of what reaches it.
async fn app(request: Request) -> Json<Value> {
    let mut headers = Map::new();
    for (name, value) in request.headers() {
        let value = value.to_str().unwrap();
        let known = headers.get(name.as_str()).map_or(String::new(), |known| format!("{known}, "));
        headers.insert(name.as_str().to_owned(), json!(format!("{known}{value}")));
    }
    Json(
        json!({"method": request.method().as_str(), "uri": request.uri().to_string(), "headers": headers}),
    )
}

type Store = FaultyStore<MemoryStore>;

/// A token service, and an app that proxies stand in front of.
struct Setup {
    fixture: Fixture,
    service: Server,
    app: Server,
}

impl Setup {
    async fn new(change: impl FnOnce(ForwardAuth) -> ForwardAuth) -> Self {
        Self::over(FaultyStore::new(MemoryStore::new()), change).await
    }

    async fn over(store: Store, change: impl FnOnce(ForwardAuth) -> ForwardAuth) -> Self {
        let policy = Policy::default()
            .http(|http| http.trusted_proxies(TrustedProxies::networks(["127.0.0.0/8"]).unwrap()));
        let fixture = Fixture::with(|builder| {
            let key = SealingKey::from_bytes([7; 32]);
            builder.session_store(store).policy(policy).sealing_key(key)
        });
        let router = change(fixture.tokens.forward_auth()).router();
        let service = Server::start_with_addresses(router).await;
        let app = Server::start(Router::new().fallback(app)).await;
        Self { fixture, service, app }
    }

    async fn behind(&self, kind: Kind) -> Proxy {
        Proxy::start(kind, self.service.address, self.app.address).await
    }

    fn user(&self) -> String {
        let grant = Grant::user("jane doe@example.com");
        let issued = issue_now(&self.fixture.tokens, grant).unwrap();
        format!("Bearer {}", issued.access_token.expose())
    }
}

/// What a client sends to be taken for somebody else.
const FORGED: [(&str, &str); 10] = [
    ("x-auth-principal", "https://evil.example||user|admin"),
    ("x-auth-id", "admin"),
    ("x-auth-id", "root"),
    ("X-AUTH-KIND", "user"),
    ("x-auth-organization", "org_evil"),
    ("x-original-method", "GET"),
    ("x-original-uri", "/public"),
    ("x-forwarded-method", "GET"),
    ("x-forwarded-uri", "/public"),
    ("x-forwarded-for", "198.51.100.7"),
];

fn forged(mut request: http::request::Builder) -> http::request::Builder {
    for (name, value) in FORGED {
        request = request.header(name, value);
    }
    request
}

#[track_caller]
fn assert_identity(forwarded: &Value, expected: &Value, kind: Kind) {
    let headers = forwarded["headers"].as_object().unwrap();
    let identity: Map<_, _> = headers
        .iter()
        .filter(|(name, _)| name.replace('_', "-").starts_with("x-auth-"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    assert_eq!(&Value::Object(identity), expected, "{kind:?}");
}

#[tokio::test]
async fn a_request_goes_on_with_who_its_caller_is_and_nothing_that_the_client_says_of_that() {
    let setup = Setup::new(|route| route).await;
    let user = setup.user();
    let organization = OrganizationId::new("org_1").unwrap();
    let machine = Grant::new(SubjectType::Machine, "aa-1").organization(organization);
    let machine = issue_now(&setup.fixture.tokens, machine).unwrap();
    let machine = format!("Bearer {}", machine.access_token.expose());
    for kind in ALL {
        let proxy = setup.behind(kind).await;
        for request in [Request::put("/orders/7?a=b"), forged(Request::put("/orders/7?a=b"))] {
            let forwarded = proxy.forwarded(request.header("authorization", &user)).await;
            assert_eq!(forwarded["method"], "PUT", "{kind:?}");
            assert_eq!(forwarded["uri"], "/orders/7?a=b", "{kind:?}");
            let jane = json!({
                "x-auth-id": "jane%20doe@example.com",
                "x-auth-kind": "user",
                "x-auth-principal": format!("{ISSUER}||user|jane%20doe@example.com"),
            });
            assert_identity(&forwarded, &jane, kind);
        }
        let request = forged(Request::get("/")).header("authorization", &machine);
        let aa_1 = json!({
            "x-auth-id": "aa-1",
            "x-auth-kind": "entity",
            "x-auth-organization": "org_1",
            "x-auth-principal": format!("{ISSUER}|org_1|entity|aa-1"),
        });
        assert_identity(&proxy.forwarded(request).await, &aa_1, kind);
        // Traefik lets them through: the guide says so.
        if kind != Kind::Traefik {
            let request = Request::get("/").header("authorization", &machine);
            let request = request.header("X_Auth_Id", "admin").header("x_auth_kind", "user");
            assert_identity(&proxy.forwarded(request).await, &aa_1, kind);
        }
    }
}

#[tokio::test]
async fn what_is_rejected_reaches_no_app_and_the_client_gets_the_challenge() {
    let setup = Setup::new(|route| route).await;
    for kind in ALL {
        let proxy = setup.behind(kind).await;
        let answer = proxy.send(Request::get("/")).await.expect(401);
        let challenge = format!("Bearer realm=\"{ISSUER}\"");
        assert_eq!(answer.header("www-authenticate"), challenge, "{kind:?}");
        let bad = Request::get("/").header("authorization", "Bearer a.b.c");
        let answer = proxy.send(bad).await.expect(401);
        assert!(answer.header("www-authenticate").contains("invalid_token"), "{kind:?}");
        let malformed = Request::get("/").header("authorization", "Bearer a b");
        let answer = proxy.send(malformed).await.expect(401);
        assert!(answer.header("www-authenticate").contains("invalid_request"), "{kind:?}");
        for media_type in ["application/grpc", "application/grpc-web", "application/json"] {
            let request = Request::post("/orders.Orders/Get").header("content-type", media_type);
            proxy.send(request).await.expect(401);
        }
        // The route itself is nothing that clients get to.
        let user = setup.user();
        let route = Request::get("/forward-auth").header("authorization", &user);
        let answer = proxy.send(route).await;
        assert!(!answer.headers().contains_key("x-auth-id"), "{kind:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_permission_is_asked_for_by_the_method_and_the_path_that_the_client_asks_for() {
    let setup = Setup::new(|route| {
        route.require(|request| match request.segments()[..] {
            ["public"] => Access::any_caller(),
            ["orders", id] if request.method() == "GET" => {
                Access::permission("GetOrder").scope("orderId", id)
            }
            ["orders", id] if request.method() == "DELETE" => {
                Access::permission("DeleteOrder").scope("orderId", id)
            }
            _ => Access::denied(),
        })
    })
    .await;
    let acl = acl_of(json!([{"scope": {"orderId": ["7", "a b"]}, "permissions": ["GetOrder"]}]));
    let issued = issue_now(&setup.fixture.tokens, Grant::user("jane").acl(acl)).unwrap();
    let jane = format!("Bearer {}", issued.access_token.expose());
    for kind in ALL {
        let proxy = setup.behind(kind).await;
        let ask = async |method: &str, path: &str| {
            let request = Request::builder().method(method).uri(path);
            let answer = proxy.send(request.header("authorization", &jane)).await;
            let forged = forged(Request::builder().method(method).uri(path));
            let forged = proxy.send(forged.header("authorization", &jane)).await;
            assert!(
                answer.status() == forged.status() || forged.status() == 403,
                "{kind:?}: {method} {path}: {forged:?}"
            );
            answer.status().as_u16()
        };
        for (method, path, status) in [
            ("GET", "/public", 200),
            ("GET", "/orders/7", 200),
            ("GET", "/orders/7?id=8", 200),
            ("GET", "/orders/a%20b", 200),
            ("GET", "/orders/8", 403),
            ("DELETE", "/orders/7", 403),
            ("POST", "/orders/7", 403),
            ("GET", "/admin", 403),
            ("GET", "/%61dmin", 403),
        ] {
            assert_eq!(ask(method, path).await, status, "{kind:?}: {method} {path}");
        }
        // A proxy may reject these itself, or ask for a path that it has tidied up.
        for path in ["/public/../admin", "/public/%2e%2e/admin", "//admin", "/public%2f..%2fadmin"]
        {
            let status = ask("GET", path).await;
            assert!(
                matches!(status, 301 | 307 | 308 | 400 | 403 | 404),
                "{kind:?}: {path}: {status}"
            );
        }
        let anonymous = proxy.send(Request::get("/public")).await;
        anonymous.expect(401);
    }
}

#[tokio::test]
async fn a_sessions_cookie_counts_by_the_origin_rule_for_the_original_method() {
    let setup = Setup::new(|route| route.send_token()).await;
    let token = setup.fixture.session(|new| new).await;
    for kind in ALL {
        let proxy = setup.behind(kind).await;
        let ask = async |request: http::request::Builder, site: &str| {
            let request = request.header("cookie", format!("__Host-session={token}"));
            proxy.send(request.header("sec-fetch-site", site)).await
        };
        let forwarded = ask(Request::get("/"), "cross-site").await.expect(200).json();
        let cus_1 = json!({
            "x-auth-id": "cus_1",
            "x-auth-kind": "customer",
            "x-auth-principal": format!("{ISSUER}||customer|cus_1"),
        });
        assert_identity(&forwarded, &cus_1, kind);
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let request = || Request::builder().method(method).uri("/");
            ask(request(), "same-origin").await.expect(200);
            ask(request(), "cross-site").await.expect(403);
            ask(request(), "same-site").await.expect(403);
            ask(forged(request()), "cross-site").await.expect(403);
        }
        // A page of another site opens a WebSocket.
        let request = || {
            Request::get("/socket")
                .header("connection", "Upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-version", "13")
                .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        };
        ask(request(), "cross-site").await.expect(403);
        let own = ask(request(), "same-origin").await;
        assert_eq!(own.status(), 200, "{kind:?}: {own:?}");
    }
}

#[tokio::test]
async fn an_outage_lets_nobody_pass_and_is_a_503_with_a_time_to_try_again() {
    let store = FaultyStore::new(MemoryStore::new());
    let setup = Setup::over(store.clone(), |route| route).await;
    for kind in ALL {
        let proxy = setup.behind(kind).await;
        let token = setup.fixture.session(|new| new).await;
        let request = || Request::get("/").header("cookie", format!("__Host-session={token}"));
        store.fail(Calls::from([StoreVerb::GetSession]), StoreFault::unavailable("gone"));
        let answer = proxy.send(request()).await.expect(503);
        assert!(answer.headers().contains_key("retry-after"), "{kind:?}");
        store.clear_faults();
        proxy.send(request()).await.expect(200);
    }
}

#[tokio::test]
async fn a_token_service_that_is_gone_lets_nobody_pass() {
    for kind in ALL {
        let app = Server::start(Router::new().fallback(app)).await;
        let proxy = Proxy::start(kind, free_address(), app.address).await;
        let answer = proxy.send(Request::get("/").header("authorization", "Bearer a.b.c")).await;
        assert!(answer.status().is_server_error(), "{kind:?}: {answer:?}");
    }
}
