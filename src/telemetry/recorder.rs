use std::future::Future;
use std::time::{Duration, Instant};

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

const ISSUED: &str = "countersign_tokens_issued_total";
const VALIDATIONS: &str = "countersign_validations_total";
const REFUSALS: &str = "countersign_refusals_total";
const THROTTLED: &str = "countersign_throttled_total";
const THROTTLE_KEYS: &str = "countersign_throttle_keys";
const HASHING_WAITING: &str = "countersign_hashing_waiting";
const HASHING_WAIT: &str = "countersign_hashing_wait_seconds";
const HASHING: &str = "countersign_hashing_seconds";
const STORE_CALLS: &str = "countersign_store_call_seconds";
const REVOCATIONS: &str = "countersign_revocations_held";

/// Tells the recorder what each metric is and what it counts in.
pub(crate) fn describe() {
    describe_counter!(ISSUED, Unit::Count, "Tokens that were issued or exchanged, by operation");
    describe_counter!(VALIDATIONS, Unit::Count, "Access tokens that were checked, by result");
    describe_counter!(REFUSALS, Unit::Count, "What was refused, by operation and reason");
    describe_counter!(THROTTLED, Unit::Count, "Attempts that came too soon, by limit");
    describe_gauge!(THROTTLE_KEYS, Unit::Count, "Names and addresses that failures are kept of");
    describe_gauge!(HASHING_WAITING, Unit::Count, "Logins that wait for their password's hash");
    describe_histogram!(HASHING_WAIT, Unit::Seconds, "How long logins waited for that");
    describe_histogram!(HASHING, Unit::Seconds, "How long the hash of a password took");
    describe_histogram!(STORE_CALLS, Unit::Seconds, "How long a store took, by call and outcome");
    describe_gauge!(REVOCATIONS, Unit::Count, "Revocations that are held in memory");
}

pub(crate) fn issued(operation: &'static str) {
    counter!(ISSUED, "operation" => operation).increment(1);
}

pub(crate) fn validated(result: &'static str) {
    counter!(VALIDATIONS, "result" => result).increment(1);
}

pub(crate) fn refused(operation: &'static str, reason: &'static str) {
    counter!(REFUSALS, "operation" => operation, "reason" => reason).increment(1);
}

pub(crate) fn throttled(limit: &'static str) {
    counter!(THROTTLED, "limit" => limit).increment(1);
}

pub(crate) fn throttle_keys(held: usize) {
    gauge!(THROTTLE_KEYS).set(as_f64(held));
}

pub(crate) fn hashing_waiting(waiting: usize) {
    gauge!(HASHING_WAITING).set(as_f64(waiting));
}

pub(crate) fn hashing_waited(waited: Duration) {
    histogram!(HASHING_WAIT).record(waited);
}

pub(crate) fn revocations_held(held: usize) {
    gauge!(REVOCATIONS).set(as_f64(held));
}

pub(crate) fn hashed(took: Duration) {
    histogram!(HASHING).record(took);
}

pub(crate) async fn store_call<T, E>(
    call: &'static str,
    outcome_of: fn(&Result<T, E>) -> &'static str,
    calling: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let begun = Instant::now();
    let answer = calling.await;
    let outcome = outcome_of(&answer);
    histogram!(STORE_CALLS, "call" => call, "outcome" => outcome).record(begun.elapsed());
    answer
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
