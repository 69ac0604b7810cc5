//! `POST /authentication-tokens/{token}/exchange`

use axum::extract::{Request, State};
use axum_core::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::guard::authenticate::Authenticator;
use crate::service::exchange::ExchangedToken;
use crate::service::http::routes::authentication_tokens::idempotency_key;
use crate::service::http::routes::body::{Media, receive};
use crate::service::http::routes::error::RouteError;
use crate::service::http::routes::fields::Fields;
use crate::service::http::routes::problem;
use crate::service::http::routes::response;
use crate::service::http::routes::route_context::RouteContext;
use crate::service::model::one_time_password::OneTimePassword;
use crate::service::{ExchangeRequest, TokenService};
use crate::token::identifier::CustomerId;

/// Exchanges the token for a JWT.
pub(in crate::service::http::routes) async fn exchange(
    State(tokens): State<TokenService>,
    request: Request,
) -> Response {
    problem::answer(&tokens, try_exchange(&tokens, request).await)
}

async fn try_exchange(tokens: &TokenService, request: Request) -> Result<Response, RouteError> {
    let (mut parts, body) = request.into_parts();
    let route = RouteContext::read(tokens, &mut parts).await?;
    let received = receive(&parts.headers, body, &[Media::Json], tokens.policy()).await?;
    // A bearer token is optional, but an invalid one is rejected.
    let bearer = Authenticator::of(tokens.validator(), &parts).optional()?;
    let asked = read_request(&received.members()?)?;
    let idempotency_key = idempotency_key(&parts.headers);
    let asked = ExchangeRequest { bearer, idempotency_key, ..asked };
    let exchanged = tokens.exchange_presented(route.token.as_ref(), asked, &route.request).await?;
    Ok(response::json(StatusCode::CREATED, &body_of(&exchanged, &route.base)))
}

/// Reads the request and its faults; an error if a value has a wrong JSON type.
fn read_request(members: &Map<String, Value>) -> Result<ExchangeRequest, String> {
    let mut fields = Fields::of(members);
    Ok(ExchangeRequest {
        invalidate: fields.flag("invalidate")?.unwrap_or(true),
        one_time_password: fields.text("oneTimePassword")?.map(OneTimePassword::presented),
        custom_claims: fields.object("customClaims")?.cloned(),
        expires_at: fields.time("expiredTime")?,
        acl: fields.acl()?,
        invalid: fields.into_invalid(),
        ..ExchangeRequest::default()
    })
}

fn body_of(exchanged: &ExchangedToken, base: &str) -> Value {
    let created = exchanged.created_at.to_string();
    json!({
        "id": exchanged.token.token_id.as_str(),
        "type": "customer",
        "token": exchanged.token.access_token.expose(),
        "customerId": exchanged.customer_id,
        "acl": exchanged.acl,
        "customClaims": exchanged.custom_claims,
        "createdTime": created,
        "updatedTime": created,
        "expiredTime": exchanged.token.expires_at.to_string(),
        "_links": links(&exchanged.customer_id, base),
    })
}

/// Only the customer.
fn links(customer_id: &CustomerId, base: &str) -> Value {
    let encoded: String =
        form_urlencoded::byte_serialize(customer_id.as_str().as_bytes()).collect();
    let href = format!("{base}/customers/{}", encoded.replace('+', "%20"));
    json!([{"href": href, "rel": "customer"}])
}
