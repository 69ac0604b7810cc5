//! Reading and resetting a machine client's secret.

use axum::extract::{Request, State};
use axum_core::response::Response;
use serde_json::{Map, Value, json};

use crate::clock::Timestamp;
use crate::guard::authenticate::Authenticator;
use crate::service::http::routes::body::{Media, receive};
use crate::service::http::routes::envelope::Envelope;
use crate::service::http::routes::fields;
use crate::service::http::routes::route_context::RouteContext;
use crate::service::model::secret::SecretOperation;
use crate::service::secret::IssuedSecret;
use crate::service::secret::SecretAccess;
use crate::service::{Actor, TokenService};
use crate::token::claims::SubjectType;

/// `POST /entity/secret/read`
pub(super) async fn read(State(tokens): State<TokenService>, request: Request) -> Response {
    respond(&tokens, request, SecretOperation::Read).await
}

/// `POST /entity/secret/reset`
pub(super) async fn reset(State(tokens): State<TokenService>, request: Request) -> Response {
    respond(&tokens, request, SecretOperation::Reset).await
}

async fn respond(tokens: &TokenService, request: Request, operation: SecretOperation) -> Response {
    let (mut parts, body) = request.into_parts();
    let route = RouteContext::read(tokens, &mut parts).await;
    let received = match receive(&parts.headers, body, &[Media::Json], tokens.policy()).await {
        Ok(received) => received,
        Err(fault) => return Envelope::new(tokens, None).reject(fault.into()),
    };
    // Read before the caller is known, so that a rejection can echo the transaction.
    let members = received.members();
    let transaction_id = members.as_ref().ok().and_then(transaction_id);
    let envelope = Envelope::new(tokens, transaction_id);
    let responding = async {
        let manager = Authenticator::of(tokens.validator(), &parts).required()?;
        let asked = SecretRequest::read(&members?, tokens)?;
        let (id, days, context) = (&asked.entity_id, asked.expiry_days, &route?.request);
        let access = SecretAccess {
            actor: Actor::Bearer(&manager),
            kind: SubjectType::Machine,
            name: id,
            expiry_days: days,
            context,
        };
        let secret = tokens.access_secret(operation, access).await?;
        Ok(members_of(id, &secret))
    };
    envelope.respond(responding.await)
}

fn members_of(entity_id: &str, secret: &IssuedSecret) -> Value {
    let mut members = json!({
        "entityId": entity_id,
        "secret": secret.secret.expose(),
        "expiresOn": secret.expires_at.as_secs(),
        "expirationDate": local_time(secret.expires_at),
    });
    if let Some(message) = &secret.message {
        members["message"] = message.as_str().into();
    }
    members
}

/// Writes `YYYY-MM-DDTHH:MM:SS.fff` in UTC, without a zone.
fn local_time(time: Timestamp) -> String {
    time.civil().strftime("%Y-%m-%dT%H:%M:%S.%3f").to_string()
}

/// The body of a request, checked.
struct SecretRequest {
    entity_id: String,
    expiry_days: Option<u64>,
}

impl SecretRequest {
    fn read(members: &Map<String, Value>, tokens: &TokenService) -> Result<Self, String> {
        let required = |name: &str| {
            fields::nonblank_text(members, name)?
                .ok_or_else(|| format!("{name} is missing in the request"))
        };
        let of_envelope = |name: &str| match fields::text(members, name)? {
            None if tokens.policy().http.optional_envelope => Ok(None),
            _ => required(name).map(Some),
        };
        let entity_id = fields::nonblank_text(members, "entityId")?
            .ok_or_else(|| "Entity Id is missing in the request".to_owned())?;
        if of_envelope("ver")?.is_some_and(|version| !is_version_one(&version)) {
            return Err("ver must be 1.x.y".to_owned());
        }
        if let Some(timestamp) = of_envelope("timestamp")? {
            check_timestamp(&timestamp, tokens)?;
        }
        required("txnId")?;
        if transaction_id(members).is_none() {
            return Err("txnId must be 1 to 64 visible ASCII characters".to_owned());
        }
        let expiry_days = match members.get("secretExpiryDays") {
            None => None,
            Some(days) => match days.as_u64() {
                Some(days) if days >= 1 => Some(days),
                _ => return Err("secretExpiryDays must be an integer of at least 1".to_owned()),
            },
        };
        Ok(Self { entity_id, expiry_days })
    }
}

fn check_timestamp(text: &str, tokens: &TokenService) -> Result<(), String> {
    let timestamp: Timestamp =
        text.parse().map_err(|_| "timestamp must be a date-time of RFC 3339".to_owned())?;
    let now = tokens.now();
    let apart = now.saturating_since(timestamp).max(timestamp.saturating_since(now));
    match tokens.policy().http.timestamp_skew {
        Some(skew) if apart > skew => {
            Err("timestamp is too far from the time of the service".to_owned())
        }
        _ => Ok(()),
    }
}

/// The transaction's id, where it is one that may be echoed.
fn transaction_id(members: &Map<String, Value>) -> Option<String> {
    let id = members.get("txnId")?.as_str()?;
    let fits = (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| id.to_owned())
}

/// `1.x.y`, each of x and y a number.
fn is_version_one(version: &str) -> bool {
    let number = |part: &str| {
        (1..=9).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let parts: Vec<_> = version.split('.').collect();
    matches!(parts.as_slice(), ["1", minor, patch] if number(minor) && number(patch))
}
