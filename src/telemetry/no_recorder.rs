use std::future::Future;
use std::time::Duration;

pub(crate) fn describe() {}

pub(crate) fn issued(_operation: &'static str) {}

pub(crate) fn validated(_result: &'static str) {}

pub(crate) fn refused(_operation: &'static str, _reason: &'static str) {}

pub(crate) fn throttled(_limit: &'static str) {}

pub(crate) fn throttle_keys(_held: usize) {}

pub(crate) fn hashing_waiting(_waiting: usize) {}

pub(crate) fn hashing_waited(_waited: Duration) {}

pub(crate) fn revocations_held(_held: usize) {}

pub(crate) fn hashed(_took: Duration) {}

pub(crate) fn store_call<T, E>(
    _call: &'static str,
    _outcome_of: fn(&Result<T, E>) -> &'static str,
    calling: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, E>> {
    calling
}
