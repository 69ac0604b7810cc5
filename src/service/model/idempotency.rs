//! Repeated requests: how a client that lost the response gets it by the same request.
//!
//! A session remembers the requests that may be repeated: the one that started it, and exchanges. Each is
//! written by the same write that does what is asked for, so that no response is remembered of what was not
//! done, nor the other way round. The code of a start is delivered after that; the response waits for it.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::error::{Error, InvalidField};
use crate::service::model::sealing::{KeyedDigest, Sealed, SealingKeys};
use crate::token::claims::Validated;

/// How long a request may be repeated.
pub(crate) const REPEATABLE_FOR: Duration = Duration::from_secs(60);
/// How many exchanges a session remembers. Each has a JWT.
const MAX_EXCHANGES: usize = 8;
/// The header that brings a key, and the field that is named where it is wrong.
pub(crate) const FIELD: &str = "Idempotency-Key";

/// A key that a client names a request by, to repeat it where the response was lost. It is worth nothing by
/// itself, and is not logged all the same.
#[derive(Clone)]
pub(crate) struct IdempotencyKey(String);

impl IdempotencyKey {
    /// A key as a caller presents it.
    pub(crate) fn presented(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Returns what is wrong with it.
    pub(crate) fn fault(&self) -> Option<InvalidField> {
        let text = self.expose();
        let fits = (16..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        (!fits).then(|| InvalidField::new(FIELD, "must be 16 to 128 visible ASCII characters"))
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey([redacted])")
    }
}

/// The request that started a session.
#[derive(Clone, Debug)]
pub(crate) struct RememberedStart {
    pub(crate) request: KeyedDigest,
    pub(crate) until: Timestamp,
}

/// An exchange of a session, and its answer.
#[derive(Clone, Debug)]
pub(crate) struct RememberedExchange {
    pub(crate) key: KeyedDigest,
    pub(crate) request: KeyedDigest,
    pub(crate) answer: Sealed,
    pub(crate) until: Timestamp,
}

/// The exchanges that may be repeated.
#[derive(Clone, Debug, Default)]
pub(crate) struct RememberedExchanges(pub(crate) Vec<RememberedExchange>);

impl RememberedExchanges {
    /// Returns the one of a key: `parts` are what the key was digested with.
    pub(crate) fn find(
        &self,
        sealing: &SealingKeys,
        parts: &[&str],
        now: Timestamp,
    ) -> Option<&RememberedExchange> {
        let mut live = self.0.iter().filter(|exchange| exchange.until > now);
        live.find(|exchange| sealing.verify_request(parts, &exchange.key))
    }

    /// Remembers one more; returns whether there is room for it.
    #[must_use]
    pub(crate) fn add(&mut self, exchange: RememberedExchange, now: Timestamp) -> bool {
        self.forget_until(now);
        let has_room = self.0.len() < MAX_EXCHANGES;
        if has_room {
            self.0.push(exchange);
        }
        has_room
    }

    pub(crate) fn forget_until(&mut self, now: Timestamp) {
        self.0.retain(|exchange| exchange.until > now);
    }

    /// Returns until when any of them may be repeated.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        self.0.iter().map(|exchange| exchange.until).max()
    }
}

/// Returns what the bearer of a request is, and all that its token may do. A later token of the same bearer
/// that may do less brings another request, and gets nothing that was given for this one.
pub(crate) fn describe_bearer(bearer: &Validated) -> Value {
    let principal = bearer.principal().to_string();
    json!([principal, bearer.audiences(), bearer.acl(), bearer.custom_claims()])
}

/// The same key with another request.
pub(crate) fn other_request() -> Error {
    let message = "was sent with another request before: use another key";
    Error::from_invalid_fields(vec![InvalidField::new(FIELD, message)])
}
