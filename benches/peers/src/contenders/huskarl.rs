//! `huskarl-resource-server` knows no framework, and its adapter for axum is not released: its
//! validator in a middleware, as its documentation has a request validated and rejected.
//!
//! It checks `typ`, too, and `nbf`. Its own backend is used, that of RustCrypto.

use std::hint::black_box;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use countersign::Algorithm;
use huskarl_crypto_native::symmetric::SymmetricKey;
use huskarl_resource_server::core::crypto::verifier::{
    JwsVerifier, JwsVerifierFactory, JwsVerifierPlatform, MultiKeyVerifier,
};
use huskarl_resource_server::core::jwk::{Jwks, OctKey, SymmetricJwk};
use huskarl_resource_server::core::platform::MaybeSendBoxFuture;
use huskarl_resource_server::core::{EndpointUrl, Error};
use huskarl_resource_server::validator::ValidatedRequest;
use huskarl_resource_server::validator::metadata::ValidatorMetadata;
use huskarl_resource_server::validator::rfc9068::{Rfc9068AccessTokenClaims, Rfc9068Validator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::contender::{Contender, Credentials, Kind};
use crate::runtime;
use crate::setup::{AUDIENCE, Entry, HMAC_SECRET, ISSUER, Setup};

pub fn contender(setup: &Setup) -> Contender {
    let keys = match setup.algorithm {
        Algorithm::HS256 => LocalKeys::Shared(HMAC_SECRET),
        _ => LocalKeys::Published(setup.jwks()),
    };
    let validator = Rfc9068Validator::builder()
        .with_claims::<OtherClaims>()
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .allowed_signing_algorithms([setup.algorithm.as_str().to_owned()])
        .jws_verifier_factory(keys)
        .build();
    let validator = runtime().block_on(validator).expect("good keys");
    let metadata = validator.validator_metadata(None);
    let checks = Arc::new(Checks { validator, metadata });
    let app = Router::new().route("/", get(hello)).layer(from_fn_with_state(checks, check));
    Contender::new("huskarl-resource-server", Kind::Peer, app, Credentials::Token(&setup.token))
}

struct Checks {
    validator: Rfc9068Validator<OtherClaims>,
    metadata: ValidatorMetadata,
}

type Validated = ValidatedRequest<Rfc9068AccessTokenClaims<OtherClaims>>;

/// Those that it does not read by itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct OtherClaims {
    subject_type: Option<String>,
    #[serde(default)]
    acl: Vec<Entry>,
    #[serde(default, rename = "customClaims")]
    custom_claims: Map<String, Value>,
}

async fn check(State(checks): State<Arc<Checks>>, mut request: Request, next: Next) -> Response {
    let (headers, method, uri) = (request.headers(), request.method(), request.uri());
    let result = checks.validator.validate_request(headers, method, uri, None).await;
    if let Some(rejection) = result.rejection(&checks.metadata, None) {
        let response = rejection.apply(http::Response::builder());
        return response.body(Body::empty()).expect("values that headers may have");
    }
    if let Ok(Some(validated)) = result.outcome {
        request.extensions_mut().insert(Arc::new(validated));
    }
    next.run(request).await
}

async fn hello(Extension(validated): Extension<Arc<Validated>>) -> &'static str {
    black_box(&validated.sub);
    "hello"
}

/// Keys that are there from the beginning, and are never fetched.
enum LocalKeys {
    Published(String),
    Shared(&'static str),
}

impl JwsVerifierFactory for LocalKeys {
    fn build(
        &self,
        _: Option<&EndpointUrl>,
        platform: Arc<dyn JwsVerifierPlatform>,
    ) -> MaybeSendBoxFuture<'static, Result<Arc<dyn JwsVerifier>, Error>> {
        match self {
            Self::Published(set) => {
                let set: Jwks = serde_json::from_str(set).expect("a JWK Set");
                Box::pin(async move {
                    let verifier = MultiKeyVerifier::from_jwks(&set.into(), &*platform).await?;
                    Ok(Arc::new(verifier) as Arc<dyn JwsVerifier>)
                })
            }
            Self::Shared(secret) => {
                let key = OctKey::builder().k(secret.bytes()).build();
                let key = SymmetricJwk::builder().key(key).algorithm("HS256").build();
                Box::pin(async move {
                    Ok(Arc::new(SymmetricKey::from_jwk(key)?) as Arc<dyn JwsVerifier>)
                })
            }
        }
    }
}
