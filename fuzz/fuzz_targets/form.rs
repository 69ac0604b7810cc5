//! Whatever body a machine's login has, form or JSON by its first byte, it is answered with a status
//! of the contract, and with a token for the right secret alone.

#![no_main]

use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use countersign::{Entity, EntityId, Secret};
use countersign_fuzz::{answer, runtime, service};
use http::Request;
use http::header::CONTENT_TYPE;
use libfuzzer_sys::fuzz_target;

const SECRET: &str = "the-secret-of-aa-1-which-is-long";

static APP: LazyLock<Router> = LazyLock::new(|| {
    let service = service(0);
    runtime().block_on(async {
        service.register(Entity::machine("aa-1").unwrap()).await.unwrap();
        let secret = Secret::dangerous_from_text(SECRET).unwrap();
        let id = EntityId::machine("aa-1").unwrap();
        service.import_secret(&id, &secret, None).await.unwrap();
    });
    service.router()
});

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else { return };
    let media = match kind % 3 {
        0 => "application/x-www-form-urlencoded",
        1 => "application/json",
        _ => "application/x-www-form-urlencoded; charset=utf-8",
    };
    let request = Request::post("/entity/token/generate").header(CONTENT_TYPE, media);
    let answer = answer(&APP, request.body(Body::from(body.to_vec())).unwrap());
    match answer.status().as_u16() {
        // It says the secret, in whatever escapes.
        200 => assert!(body.len() >= SECRET.len()),
        400 | 401 | 413 | 415 | 422 => {}
        other => panic!("answered {other}"),
    }
});
