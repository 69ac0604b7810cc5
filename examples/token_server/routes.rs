//! Where the routes are, and which origins' pages may call them.

use std::time::Duration;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, Method, Uri};
use axum::routing::get;
use axum::{Json, Router};
use countersign::{Bearer, TokenService};
use serde_json::{Value, json};
use tower_http::cors::CorsLayer;

use crate::Problem;
use crate::settings::setting;

/// Where the routes are, and who may call them from a browser.
pub(crate) struct Routing {
    /// The path that all routes are below: empty, or one that begins with a slash and ends with none.
    pub(crate) mount: String,
    origins: Vec<HeaderValue>,
}

impl Routing {
    pub(crate) fn from_settings() -> Result<Self, Problem> {
        let mount = setting("COUNTERSIGN_MOUNT")?.unwrap_or_else(|| "/".to_owned());
        let mount = if mount == "/" { String::new() } else { mount };
        if !(mount.is_empty() || is_path(&mount)) {
            return Err(
                "COUNTERSIGN_MOUNT must be / or a path such as /iam/v1, without a slash at \
                        its end"
                    .into(),
            );
        }
        let origins = setting("COUNTERSIGN_CORS_ORIGINS")?;
        let origins = origins.iter().flat_map(|list| list.split(',')).map(origin);
        Ok(Self { mount, origins: origins.collect::<Result<_, _>>()? })
    }

    pub(crate) fn app(&self, tokens: &TokenService) -> Router {
        let routes = Router::new()
            .route("/protected", get(claims).route_layer(tokens.validate_layer()))
            .route("/session", get(claims).route_layer(tokens.exchange_layer()))
            .route("/open", get(|| async { Json(json!({"open": true})) }))
            .merge(tokens.router())
            .nest("/organizations/{organizationId}", tokens.router());
        let app = match &*self.mount {
            "" => routes,
            mount => Router::new().nest(mount, routes),
        };
        if self.origins.is_empty() { app } else { app.layer(self.cors()) }
    }

    /// Without credentials: a token comes in `Authorization`, and no cookie counts.
    fn cors(&self) -> CorsLayer {
        let pagination = ["pagination-total", "pagination-limit", "pagination-offset"];
        let exposed = pagination.map(HeaderName::from_static);
        CorsLayer::new()
            .allow_origin(self.origins.clone())
            .allow_methods([Method::GET, Method::POST, Method::DELETE])
            .allow_headers([
                AUTHORIZATION,
                CONTENT_TYPE,
                HeaderName::from_static("idempotency-key"),
            ])
            .expose_headers(
                exposed.into_iter().chain([RETRY_AFTER, WWW_AUTHENTICATE]).collect::<Vec<_>>(),
            )
            .max_age(Duration::from_secs(600))
    }
}

async fn claims(Bearer(claims): Bearer) -> Json<Value> {
    Json(json!(**claims.validated()))
}

/// Returns whether it is segments of unreserved characters (RFC 3986 §2.3): a brace would be a parameter.
fn is_path(text: &str) -> bool {
    let is_segment = |segment: &str| {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        !matches!(segment, "" | "." | "..") && segment.bytes().all(unreserved)
    };
    text.strip_prefix('/').is_some_and(|path| path.split('/').all(is_segment))
}

/// Reads an origin as browsers write it (RFC 6454 §6.2). `*` is none: a page of anybody could try out
/// passwords from the addresses of those who visit it.
fn origin(text: &str) -> Result<HeaderValue, Problem> {
    let text = text.trim();
    let is_origin = text.parse::<Uri>().is_ok_and(|uri| {
        let written = uri.scheme_str().zip(uri.authority());
        let written = written.map(|(scheme, authority)| format!("{scheme}://{authority}"));
        let is_of_the_web = matches!(uri.scheme_str(), Some("http" | "https"));
        let is_plain = !text.contains('@') && text.to_ascii_lowercase() == text;
        is_of_the_web && is_plain && written.as_deref() == Some(text)
    });
    match HeaderValue::from_str(text) {
        Ok(origin) if is_origin => Ok(origin),
        _ => Err(format!(
            "COUNTERSIGN_CORS_ORIGINS: {text:?} is no origin such as https://shop.example.com"
        )
        .into()),
    }
}
