//! A real browser: Chromium without a window, driven through W3C WebDriver by chromedriver.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Request};
use serde_json::{Value, json};

use crate::support::programs::Folder;
use crate::support::send;

/// How long is waited for what is not there yet: an element, an answer of a script.
const PATIENCE_MS: u64 = 30_000;

/// The member that an element's id is in (WebDriver §12).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window, and a profile of its own. It is ended with the test.
pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    // Removed once nobody writes there.
    _profile: Folder,
}

impl Browser {
    pub async fn start() -> Self {
        let profile = Folder::new("browser");
        let data = profile.path().join("profile");
        let (driver, port) = start_driver(profile.path());
        let mut browser = Self {
            driver,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            session: String::new(),
            _profile: profile,
        };
        let arguments = [
            "--headless=new",
            // Chromium's sandbox does not take root, which tests run as in containers.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            &format!("--user-data-dir={}", data.display()),
        ];
        // With cookies of third parties, as most browsers have them: tests are about who else stops them.
        let preferences = json!({"profile.cookie_controls_mode": 0});
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "timeouts": {"implicit": PATIENCE_MS, "script": PATIENCE_MS, "pageLoad": PATIENCE_MS},
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments, "prefs": preferences},
        }}});
        let begun = browser.call(Method::POST, "/session", &wanted).await;
        browser.session = begun["sessionId"].as_str().unwrap().to_owned();
        browser
    }

    pub async fn open(&self, url: &str) {
        self.post("/url", json!({"url": url})).await;
    }

    pub async fn reload(&self) {
        self.post("/refresh", json!({})).await;
    }

    pub async fn back(&self) {
        self.post("/back", json!({})).await;
    }

    /// Waits for what a CSS selector finds, and answers the text that is to be seen of it.
    pub async fn text_of(&self, selector: &str) -> String {
        let element = self.find(selector).await;
        self.get(&format!("/element/{element}/text")).await.as_str().unwrap().to_owned()
    }

    pub async fn click(&self, selector: &str) {
        let element = self.find(selector).await;
        self.post(&format!("/element/{element}/click"), json!({})).await;
    }

    /// Replaces what is in a field.
    pub async fn fill_in(&self, selector: &str, text: &str) {
        let element = self.find(selector).await;
        self.post(&format!("/element/{element}/clear"), json!({})).await;
        self.post(&format!("/element/{element}/value"), json!({"text": text})).await;
    }

    /// What a script of the page's returns.
    pub async fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({"script": script, "args": []})).await
    }

    /// A cookie, with what scripts of the page do not get to see.
    pub async fn cookie(&self, name: &str) -> Value {
        self.get(&format!("/cookie/{name}")).await
    }

    pub async fn cookies(&self) -> Vec<Value> {
        self.get("/cookie").await.as_array().unwrap().clone()
    }

    /// As a window, or a telephone, of that size shows pages.
    pub async fn resize(&self, width: u32, height: u32) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": true});
        let command = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics});
        self.post("/goog/cdp/execute", command).await;
    }

    /// A picture of the page, in PNG.
    pub async fn picture(&self) -> Vec<u8> {
        STANDARD.decode(self.get("/screenshot").await.as_str().unwrap()).unwrap()
    }

    /// What the browser has written to its console since this was last asked.
    pub async fn console(&self) -> Vec<String> {
        let log = self.post("/se/log", json!({"type": "browser"})).await;
        let entries = log.as_array().unwrap().iter();
        entries.map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    async fn find(&self, selector: &str) -> String {
        let found = self.post("/element", json!({"using": "css selector", "value": selector}));
        found.await[ELEMENT].as_str().unwrap().to_owned()
    }

    async fn get(&self, path: &str) -> Value {
        let path = format!("/session/{}{path}", self.session);
        self.call(Method::GET, &path, &Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let path = format!("/session/{}{path}", self.session);
        self.call(Method::POST, &path, &body).await
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        let answer = send(self.address, request).await;
        assert!(answer.status().is_success(), "{path}: {}", answer.text());
        answer.json()["value"].take()
    }

    /// Has the driver end the browser, and waits until it has.
    fn quit(&self) -> std::io::Result<()> {
        let mut line = TcpStream::connect(self.address)?;
        line.set_read_timeout(Some(Duration::from_millis(PATIENCE_MS)))?;
        write!(line, "DELETE /session/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", self.session)?;
        // It answers once it is done, and keeps the line open whatever it is asked to.
        line.read_exact(&mut [0])
    }
}

/// The browser is ended by its driver, and that by its id.
impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = self.quit();
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// A driver, and the port that the kernel gave it.
///
/// It asks for one of IPv6 and then wants the same of IPv4, which somebody may have taken: then it
/// ends, and is started again.
#[track_caller]
fn start_driver(home: &Path) -> (Child, u16) {
    let mut said = String::new();
    for _ in 0..10 {
        let mut command = Command::new("chromedriver");
        command
            .arg("--port=0")
            .env("HOME", home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut driver = command.spawn().unwrap_or_else(|error| {
            panic!("chromedriver: {error} (scripts/test --install-only installs it)")
        });
        match port_in(BufReader::new(driver.stdout.take().unwrap())) {
            Ok(port) => return (driver, port),
            Err(last_words) => said = last_words,
        }
        driver.wait().unwrap();
    }
    panic!("chromedriver did not start: {said}");
}

/// The port that a driver tells once it listens; or all that it said until it ended.
fn port_in(mut log: impl BufRead + Send + 'static) -> Result<u16, String> {
    let mut seen = String::new();
    while log.read_line(&mut seen).unwrap() > 0 {
        let line = seen.lines().last().unwrap_or_default();
        if let Some(rest) = line.split("started successfully on port ").nth(1) {
            let port = rest.trim().trim_end_matches('.').parse().unwrap();
            // What it says from here on is read, so that it never waits for a full pipe.
            std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
            return Ok(port);
        }
    }
    Err(seen)
}
