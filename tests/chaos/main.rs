//! A random run over three nodes, with a checker that knows every answer that was given.
//!
//! ```text
//! scripts/chaos SECONDS [SEED]
//! ```
//!
//! The same seed draws the same faults and has clients choose the same; how requests interleave is the
//! machine's. A failing run prints what was violated by which requests.

#![allow(clippy::print_stderr, reason = "a program talks to its terminal")]

mod calls;
mod checker;
mod clients;
mod engine;
mod engine_postgres;
mod engine_redis;
mod faults;
mod injector;
mod node;
mod nodes;
mod random;
mod recorder;
mod run;

#[path = "../engines/proxy.rs"]
#[allow(dead_code, reason = "`engines` uses the rest")]
mod proxy;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "`it` and `engines` use the rest")]
mod support;

use std::process::ExitCode;

pub type Problem = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["node"] => node::main().map(|()| true),
        [engine, seconds, seed] => run::main(engine, seconds, seed),
        _ => Err("called by scripts/chaos, which says how".into()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("chaos: {problem}");
            ExitCode::from(2)
        }
    }
}
