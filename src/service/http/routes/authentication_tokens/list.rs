//! `GET /authentication-tokens`

use axum::extract::{Request, State};
use axum_core::response::Response;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use crate::error::InvalidField;
use crate::guard::authenticate::Authenticator;
use crate::service::TokenService;
use crate::service::http::routes::authentication_tokens::body_of;
use crate::service::http::routes::body::check_announced_len;
use crate::service::http::routes::error::RouteError;
use crate::service::http::routes::problem;
use crate::service::http::routes::response;
use crate::service::http::routes::route_context::RouteContext;
use crate::service::store::PageRequest;
use crate::token::identifier::CustomerId;
use crate::token::text;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

/// Returns a page of the live sessions, the oldest first, without their tokens.
pub(in crate::service::http::routes) async fn list(
    State(tokens): State<TokenService>,
    request: Request,
) -> Response {
    problem::answer(&tokens, try_list(&tokens, request).await)
}

async fn try_list(tokens: &TokenService, request: Request) -> Result<Response, RouteError> {
    let (mut parts, _) = request.into_parts();
    check_announced_len(&parts.headers, tokens.policy())?;
    let route = RouteContext::read(tokens, &mut parts).await?;
    let bearer = Authenticator::of(tokens.validator(), &parts).required()?;
    let most = tokens.policy().sessions.max_list_offset;
    let query = Query::read(parts.uri.query().unwrap_or_default(), most)?;
    let page = PageRequest::first(query.limit).offset(query.offset);
    let listed =
        tokens.list_sessions(&bearer, query.customer_id.as_ref(), page, &route.request).await?;
    let sessions = listed.sessions.iter();
    let body = sessions.map(|session| body_of(tokens, session.record(), None)).collect();
    let mut response = response::json(StatusCode::OK, &Value::Array(body));
    for (name, number) in [
        ("pagination-total", listed.total),
        ("pagination-limit", query.limit),
        ("pagination-offset", query.offset),
    ] {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from(number));
    }
    Ok(response)
}

struct Query {
    customer_id: Option<CustomerId>,
    limit: usize,
    offset: usize,
}

impl Query {
    /// Reads the known parameters; each may be given once.
    fn read(query: &str, max_offset: usize) -> Result<Self, Vec<InvalidField>> {
        let mut invalid = Vec::new();
        let mut once = |name: &str| {
            let mut values = form_urlencoded::parse(query.as_bytes())
                .filter(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned());
            let value = values.next();
            if values.next().is_some() {
                invalid.push(InvalidField::new(name, "must be given once"));
            }
            value
        };
        let (limit, offset) = (once("limit"), once("offset"));
        let customer_id = once("customerId");
        let limit = number("limit", limit, DEFAULT_LIMIT, MAX_LIMIT, &mut invalid);
        let offset = number("offset", offset, 0, max_offset, &mut invalid);
        let customer_id = customer_id.and_then(|id| {
            // Decoding replaces invalid UTF-8 by a replacement character.
            let is_text = !id.contains(char::REPLACEMENT_CHARACTER);
            let id = CustomerId::new(id).ok().filter(|_| is_text);
            if id.is_none() {
                invalid.push(InvalidField::new("customerId", text::RULE));
            }
            id
        });
        if invalid.is_empty() { Ok(Self { customer_id, limit, offset }) } else { Err(invalid) }
    }
}

/// Parses decimal digits without a sign, up to a maximum.
fn number(
    name: &str,
    text: Option<String>,
    default: usize,
    maximum: usize,
    invalid: &mut Vec<InvalidField>,
) -> usize {
    let Some(text) = text else { return default };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && number <= maximum => number,
        _ => {
            let message = format!("must be an integer from 0 to {maximum}");
            invalid.push(InvalidField::new(name, message));
            default
        }
    }
}
