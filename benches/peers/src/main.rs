//! What a request costs behind this crate, behind its peers, behind layers written by hand, and
//! behind nothing: in process, and over HTTP on the loopback.
//!
//! ```text
//! scripts/bench-peers            the figures
//! scripts/bench-peers --quick    that it runs
//! ```
//!
//! Before anything is measured, each contender admits a good request and rejects bad ones. All
//! contenders of a table take turns, many times; a figure is the median of what was seen. The
//! floor is the same route of the same axum with no authentication.

mod app;
mod check;
mod contender;
mod contenders;
mod entity_tokens;
mod in_process;
mod over_http;
mod setup;
mod table;

use countersign::Algorithm;
use tokio::runtime::Runtime;

use crate::over_http::Cores;
use crate::setup::Setup;

/// How long it takes.
#[derive(Clone, Copy)]
pub struct Effort {
    /// How often each contender has its turn.
    pub rounds: usize,
    /// Requests of a turn in process, where one takes a microsecond and where it takes fifty.
    pub fast: usize,
    pub slow: usize,
    /// Requests of a turn over HTTP.
    pub over_http: usize,
}

const THOROUGH: Effort = Effort { rounds: 101, fast: 2_000, slow: 100, over_http: 2_500 };
const QUICK: Effort = Effort { rounds: 3, fast: 500, slow: 50, over_http: 500 };

fn main() {
    let effort = match std::env::args().nth(1).as_deref() {
        None => THOROUGH,
        Some("--quick") => QUICK,
        Some(other) => panic!("{other} is no option; there is --quick"),
    };
    // Peers turn on the slower backend of jsonwebtoken; all get the faster one, which has to be said
    // where there are two.
    jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default().expect("not chosen yet");
    jsonwebtoken_10::crypto::aws_lc::DEFAULT_PROVIDER.install_default().expect("not chosen yet");
    let cores = Cores::of_this_machine();
    cores.settle_here();

    table::versions();
    let sessions = contenders::sessions();
    for algorithm in [Algorithm::EdDSA, Algorithm::RS256, Algorithm::HS256] {
        let setup = Setup::signing_with(algorithm);
        let mut contenders = contenders::of_tokens(&setup);
        contenders.extend(sessions.iter().cloned());
        check::check(&contenders, &setup);
        in_process::compare(algorithm, &contenders, effort);
        over_http::compare(algorithm, &contenders, effort, cores);
    }
    entity_tokens::compare(effort, cores);
}

/// One of a single thread, as all requests are answered by one core.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
