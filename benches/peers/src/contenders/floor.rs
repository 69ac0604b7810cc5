//! A route with no authentication.

use crate::contender::{Contender, Credentials, FLOOR, FLOOR_07, Kind};
use crate::setup::Setup;

pub fn contenders(setup: &Setup) -> Vec<Contender> {
    let app = axum::Router::new().route("/", axum::routing::get(hello));
    let app_07 = axum_07::Router::new().route("/", axum_07::routing::get(hello));
    // It gets the same requests.
    let token = Credentials::Token(&setup.token);
    vec![
        Contender::new(FLOOR, Kind::Floor, app, token),
        Contender::of_axum_07(FLOOR_07, Kind::Floor, app_07, token),
    ]
}

async fn hello() -> &'static str {
    "hello"
}
