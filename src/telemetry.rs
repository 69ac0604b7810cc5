//! Metrics, through the `metrics` facade. Without the feature of that name nothing is recorded.

const VALIDATIONS: &str = "countersign_validations_total";
const REJECTIONS: &str = "countersign_rejections_total";

pub(crate) fn describe() {
    describe_counter(VALIDATIONS, "Access tokens that were validated, by result");
    describe_counter(REJECTIONS, "Rejections and failures, by operation and reason");
}

pub(crate) fn validated(result: &'static str) {
    count(VALIDATIONS, &[("result", result)]);
}

pub(crate) fn rejected(operation: &'static str, reason: &'static str) {
    count(REJECTIONS, &[("operation", operation), ("reason", reason)]);
}

pub(crate) type Label = (&'static str, &'static str);

/// Adds 1 to a counter.
#[cfg(feature = "metrics")]
pub(crate) fn count(name: &'static str, labels: &[Label]) {
    metrics::counter!(name, labels).increment(1);
}

#[cfg(not(feature = "metrics"))]
pub(crate) fn count(_: &'static str, _: &[Label]) {}

#[cfg(feature = "metrics")]
pub(crate) fn describe_counter(name: &'static str, text: &'static str) {
    metrics::describe_counter!(name, metrics::Unit::Count, text);
}

#[cfg(not(feature = "metrics"))]
pub(crate) fn describe_counter(_: &'static str, _: &'static str) {}
