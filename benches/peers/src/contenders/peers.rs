//! Crates that check a bearer token, each as its own documentation has it used, with the issuer and
//! the audience checked, too.

use std::hint::black_box;
use std::net::TcpListener;
use std::sync::Arc;

use countersign::Algorithm;

use crate::app::App;
use crate::contender::{Contender, Credentials, Kind};
use crate::runtime;
use crate::setup::{AUDIENCE, Claims, HMAC_SECRET, ISSUER, Setup};

pub fn contenders(setup: &Setup) -> Vec<Contender> {
    let mut all = vec![jwt_authorizer(setup), axum_jwt_auth(setup)];
    // The other two take public keys alone.
    if setup.algorithm != Algorithm::HS256 {
        all.push(tower_oauth2_resource_server(setup));
        all.push(authkestra(setup));
    }
    all
}

fn jwt_authorizer(setup: &Setup) -> Contender {
    use jwt_authorizer::{IntoLayer as _, JwtAuthorizer, JwtClaims, Validation};

    async fn hello(JwtClaims(claims): JwtClaims<Claims>) -> &'static str {
        black_box(&claims.sub);
        "hello"
    }

    let validation = Validation::new().iss(&[ISSUER]).aud(&[AUDIENCE]).nbf(true);
    let builder: jwt_authorizer::AuthorizerBuilder<Claims> = match setup.algorithm {
        Algorithm::HS256 => JwtAuthorizer::from_secret(HMAC_SECRET),
        _ => JwtAuthorizer::from_jwks_text(&setup.jwks()),
    };
    let authorizer = runtime().block_on(builder.validation(validation).build());
    let app = axum_07::Router::new()
        .route("/", axum_07::routing::get(hello))
        .layer(authorizer.expect("good keys").into_layer());
    Contender::of_axum_07("jwt-authorizer", Kind::Peer, app, Credentials::Token(&setup.token))
}

fn axum_jwt_auth(setup: &Setup) -> Contender {
    use axum_jwt_auth::{Claims as Bearer, Decoder, LocalDecoder};
    use jsonwebtoken_10::jwk::JwkSet;
    use jsonwebtoken_10::{DecodingKey, Validation};

    async fn hello(bearer: Bearer<Claims>) -> &'static str {
        black_box(&bearer.claims.sub);
        "hello"
    }

    let algorithm = setup.algorithm.as_str().parse().expect("an algorithm that all know");
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.validate_nbf = true;
    let set: JwkSet = serde_json::from_str(&setup.jwks()).expect("a JWK Set");
    let key = match set.keys.first() {
        Some(key) => DecodingKey::from_jwk(key).expect("a public key"),
        None => DecodingKey::from_secret(HMAC_SECRET.as_bytes()),
    };
    let decoder = LocalDecoder::builder().keys(vec![key]).validation(validation).build();
    let decoder: Decoder<Claims> = Arc::new(decoder.expect("good keys"));
    let app = axum::Router::new().route("/", axum::routing::get(hello)).with_state(decoder);
    Contender::new("axum-jwt-auth", Kind::Peer, app, Credentials::Token(&setup.token))
}

fn tower_oauth2_resource_server(setup: &Setup) -> Contender {
    use axum::Extension;
    use tower_oauth2_resource_server::server::OAuth2ResourceServer;
    use tower_oauth2_resource_server::tenant::TenantConfiguration;
    use tower_oauth2_resource_server::validation::ClaimsValidationSpec;

    async fn hello(Extension(claims): Extension<Claims>) -> &'static str {
        black_box(&claims.sub);
        "hello"
    }

    let audiences = vec![AUDIENCE.to_owned()];
    let tenant = TenantConfiguration::static_builder(setup.jwks())
        // With keys that it does not fetch, it checks the issuer only if told.
        .claims_validation(ClaimsValidationSpec::recommended(ISSUER, &audiences))
        .build();
    let server = OAuth2ResourceServer::<Claims>::builder().add_tenant(tenant.expect("good keys"));
    let server = runtime().block_on(server.build()).expect("a good configuration");
    let app = axum::Router::new().route("/", axum::routing::get(hello)).layer(server.into_layer());
    Contender::new(
        "tower-oauth2-resource-server",
        Kind::Peer,
        app,
        Credentials::Token(&setup.token),
    )
}

fn authkestra(setup: &Setup) -> Contender {
    use authkestra::axum::{Auth, Guard};
    use authkestra_resource::jwt::{JwtStrategy, ValidationConfig};

    async fn hello(Auth(claims): Auth<Claims>) -> &'static str {
        black_box(&claims.sub);
        "hello"
    }

    let algorithm = setup.algorithm.as_str().parse().expect("an algorithm that all know");
    let config = ValidationConfig::builder()
        .jwks_url(serve_keys(setup))
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .algorithms(vec![algorithm])
        .build();
    let guard: Guard<Claims> = Guard::builder().strategy(JwtStrategy::new(config)).build();
    let app = axum::Router::new().route("/", axum::routing::get(hello)).with_state(Arc::new(guard));
    Contender::new("authkestra", Kind::Peer, app, Credentials::Token(&setup.token))
}

/// For a peer that takes keys by their URL alone, and fetches them once an hour.
fn serve_keys(setup: &Setup) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback");
    listener.set_nonblocking(true).expect("what tokio asks for");
    let url = format!("http://{}/.well-known/jwks.json", listener.local_addr().expect("its port"));
    let router = setup.service.router();
    std::thread::spawn(move || {
        let app = App::new(router);
        runtime().block_on(app.serve(listener));
    });
    url
}
