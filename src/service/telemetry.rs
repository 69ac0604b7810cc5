//! The metrics of the token service.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::clock::Timestamp;
use crate::service::store::record::UNREADABLE;
use crate::telemetry::{Label, count, describe_counter};

const ISSUED: &str = "countersign_tokens_issued_total";
const THROTTLED: &str = "countersign_throttled_total";
const THROTTLE_KEYS: &str = "countersign_throttle_keys";
const HASHING_WAITING: &str = "countersign_hashing_waiting";
const HASHING_WAIT: &str = "countersign_hashing_wait_seconds";
const HASHING: &str = "countersign_hashing_seconds";
const STORE_CALLS: &str = "countersign_store_call_seconds";
const REVOCATIONS: &str = "countersign_revocations_held";
const CLOCK_DIFFERENCE: &str = "countersign_clock_difference_seconds";

const WORK_SUCCEEDED: &str = "countersign_housekeeping_last_success_seconds";
const WORK_RESTARTED: &str = "countersign_housekeeping_restarts_total";

/// A part of the background work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Feed,
    Publish,
    Republish,
    Keys,
    Purge,
    StalenessWatch,
}

impl Work {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Feed => "feed",
            Self::Publish => "publish",
            Self::Republish => "republish",
            Self::Keys => "keys",
            Self::Purge => "purge",
            Self::StalenessWatch => "staleness_watch",
        }
    }
}

pub(super) fn describe() {
    describe_counter(ISSUED, "Tokens that were issued or exchanged, by operation");
    describe_counter(THROTTLED, "Throttled attempts, by limit");
    describe_gauge(
        THROTTLE_KEYS,
        "Names, addresses and pairs of them for which failures are counted",
    );
    describe_gauge(HASHING_WAITING, "Logins that wait for their password's hash");
    describe_seconds(HASHING_WAIT, "How long logins waited for their password's hash");
    describe_seconds(HASHING, "How long the hash of a password took");
    describe_seconds(STORE_CALLS, "How long a store took, by call and outcome");
    describe_gauge_of_seconds(
        WORK_SUCCEEDED,
        "When a part of the background work last succeeded, in seconds since 1970",
    );
    describe_counter(WORK_RESTARTED, "Panics of a part of the background work");
    describe_gauge(REVOCATIONS, "Revocations that are held in memory");
    describe_gauge_of_seconds(
        CLOCK_DIFFERENCE,
        "How far the node's clock is ahead of its store's; negative if it is behind",
    );
    describe_counter(UNREADABLE, "Records of the store that could not be read, by kind");
}

pub(super) fn issued(operation: &'static str) {
    count(ISSUED, &[("operation", operation)]);
}

pub(super) fn throttled(limit: &'static str) {
    count(THROTTLED, &[("limit", limit)]);
}

pub(super) fn throttle_keys(held: usize) {
    set(THROTTLE_KEYS, held);
}

pub(super) fn hashing_waiting(waiting: usize) {
    set(HASHING_WAITING, waiting);
}

pub(super) fn hashing_waited(waited: Duration) {
    observe(HASHING_WAIT, waited, &[]);
}

pub(super) fn hashed(took: Duration) {
    observe(HASHING, took, &[]);
}

pub(super) fn revocations_held(held: usize) {
    set(REVOCATIONS, held);
}

pub(super) fn work_succeeded(work: Work, at: Timestamp) {
    let since = at.saturating_since(Timestamp::MIN);
    set_seconds(WORK_SUCCEEDED, since.as_secs_f64(), &[("work", work.as_str())]);
}

pub(super) fn work_restarted(work: Work) {
    count(WORK_RESTARTED, &[("work", work.as_str())]);
}

pub(super) fn clock_difference(ahead: Duration, behind: Duration) {
    set_seconds(CLOCK_DIFFERENCE, ahead.as_secs_f64() - behind.as_secs_f64(), &[]);
}

/// Measures a call of a store.
pub(super) async fn store_call<T, E>(
    call: &'static str,
    outcome_of: fn(&Result<T, E>) -> &'static str,
    calling: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let began = Instant::now();
    let outcome = calling.await;
    observe(STORE_CALLS, began.elapsed(), &[("call", call), ("outcome", outcome_of(&outcome))]);
    outcome
}

/// Sets a gauge.
#[cfg(feature = "metrics")]
fn set(name: &'static str, value: usize) {
    metrics::gauge!(name).set(f64::from(u32::try_from(value).unwrap_or(u32::MAX)));
}

#[cfg(not(feature = "metrics"))]
fn set(_: &'static str, _: usize) {}

/// Sets a gauge of seconds.
#[cfg(feature = "metrics")]
fn set_seconds(name: &'static str, seconds: f64, labels: &[Label]) {
    metrics::gauge!(name, labels).set(seconds);
}

#[cfg(not(feature = "metrics"))]
fn set_seconds(_: &'static str, _: f64, _: &[Label]) {}

/// Records a duration in a histogram.
#[cfg(feature = "metrics")]
fn observe(name: &'static str, duration: Duration, labels: &[Label]) {
    metrics::histogram!(name, labels).record(duration);
}

#[cfg(not(feature = "metrics"))]
fn observe(_: &'static str, _: Duration, _: &[Label]) {}

#[cfg(feature = "metrics")]
fn describe_gauge(name: &'static str, text: &'static str) {
    metrics::describe_gauge!(name, metrics::Unit::Count, text);
}

#[cfg(not(feature = "metrics"))]
fn describe_gauge(_: &'static str, _: &'static str) {}

#[cfg(feature = "metrics")]
fn describe_gauge_of_seconds(name: &'static str, text: &'static str) {
    metrics::describe_gauge!(name, metrics::Unit::Seconds, text);
}

#[cfg(not(feature = "metrics"))]
fn describe_gauge_of_seconds(_: &'static str, _: &'static str) {}

#[cfg(feature = "metrics")]
fn describe_seconds(name: &'static str, text: &'static str) {
    metrics::describe_histogram!(name, metrics::Unit::Seconds, text);
}

#[cfg(not(feature = "metrics"))]
fn describe_seconds(_: &'static str, _: &'static str) {}
