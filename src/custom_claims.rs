//! The host's custom claims, as every setter takes them.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{Error, InvalidField};

/// Converts the host's custom claims to the JSON object that they must be.
///
/// # Errors
///
/// Returns [`InvalidFields`](crate::ErrorKind::InvalidFields) for any other JSON value. The message quotes none of
/// it.
pub(crate) fn custom_claims_of(claims: impl Serialize) -> Result<Map<String, Value>, Error> {
    match serde_json::to_value(claims) {
        Ok(Value::Object(members)) => Ok(members),
        _ => {
            let fault = InvalidField::new("customClaims", "must be an object");
            Err(Error::from_invalid_fields(vec![fault]))
        }
    }
}
