//! What each call that touches a store costs where little is stored, and where much is.
//!
//! ```text
//! scripts/servers run -- cargo bench -p countersign-benches --features engines --bench scale
//! ```
//!
//! It prints a table for each engine: the median of each call with 10,000, 100,000 and 1,000,000 live sessions and as
//! many machine clients, and the ratio of the last to the first. One client asks one thing after the other. Below it,
//! the 99th percentile of starting sessions on a quiet service, and while one caller lists sessions and another logs a
//! customer with 10,000 sessions out; and the bytes that a stored session takes.
//!
//! Set `SCALE_SIZES` to other sizes, and `SCALE_ENGINES` to some of `memory,sqlite,postgres,redis`.
//!
//! The filling of SQL tables names the crate's tables and columns itself. That layout is private, and copied here: a
//! change of it is made here, too.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "a program that prints figures, and has nobody to tell its errors"
)]

mod calls;
mod engine;

use crate::calls::Calls;
use crate::engine::Engine;

fn main() {
    let sizes = list("SCALE_SIZES", "10000,100000,1000000");
    let sizes: Vec<usize> = sizes.iter().map(|size| size.parse().unwrap()).collect();
    // A call that writes has a task of its own: here no other thread has to be woken for it, as in a busy server.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for name in list("SCALE_ENGINES", "memory,sqlite,postgres,redis") {
            let engine = Engine::open(&name).await;
            measure(&engine, &sizes).await;
            engine.close().await;
        }
    });
}

fn list(variable: &str, default: &str) -> Vec<String> {
    let text = std::env::var(variable).unwrap_or_else(|_| default.to_owned());
    text.split(',').map(str::to_owned).collect()
}

async fn measure(engine: &Engine, sizes: &[usize]) {
    let calls = Calls::new(engine).await;
    let (mut stored, mut columns, mut session_bytes) = (0, Vec::new(), 0);
    for size in sizes {
        let before = engine.bytes().await;
        engine.fill_sessions(stored..*size).await;
        session_bytes = engine.bytes().await.saturating_sub(before) / (size - stored) as u64;
        engine.fill_machines(stored..*size).await;
        stored = *size;
        columns.push(calls.medians(stored).await);
    }
    println!("\n{}: median of a call, in us\n", engine.name);
    let heads: Vec<String> = sizes.iter().map(|size| format!("{size} |")).collect();
    println!("| call | {} ratio |\n|---|{}---|", heads.join(" "), "---|".repeat(sizes.len()));
    for (row, (call, first)) in columns[0].iter().enumerate() {
        let medians: Vec<f64> = columns.iter().map(|column| column[row].1).collect();
        let cells: Vec<String> = medians.iter().map(|median| format!("{median:.1} |")).collect();
        println!("| {call} | {} {:.2} |", cells.join(" "), medians[medians.len() - 1] / first);
    }
    let [quiet, busy] = calls.starts_beside_others().await;
    println!("\nStarting a session, 99th percentile: {quiet:.0} us quiet, {busy:.0} us busy.");
    println!("A stored session takes {session_bytes} bytes.");
    calls.shut_down().await;
}
