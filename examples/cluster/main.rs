//! Three token servers over one store: what one of them issues is good on all, and what is
//! revoked on one is rejected by all.
//!
//! ```text
//! cargo build --all-features --examples
//! COUNTERSIGN_STORE=postgres://user@host/database cargo run --all-features --example cluster
//! ```
//!
//! The nodes are the example `token_server`, each on a free port of the loopback, with one store,
//! issuer, audience, signing key and sealing key. With `-- --load SECONDS` it goes on to measure, of
//! tokens that are revoked on one node, when the others reject them, while each node validates
//! 1,000 other tokens a second. Build with `--release` for that.
//!
//! `COUNTERSIGN_STORE` is as of `token_server`: `postgres://…`, `redis://…` or
//! `redis-cluster://HOST:PORT,…`. Give it a database of its own: whom it registers stays there, under
//! new names and with a new password each time. A setting that is missing or wrong is one line on
//! standard error and exit code 2.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its terminal")]

mod callers;
mod load;
mod nodes;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use countersign::Secret;
use serde_json::{Value, json};
use tokio::signal;

use crate::callers::Callers;
use crate::load::Load;
use crate::nodes::Cluster;

type Problem = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let settings = match Settings::read() {
        Ok(settings) => settings,
        Err(problem) => {
            eprintln!("cluster: {problem}");
            return ExitCode::from(2);
        }
    };
    // Whoever interrupts it drops all that it holds: the nodes end, and their keys are removed.
    let ran = tokio::select! {
        ran = run(&settings) => ran,
        problem = interrupted() => Err(problem),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("cluster: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn interrupted() -> Problem {
    let Ok(mut terminate) = signal::unix::signal(signal::unix::SignalKind::terminate()) else {
        return "SIGTERM cannot be waited for".into();
    };
    tokio::select! {
        _ = signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    "interrupted".into()
}

async fn run(settings: &Settings) -> Result<(), Problem> {
    let people = People::make_up()?;
    let cluster = Cluster::start(settings, &people).await?;
    let called = call(&cluster, settings, &people).await;
    cluster.stop().await?;
    called
}

async fn call(cluster: &Cluster, settings: &Settings, people: &People) -> Result<(), Problem> {
    let mut callers = Callers::connect(cluster).await?;
    let user = walk(&mut callers, people).await?;
    if let Some(seconds) = settings.load {
        let load = Load { seconds, user: &user, customer: &people.customer_id };
        load.run(cluster, &mut callers, settings.engine()).await?;
    }
    Ok(())
}

struct Settings {
    store: String,
    token_server: PathBuf,
    load: Option<u32>,
}

impl Settings {
    fn read() -> Result<Self, Problem> {
        let load = match env::args().skip(1).collect::<Vec<_>>().as_slice() {
            [] => None,
            [option, seconds] if option == "--load" => {
                let seconds = seconds.parse().ok().filter(|seconds| (1..=3_600).contains(seconds));
                Some(seconds.ok_or("--load takes a number of seconds, 1 to 3600")?)
            }
            _ => return Err("it takes no argument but --load SECONDS".into()),
        };
        let store = env::var("COUNTERSIGN_STORE").unwrap_or_default();
        if !store.contains("://") {
            return Err("COUNTERSIGN_STORE must name a store that nodes share: postgres://…, \
                        redis://… or redis-cluster://…"
                .into());
        }
        let token_server = env::current_exe()?.with_file_name("token_server");
        if !token_server.is_file() {
            return Err("the example token_server is not built beside this one: cargo build \
                        --all-features --examples, with --release for a release build"
                .into());
        }
        Ok(Self { store, token_server, load })
    }

    /// What the store is, without where it is: its address may hold a password.
    fn engine(&self) -> &str {
        self.store.split("://").next().unwrap_or_default()
    }
}

/// Logs a user and a customer in, and the customer out again, each time on another node. Answers
/// the user's token.
async fn walk(callers: &mut Callers, people: &People) -> Result<String, Problem> {
    let user = callers.clients[0].log_in_user(people).await?;
    callers.must_be_accepted(&user).await?;
    println!("A user logged in on node 1: the token is good on all three.");

    let login = json!({"username": people.customer, "password": people.password});
    let session = callers.clients[0].start_session(None, &login).await?;
    let token = callers.clients[1].exchange(&session).await?;
    callers.must_be_accepted(&token).await?;
    println!(
        "A customer logged in on node 1, exchanged on node 2: the token is good on all three."
    );

    let revoked = callers.revoke(2, &session, &token).await?;
    println!("The customer logged out on node 3. From that request on, the token was rejected");
    for (number, rejected) in (1..).zip(&revoked.rejected) {
        let answer = match rejected.first.checked_duration_since(revoked.answered) {
            Some(after) => format!("{:.1} ms after the answer", millis(after)),
            None => "before the answer".to_owned(),
        };
        let took = millis(rejected.first - revoked.asked);
        println!("  by node {number} after {took:.1} ms, {answer}");
    }
    callers.must_be_accepted(&user).await?;
    Ok(user)
}

/// Who is registered, under names that nobody has yet.
struct People {
    username: String,
    customer: String,
    customer_id: String,
    password: String,
}

impl People {
    fn make_up() -> Result<Self, Problem> {
        let tail = Secret::generate()?.expose().to_owned();
        Ok(Self {
            username: format!("ops-{tail}@example.com"),
            customer: format!("jane-{tail}@example.com"),
            customer_id: format!("cus-{tail}"),
            password: Secret::generate()?.expose().to_owned(),
        })
    }

    fn seed(&self) -> Value {
        json!({
            "users": [{
                "username": self.username,
                "password": self.password,
                "acl": [{
                    "scope": {"customerId": [self.customer_id]},
                    "permissions": ["PostAuthenticationToken"],
                }],
            }],
            "customers": [{
                "username": self.customer,
                "password": self.password,
                "customerId": self.customer_id,
                "acl": [{"scope": {}, "permissions": ["GetOrders"]}],
            }],
        })
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
