//! `POST /authentication-tokens/{token}/exchange`

use std::sync::Arc;

use axum::extract::{Request, State};
use axum_core::body::Body;
use axum_core::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use crate::domain::acl::Acl;
use crate::domain::claims::Validated;
use crate::error::InvalidField;
use crate::http::bearer::{Credentials, credentials};
use crate::http::refusal::RefusalReason;
use crate::http::routes::body::{Media, receive};
use crate::http::routes::mount::Mount;
use crate::http::routes::problem;
use crate::service::{ExchangeRequest, ExchangedToken, TokenService};

pub(super) async fn exchange(State(tokens): State<TokenService>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let mount = Mount::read(&mut parts).await;
    let received = match receive(&parts.headers, body, &[Media::Json], tokens.policy()).await {
        Ok(received) => received,
        Err(fault) => return problem::body_fault(&tokens, fault),
    };
    let bearer = match bearer(&tokens, &parts.headers) {
        Ok(bearer) => bearer,
        Err(reason) => return problem::refusal(&tokens, reason),
    };
    let read = received.members().and_then(|members| read_request(&members));
    let (mut wanted, mut invalid) = match read {
        Ok(read) => read,
        Err(message) => return problem::malformed(&tokens, &message),
    };
    invalid.extend(tokens.exchange_faults(&wanted));
    if !invalid.is_empty() {
        return problem::invalid_fields(&tokens, &invalid);
    }
    let (Ok(organization), Some(token)) = (mount.organization, mount.token) else {
        return problem::not_found(&tokens);
    };
    wanted = wanted.organization(organization);
    if let Some(bearer) = bearer {
        wanted = wanted.bearer(bearer);
    }
    match tokens.exchange(&token, wanted).await {
        Ok(exchanged) => respond(&exchanged, &mount.base),
        Err(error) => problem::failure(&tokens, &error),
    }
}

/// A bearer is not needed; one that is there has to be good.
fn bearer(
    tokens: &TokenService,
    headers: &HeaderMap,
) -> Result<Option<Arc<Validated>>, RefusalReason> {
    match credentials(headers) {
        Credentials::Absent => Ok(None),
        Credentials::Malformed => Err(RefusalReason::MalformedCredentials),
        Credentials::Bearer(token) => {
            tokens.validator().validate(token).map(Some).map_err(RefusalReason::InvalidToken)
        }
    }
}

/// The request, and what is wrong with it; an error where a value is of a wrong JSON type.
fn read_request(
    members: &Map<String, Value>,
) -> Result<(ExchangeRequest, Vec<InvalidField>), String> {
    let wrong_type = |name: &str, expected: &str| Err(format!("{name} must be {expected}"));
    let mut request = ExchangeRequest::default();
    let mut invalid = Vec::new();
    match members.get("invalidate") {
        None => {}
        Some(Value::Bool(invalidate)) => request = request.invalidate(*invalidate),
        Some(_) => return wrong_type("invalidate", "a boolean"),
    }
    match members.get("oneTimePassword") {
        None => {}
        Some(Value::String(code)) => request = request.one_time_password(code),
        Some(_) => return wrong_type("oneTimePassword", "a string"),
    }
    match members.get("customClaims") {
        None => {}
        Some(Value::Object(claims)) => request = request.custom_claims(claims.clone()),
        Some(_) => return wrong_type("customClaims", "an object"),
    }
    match members.get("expiredTime") {
        None => {}
        Some(Value::String(time)) => match time.parse() {
            Ok(expires_at) => request = request.expires_at(expires_at),
            Err(_) => {
                let message = "must be a date-time of RFC 3339";
                invalid.push(InvalidField::new("expiredTime", message));
            }
        },
        Some(_) => return wrong_type("expiredTime", "a string"),
    }
    if let Some(value) = members.get("acl") {
        match Acl::from_json(value) {
            Ok(acl) => request = request.acl(acl),
            Err(faults) => {
                for fault in faults {
                    let field = fault.field();
                    if fault.wrong_type {
                        return Err(format!("{field} {}", fault.message));
                    }
                    invalid.push(InvalidField::new(field, fault.message));
                }
            }
        }
    }
    Ok((request, invalid))
}

fn respond(exchanged: &ExchangedToken, base: &str) -> Response {
    let customer: String =
        form_urlencoded::byte_serialize(exchanged.customer_id.as_str().as_bytes()).collect();
    let created = exchanged.created_at.to_string();
    let body = json!({
        "id": exchanged.id.as_str(),
        "type": "customer",
        "token": exchanged.token.expose(),
        "customerId": exchanged.customer_id,
        "acl": exchanged.acl,
        "customClaims": exchanged.custom_claims,
        "createdTime": created,
        "updatedTime": created,
        "expiredTime": exchanged.expires_at.to_string(),
        "_links": [{
            "href": format!("{base}/customers/{}", customer.replace('+', "%20")),
            "rel": "customer",
        }],
    });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = StatusCode::CREATED;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
