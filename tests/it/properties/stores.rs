//! A service over each kind of store, for machines that take one step after another.

use countersign::{Policy, ThrottleLimit};
use tokio::runtime::Runtime;

use crate::engines::{File, Postgres, fixture_with};
use crate::support::Fixture;

pub trait Store {
    /// What is removed with it.
    type Place;

    async fn fixture() -> (Fixture, Self::Place);
}

pub struct Memory;

impl Store for Memory {
    type Place = ();

    async fn fixture() -> (Fixture, ()) {
        (Fixture::with(|builder| builder.policy(policy())), ())
    }
}

pub struct OverSqlite;

impl Store for OverSqlite {
    type Place = File;

    async fn fixture() -> (Fixture, File) {
        let file = File::new();
        (fixture_with(file.node().await, policy()), file)
    }
}

pub struct OverPostgres;

impl Store for OverPostgres {
    type Place = Postgres;

    async fn fixture() -> (Fixture, Postgres) {
        let database = Postgres::new().await;
        (fixture_with(database.node().await, policy()), database)
    }
}

/// Throttles are another subject, and would end what is looked at here.
fn policy() -> Policy {
    Policy::default()
        .throttle_by_name(ThrottleLimit::unlimited())
        .throttle_by_address(ThrottleLimit::unlimited())
        .throttle_by_name_and_address(ThrottleLimit::unlimited())
        .throttle_one_time_passwords(ThrottleLimit::unlimited())
        .throttle_one_time_passwords_sent(ThrottleLimit::unlimited())
        .secret_overlap(super::secrets::OVERLAP)
        .secret_grace(super::secrets::GRACE)
}

/// A service, with the runtime that it runs in.
pub struct Kept<S: Store> {
    pub fixture: Fixture,
    _place: S::Place,
    pub runtime: Runtime,
}

impl<S: Store> Kept<S> {
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (fixture, _place) = runtime.block_on(S::fixture());
        Self { fixture, _place, runtime }
    }
}
