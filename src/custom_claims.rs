//! A host's own claims, as every setter takes them.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{Error, InvalidField};

/// Returns a host's own claims as the JSON object that they have to be.
///
/// # Errors
///
/// [`InvalidFields`](crate::ErrorKind::InvalidFields) where they are none. It quotes nothing of them.
pub(crate) fn custom_claims_of(claims: impl Serialize) -> Result<Map<String, Value>, Error> {
    match serde_json::to_value(claims) {
        Ok(Value::Object(members)) => Ok(members),
        _ => {
            let fault = InvalidField::new("customClaims", "must be an object");
            Err(Error::from_invalid_fields(vec![fault]))
        }
    }
}
