//! An app that issues a token for a form.

use axum::Router;
use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::runtime;
use crate::setup::{AUDIENCE, ISSUER};

pub struct Issuer {
    pub name: &'static str,
    pub app: Router,
    pub good: Posted,
    /// With a wrong secret, where one is looked at.
    pub bad: Option<Posted>,
    /// That of the answer which holds the token.
    pub member: &'static str,
    /// In base64url, of Ed25519.
    pub public_key: String,
}

pub struct Posted {
    pub path: &'static str,
    pub form: String,
}

const FORM: &str = "application/x-www-form-urlencoded";

impl Issuer {
    /// Panics unless it issues a token that is valid, and rejects a wrong secret.
    pub fn check(&self) {
        let (status, answer) = self.post(&self.good);
        assert_eq!(status, StatusCode::OK, "{}", self.name);
        let token = answer[self.member].as_str().expect("a token");
        let key = DecodingKey::from_ed_components(&self.public_key).expect("a public key");
        let mut validation = Validation::new(jsonwebtoken::Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let token = jsonwebtoken::decode::<Value>(token, &key, &validation);
        assert_eq!(token.expect(self.name).header.typ.as_deref(), Some("at+jwt"), "{}", self.name);
        if let Some(bad) = &self.bad {
            // RFC 6749 §5.2 has a 400 for the credentials of a body, too.
            let (status, answer) = self.post(bad);
            assert!(status.is_client_error(), "{}: {status}", self.name);
            assert!(answer[self.member].is_null(), "{}", self.name);
        }
    }

    fn post(&self, posted: &Posted) -> (StatusCode, Value) {
        let request = Request::post(posted.path).header(CONTENT_TYPE, FORM);
        let request = request.body(Body::from(posted.form.clone())).expect("a request");
        runtime().block_on(async {
            let Ok(response) = self.app.clone().oneshot(request).await;
            let status = response.status();
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            (status, serde_json::from_slice(&body).expect("JSON"))
        })
    }
}

impl Posted {
    /// As it goes over the wire.
    pub fn request(&self) -> Vec<u8> {
        let Self { path, form } = self;
        format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\n\
             content-type: {FORM}\r\ncontent-length: {}\r\n\r\n{form}",
            form.len()
        )
        .into_bytes()
    }
}
