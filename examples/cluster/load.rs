//! How long it takes until a token that was revoked is rejected, while the nodes are busy.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

use crate::callers::{Callers, Client, RevocationTimes};
use crate::nodes::Cluster;
use crate::{Problem, millis};

/// How often a token is revoked.
const REVOKE_EVERY: Duration = Duration::from_millis(50);
/// How many validations are asked of each node in a second, over how many connections.
const RATE: u32 = 1_000;
const CONNECTIONS: u32 = 8;

/// Tokens that are revoked while each node has others to validate.
pub(crate) struct Load<'a> {
    pub(crate) seconds: u32,
    pub(crate) user: &'a str,
    pub(crate) customer: &'a str,
}

impl Load<'_> {
    pub(crate) async fn run(
        &self,
        cluster: &Cluster,
        callers: &mut Callers,
        engine: &str,
    ) -> Result<(), Problem> {
        let mut connections = Vec::new();
        for (index, node) in cluster.nodes.iter().enumerate() {
            for _ in 0..CONNECTIONS {
                let (_, token) = self.log_in(callers, index).await?;
                connections.push((index, Client::connect(node.address).await?, token));
            }
        }
        let begin = Instant::now();
        let mut validating = JoinSet::new();
        for (number, (index, client, token)) in (0..CONNECTIONS).cycle().zip(connections) {
            // In turns, so that they do not wait for one another.
            let first = begin + Duration::from_secs(1) * number / RATE;
            let requests = self.seconds * RATE / CONNECTIONS;
            validating.spawn(validate(index, client, token, first, requests));
        }
        let revoked = self.revoke(callers, begin).await?;
        let mut validated: [Validated; 3] = Default::default();
        while let Some(done) = validating.join_next().await {
            let (index, done) = done??;
            validated[index].add(done);
        }
        report(engine, begin, &revoked, validated);
        Ok(())
    }

    /// A session that the user starts for the customer, and its JWT.
    async fn log_in(
        &self,
        callers: &mut Callers,
        number: usize,
    ) -> Result<(String, String), Problem> {
        let clients = &mut callers.clients;
        let login = json!({"mode": "passwordless", "customerId": self.customer});
        let session = clients[number % 3].start_session(Some(self.user), &login).await?;
        let token = clients[(number + 1) % 3].exchange(&session).await?;
        Ok((session, token))
    }

    /// What was revoked, and on which node.
    async fn revoke(
        &self,
        callers: &mut Callers,
        begin: Instant,
    ) -> Result<Vec<(usize, RevocationTimes)>, Problem> {
        let mut all = Vec::new();
        let mut pace = interval(REVOKE_EVERY);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while pace.tick().await < begin + Duration::from_secs(self.seconds.into()) {
            let at = all.len() % 3;
            let (session, token) = self.log_in(callers, at + 1).await?;
            all.push((at, callers.revoke(at, &session, &token).await?));
        }
        Ok(all)
    }
}

/// What a node validated: how long after its time in the schedule each answer came, and the last.
#[derive(Default)]
struct Validated {
    took: Vec<Duration>,
    last: Option<Instant>,
}

impl Validated {
    fn add(&mut self, other: Self) {
        self.took.extend(other.took);
        self.last = self.last.max(other.last);
    }
}

/// Requests by a fixed schedule: what is late is made up for, and counts as late.
async fn validate(
    node: usize,
    mut client: Client,
    token: String,
    first: Instant,
    requests: u32,
) -> Result<(usize, Validated), Problem> {
    let mut pace = interval_at(first, Duration::from_secs(1) * CONNECTIONS / RATE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut validated = Validated::default();
    for _ in 0..requests {
        let scheduled = pace.tick().await;
        client.must_accept(&token).await?;
        validated.took.push(scheduled.elapsed());
    }
    validated.last = Some(Instant::now());
    Ok((node, validated))
}

fn report(
    engine: &str,
    begin: Instant,
    revoked: &[(usize, RevocationTimes)],
    validated: [Validated; 3],
) {
    let (mut from_request, mut from_answer, mut unsure) = (Vec::new(), Vec::new(), Vec::new());
    for (at, revoked) in revoked {
        for (_, rejected) in revoked.rejected.iter().enumerate().filter(|(node, _)| node != at) {
            from_request.push(rejected.first - revoked.asked);
            // None, where it was rejected before.
            from_answer.push(rejected.first.saturating_duration_since(revoked.answered));
            unsure.push(rejected.unsure);
        }
    }
    println!("\n{} revocations, until each other node rejected, in ms:\n", revoked.len());
    println!("| {engine} | p50 | p90 | p99 | slowest |");
    println!("|---|---|---|---|---|");
    println!("| from the request to revoke | {} |", quantiles(from_request));
    println!("| from its answer | {} |", quantiles(from_answer));
    println!("| sure to within | {} |", quantiles(unsure));
    println!("\nMeanwhile, from when each was due, in ms:\n");
    println!("| validations on | a second | p50 | p90 | p99 | slowest |");
    println!("|---|---|---|---|---|---|");
    for (number, Validated { took, last }) in (1..).zip(validated) {
        let elapsed = last.map_or(Duration::ZERO, |last| last - begin);
        let rate = took.len() as f64 / elapsed.as_secs_f64();
        println!("| node {number} | {rate:.0} | {} |", quantiles(took));
    }
}

fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |percent: usize| {
        let index = times.len().saturating_sub(1) * percent / 100;
        times.get(index).copied().map_or(f64::NAN, millis)
    };
    [50, 90, 99, 100].map(|percent| format!("{:.1}", at(percent))).join(" | ")
}
