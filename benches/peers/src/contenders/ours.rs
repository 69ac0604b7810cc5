//! This crate: a token that it has checked before, and one that it has not.

use std::hint::black_box;

use axum::Router;
use axum::routing::get;
use countersign::{Bearer, TokenService};

use crate::contender::{Contender, Credentials, Kind};
use crate::setup::Setup;

pub fn contenders(setup: &Setup) -> Vec<Contender> {
    let token = Credentials::Token(&setup.token);
    vec![
        Contender::new("countersign", Kind::Ours, app(&setup.service), token),
        Contender::new("countersign, new tokens", Kind::Ours, app(&setup.forgetful), token),
    ]
}

fn app(service: &TokenService) -> Router {
    Router::new().route("/", get(hello)).layer(service.validate_layer())
}

async fn hello(Bearer(claims): Bearer) -> &'static str {
    black_box(claims.principal().id());
    "hello"
}
