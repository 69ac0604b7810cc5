//! The requests that clients make, each of its route.

use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE};
use http::request::Builder;
use http::{Method, Request};
use serde_json::{Value, json};

use crate::checker::history::{Call, Given};
use crate::recorder::{Asking, Recorder};
use crate::support::kid_of;

/// A session, with its authentication token.
#[derive(Clone, Debug)]
pub struct Session {
    pub number: usize,
    pub token: String,
}

#[derive(Clone, Debug)]
pub struct Jwt {
    pub number: usize,
    pub text: String,
}

#[derive(Clone, Debug)]
pub struct Secret {
    pub number: usize,
    pub text: String,
}

/// Who asks, whom, and how patiently.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    pub recorder: &'a Recorder,
    pub client: usize,
    pub node: usize,
    pub hangs_up: Option<std::time::Duration>,
}

impl Caller<'_> {
    pub async fn start(&self, customer: usize) -> Option<Session> {
        let number = self.recorder.number();
        let call = Call::Start { session: number, customer };
        let id = json!({"id": customer_id(customer)});
        let body = self.ask(call, admin("start_session", &id), |_| Given::default()).await?;
        Some(Session { number, token: text(&body, "token") })
    }

    pub async fn verify(&self, session: &Session) -> bool {
        let request = request(Method::GET, &format!("/authentication-tokens/{}", session.token));
        self.is_done(Call::Verify { session: session.number }, with_body(request, None)).await
    }

    pub async fn exchange(&self, session: &Session, uses_up: bool) -> Option<Jwt> {
        let path = format!("/authentication-tokens/{}/exchange", session.token);
        let request =
            with_body(request(Method::POST, &path), Some(&json!({"invalidate": uses_up})));
        self.issue(Call::Exchange { session: session.number, uses_up }, request, "token").await
    }

    pub async fn page(&self, session: &Session) -> bool {
        let cookie = format!("__Host-session={}", session.token);
        let request = request(Method::GET, "/page").header(COOKIE, cookie);
        self.is_done(Call::Page { session: session.number }, with_body(request, None)).await
    }

    pub async fn log_out(&self, session: &Session) -> bool {
        let request = request(Method::DELETE, &format!("/authentication-tokens/{}", session.token));
        self.is_done(Call::LogOut { session: session.number }, with_body(request, None)).await
    }

    pub async fn log_out_by_token(&self, jwt: &Jwt) -> bool {
        let request = bearing(request(Method::POST, "/log-out"), jwt);
        self.is_done(Call::LogOutByToken { jwt: jwt.number }, with_body(request, None)).await
    }

    pub async fn use_token(&self, jwt: &Jwt) -> bool {
        let request = bearing(request(Method::GET, "/who-am-i"), jwt);
        self.is_done(Call::Use { jwt: jwt.number }, with_body(request, None)).await
    }

    pub async fn revoke_customer(&self, customer: usize) -> bool {
        let request = admin("revoke_customer", &json!({"id": customer_id(customer)}));
        self.is_done(Call::RevokeCustomer { customer }, request).await
    }

    pub async fn log_in(&self, machine: usize, secret: &Secret) -> Option<Jwt> {
        let body = json!({"id": machine_id(machine), "secret": secret.text});
        let request = with_body(request(Method::POST, "/entity/token/generate"), Some(&body));
        self.issue(Call::LogIn { machine, secret: secret.number }, request, "accessToken").await
    }

    pub async fn reset_secret(&self, machine: usize) -> Option<Secret> {
        let number = self.recorder.number();
        let request = admin("reset_secret", &json!({"id": machine_id(machine)}));
        let given = |_: &Value| Given { secret: Some(number), ..Given::default() };
        let body = self.ask(Call::ResetSecret { machine }, request, given).await?;
        Some(Secret { number, text: text(&body, "secret") })
    }

    /// What an administrator does with a machine client.
    pub async fn manage(&self, machine: usize, call: Call) -> bool {
        let operation = match call {
            Call::Disable { .. } => "disable",
            Call::Enable { .. } => "enable",
            _ => "revoke_machine",
        };
        self.is_done(call, admin(operation, &json!({"id": machine_id(machine)}))).await
    }

    pub async fn rotate_keys(&self) -> bool {
        self.is_done(Call::RotateKeys, admin("rotate", &json!({}))).await
    }

    pub async fn retire_key(&self, kid: &str) -> bool {
        let request = admin("retire", &json!({"id": kid}));
        self.is_done(Call::RetireKey { kid: kid.to_owned() }, request).await
    }

    /// Returns the ids of the keys that are published.
    pub async fn read_keys(&self) -> Option<Vec<String>> {
        let request = with_body(request(Method::GET, "/.well-known/jwks.json"), None);
        let given = |body: &Value| Given { kids: kids(body), ..Given::default() };
        self.ask(Call::ReadKeys, request, given).await.map(|body| kids(&body))
    }

    async fn issue(&self, call: Call, request: Request<String>, member: &str) -> Option<Jwt> {
        let number = self.recorder.number();
        let given = |body: &Value| Given {
            jwt: Some(number),
            kid: Some(kid_of(&text(body, member))),
            ..Given::default()
        };
        let body = self.ask(call, request, given).await?;
        Some(Jwt { number, text: text(&body, member) })
    }

    async fn is_done(&self, call: Call, request: Request<String>) -> bool {
        self.ask(call, request, |_| Given::default()).await.is_some()
    }

    async fn ask(
        &self,
        call: Call,
        request: Request<String>,
        read: impl FnOnce(&Value) -> Given,
    ) -> Option<Value> {
        let Self { recorder, client, node, hangs_up } = *self;
        recorder.ask(Asking { client, node, call, hangs_up }, request, read).await
    }
}

pub fn machine_id(machine: usize) -> String {
    format!("machine-{machine}")
}

fn customer_id(customer: usize) -> String {
    format!("customer-{customer}")
}

pub fn admin(operation: &str, body: &Value) -> Request<String> {
    with_body(request(Method::POST, &format!("/admin/{operation}")), Some(body))
}

fn request(method: Method, path: &str) -> Builder {
    Request::builder().method(method).uri(path)
}

fn bearing(request: Builder, jwt: &Jwt) -> Builder {
    request.header(AUTHORIZATION, format!("Bearer {}", jwt.text))
}

fn with_body(request: Builder, body: Option<&Value>) -> Request<String> {
    let request = match body {
        Some(body) => request.header(CONTENT_TYPE, "application/json").body(body.to_string()),
        None => request.body(String::new()),
    };
    request.expect("a request of known parts")
}

fn text(body: &Value, member: &str) -> String {
    body[member].as_str().unwrap_or_default().to_owned()
}

fn kids(body: &Value) -> Vec<String> {
    let keys = body["keys"].as_array();
    keys.into_iter().flatten().map(|key| text(key, "kid")).collect()
}
