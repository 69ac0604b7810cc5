//! What was answered, and how fast.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

const SLOWEST: Duration = Duration::from_secs(60);

/// What was answered to each sort of request.
#[derive(Default)]
pub struct Report(BTreeMap<&'static str, Answers>);

struct Answers {
    statuses: BTreeMap<u16, usize>,
    /// As large at the end as in the beginning.
    micros: Histogram<u64>,
    unexpected: usize,
}

impl Default for Answers {
    fn default() -> Self {
        let micros = Histogram::new_with_max(SLOWEST.as_micros() as u64, 3).unwrap();
        Self { statuses: BTreeMap::new(), micros, unexpected: 0 }
    }
}

impl Report {
    pub fn record(&mut self, sort: &'static str, status: u16, expected: &[u16], took: Duration) {
        let answers = self.0.entry(sort).or_default();
        *answers.statuses.entry(status).or_default() += 1;
        answers.micros.saturating_record(took.as_micros() as u64);
        if !expected.contains(&status) {
            answers.unexpected += 1;
        }
    }

    pub fn add(&mut self, other: Self) {
        for (sort, answers) in other.0 {
            let known = self.0.entry(sort).or_default();
            for (status, count) in answers.statuses {
                *known.statuses.entry(status).or_default() += count;
            }
            known.micros.add(answers.micros).unwrap();
            known.unexpected += answers.unexpected;
        }
    }

    /// Fails where an answer was not one of those that its request may get.
    pub fn print(&self, took: Duration) {
        println!("\n| request | count | answers | p50, ms | p99, ms | slowest, ms |");
        println!("|---|---|---|---|---|---|");
        let (mut all, mut unexpected) = (0, 0);
        for (sort, answers) in &self.0 {
            println!("| {sort} | {} |", answers.cells().join(" | "));
            all += answers.micros.len();
            unexpected += answers.unexpected;
        }
        let rate = all as f64 / took.as_secs_f64();
        println!(
            "\n{all} requests, {rate:.0} a second; {unexpected} answers were not to be expected"
        );
        assert_eq!(unexpected, 0);
    }
}

impl Answers {
    fn cells(&self) -> [String; 5] {
        let of_status = |(status, count): (&u16, &usize)| format!("{count} × {status}");
        let statuses: Vec<_> = self.statuses.iter().map(of_status).collect();
        let millis = |share: f64| self.micros.value_at_quantile(share) as f64 / 1e3;
        [
            self.micros.len().to_string(),
            statuses.join(", "),
            format!("{:.2}", millis(0.5)),
            format!("{:.2}", millis(0.99)),
            format!("{:.1}", millis(1.0)),
        ]
    }
}

pub fn resident_megabytes() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096.0 / 1e6
}
