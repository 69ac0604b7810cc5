//! A run: nodes, clients and faults, then a look at everything that is left, then the checker.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, sleep_until};

use crate::Problem;
use crate::calls::{Caller, admin, machine_id};
use crate::checker::bounds::{NODES, SERVED_AGAIN};
use crate::checker::check;
use crate::checker::history::{Call, Run};
use crate::clients::Client;
use crate::engine::Engine;
use crate::engine_postgres::Postgres;
use crate::engine_redis::Redis;
use crate::faults::schedule;
use crate::injector::Injector;
use crate::nodes::Node;
use crate::recorder::Recorder;
use crate::support::try_send;

const CLIENTS: usize = 6;
/// Who looks at the end.
const INSPECTOR: usize = CLIENTS;
/// How many violations of a rule are printed.
const PRINTED: usize = 3;
/// Of each client, how many sessions and tokens are looked at in the end.
const INSPECTED: usize = 80;
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// Returns whether the run has kept everything.
pub fn main(engine: &str, seconds: &str, seed: &str) -> Result<bool, Problem> {
    let (seconds, seed) = (seconds.parse()?, seed.parse()?);
    tokio::runtime::Runtime::new()?.block_on(run(engine, seconds, seed))
}

async fn run(engine: &str, seconds: u64, seed: u64) -> Result<bool, Problem> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/chaos"))
        .join(format!("{engine}-{seed}"));
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let history = folder.join("history.jsonl");
    eprintln!("chaos: {engine}, {seconds} s, seed {seed}, history {}", history.display());
    let schedule = schedule(seed, seconds);
    for (offset, fault) in &schedule {
        eprintln!("chaos: at {:.1} s: {fault}", offset.as_secs_f64());
    }

    let engine: Arc<dyn Engine> = match engine {
        "postgres" => Arc::new(Postgres::start().await?),
        "redis" => Arc::new(Redis::start().await?),
        _ => return Err("the engine is postgres or redis".into()),
    };
    let mut nodes = Vec::new();
    for index in 0..NODES {
        nodes.push(Node::start(index, &engine, &folder).await?);
    }
    for machine in 0..CLIENTS {
        let request = admin("register", &serde_json::json!({"id": machine_id(machine)}));
        let registered = try_send(nodes[0].address, request).await;
        let registered = registered.map_err(|error| format!("registering failed: {error:?}"))?;
        if !registered.status().is_success() {
            return Err(format!("registering failed: {registered:?}").into());
        }
    }
    // What still recovers then is waited for.
    let last_turn = Duration::from_secs(seconds);
    let injector = Arc::new(Injector::new(engine, nodes, last_turn));
    let recorder = Arc::new(Recorder::new(Arc::clone(&injector), &history)?);
    let ended = Arc::new(AtomicBool::new(false));
    let clients = (0..CLIENTS).map(|index| Client::new(index, seed, &recorder));
    let clients: Vec<_> =
        clients.map(|client| tokio::spawn(client.run(Arc::clone(&ended)))).collect();
    Arc::clone(&injector).run(schedule).await?;
    sleep_until(injector.began + Duration::from_secs(seconds)).await;
    ended.store(true, Ordering::Relaxed);
    let mut finished = Vec::new();
    for client in clients {
        finished.push(client.await?);
    }
    let not_served = inspect(&recorder, &finished).await;
    recorder.finish()?;
    let mut audited = BTreeMap::new();
    for node in &injector.nodes {
        let counts = node.audited()?.into_iter();
        audited.extend(counts.map(|(operation, count)| ((node.index, operation), count)));
        node.kill().await?;
    }
    let run =
        Run { requests: recorder.requests(), faults: injector.happened(), not_served, audited };
    Ok(report(&run, &format!("{seconds} {seed}")))
}

/// Waits until all nodes serve, and then asks all of them for what clients have left. Returns what is not
/// served.
async fn inspect(recorder: &Recorder, clients: &[Client]) -> Vec<String> {
    let until = Instant::now() + SERVED_AGAIN;
    let mut not_served = Vec::new();
    for node in 0..NODES {
        while let Some(missing) = missing_at(recorder, node).await {
            if Instant::now() >= until {
                not_served.push(format!("node {node}: {missing} within {SERVED_AGAIN:?}"));
                break;
            }
            sleep(TRY_AGAIN).await;
        }
    }
    // What was published again is heard of by then.
    sleep(crate::checker::bounds::RECOVERY * 2 + crate::checker::bounds::STALENESS).await;
    join_all(clients.iter().map(|client| inspect_client(recorder, client))).await;
    not_served
}

/// What a node does not serve.
async fn missing_at(recorder: &Recorder, node: usize) -> Option<&'static str> {
    let caller = Caller { recorder, client: INSPECTOR, node, hangs_up: None };
    let Some(session) = caller.start(recorder.number()).await else {
        return Some("no session is started");
    };
    let Some(jwt) = caller.exchange(&session, false).await else {
        return Some("nothing is exchanged");
    };
    for node in 0..NODES {
        let elsewhere = Caller { node, ..caller };
        if !elsewhere.use_token(&jwt).await {
            return Some("a token of it is not accepted everywhere");
        }
        if !elsewhere.verify(&session).await || !elsewhere.page(&session).await {
            return Some("a session of it is not found everywhere");
        }
    }
    if !caller.log_out(&session).await { Some("nobody is logged out") } else { None }
}

async fn inspect_client(recorder: &Recorder, client: &Client) {
    for node in 0..NODES {
        let caller = Caller { recorder, client: INSPECTOR, node, hangs_up: None };
        for session in client.sessions.iter().rev().take(INSPECTED) {
            caller.verify(session).await;
        }
        for jwt in client.jwts.iter().rev().take(INSPECTED) {
            caller.use_token(jwt).await;
        }
        caller.read_keys().await;
        for secret in client.secrets.iter().rev().take(INSPECTED / 8) {
            caller.log_in(client.machine, secret).await;
        }
    }
    let caller = Caller { recorder, client: INSPECTOR, node: 0, hangs_up: None };
    for session in client.sessions.iter().rev().take(INSPECTED) {
        caller.exchange(session, true).await;
    }
}

/// Prints what a run came to; returns whether it has kept everything.
fn report(run: &Run, replay: &str) -> bool {
    let mut counts: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    for request in &run.requests {
        let call = format!("{:?}", request.call);
        let kind = call.split([' ', '{']).next().unwrap_or_default();
        let kind = match request.call {
            Call::Exchange { uses_up: true, .. } => "Exchange (uses up)",
            _ => kind,
        };
        let count = counts.entry(kind.to_owned()).or_default();
        count[if request.is_yes() { 0 } else { 1 + usize::from(request.may_be_done()) }] += 1;
    }
    eprintln!("chaos: {} requests, {} faults", run.requests.len(), run.faults.len());
    for (kind, [yes, no, unknown]) in counts {
        eprintln!("chaos:   {kind}: {yes} done, {no} rejected, {unknown} unknown");
    }
    let violations = check(run);
    let mut printed = BTreeMap::new();
    for violation in &violations {
        let count = printed.entry(violation.rule).or_insert(0);
        *count += 1;
        if *count > PRINTED {
            continue;
        }
        eprintln!("chaos: VIOLATED: {}: {}", violation.rule, violation.why);
        for request in &violation.requests {
            eprintln!("chaos:   {}", run.requests[*request]);
        }
    }
    for (rule, count) in &printed {
        eprintln!("chaos: {count} violations of: {rule}");
    }
    if violations.is_empty() {
        eprintln!("chaos: everything was kept");
    } else {
        eprintln!("chaos: the same faults and choices again: scripts/chaos {replay}");
    }
    violations.is_empty()
}
