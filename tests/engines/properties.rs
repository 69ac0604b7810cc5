//! Sessions and secrets in a database, whatever is done to them and in whatever order, next to a model
//! of them.

use proptest::prelude::*;
use proptest_state_machine::prop_state_machine;

use crate::servers::Postgres;
use crate::support::Fixture;
use crate::support::durable::fixture_with;
use crate::support::models::driver::{Over, Store, policy};
use crate::support::models::secrets::Machine;
use crate::support::models::sessions::Customers;

pub struct OverPostgres;

impl Store for OverPostgres {
    type Place = Postgres;

    async fn fixture() -> (Fixture, Postgres) {
        let database = Postgres::new().await;
        (fixture_with(database.node().await, policy()).await, database)
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn in_postgres_secrets_live_as_the_model_of_them_does(
        sequential 1..40 => Over<Machine, OverPostgres>
    );

    #[test]
    fn in_postgres_sessions_live_as_the_model_of_them_does(
        sequential 1..40 => Over<Customers, OverPostgres>
    );
}
