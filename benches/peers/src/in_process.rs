//! Requests that are handed to the app itself: what its layers and extractors cost, and no more.

use countersign::Algorithm;

use crate::contender::{Contender, Kind};
use crate::table::{Table, median};
use crate::{Effort, runtime};

/// Above this, a turn has fewer requests. In microseconds.
const SLOW_FROM: f64 = 5.0;

pub fn compare(algorithm: Algorithm, contenders: &[Contender], effort: Effort) {
    let runtime = runtime();
    // Twice, for the first request fetches keys and fills caches.
    let counts: Vec<usize> = contenders
        .iter()
        .map(|contender| {
            contender.time_of(&runtime, effort.slow);
            let is_slow = contender.time_of(&runtime, effort.slow) > SLOW_FROM;
            if is_slow { effort.slow } else { effort.fast }
        })
        .collect();

    let mut times = vec![Vec::new(); contenders.len()];
    let mut above = vec![Vec::new(); contenders.len()];
    for _ in 0..effort.rounds {
        let round: Vec<f64> = contenders
            .iter()
            .zip(&counts)
            .map(|(contender, &count)| contender.time_of(&runtime, count))
            .collect();
        for (at, contender) in contenders.iter().enumerate() {
            let floor = round[contender.floor_among(contenders)];
            times[at].push(round[at]);
            above[at].push(round[at] - floor);
        }
    }

    let above: Vec<f64> = above.into_iter().map(median).collect();
    let ours = contenders.iter().position(|contender| contender.kind == Kind::Ours);
    let ours = above[ours.expect("this crate is among them")];
    let mut table = Table::new(
        &format!("{algorithm}, in process"),
        &["", "a request, us", "above its floor, us", "to countersign"],
    );
    for ((contender, times), above) in contenders.iter().zip(times).zip(above) {
        let is_floor = contender.kind == Kind::Floor;
        table.row(&[
            contender.name.to_owned(),
            format!("{:.2}", median(times)),
            if is_floor { String::new() } else { format!("{above:.2}") },
            if is_floor { String::new() } else { format!("{:.1} x", above / ours) },
        ]);
    }
    table.print();
}
