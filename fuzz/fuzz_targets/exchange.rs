//! Whatever body an exchange has, it is answered with a status of the contract, and the token that it
//! gives allows no more than the session does, and ends when it may.

#![no_main]

use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use countersign::{
    Acl, Actor, AuthenticationToken, CustomerId, NewSession, RequestContext, TokenService,
};
use countersign_fuzz::{NOW, answer, runtime, service};
use http::Request;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt as _;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const ACL: &str =
    r#"[{"scope":{"productId":["p1","p2"]},"permissions":["GetOrders","PostOrder"]}]"#;
const TOKEN: &str = "the-authentication-token";

struct House {
    service: TokenService,
    app: Router,
    acl: Acl,
}

static HOUSE: LazyLock<House> = LazyLock::new(|| {
    let service = service(0);
    let app = service.router();
    House { service, app, acl: serde_json::from_str(ACL).unwrap() }
});

fuzz_target!(|body: &[u8]| {
    let House { service, app, acl } = &*HOUSE;
    // The one before may have used it up.
    let token = AuthenticationToken::from_text(TOKEN).unwrap();
    let session = NewSession::of(CustomerId::new("cus_1").unwrap()).acl(acl.clone());
    let started = runtime().block_on(service.start_session(
        Actor::Host,
        session.dangerous_token(token),
        &RequestContext::without_address(),
    ));
    drop(started);

    let request = Request::post(format!("/authentication-tokens/{TOKEN}/exchange"))
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_vec()));
    let answer = answer(app, request.unwrap());
    match answer.status().as_u16() {
        201 => {
            let answered = runtime().block_on(answer.into_body().collect()).unwrap().to_bytes();
            let answered: Value = serde_json::from_slice(&answered).unwrap();
            let token = answered["token"].as_str().unwrap();
            let validated = service.validator().validate(token).unwrap();
            assert!(validated.acl().narrows(acl));
            assert!(validated.custom_claims().is_empty());
            assert!(validated.expires_at().as_secs() <= NOW + 86_400);
            assert_eq!(validated.principal().id(), "cus_1");
        }
        400 | 403 | 413 | 415 | 422 => {}
        other => panic!("answered {other}"),
    }
});
