//! Sessions and secrets, whatever is done to them and in whatever order, next to a model of them.

use proptest::prelude::*;
use proptest_state_machine::prop_state_machine;

use crate::support::models::driver::{Memory, Over};
use crate::support::models::secrets::Machine;
use crate::support::models::sessions::Customers;

prop_state_machine! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn in_memory_secrets_live_as_the_model_of_them_does(
        sequential 1..40 => Over<Machine, Memory>
    );

    #[test]
    fn in_memory_sessions_live_as_the_model_of_them_does(
        sequential 1..40 => Over<Customers, Memory>
    );
}
